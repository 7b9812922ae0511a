"""Clock of the fabric, generated from the oscillator of the board by the PLL of the FPGA.

The dividers and the frequency ranges of the PLL differ between FPGA families. The ranges are from the data sheets of
the vendors (Lattice FPGA-TN-02200 for the ECP5, FPGA-TN-02052 for the iCE40; Gowin UG286 for the rPLL).
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, IOValue, Module, ResetSignal, Signal, Value
from amaranth.lib.cdc import ResetSynchronizer

from spikeloom.sim.host.usb import FULL_SPEED_HZ, HIGH_SPEED_HZ

__all__ = [
    "ICE40_USB_FABRIC_HZ",
    "PHASES_PER_OSCILLATION",
    "PLLS",
    "SDRAM_CHIP_DOMAIN",
    "USB_BIT_HZ",
    "USB_HZ",
    "PllError",
    "PllSettings",
    "ecp5_settings",
    "gowin_settings",
    "ice40_settings",
    "phy_clock",
    "pll_clock",
    "received_clock",
    "sdram_clocks",
    "sdram_phases",
    "usb_clocks",
    "usb_clocks_of_ice40",
]

TOLERANCE = 0.005
"""Maximum relative deviation of a clock from the requested frequency. A serial line tolerates 1 % and more."""

USB_HZ, USB_BIT_HZ = 4.0 * FULL_SPEED_HZ, 1.0 * FULL_SPEED_HZ
"""Clocks of a full-speed USB device: that of its pins, four times the bit rate, and that of its bits."""

ICE40_USB_FABRIC_HZ = USB_HZ / 2
"""Clock of a fabric with a full-speed USB device on an iCE40, where one PLL makes all clocks."""

_USB_TOLERANCE = 0.002
"""Maximum relative deviation of the PLL. USB allows a full-speed device 0.25 %, including the oscillator."""

SDRAM_CHIP_DOMAIN = "sdram_chip"
"""Clock domain of the pin with the clock of an SDRAM."""

PHASES_PER_OSCILLATION = 8
"""Steps of the phase of an ECP5's PLL per cycle of its VCO."""

START_SECONDS = 15e-6
"""Duration of the reset after the PLL has locked: block RAM of an iCE40 reads zeros for 3 us after configuration."""


class PllError(ValueError):
    """No setting of the PLL gives the requested frequency."""


@dataclass(frozen=True, kw_only=True)
class PllSettings:
    """Settings of a PLL.

    Parameters
    ----------
    output_hz : float
        Output frequency.
    compared_hz : float
        Frequency of the phase detector.
    oscillator_hz : float
        Frequency of the voltage-controlled oscillator (VCO).
    dividers : dict of str to int
        Divider parameters of the PLL cell.
    """

    output_hz: float
    compared_hz: float
    oscillator_hz: float
    dividers: dict[str, int]


def _nearest(name: str, input_hz: float, output_hz: float, settings: Iterable[PllSettings]) -> PllSettings:
    """Return the settings with the output closest to ``output_hz``. Raises `PllError` if it is not within `TOLERANCE`.

    Of equally close settings, the one with the least jitter is chosen: the highest frequency of the phase detector,
    then of the VCO.
    """
    # Rounded to hertz, so that floating-point errors do not choose between settings with the same output.
    best = min(
        settings,
        key=lambda found: (round(abs(found.output_hz - output_hz)), -found.compared_hz, -found.oscillator_hz),
        default=None,
    )
    if best is None or abs(best.output_hz - output_hz) > TOLERANCE * output_hz:
        raise PllError(
            f"Clock of {name} must be one that its PLL can make from {input_hz / 1e6:g} MHz, "
            f"not {output_hz / 1e6:g} MHz"
        )
    return best


@functools.cache
def ecp5_settings(input_hz: float, output_hz: float) -> PllSettings:
    """Return the settings of an EHXPLLL (ECP5) for frequencies in Hz. Raises `PllError`.

    One output is fed back to the phase detector, and another is the clock. With separate dividers, more frequencies are
    possible than with one output for both.
    """

    def candidates() -> Iterator[PllSettings]:
        for reference in range(1, 129):
            compared = input_hz / reference
            if not 3.125e6 <= compared <= 400e6:  # range of the phase detector
                continue
            for feedback in range(1, 129):
                oscillator = compared * feedback
                if not 400e6 <= oscillator <= 800e6:  # range of the VCO
                    continue
                output = round(oscillator / output_hz)
                if 1 <= output <= 128:
                    yield PllSettings(
                        output_hz=oscillator / output,
                        compared_hz=compared,
                        oscillator_hz=oscillator,
                        dividers={"CLKI_DIV": reference, "CLKOP_DIV": feedback, "CLKOS_DIV": output},
                    )

    if not 8e6 <= input_hz <= 400e6:
        raise PllError(f"Oscillator of an ECP5 must be from 8 to 400 MHz, not {input_hz / 1e6:g} MHz")
    return _nearest("an ECP5", input_hz, output_hz, candidates())


