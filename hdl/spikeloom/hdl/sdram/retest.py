"""Repetition of the self-test, at another phase of the chip's clock.

::

    drain ──▶ steps of the phase ──▶ wait for the PLL ──▶ initialise the chip ──▶ self-test

A step of the phase can make the chip see one edge too early or a wrong command, after which neither its contents nor
its mode are known. The chip is therefore initialised again before each test.

The phase is in a PLL outside, which delays the clock of the chip by one step at each falling edge of ``phase_step``.
The PLL of an ECP5 needs four cycles of its oscillator, at most 10 ns, for each level of this signal; eight cycles of
the core's clock are more than that. Steps go in one direction only: as many as a whole cycle has lead back.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.sim.sdram.registers import SDRAM

__all__ = ["PULSE", "SETTLE", "Retest"]

PULSE = 8
"""Cycles of each level of ``phase_step``."""

SETTLE = 64
"""Cycles from the last step to the initialisation of the chip: the PLL has executed it long before, and requests that
the controller had already taken have been executed, too."""


class Retest(wiring.Component):
    """Steps the phase of the chip's clock and lets the memory be initialised and tested again.

    Parameters
    ----------
    phases
        Steps of a whole cycle; 0 if the phase is fixed, in which case ``steps`` is ignored.

    Members
    -------
    start : Signal, in
        Begin. Ignored while a repetition is in progress.
    steps : Signal(8), in
        Number of steps, read during the cycle of ``start``.
    idle : Signal, in
        Nothing is on its way to or from the memory.
    ready : Signal, in
        The chip is initialised.
    busy : Signal, out
        A repetition is in progress: no requests may be sent.
    reset_test : Signal, out
        Reset the self-test. It begins afterwards.
    restart : Signal, out
        Initialise the chip: high until ``ready`` is low.
    phase_step : Signal, out
        The PLL steps at a falling edge. From a flip-flop.
    phase : Signal(8), out
        Position: steps since power-up, modulo ``phases``.
    """

    def __init__(self, phases: int) -> None:
        self.phases = phases
        bits = SDRAM.register("phase_steps").width_bits
        super().__init__(
            {
                "start": In(1),
                "steps": In(bits),
                "idle": In(1),
                "ready": In(1),
                "busy": Out(1),
                "reset_test": Out(1),
                "restart": Out(1),
                "phase_step": Out(1),
                "phase": Out(SDRAM.register("phase").width_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal.like(self.steps)
        wait = Signal(range(SETTLE))
        # Registers: `busy` is in front of all requests, and `restart` crosses into another clock domain.
        busy, reset_test, restart = Signal(), Signal(), Signal()
        m.d.comb += [self.busy.eq(busy), self.reset_test.eq(reset_test), self.restart.eq(restart)]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [busy.eq(1), left.eq(self.steps if self.phases else 0)]
                m.next = "DRAIN"
            with m.State("DRAIN"), m.If(self.idle):
                # `busy` has been high since this state began, so that nothing was accepted that `idle` does not show.
                m.d.sync += reset_test.eq(1)
                m.next = "NEXT"
            with m.State("NEXT"):
                with m.If(left == 0):
                    m.d.sync += wait.eq(SETTLE - 1)
                    m.next = "SETTLE"
                if self.phases:
                    with m.Else():
                        m.d.sync += [self.phase_step.eq(1), left.eq(left - 1), wait.eq(PULSE - 1)]
                        m.next = "HIGH"
            if self.phases:
                with m.State("HIGH"), m.If(wait == 0):
                    last = self.phase == self.phases - 1
                    m.d.sync += [
                        self.phase_step.eq(0),
                        self.phase.eq(Mux(last, 0, self.phase + 1)),
                        wait.eq(PULSE - 1),
                    ]
                    m.next = "LOW"
                with m.State("LOW"), m.If(wait == 0):
                    m.next = "NEXT"
            with m.State("SETTLE"), m.If(wait == 0):
                m.d.sync += restart.eq(1)
                m.next = "RESTART"
            # The controller answers by `ready`, and keeps it low until `restart` is low.
            with m.State("RESTART"), m.If(~self.ready):
                m.d.sync += restart.eq(0)
                m.next = "INITIALISE"
            with m.State("INITIALISE"), m.If(self.ready):
                m.d.sync += [busy.eq(0), reset_test.eq(0)]
                m.next = "IDLE"
        return m
