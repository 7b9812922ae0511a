"""The registers and memories of a core.

Counters are aligned to four bytes, so that the AXI wrapper (`spikeloom.hdl.top.axi`) reads each in one transfer.
"""

from spikeloom.sim.lib.registers import DELAYED_COUNTS, TOKEN_DESTINATIONS, MemoryRegion, Register, RegisterMap

__all__ = ["CORE", "COUNTERS"]

CORE = RegisterMap(
    name="core",
    where="Cores",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=1,
            access="pulse",
            description="bit 0 clears this core only: states, accumulators, tokens and counters; memories and other "
            "registers are kept. For cores without a bridge; in a fabric, clear all tiles by `control` of the bridge.",
        ),
        Register(
            name="sources",
            offset=1,
            width_bits=8,
            access="write",
            description="number of direct sources, which send a TICK in each step; with 0 the core does not run.",
        ),
        Register(
            name="sinks",
            offset=2,
            width_bits=8,
            access="write",
            description="number of direct sinks, which acknowledge each step.",
        ),
        Register(
            name="populations",
            offset=3,
            width_bits=8,
            access="write",
            description="number of populations updated in a step.",
        ),
        Register(
            name="status",
            offset=4,
            width_bits=8,
            access="read",
            description="bit 0: idle; no event is being added, no neuron updated, no packet sent.",
        ),
        *DELAYED_COUNTS,
        Register(
            name="busy_cycles",
            offset=8,
            width_bits=32,
            access="read",
            description="clock cycles in which the core was not idle, modulo 2^32.",
        ),
        Register(
            name="words",
            offset=12,
            width_bits=32,
            access="read",
            description="weight words added, modulo 2^32; groups of words in a core that adds several per cycle.",
        ),
        Register(
            name="steps",
            offset=16,
            width_bits=32,
            access="read",
            description="completed steps, modulo 2^32.",
        ),
        Register(
            name="waiting_cycles",
            offset=20,
            width_bits=32,
            access="read",
            description="clock cycles in which an event waited or its weight words were being read, modulo 2^32. "
            "A weight word was added in `words` of these cycles.",
        ),
        Register(
            name="sweep_cycles",
            offset=24,
            width_bits=32,
            access="read",
            description="clock cycles in which neurons were being updated, modulo 2^32.",
        ),
        Register(
            name="spikes",
            offset=28,
            width_bits=32,
            access="read",
            description="spikes and membranes sent to other tiles or back into the core, modulo 2^32.",
        ),
        *TOKEN_DESTINATIONS,
    ),
    memories=(
        MemoryRegion(name="weights", number=1, description="`lanes` weights per word, row after row."),
        MemoryRegion(name="rows", number=2, description="one row descriptor per axon."),
        MemoryRegion(name="neurons", number=3, description="individual parameters of `lanes` neurons per word."),
        MemoryRegion(name="routes", number=4, description="destinations of each neuron's spikes."),
        MemoryRegion(
            name="populations", number=5, description="words, destinations and common parameters of each population."
        ),
        MemoryRegion(
            name="columns",
            number=6,
            description="horizontal taps for each geometry and x coordinate (with coordinates only).",
        ),
        MemoryRegion(
            name="lines",
            number=7,
            description="vertical taps for each geometry and y coordinate (with coordinates only).",
        ),
        MemoryRegion(name="targets", number=8, description="target of each weight word (with sparse rows only)."),
        MemoryRegion(
            name="streamed_weights",
            number=9,
            description="weight words in SDRAM (beside those in block RAM only).",
        ),
    ),
)

COUNTERS = CORE.counters
"""Names of a core's counters."""
