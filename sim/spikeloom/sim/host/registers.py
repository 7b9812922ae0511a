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
            description="bit 0 clears the whole fabric at once: packets in transit, states, accumulators, tokens, "
            "counters and errors. Memories and all other registers are kept.",
        ),
        Register(
            name="error",
            offset=1,
            width_bits=4,
            access="read",
            description="bit 0: an unknown message was skipped. Bit 1: a spike of a nonexistent axon was dropped. "
            "Bit 2: a byte beyond the addresses of the fabric was not written, or read as 0. Bit 3: a value with more "
            "bits than the fabric takes was dropped. All are kept until the bridge is cleared.",
        ),
        Register(
            name="sources",
            offset=2,
            width_bits=8,
            access="write",
            reset=1,
            description="number of tiles that send a TICK to the host in each step.",
        ),
        Register(
            name="sinks",
            offset=3,
            width_bits=8,
            access="write",
            reset=1,
            description="number of tiles that acknowledge a TICK of the host in each step.",
        ),
        Register(
            name="scratch",
            offset=4,
            width_bits=8,
            access="read-write",
            description="no function; reads back the value written.",
        ),
        Register(
            name="events_in",
            offset=8,
            width_bits=32,
            access="read",
            description="spikes sent to the fabric, modulo 2^32.",
        ),
        Register(
            name="events_out",
            offset=12,
            width_bits=32,
            access="read",
            description="spikes and membranes received from the fabric, modulo 2^32.",
        ),
        tile_set("spike_destinations", 16, "set of tiles that receive the host's spikes (with a mesh only)."),
        tile_set("tick_destinations", 24, "set of the host's sinks, which receive its TICKs (with a mesh only)."),
        tile_set("ack_destinations", 32, "set of the host's sources, which receive its ACKs (with a mesh only)."),
        Register(
            name="units",
            offset=5,
            width_bits=2,
            access="read",
            description="bit 0: the bridge has an encoder. Bit 1: it has a readout.",
        ),
        Register(
            name="program",
            offset=60,
            width_bits=32,
            access="read",
            description="digest of the program in the bitstream, computed by `program_digest` of "
            "`spikeloom.sim.lib.contents`. 0 if there is none, or once the host has written to a memory.",
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
                    "meaning of the host's spikes: 0 spikes; otherwise the levels of an image, encoded 1 by rate, "
                    "2 by latency, or 3 as one step that is repeated",
                ),
                ("an encoder", "encoder_stride", 41, 8, 1, "difference between successive levels"),
                ("an encoder", "encoder_pixels", 42, 16, 0, "number of pixels of an image minus one"),
                ("an encoder", "encoder_steps", 44, 16, 0, "number of steps of an image minus one"),
                ("an encoder", "encoder_advance", 46, 24, 1, "stride times number of steps"),
                (
                    "a readout",
                    "readout_mode",
                    49,
                    3,
                    0,
                    "0: all spikes and membranes go to the host. Otherwise only the answer of each "
                    "sample, by 1 spike count, 2 first spike, 3 last membrane, 4 largest membrane, 5 sum of the "
                    "values, which are membranes or numbers of spikes",
                ),
                ("a readout", "readout_vector", 50, 1, 0, "1 sends the score of each output before the answer"),
                ("an encoder", "encoder_seed", 52, 32, 1, "initial value of the shift register for each image, not 0"),
                ("a readout", "readout_outputs", 56, 16, 0, "number of outputs minus one"),
                ("a readout", "readout_first", 58, 16, 0, "axon of the first output"),
            )
        ),
    ),
)
