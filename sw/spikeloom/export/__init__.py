"""Export of Verilog and testbenches for use in other designs."""
