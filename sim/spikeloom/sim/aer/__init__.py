"""Parameters and registers of the AER tile."""
