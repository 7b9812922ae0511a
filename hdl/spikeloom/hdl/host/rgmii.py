"""RGMII of an ECP5: the pins of a PHY, with half a byte per edge of the clock, to and from GMII.

::

    rx_control, rx_data ─▶ DELAYG ─▶ IDDRX1F ─▶ GMII
    tx_clock, tx_control, tx_data ◀─ DELAYG ◀─ ODDRX1F ◀─ GMII

A byte is sent with its low half at the rising edge. The control line is high at the rising edge while there is data,
and differs at the falling edge if there is an error. Clock and data of a PHY must be about 2 ns apart; some PHYs and
boards add this delay, others need it here.
"""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from spikeloom.hdl.host.ethernet import GMII_PINS

__all__ = ["DELAY_STEP_S", "Rgmii"]

DELAY_STEP_S = 25e-12
"""Step of a DELAYG."""
_DELAY_STEPS = 128


class Rgmii(Component):
    """The cells at the pins of a PHY, in the domain ``ethernet``, whose clock is that of the PHY.

    Parameters
    ----------
    rx_delay_s
        Delay of the lines from the PHY, in seconds.
    tx_delay_s
        Delay of the clock to the PHY, in seconds.

    Members
    -------
    rx_control : Signal, in
    rx_nibble : Signal(4), in
    tx_clock, tx_control : Signal, out
    tx_nibble : Signal(4), out
        The pins.
    rx_data : Signal(8), out
    rx_valid, rx_error : Signal, out
    tx_data : Signal(8), in
    tx_valid : Signal, in
        GMII, as for `EthernetLine`, in the other direction.
    """

    def __init__(self, *, rx_delay_s: float = 0.0, tx_delay_s: float = 0.0):
        for name, delay in (("rx_delay_s", rx_delay_s), ("tx_delay_s", tx_delay_s)):
            if not 0 <= delay < _DELAY_STEPS * DELAY_STEP_S:
                most = (_DELAY_STEPS - 1) * DELAY_STEP_S
                raise ValueError(f"{name} must be from 0 to {most:.4g} s, not {delay!r}")
        self.rx_steps, self.tx_steps = round(rx_delay_s / DELAY_STEP_S), round(tx_delay_s / DELAY_STEP_S)
        super().__init__(
            {
                "rx_control": In(1),
                "rx_nibble": In(4),
                "tx_clock": Out(1),
                "tx_control": Out(1),
                "tx_nibble": Out(4),
                **{name: member.flip() for name, member in GMII_PINS.items()},
            }
        )

    def elaborate(self, platform):
        m = Module()

        def add_input(name: str, pin: Value) -> tuple[Value, Value]:
            """Add the cells of an input; return its levels at the rising and at the falling edge of a cycle."""
            delayed, rising, falling = (Signal(name=f"{name}_{what}") for what in ("delayed", "rising", "falling"))
            m.submodules[f"{name}_delay"] = _delay(self.rx_steps, pin, delayed)
            m.submodules[f"{name}_cell"] = Instance(
                "IDDRX1F",
                i_SCLK=ClockSignal("ethernet"),
                i_RST=Const(0),
                i_D=delayed,
                o_Q0=rising,
                o_Q1=falling,
            )
            return rising, falling

        def add_output(name: str, rising: Value, falling: Value, pin: Value, steps: int = 0) -> None:
            early = Signal(name=f"{name}_early")
            m.submodules[f"{name}_delay"] = _delay(steps, early, pin)
            m.submodules[f"{name}_cell"] = Instance(
                "ODDRX1F",
                i_SCLK=ClockSignal("ethernet"),
                i_RST=Const(0),
                i_D0=rising,
                i_D1=falling,
                o_Q=early,
            )

        rising, falling = add_input("rx_control", self.rx_control)
        m.d.comb += [self.rx_valid.eq(rising), self.rx_error.eq(rising ^ falling)]
        for place in range(4):
            low, high = add_input(f"rx_nibble_{place}", self.rx_nibble[place])
            m.d.comb += [self.rx_data[place].eq(low), self.rx_data[4 + place].eq(high)]
            add_output(f"tx_nibble_{place}", self.tx_data[place], self.tx_data[4 + place], self.tx_nibble[place])
        add_output("tx_control", self.tx_valid, self.tx_valid, self.tx_control)
        # The clock is made like the data, so that both have the same delays.
        add_output("tx_clock", Const(1), Const(0), self.tx_clock, self.tx_steps)
        return m


def _delay(steps: int, early: Value, late: Value) -> Instance:
    return Instance("DELAYG", p_DEL_MODE="USER_DEFINED", p_DEL_VALUE=steps, i_A=early, o_Z=late)