@functools.cache
def ice40_settings(input_hz: float, output_hz: float) -> PllSettings:
    """Return the settings of an SB_PLL40 (iCE40) in simple feedback mode for frequencies in Hz. Raises `PllError`.

    The output is the input times ``(DIVF + 1) / ((DIVR + 1) * 2**DIVQ)``.
    """

    def candidates() -> Iterator[PllSettings]:
        for reference in range(16):
            compared = input_hz / (reference + 1)
            if not 10e6 <= compared <= 133e6:  # range of the phase detector
                continue
            for feedback in range(128):
                oscillator = compared * (feedback + 1)
                if not 533e6 <= oscillator <= 1066e6:  # range of the VCO
                    continue
                for output in range(1, 7):
                    yield PllSettings(
                        output_hz=oscillator / 2**output,
                        compared_hz=compared,
                        oscillator_hz=oscillator,
                        dividers={
                            "DIVR": reference,
                            "DIVF": feedback,
                            "DIVQ": output,
                            "FILTER_RANGE": _ice40_filter(compared),
                        },
                    )

    return _nearest("an iCE40", input_hz, output_hz, candidates())


def _ice40_filter(compared_hz: float) -> int:
    """Return the setting of the loop filter for a frequency of the phase detector."""
    for setting, limit in enumerate((17e6, 26e6, 44e6, 66e6, 101e6), 1):
        if compared_hz < limit:
            return setting
    return 6


@functools.cache
def gowin_settings(input_hz: float, output_hz: float) -> PllSettings:
    """Return the settings of an rPLL (Gowin) for frequencies in Hz. Raises `PllError`.

    The output is the input times ``(FBDIV_SEL + 1) / (IDIV_SEL + 1)``; ``ODIV_SEL`` only sets the VCO to a multiple of
    it.
    """

    def candidates() -> Iterator[PllSettings]:
        for reference in range(64):
            if not 3e6 <= input_hz / (reference + 1) <= 400e6:
                continue
            for feedback in range(64):
                made = input_hz / (reference + 1) * (feedback + 1)
                for output in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
                    # 500 to 1,200 MHz is the VCO range that all Gowin families have in common.
                    if 500e6 <= made * output <= 1200e6:
                        yield PllSettings(
                            output_hz=made,
                            compared_hz=input_hz / (reference + 1),
                            oscillator_hz=made * output,
                            dividers={"IDIV_SEL": reference, "FBDIV_SEL": feedback, "ODIV_SEL": output},
                        )

    return _nearest("a Gowin FPGA", input_hz, output_hz, candidates())


def _ecp5_pll(
    settings: PllSettings,
    input_hz: float,
    source: Value,
    clock: Signal,
    locked: Signal,
    second: Signal | None = None,
    *,
    slower: int = 1,
    phase_step: Value | None = None,
) -> Instance:
    """Return the cell. ``second`` is a second clock, ``slower`` times as slow as the first and aligned with it. A
    falling edge of ``phase_step`` delays it by 1 / `PHASES_PER_OSCILLATION` of a cycle of the VCO."""
    more: dict[str, Any] = {}
    if second is not None:
        divider = slower * settings.dividers["CLKOS_DIV"]
        more = {
            "a_FREQUENCY_PIN_CLKOS2": f"{settings.output_hz / (slower * 1e6):g}",
            "p_CLKOS2_ENABLE": "ENABLED",
            "p_CLKOS2_DIV": divider,
            "p_CLKOS2_CPHASE": divider - 1,
            "p_CLKOS2_FPHASE": 0,
            "i_ENCLKOS2": Const(1),
            "o_CLKOS2": second,
        }
    if phase_step is not None:
        # The numbers of the outputs are 0 for CLKOS, 1 for CLKOS2, 2 for CLKOS3 and 3 for CLKOP. PHASELOADREG, which
        # would restore the phase of the configuration, stays low.
        more |= {
            "p_DPHASE_SOURCE": "ENABLED",
            "i_PHASESEL0": Const(1),
            "i_PHASESEL1": Const(0),
            "i_PHASEDIR": Const(0),  # later
            "i_PHASESTEP": phase_step,
            "i_PHASELOADREG": Const(0),
        }
    fed_back = Signal(name="pll_feedback")
    phases = {
        f"p_{output}_CPHASE": settings.dividers[f"{output}_DIV"] - 1  # aligns the rising edges of both
        for output in ("CLKOP", "CLKOS")
    }
    return Instance(
        "EHXPLLL",
        a_FREQUENCY_PIN_CLKI=f"{input_hz / 1e6:g}",
        a_FREQUENCY_PIN_CLKOP=f"{settings.compared_hz / 1e6:g}",
        a_FREQUENCY_PIN_CLKOS=f"{settings.output_hz / 1e6:g}",
        # Charge pump and loop filter as Project Trellis' ecppll sets them for all frequencies.
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOP_FPHASE=0,
        p_CLKOS_FPHASE=0,
        p_CLKFB_DIV=1,
        **phases,
        **{f"p_{name}": value for name, value in settings.dividers.items()},
        i_CLKI=source,
        i_CLKFB=fed_back,
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_ENCLKOP=Const(1),
        i_ENCLKOS=Const(1),
        o_CLKOP=fed_back,
        o_CLKOS=clock,
        o_LOCK=locked,
        **more,
    )


