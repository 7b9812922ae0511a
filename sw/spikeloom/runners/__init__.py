"""One interface for the reference, the compiled RTL, the pins and the board."""
