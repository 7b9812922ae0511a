"""The registers of the host bridge."""

from spikeloom.sim.lib.registers import Register, RegisterMap, tile_set

__all__ = ["BRIDGE"]

BRIDGE = RegisterMap(
    name="bridge",
    where="Tile 0",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=1,
            access="pulse",
            description="bit 0 clears the whole fabric at once: what is on its way, states, accumulators, tokens, "
            "counters and errors. Memories and all other registers stay.",
        ),
        Register(
            name="error",
            offset=1,
            width_bits=2,
            access="read",
            description="bit 0: an unknown message was skipped. Bit 1: a spike of an axon that does not exist was "
            "dropped. Stays until the bridge is cleared.",
        ),
        Register(
            name="sources",
            offset=2,
            width_bits=8,
            access="write",
            reset=1,
            description="tiles that send a TICK to the host each step.",
        ),
        Register(
            name="sinks",
            offset=3,
            width_bits=8,
            access="write",
            reset=1,
            description="tiles that acknowledge a TICK of the host each step.",
        ),
        Register(
            name="scratch",
            offset=4,
            width_bits=8,
            access="read-write",
            description="does nothing; reads as it was written.",
        ),
        Register(
            name="events_in",
            offset=8,
            width_bits=32,
            access="read",
            description="spikes given to the fabric, modulo 2^32.",
        ),
        Register(
            name="events_out",
            offset=12,
            width_bits=32,
            access="read",
            description="spikes and membranes from the fabric, modulo 2^32.",
        ),
        tile_set("spike_destinations", 16, "tiles that get the host's spikes (with a mesh only)."),
        tile_set("tick_destinations", 24, "tiles that get the host's TICKs, its sinks (with a mesh only)."),
        tile_set("ack_destinations", 32, "tiles that get the host's ACKs, its sources (with a mesh only)."),
        Register(
            name="units",
            offset=5,
            width_bits=2,
            access="read",
            description="bit 0: there is an encoder. Bit 1: there is a readout.",
        ),
        Register(
            name="program",
            offset=60,
            width_bits=32,
            access="read",
            description="which program the bitstream has brought: a number that `program_digest` of "
            "`spikeloom.sim.lib.contents` gives. 0 if none, or once the host has written to a memory.",
        ),
        *(
            Register(
                name=name,
                offset=offset,
                width_bits=width,
                access="write",
                reset=reset,
                description=f"{description} (with {unit} only).",
            )
            for unit, name, offset, width, reset, description in (
                (
                    "an encoder",
                    "encoder_mode",
                    40,
                    2,
                    0,
                    "what the host's spikes are: 0 spikes, or levels of an image "
                    "that is encoded, 1 by rate, 2 by latency",
                ),
                ("an encoder", "encoder_stride", 41, 8, 1, "from one level to the next"),
                ("an encoder", "encoder_pixels", 42, 16, 0, "pixels of an image, less one"),
                ("an encoder", "encoder_steps", 44, 16, 0, "steps of an image, less one"),
                ("an encoder", "encoder_advance", 46, 24, 1, "the stride times the steps"),
                (
                    "a readout",
                    "readout_mode",
                    49,
                    3,
                    0,
                    "0: all goes to the host. Otherwise only the answer of each "
                    "sample, by 1 the count of spikes, 2 the first spike, 3 the last, 4 the largest, 5 the sum of the "
                    "membranes",
                ),
                ("a readout", "readout_vector", 50, 1, 0, "the score of each output goes before the answer"),
                ("an encoder", "encoder_seed", 52, 32, 1, "what the shift register starts each image at, not 0"),
                ("a readout", "readout_outputs", 56, 16, 0, "outputs, less one"),
                ("a readout", "readout_first", 58, 16, 0, "axon of the first output"),
            )
        ),
    ),
)
