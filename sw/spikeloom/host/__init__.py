"""The host driver: link endpoint, transports, SPIF. Needs NumPy and pyserial only."""
