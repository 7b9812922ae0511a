"""The host side of a `LoadPort` in Amaranth's simulator, and words of neurons and populations as a host writes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.assign import assign
from spikeloom.sim.core.memory_fields import parameter_values, rule_values
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import WordLayout, pack_lanes


async def load_memory(ctx: Any, port: Any, number: int, words: np.ndarray) -> None:
    """Write ``words``, bytes ``(n, planes)``, to the memory ``number``, and wait until they are there."""
    assign(ctx, [(port.memory, number), (port.write_enable, 1)])
    for index, octets in enumerate(words.tolist()):
        for plane, octet in enumerate(octets):
            assign(ctx, [(port.index, index), (port.plane, plane), (port.write_data, octet)])
            await ctx.tick()
    ctx.set(port.write_enable, 0)
    await ctx.tick().repeat(4)


def neuron_words(core: CoreParameters, p: NeuronParameters) -> np.ndarray:
    """The individual parameters of ``p.size`` neurons, as words ``(words, planes)`` starting at word 0."""
    return pack_lanes(core.neuron_layout.bits(parameter_values(core, p), p.size), core.lanes)


def rule_of(core: CoreParameters, p: NeuronParameters, **more: int) -> dict[str, int]:
    """The fields of a population with the neurons ``p``; ``more`` adds others, such as the first and last word."""
    shared = {name: np.broadcast_to(value, p.size)[0] for name, value in parameter_values(core, p).items()}
    values = shared | rule_values(core, p, readout=not p.spiking) | more
    return {f.name: int(values[f.name]) for f in core.population_layout.fields if f.name in values and f.width}


def packed(layout: WordLayout, **values: object) -> np.ndarray:
    """Words of ``layout`` with fields ``(n,)``, as bytes ``(n, planes)``."""
    count = max(np.size(value) for value in values.values())
    return pack_lanes(layout.bits(values, count), 1)
