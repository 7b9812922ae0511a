"""The fabric, the top level, the AXI wrapper and the Verilog writer."""