def _ice40_pll(
    settings: PllSettings, input_hz: float, source: Value | IOValue, clock: Signal, locked: Signal
) -> Instance:
    pad = isinstance(source, IOValue)
    return Instance(
        "SB_PLL40_PAD" if pad else "SB_PLL40_CORE",
        p_FEEDBACK_PATH="SIMPLE",
        **{f"p_{name}": value for name, value in settings.dividers.items()},
        **({"i_PACKAGEPIN": source} if pad else {"i_REFERENCECLK": source}),
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=clock,
        o_LOCK=locked,
    )


def _gowin_pll(settings: PllSettings, input_hz: float, source: Value, clock: Signal, locked: Signal) -> Instance:
    return Instance(
        "rPLL",
        p_FCLKIN=f"{input_hz / 1e6:g}",
        p_DYN_IDIV_SEL="false",
        p_DYN_FBDIV_SEL="false",
        p_DYN_ODIV_SEL="false",
        p_CLKFB_SEL="internal",
        **{f"p_{name}": value for name, value in settings.dividers.items()},
        i_CLKIN=source,
        i_CLKFB=Const(0),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        i_FBDSEL=Const(0, 6),
        i_IDSEL=Const(0, 6),
        i_ODSEL=Const(0, 6),
        i_PSDA=Const(0, 4),
        i_DUTYDA=Const(0, 4),
        i_FDLY=Const(0, 4),
        o_CLKOUT=clock,
        o_LOCK=locked,
    )


PLLS: dict[str, tuple[Callable[[float, float], PllSettings], Callable[..., Instance]]] = {
    "ecp5": (ecp5_settings, _ecp5_pll),
    "ice40": (ice40_settings, _ice40_pll),
    "gowin": (gowin_settings, _gowin_pll),
}
"""For each family, the function that finds settings and the function that returns the cell."""


def pll_clock(m: Module, family: str, input_hz: float, output_hz: float, source: Value | IOValue) -> Signal:
    """Add the domain ``sync`` to ``m``, clocked at about ``output_hz`` from ``source``, and return its clock, to which
    the caller adds a constraint.

    The domain is in reset until the PLL has locked, and for `START_SECONDS` more. ``source`` is the clock of the
    oscillator at ``input_hz``; on an iCE40 it is the bare pin if this is the dedicated pad of the PLL, which cannot
    have another use then. Raises `PllError` if the PLL cannot generate the frequency.
    """
    find, cell = PLLS[family]
    settings = find(input_hz, output_hz)
    clock, locked, started = Signal(name="fabric_clock"), Signal(name="locked"), Signal()
    wait = int(START_SECONDS * settings.output_hz)
    count = Signal(range(wait + 1))
    # ``starting`` has the same clock, but leaves reset at the lock, and counts the time until ``sync`` follows. If the
    # PLL loses its lock, both are in reset again.
    m.domains.starting = ClockDomain("starting", local=True)
    m.domains.sync = ClockDomain("sync")
    m.submodules.pll = cell(settings, input_hz, source, clock, locked)
    m.submodules.reset = ResetSynchronizer(~locked, domain="starting")
    with m.If(count == wait):
        m.d.starting += started.eq(1)
    with m.Else():
        m.d.starting += count.eq(count + 1)
    m.d.comb += [
        ClockSignal("starting").eq(clock),
        ClockSignal("sync").eq(clock),
        ResetSignal("sync").eq(~started),
    ]
    return clock


