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
            description="bit 0 clears this tile only: waiting events, tokens and counters. A handshake in progress "
            "continues; other registers and the table are kept.",
        ),
        Register(
            name="sources",
            offset=1,
            width_bits=8,
            access="write",
            description="number of sources, which send a TICK in each step; for an input, the host. With 0 the tile "
            "does not run and acknowledges at most one event.",
        ),
        Register(
            name="sinks",
            offset=2,
            width_bits=8,
            access="write",
            description="number of sinks, which receive a TICK in each step and acknowledge it.",
        ),
        Register(
            name="status",
            offset=4,
            width_bits=8,
            access="read",
            flags=("idle", "stalled"),
            description="bit 0: idle; no step is in progress and no event waits. Bit 1: the chip has not ended a phase "
            "of the handshake within `patience` cycles; kept until the tile is cleared, even in a "
            "new session.",
        ),
        Register(
            name="step_cycles",
            offset=8,
            width_bits=32,
            access="write",
            description="input only: period in cycles in which at most one step begins; 0: as soon as tokens allow.",
        ),
        Register(
            name="patience",
            offset=12,
            width_bits=32,
            access="write",
            description="timeout in cycles after which `status` reports a handshake phase that the chip has not ended; "
            "0: none.",
        ),
        Register(
            name="events",
            offset=16,
            width_bits=32,
            access="read",
            description="events received from the chip or sent to it, modulo 2^32.",
        ),
        Register(
            name="repeated",
            offset=20,
            width_bits=32,
            access="read",
            description="input only: events dropped as duplicates of an axon within a step, modulo 2^32.",
        ),
        tile_set("spike_destinations", 24, "input only: set of tiles that receive the spikes."),
        tile_set("tick_destinations", 32, "set of sinks."),
        Register(
            name="unknown",
            offset=40,
            width_bits=32,
            access="read",
            description="events dropped because the table has no entry for them, modulo 2^32.",
        ),
        tile_set("ack_destinations", 48, "set of sources."),
    ),
    memories=(
        MemoryRegion(
            name="table",
            number=1,
            description="for each address (input) or axon (output), bit 0: valid; upper bits: the translated number.",
        ),
    ),
)
