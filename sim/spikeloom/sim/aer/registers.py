"""The registers and the table of an AER tile."""

from spikeloom.sim.lib.registers import MemoryRegion, Register, RegisterMap, tile_set

__all__ = ["AER"]

AER = RegisterMap(
    name="aer",
    where="AER tiles",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=1,
            access="pulse",
            description="bit 0 clears the tile alone: waiting events, tokens and counters. A handshake goes on; the "
            "other registers and the table stay.",
        ),
        Register(
            name="sources",
            offset=1,
            width_bits=8,
            access="write",
            description="tiles that send a TICK here each step: of an input the host. 0 keeps the tile still; then "
            "it acknowledges one event at most.",
        ),
        Register(
            name="sinks",
            offset=2,
            width_bits=8,
            access="write",
            description="tiles that get a TICK from here each step and acknowledge it.",
        ),
        Register(
            name="status",
            offset=4,
            width_bits=8,
            access="read",
            flags=("idle", "stalled"),
            description="bit 0: idle, no step is in progress and no event waits. Bit 1: the chip has left a phase of "
            "the handshake waiting for `patience` cycles; stays until the tile is cleared, also in a "
            "new session.",
        ),
        Register(
            name="step_cycles",
            offset=8,
            width_bits=32,
            access="write",
            description="of an input: one step at most begins in each period of so many cycles; 0: when tokens allow.",
        ),
        Register(
            name="patience",
            offset=12,
            width_bits=32,
            access="write",
            description="cycles after which a phase of the handshake that the chip does not end is told in `status`; "
            "0: never.",
        ),
        Register(
            name="events",
            offset=16,
            width_bits=32,
            access="read",
            description="events that have come from the chip or gone to it, modulo 2^32.",
        ),
        Register(
            name="repeated",
            offset=20,
            width_bits=32,
            access="read",
            description="of an input: events that did not count, as their axon had one in the same step, modulo 2^32.",
        ),
        tile_set("spike_destinations", 24, "of an input: tiles that get the spikes."),
        tile_set("tick_destinations", 32, "the sinks."),
        Register(
            name="unknown",
            offset=40,
            width_bits=32,
            access="read",
            description="events that the table does not know, modulo 2^32.",
        ),
        tile_set("ack_destinations", 48, "the sources."),
    ),
    memories=(
        MemoryRegion(
            name="table",
            number=1,
            description="for each address (input) or axon (output), bit 0: it is known; above, what it becomes.",
        ),
    ),
)
