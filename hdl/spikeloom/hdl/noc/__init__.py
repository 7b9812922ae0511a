"""The network on chip: packets, router, mesh, tokens."""
