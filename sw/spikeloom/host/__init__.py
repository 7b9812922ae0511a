"""Host driver: link endpoint, transports, SPIF. Needs only NumPy and pyserial."""
