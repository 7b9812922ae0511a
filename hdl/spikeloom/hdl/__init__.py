"""The hardware, in Amaranth: components that equal the models of `spikeloom.sim` bit for bit."""
