"""Compiled RTL, cocotb, virtual and simulated board, and the tools that they need."""