def _sdram_settings(family: str, input_hz: float, output_hz: int) -> PllSettings:
    if family != "ecp5":
        raise PllError(f"PLL of an SDRAM must be that of an ECP5, not of the family {family}")
    settings = ecp5_settings(input_hz, output_hz)
    # Faster than this, rules of the chip are broken; slower, a refresh comes too late.
    if round(settings.output_hz) != output_hz:
        raise PllError(
            f"Clock of an SDRAM must be one that its PLL can make from {input_hz / 1e6:g} MHz, such as "
            f"{settings.output_hz / 1e6:g} MHz, not {output_hz / 1e6:g} MHz"
        )
    return settings


def sdram_phases(family: str, input_hz: float, output_hz: int) -> int:
    """Return the number of steps in which the clock of an SDRAM at ``output_hz`` can be delayed by a whole cycle.

    Raises `PllError` as `sdram_clocks`.
    """
    return PHASES_PER_OSCILLATION * _sdram_settings(family, input_hz, output_hz).dividers["CLKOS_DIV"]


def sdram_clocks(
    m: Module, family: str, input_hz: float, output_hz: int, source: Value, phase_step: Value
) -> tuple[Signal, Signal]:
    """Add the domains ``sdram`` and `SDRAM_CHIP_DOMAIN` at ``output_hz`` to ``m``, and return their clocks, to which
    the caller adds constraints.

    They are from a PLL of their own, and ``sdram`` is in reset until this has locked. Both are aligned at first; each
    falling edge of ``phase_step`` delays the second one by a step, `sdram_phases` of which are a cycle. Raises
    `PllError` if the PLL cannot generate exactly this clock, for which the controller has been built, from ``source``
    at ``input_hz``.
    """
    settings = _sdram_settings(family, input_hz, output_hz)
    clock, chip_clock = Signal(name="sdram_clock"), Signal(name="sdram_chip_clock")
    locked = Signal(name="sdram_locked")
    m.domains.sdram = ClockDomain("sdram")
    m.domains += ClockDomain(SDRAM_CHIP_DOMAIN, reset_less=True)
    m.submodules.sdram_pll = _ecp5_pll(settings, input_hz, source, clock, locked, chip_clock, phase_step=phase_step)
    m.submodules.sdram_reset = ResetSynchronizer(~locked, domain="sdram")
    m.d.comb += [ClockSignal("sdram").eq(clock), ClockSignal(SDRAM_CHIP_DOMAIN).eq(chip_clock)]
    return clock, chip_clock


def usb_clocks(m: Module, family: str, input_hz: float, source: Value) -> tuple[Signal, Signal]:
    """Add the domains ``usb_io`` at `USB_HZ` and ``usb`` at `USB_BIT_HZ` to ``m``, and return their clocks.

    The caller adds constraints to them.

    Both are from one PLL, with aligned edges, and in reset until it has locked. The fabric has a PLL of its own, so
    that its clock can be chosen freely. Raises `PllError` if the PLL cannot generate them from ``source`` at
    ``input_hz``, or not as accurately as USB requires.
    """
    if family != "ecp5":
        raise PllError(f"PLL of the USB device must be that of an ECP5, not of the family {family}")
    settings = ecp5_settings(input_hz, USB_HZ)
    _check_usb(settings, input_hz)
    fast, slow, locked = Signal(name="usb_io_clock"), Signal(name="usb_clock"), Signal(name="usb_locked")
    m.domains.usb_io = ClockDomain("usb_io")
    m.domains.usb = ClockDomain("usb")
    m.submodules.usb_pll = _ecp5_pll(settings, input_hz, source, fast, locked, slow, slower=4)
    m.submodules.usb_io_reset = ResetSynchronizer(~locked, domain="usb_io")
    m.submodules.usb_reset = ResetSynchronizer(~locked, domain="usb")
    m.d.comb += [ClockSignal("usb_io").eq(fast), ClockSignal("usb").eq(slow)]
    return fast, slow


