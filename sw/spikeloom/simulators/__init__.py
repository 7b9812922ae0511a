"""Simulation of the generated design: compiled RTL, cocotb, virtual and simulated boards, and their tools."""
