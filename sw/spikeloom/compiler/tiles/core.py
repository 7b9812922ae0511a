"""Cores: the parts of populations in a core, as the words of its memories."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.dependencies import Rates, senders_of
from spikeloom.compiler.placement import Placement
from spikeloom.compiler.synapses import Rows, rows_of, thin_connections, words_per_event
from spikeloom.compiler.tiles.registry import TileCompiler, register_compiler
from spikeloom.compiler.tiles.tokens import set_of, token_registers
from spikeloom.compiler.work import TileWork
from spikeloom.sim.core.memory_fields import parameter_values, rule_values
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import pack_lanes
from spikeloom.sim.network.population import INPUT

__all__ = ["CoreCompiler"]


@register_compiler(CoreParameters)
class CoreCompiler(TileCompiler):
    """Core with parts of populations."""

    def __init__(self, placement: Placement, number: int) -> None:
        super().__init__(placement, number)
        self.core = placement.fabric.cores[number]
        self.held = placement.held[number]

    @cached_property
    def rows(self) -> Rows:
        """Rows of the connections to the parts. Raises `spikeloom.compiler.synapses.RowError`."""
        layout_of = {placed.name: placed.layout for placed in self.held}
        # A core that also streams weights is the only tile, so its parts are whole populations.
        rates = self.placement.assignment.rates if self.core.mixed else None
        return rows_of(self.placement.network, self.core, layout_of, self.placement.blocks, rates)

    @property
    def words(self) -> int:
        """Number of neuron words."""
        return sum(placed.layout.words for placed in self.held)

    @property
    def uses(self) -> list[tuple[str, int, int]]:
        core, rows = self.core, self.rows
        found = [
            ("neurons", self.words * core.lanes, core.neurons),
            ("rows", rows.rows, core.axons),
            (f"weight words of {core.lanes} weight{'s' * (core.lanes > 1)}", rows.weight_words, core.weight_words),
            ("populations", len(self.held), core.populations),
        ]
        if core.mixed:
            found.append(("streamed weight words", rows.streamed_words, core.streamed_words))
        return [*found, ("geometries", rows.geometries, core.geometries)] if core.coordinate_width else found

    def memories(self) -> dict[str, NDArray[np.uint8]]:
        images = {**self.rows.images, "routes": self._routes(), "populations": self._populations()}
        if self.core.neuron_layout.width:
            images["neurons"] = self._neurons()
        return {name: images[name] for name in self.core.memories}

    def registers(self) -> Iterator[tuple[str, int]]:
        """Yield the registers with the dependencies of the tile. Without a mesh there is only one destination."""
        dependencies, mesh = self.placement.dependencies, self.placement.fabric.mesh is not None
        yield from token_registers(dependencies, self.number, delayed=False, mesh=mesh)
        if mesh:
            yield from token_registers(dependencies, self.number, delayed=True, mesh=True)
        yield "populations", len(self.held)

    def work(self, rates: Rates) -> TileWork:
        network, parts = self.placement.network, self.placement.parts
        words, events = 0.0, {}
        is_thin = thin_connections(network, self.core, {placed.name: placed.layout for placed in self.held})
        for placed in self.held:
            for connection in network.connections_to(placed.name):
                source = connection.source
                of = rates[INPUT]
                if source != INPUT:
                    part = parts.part(source)
                    of = rates[part.population][part.neurons]
                sparse = self.core.sparse and connection.convolution is None and is_thin(connection)
                added = words_per_event(
                    connection, placed.layout, sparse=sparse, words_per_cycle=self.core.words_per_cycle
                )
                words += float(of @ np.maximum(added, 1))
                events[source] = float(of.sum())
        return TileWork(
            tile=self.number,
            parts=tuple(placed.name for placed in self.held),
            events=sum(events.values()),
            words_added=words,
            words_updated=self.words,
        )

    def _neurons(self) -> NDArray[np.uint8]:
        """Return the parameters of every slot. A padding slot may fire; its route has no destination."""
        words = []
        for placed in self.held:
            values = parameter_values(self.core, placed.population.parameters)
            bits = self.core.neuron_layout.bits(values, placed.population.size)
            slots = np.zeros((placed.layout.words * self.core.lanes, bits.shape[1]), np.uint8)
            slots[placed.layout.offsets] = bits
            words.append(slots)
        return pack_lanes(np.concatenate(words), self.core.lanes)

    def _routes(self) -> NDArray[np.uint8]:
        """Return the destinations of the spikes of each slot: back into the core, out, or both."""
        placement, local = self.placement, self.rows.reaches
        slots = self.words * self.core.lanes
        fields = {field.name: np.zeros(slots, np.int64) for field in self.core.route_layout.fields}
        for placed in self.held:
            name, here = placed.name, placed.layout.slots
            sent = senders_of(placement.network, name, placement.tile_of, placement.observed)
            fields["axon"][here] = placement.axons.get(name, 0)
            fields["local"][here] = local.get(name, 0)
            fields["send"][here] = sent
            fields["membrane"][here] = sent & (not placed.population.parameters.spiking)
        return pack_lanes(self.core.route_layout.bits(fields, slots), 1)

    def _populations(self) -> NDArray[np.uint8]:
        """Return words, neuron model parameters and destinations of every part; observed integrators send membranes."""
        placement, words = self.placement, []
        for placed in self.held:
            parameters = placed.population.parameters
            read = not parameters.spiking and placed.name in placement.observed
            destinations = placement.destinations(placed.name) if placement.fabric.mesh else frozenset()
            values = {
                "first": placed.layout.first_word,
                "last": placed.layout.first_word + placed.layout.words - 1,
                "destinations": set_of(destinations),
                **parameter_values(self.core, parameters),
                **rule_values(self.core, parameters, readout=read),
            }
            words.append(self.core.population_layout.bits(values, 1))
        return pack_lanes(np.concatenate(words), 1)
