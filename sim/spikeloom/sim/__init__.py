"""Parameters and the integer reference: the specification that the RTL equals bit for bit. Needs NumPy only."""
