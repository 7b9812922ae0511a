"""SDRAM: the controller, its clock crossing, and the probe of its size."""
