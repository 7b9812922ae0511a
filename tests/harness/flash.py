"""Model of a flash chip at four pins, as far as its ID: it wakes by AB, and answers 4B after 32 more clocks."""

from __future__ import annotations

__all__ = ["Flash"]


class Flash:
    """The chip.

    Parameters
    ----------
    number
        ID of 64 bits; a chip without one (None) leaves the line at ``level``.
    is_asleep
        Whether only AB is understood at first.
    lost_clocks
        Clocks that do not arrive at first.
    """

    def __init__(self, number: int | None, *, is_asleep: bool = False, lost_clocks: int = 0, level: int = 1) -> None:
        self.number, self.is_asleep, self.level = number, is_asleep, level
        self.lost_clocks, self.clocks = lost_clocks, 0
        self.commands: list[int] = []

    def serve(self, pins):
        """The chip at ``pins``, as a process of Amaranth's simulator."""

        async def run(ctx) -> None:
            bits: list[int] = []
            before = 0
            ctx.set(pins.flash_cipo, self.level)
            while True:
                _, _, selected, clock, data = await ctx.tick().sample(pins.flash_cs, pins.flash_clk, pins.flash_copi)
                if not selected:
                    bits.clear()
                    ctx.set(pins.flash_cipo, self.level)
                elif clock and not before:
                    self.clocks += 1
                    if self.clocks > self.lost_clocks:
                        bits.append(data)
                        self._take(bits)
                elif before and not clock:
                    ctx.set(pins.flash_cipo, self._level_after(bits))
                before = clock

        return run

    def _take(self, bits: list[int]) -> None:
        if len(bits) == 8:
            command = int("".join(map(str, bits)), 2)
            self.commands.append(command)
            if command == 0xAB:
                self.is_asleep = False

    def _level_after(self, bits: list[int]) -> int:
        place = len(bits) - 40
        if self.number is None or self.is_asleep or place < 0 or self.commands[-1] != 0x4B:
            return self.level
        return self.number >> 63 - place % 64 & 1
