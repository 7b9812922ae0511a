"""A linear feedback shift register in hardware, equal to `spikeloom.sim.lfsr.Lfsr` in every state.

Several steps are done in one cycle by writing the recurrence out: up to the smallest tap, each new bit is one XOR of
old bits; beyond it some take in bits that are new themselves, and the path grows by one XOR a tap's length.
"""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.sim.lfsr import Lfsr

__all__ = ["ShiftRegister", "advanced"]


def advanced(m: Module, state: Value, taps: tuple[int, ...], steps: int) -> Value:
    """The state of a shift register ``steps`` steps, at most its width, after ``state``; the new bits are in ``m``."""
    bits = [state[bit] for bit in reversed(range(len(state)))]  # oldest first, new ones are appended
    for step in range(steps):
        new = Signal(name=f"new_{step}")
        parity = bits[-taps[0]]
        for tap in taps[1:]:
            parity = parity ^ bits[-tap]
        m.d.comb += new.eq(parity)
        bits.append(new)
    return Cat(reversed(bits[-len(state) :]))


class ShiftRegister(wiring.Component):
    """Starts at the seed; each cycle with ``enable`` advances it, each with ``restart`` takes it back to the seed.

    Parameters
    ----------
    lfsr
        Width, taps and seed.
    steps
        Steps of the recurrence that one cycle does, from 1 to the width. A design that uses a word of ``w`` bits a
        cycle takes the low ``w`` bits of ``state`` and ``steps = w``.

    Members
    -------
    enable
        Advance in this cycle; ``state`` shows it in the next.
    restart
        Go back to the seed, whatever ``enable`` says.
    state
        The register; the seed after a reset, and never 0.
    """

    def __init__(self, lfsr: Lfsr, *, steps: int = 1) -> None:
        if not isinstance(lfsr, Lfsr):
            raise TypeError(f"lfsr must be an Lfsr, not {lfsr!r}")
        if not isinstance(steps, int) or not 1 <= steps <= lfsr.width:
            raise ValueError(f"steps must be an integer from 1 to {lfsr.width}, not {steps!r}")
        self.lfsr = lfsr
        self.steps = steps
        super().__init__({"enable": In(1), "restart": In(1), "state": Out(lfsr.width, init=lfsr.seed)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        with m.If(self.restart):
            m.d.sync += self.state.eq(self.lfsr.seed)
        with m.Elif(self.enable):
            m.d.sync += self.state.eq(advanced(m, self.state, self.lfsr.taps, self.steps))
        return m