def usb_clocks_of_ice40(m: Module, input_hz: float, source: Value) -> tuple[Signal, Signal, Signal]:
    """Add the domains ``sync``, ``usb_io`` and ``usb`` to ``m``, and return their clocks, to which the caller adds
    constraints.

    The devices have a single PLL at their pins. Its outputs are `USB_HZ` and, for the fabric, half of it
    (`ICE40_USB_FABRIC_HZ`). The domains are in reset until it has locked, and for `START_SECONDS` more. Raises
    `PllError` as `usb_clocks` does.
    """
    settings = ice40_settings(input_hz, USB_HZ)
    _check_usb(settings, input_hz)
    fast, half, slow = Signal(name="usb_io_clock"), Signal(name="fabric_clock"), Signal(name="usb_clock")
    locked, started = Signal(name="usb_locked"), Signal()
    m.submodules.usb_pll = Instance(
        "SB_PLL40_2F_CORE",
        p_FEEDBACK_PATH="SIMPLE",
        p_PLLOUT_SELECT_PORTA="GENCLK",
        p_PLLOUT_SELECT_PORTB="GENCLK_HALF",
        **{f"p_{name}": value for name, value in settings.dividers.items()},
        i_REFERENCECLK=source,
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBALA=fast,
        o_PLLOUTGLOBALB=half,
        o_LOCK=locked,
    )
    wait = int(START_SECONDS * ICE40_USB_FABRIC_HZ)
    count, place = Signal(range(wait + 1)), Signal(2)
    # A divided clock is late by its way to the network of clocks, so that registers of both clocks must not change at
    # the same edge. Divided at the falling edge, it rises about 14 ns after an edge of `usb_io`, and 6 ns before one.
    m.domains.starting = ClockDomain("starting", local=True)
    m.domains.usb_divider = ClockDomain("usb_divider", local=True, clk_edge="neg", reset_less=True)
    for name in ("sync", "usb_io", "usb"):
        m.domains += ClockDomain(name)
    m.submodules.reset = ResetSynchronizer(~locked, domain="starting")
    m.d.usb_divider += [place.eq(place + 1), slow.eq(place[1])]
    with m.If(count == wait):
        m.d.starting += started.eq(1)
    with m.Else():
        m.d.starting += count.eq(count + 1)
    m.d.comb += [
        *(ClockSignal("starting").eq(half), ClockSignal("usb_divider").eq(fast)),
        *(ClockSignal("sync").eq(half), ClockSignal("usb_io").eq(fast), ClockSignal("usb").eq(slow)),
        ResetSignal("sync").eq(~started),
    ]
    for name in ("usb_io", "usb"):
        m.submodules[f"{name}_reset"] = ResetSynchronizer(~started, domain=name)
    return half, fast, slow


def _check_usb(settings: PllSettings, input_hz: float) -> None:
    if abs(settings.output_hz - USB_HZ) > _USB_TOLERANCE * USB_HZ:
        raise PllError(
            f"Clock of the USB device must be within {_USB_TOLERANCE:.2%} of {USB_HZ / 1e6:g} MHz, but the PLL makes "
            f"{settings.output_hz / 1e6:g} MHz from {input_hz / 1e6:g} MHz"
        )


def phy_clock(m: Module, family: str, input_hz: float, source: Value, runs: Signal) -> Signal:
    """Add the domain ``usb`` at `HIGH_SPEED_HZ` to ``m``, for a PHY that takes its clock from the FPGA.

    Return the clock, to which the caller adds a constraint. It is from a PLL of its own; the domain is in reset until
    this has locked and ``runs`` is high. Raises `PllError` if the PLL cannot generate exactly this clock from
    ``source`` at ``input_hz``: USB allows 0.05 %, including the oscillator.
    """
    if family != "ecp5":
        raise PllError(f"PLL of a PHY for USB must be that of an ECP5, not of the family {family}")
    settings = ecp5_settings(input_hz, HIGH_SPEED_HZ)
    if round(settings.output_hz) != HIGH_SPEED_HZ:
        raise PllError(
            f"Clock of a PHY for USB must be {HIGH_SPEED_HZ / 1e6:g} MHz, but the PLL makes "
            f"{settings.output_hz / 1e6:g} MHz from {input_hz / 1e6:g} MHz"
        )
    clock, locked = Signal(name="phy_clock"), Signal(name="phy_locked")
    m.domains.usb = ClockDomain("usb")
    m.submodules.phy_pll = _ecp5_pll(settings, input_hz, source, clock, locked)
    m.submodules.usb_reset = ResetSynchronizer(~(locked & runs), domain="usb")
    m.d.comb += ClockSignal("usb").eq(clock)
    return clock


def received_clock(m: Module, source: Value, runs: Signal, domain: str = "ethernet") -> None:
    """Add the ``domain`` to ``m``, with the clock ``source`` that a PHY sends.

    The domain is in reset until ``runs`` is high.
    """
    m.domains += ClockDomain(domain)
    m.submodules[f"{domain}_reset"] = ResetSynchronizer(~runs, domain=domain)
    m.d.comb += ClockSignal(domain).eq(source)
