"""Boards, one file per FPGA family."""
