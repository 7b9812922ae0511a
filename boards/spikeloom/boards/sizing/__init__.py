"""Resource estimates of a core, and the choice of the general fabric of a device."""
