"""Design-space exploration: the core for a network and a device, and the cost of a placement."""
