"""The registers and memories of a core."""

from spikeloom.sim.lib.registers import MemoryRegion, Register, RegisterMap, tile_set

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
            description="bit 0 clears the core alone: state, accumulators, tokens and counters; memories and the other "
            "registers stay. For cores without a bridge; in a fabric clear all at once, by `control` of the bridge.",
        ),
        Register(
            name="sources",
            offset=1,
            width_bits=8,
            access="write",
            description="tiles that lead here without delay and send a TICK each step; 0 keeps the core still.",
        ),
        Register(
            name="sinks",
            offset=2,
            width_bits=8,
            access="write",
            description="tiles that this one leads to without delay, which acknowledge each step.",
        ),
        Register(
            name="populations",
            offset=3,
            width_bits=8,
            access="write",
            description="populations that a step updates.",
        ),
        Register(
            name="status",
            offset=4,
            width_bits=8,
            access="read",
            description="bit 0: idle, nothing is being added, updated or sent.",
        ),
        Register(
            name="delayed_sources",
            offset=5,
            width_bits=8,
            access="write",
            description="tiles that lead here with delay 1 (with a mesh only).",
        ),
        Register(
            name="delayed_sinks",
            offset=6,
            width_bits=8,
            access="write",
            description="tiles that this one leads to with delay 1 (with a mesh only).",
        ),
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
            description="weight words added, modulo 2^32.",
        ),
        Register(
            name="steps",
            offset=16,
            width_bits=32,
            access="read",
            description="steps finished, modulo 2^32.",
        ),
        Register(
            name="waiting_cycles",
            offset=20,
            width_bits=32,
            access="read",
            description="clock cycles in which an event waited or its weight words were being read, modulo 2^32. "
            "`words` of them added one.",
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
            description="spikes and membranes that were sent, out or back into the core, modulo 2^32.",
        ),
        tile_set("tick_destinations", 32, "the sinks without delay (with a mesh only)."),
        tile_set("delayed_tick_destinations", 40, "the sinks with delay 1 (with a mesh only)."),
        tile_set("ack_destinations", 48, "the sources without delay (with a mesh only)."),
        tile_set("delayed_ack_destinations", 56, "the sources with delay 1 (with a mesh only)."),
    ),
    memories=(
        MemoryRegion(name="weights", number=1, description="`lanes` weights a word, row after row."),
        MemoryRegion(name="rows", number=2, description="a row descriptor for each axon."),
        MemoryRegion(name="neurons", number=3, description="the parameters of `lanes` neurons a word."),
        MemoryRegion(name="routes", number=4, description="where each neuron's spikes go."),
        MemoryRegion(name="populations", number=5, description="words, destinations and rule of each population."),
        MemoryRegion(
            name="columns",
            number=6,
            description="for each geometry and horizontal coordinate, the taps that it meets (with coordinates only).",
        ),
        MemoryRegion(
            name="lines",
            number=7,
            description="for each geometry and vertical coordinate, the taps that it meets (with coordinates only).",
        ),
        MemoryRegion(name="targets", number=8, description="the target of each weight word (with sparse rows only)."),
    ),
)

COUNTERS = CORE.counters
"""The registers of a core that count."""
