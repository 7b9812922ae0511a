"""FPGA families: devices, tools and PLLs. This is the lowest package of `spikeloom.boards`."""
