"""Networks whose result is the membrane of their last neurons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikeloom.model.network import Network
from spikeloom.sim.core.neuron import Reset

__all__ = ["membrane_readout"]


def membrane_readout(network: Network) -> Network:
    """Return ``network`` with the membranes of its output population as the result instead of its spikes.

    This is exact if spikes do not change the membranes and reach no other neuron. Raises ``ValueError`` with one
    sentence for other networks. A network whose output never fires is returned unchanged.
    """
    output = network.population(network.output)
    if not output.spiking:
        return network
    if output.delay is not None or output.reset is not Reset.NONE or output.refractory:
        rule = "delay" if output.delay is not None else f"reset {output.reset.value}"
        rule = "a refractory period" if output.reset is Reset.NONE and output.refractory else rule
        raise ValueError(
            f"the output {network.output!r} must have reset none and no refractory period for its membranes to be the "
            f"result, not {rule}"
        )
    if network.output in (
        *(connection.source for connection in network.connections),
        *(source for attention in network.attentions for source in attention.sources),
    ):
        raise ValueError(
            f"the spikes of the output {network.output!r} must reach no neurons for its membranes to be the result"
        )
    # Neurons that never fire need neither a threshold nor the parameters that matter only with one.
    silent = replace(
        output,
        spiking=False,
        threshold=np.zeros(()),
        reset_delay=0,
        adaptation_factor=None,
        adaptation_step=np.zeros(()),
        noise=0.0,
        value_limit=None,
    )
    populations = tuple(silent if population is output else population for population in network.populations)
    return replace(network, populations=populations)
