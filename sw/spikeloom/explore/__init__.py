"""Design-space exploration: the core for a network and a device, the cost of a placement, and sweeps over designs."""
