"""The registers and the memory of an attention tile."""

from spikeloom.sim.lib.registers import (
    DELAYED_COUNTS,
    TOKEN_DESTINATIONS,
    MemoryRegion,
    Register,
    RegisterMap,
    tile_set,
)

__all__ = ["ATTENTION"]

ATTENTION = RegisterMap(
    name="attention",
    where="Attention tiles",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=1,
            access="pulse",
            description="bit 0 clears this tile only: spikes, tokens, random sequence; other registers are kept.",
        ),
        Register(
            name="sources",
            offset=1,
            width_bits=8,
            access="write",
            description="number of direct sources, which send a TICK in each step; with 0 the tile does not run.",
        ),
        Register(
            name="sinks",
            offset=2,
            width_bits=8,
            access="write",
            description="number of direct sinks, which acknowledge each step.",
        ),
        Register(
            name="causal",
            offset=3,
            width_bits=1,
            access="write",
            description="bit 0: mask later tokens.",
        ),
        Register(
            name="status",
            offset=4,
            width_bits=8,
            access="read",
            description="bit 0: idle; no step is in progress.",
        ),
        *DELAYED_COUNTS,
        *(
            Register(
                name=f"{name}_page",
                offset=8 + 2 * number,
                width_bits=16,
                access="write",
                reset=number,
                description=description,
            )
            for number, (name, description) in enumerate(
                (
                    ("query", "page of the axons of Q; the page is the part of an axon above the index of a spike."),
                    ("key", "page of the axons of K."),
                    ("value", "page of the axons of V."),
                )
            )
        ),
        Register(
            name="score_seed",
            offset=16,
            width_bits=32,
            access="write",
            reset=1,
            description="initial value of the shift register of S in each sample, 31 bits, not 0.",
        ),
        Register(
            name="output_seed",
            offset=20,
            width_bits=32,
            access="write",
            reset=1,
            description="initial value of the shift register of A in each sample, 32 bits, not 0.",
        ),
        tile_set("spike_destinations", 24, "set of tiles that receive the spikes (with a mesh only)."),
        *TOKEN_DESTINATIONS,
    ),
    memories=(MemoryRegion(name="routes", number=1, description="axon of each output spike."),),
)
