"""Tabular description of a network, for review of a conversion."""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.model.network import Network
from spikeloom.sim.network.attention import QuantisedAttention

__all__ = ["Description", "describe"]


@dataclass(frozen=True, kw_only=True)
class Description:
    """Description of one population, for review of a conversion."""

    name: str
    shape: tuple[int, ...]
    neurons: int
    synapses: int
    sources: tuple[str, ...]  # sources of its spikes, with ``(delay 1)`` for recurrent connections
    equation: str
    notes: tuple[str, ...]  # losses and assumptions for this population


def describe(network: Network) -> list[Description]:
    """Return one row per population in step order, each attention after the last of its sources. Notes about the whole
    network stay in ``network.notes``."""
    rows = []
    names = [population.name for population in network.populations]
    for population in network.populations:
        into = [connection for connection in network.connections if connection.target == population.name]
        prefix = f"{population.name}: "
        rows.append(
            Description(
                name=population.name,
                shape=population.shape,
                neurons=population.size,
                synapses=sum(connection.synapses for connection in into),
                sources=tuple(c.source + (" (delay 1)" if c.delay else "") for c in into),
                equation=population.equation,
                notes=tuple(note.removeprefix(prefix) for note in network.notes if note.startswith(prefix)),
            )
        )
        rows.extend(
            _described(attention)
            for attention in network.attentions
            if names[attention.last_source(names)] == population.name
        )
    return rows


def _described(attention: QuantisedAttention) -> Description:
    shape = attention.parameters
    mask = " for j <= i" if attention.causal else ""
    return Description(
        name=attention.name,
        shape=(shape.heads, shape.features, shape.tokens),
        neurons=0,
        synapses=0,
        sources=attention.sources,
        equation=f"S[i, j] ~ Bernoulli(Q[i] K[j] / {shape.features}){mask}; A ~ Bernoulli(S V / {shape.tokens})",
        notes=(),
    )
