"""What holds for an FPGA family: devices, tools, PLLs. The lowest package of `spikeloom.boards`."""
