"""Small float networks for tests: a neuron, a network, and a single neuron with one input line."""

from __future__ import annotations

import numpy as np

from spikeloom.model.network import Connection, Network
from spikeloom.model.population import Population


def population(name="lif", size=1, **options):
    return Population(**({"name": name, "shape": (size,), "beta": 0.875, "threshold": 1.0} | options))


def network(populations, connections, inputs=1, output=None, **options):
    return Network(
        **{
            "name": "test",
            "input_shape": (inputs,),
            "populations": tuple(populations),
            "connections": tuple(connections),
            "output": output or populations[-1].name,
            "time_step_s": 1e-3,
        }
        | options
    )


def single(weight=1.0, **options):
    """One neuron on one input line."""
    neuron = population(**options)
    return network([neuron], [Connection(source="input", target=neuron.name, weight=np.array([[weight]]))])


def join(source, target, shape=(1, 1), delay=0):
    return Connection(source=source, target=target, weight=np.ones(shape), delay=delay)
