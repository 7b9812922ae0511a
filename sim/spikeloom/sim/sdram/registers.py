"""The registers of a weight memory in SDRAM."""

from __future__ import annotations

from spikeloom.sim.lib.registers import Register, RegisterMap

__all__ = ["SDRAM", "SDRAM_MEMORY"]

SDRAM_MEMORY = 14
"""Memory number of these registers at the core whose weights lie in the SDRAM: above those of every tile."""

SDRAM = RegisterMap(
    name="sdram",
    where=f"Cores with weights in SDRAM, memory {SDRAM_MEMORY}",
    registers=(
        Register(
            name="control",
            offset=0,
            width_bits=3,
            access="pulse",
            description="bit 0 starts the checksum, bit 1 resets the flag `lost`. Bit 2 delays the clock of the chip "
            "by `phase_steps` steps, initialises the chip and runs the self-test again; the contents are lost.",
        ),
        Register(
            name="status",
            offset=1,
            width_bits=4,
            access="read",
            flags=("tested", "failed", "lost", "busy"),
            description="bit 0: the self-test has ended. Bit 1: it has failed, see `wrong`. Bit 2: a "
            "byte was lost, because it came before the end of the self-test or faster than it could be stored. Bit 3: "
            "the checksum is being computed.",
        ),
        Register(
            name="larger",
            offset=2,
            width_bits=3,
            access="read",
            description="one bit for each address bit that only some of the board's chips have, in ascending order: "
            "set if the chip has it.",
        ),
        Register(
            name="phase_steps",
            offset=3,
            width_bits=8,
            access="write",
            description="steps by which bit 2 of `control` delays the clock of the chip.",
        ),
        Register(
            name="phases",
            offset=4,
            width_bits=8,
            access="read",
            description="number of steps of a whole cycle; 0 if the phase is fixed.",
        ),
        Register(
            name="phase",
            offset=5,
            width_bits=8,
            access="read",
            description="steps by which the clock of the chip is behind its position after power-up. A session does "
            "not reset it.",
        ),
        Register(
            name="step_ps",
            offset=6,
            width_bits=16,
            access="read",
            description="duration of a step in picoseconds, rounded down; 0 if the phase is fixed.",
        ),
        Register(
            name="wrong",
            offset=8,
            width_bits=64,
            access="read",
            description="bits of a burst that were wrong at least once in the self-test, the first word of the chip in "
            "the lowest bits.",
        ),
        Register(
            name="checksum_first",
            offset=16,
            width_bits=32,
            access="write",
            description="first burst of the checksum.",
        ),
        Register(
            name="checksum_bursts",
            offset=20,
            width_bits=32,
            access="write",
            description="number of bursts of the checksum, at least 1.",
        ),
        Register(
            name="checksum",
            offset=24,
            width_bits=32,
            access="read",
            description="CRC-32 of the bytes of these bursts.",
        ),
    ),
    register_memory=SDRAM_MEMORY,
)
"""Self-test, size and checksum of a weight memory."""
