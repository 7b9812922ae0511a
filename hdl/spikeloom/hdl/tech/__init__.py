"""FPGA-specific cells: carry chains, block RAM, single-port RAM."""
