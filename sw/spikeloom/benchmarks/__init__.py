"""Programs that measure: MNIST, the transformer, scaling, simulation and line speed, mesh traffic."""
