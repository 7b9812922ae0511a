"""Verilog and testbenches for other designs."""
