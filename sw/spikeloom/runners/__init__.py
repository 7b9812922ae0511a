"""One interface over reference, compiled RTL, pins and board."""
