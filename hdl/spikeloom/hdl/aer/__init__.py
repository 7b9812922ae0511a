"""AER handshake and AER tile."""
