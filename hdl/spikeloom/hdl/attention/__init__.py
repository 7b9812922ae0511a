"""The stochastic spiking attention unit and its tile."""
