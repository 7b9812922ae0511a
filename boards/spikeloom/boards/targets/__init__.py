"""The boards, one file per FPGA family."""
