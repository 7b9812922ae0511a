"""A board, to this project: an FPGA, pins, a clock and a serial line."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from amaranth.build import Platform

from spikeloom.boards.families.device import DEVICES, Device
from spikeloom.boards.families.flow import Flow
from spikeloom.boards.families.pll import PLLS, PllError
from spikeloom.boards.sizing.choose import choose_fabric
from spikeloom.sim.fabric.fabric import FabricConfig

__all__ = ["CLOCK_STEP_HZ", "BoardDescription", "SerialPins"]

CLOCK_STEP_HZ = 3_000_000
"""A clock that a PLL makes is a multiple of this: then a bit is a whole number of cycles, at 1 and at 3 Mbaud."""


@dataclass(frozen=True, kw_only=True)
class SerialPins:
    """Pins for a USB-to-serial adapter, on a board that has none of its own.

    Parameters
    ----------
    rx, tx : str
        The FPGA's input and output, as pins of ``connector``, or of the FPGA itself without one.
    connector : tuple of str and int, optional
        As the platform names it.
    where : str
        For people.
    """

    rx: str
    tx: str
    where: str
    connector: tuple[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class BoardDescription:
    """A board.

    Parameters
    ----------
    name : str
        What the user calls it, as in ``spikeloom bitstream --board NAME``.
    title : str
        What its maker calls it.
    device_name : str
        The FPGA, a name of `spikeloom.boards.families.device.DEVICES`.
    platform : callable
        Makes the amaranth platform, which knows the pins; a platform serves one build.
    fabric : FabricConfig, optional
        What is built; without it the general fabric of the device (`spikeloom.boards.sizing.choose`).
    baud_rate : int
        Of the serial line to the host, in bits per second. The nearest that the clock gives must be within 1 %.
    flash_command : tuple of str
        Loads a bitstream; the word ``{bitstream}`` stands for its path.
    serial : SerialPins, optional
        Without them the platform's own resource ``uart`` is the line.
    line : str
        Where the platform's own line is, if not on USB.
    pll_hz : float, optional
        The clock that a PLL makes for the fabric; without it the fabric runs on the board's oscillator. In the list of
        boards it is the highest that the general fabric was found to keep.
    pll_pad : bool
        Whether the oscillator is on the pad of an iCE40's PLL, which then has to take it from there.
    obstacle : str
        Why there is no bitstream for it.
    """

    name: str
    title: str
    device_name: str
    platform: Callable[[], Platform]
    flash_command: tuple[str, ...]
    fabric: FabricConfig | None = None
    baud_rate: int = 1_000_000
    serial: SerialPins | None = None
    line: str = ""
    pll_hz: float | None = None
    pll_pad: bool = False
    obstacle: str = ""

    def __post_init__(self):
        if self.device_name not in DEVICES:
            raise ValueError(f"Device of {self.name} must be one of {', '.join(DEVICES)}, not {self.device_name!r}")
        if self.fabric is not None and self.obstacle:
            raise ValueError(f"Board {self.name} must have either a fabric or an obstacle")
        if self.fabric is not None and any(tile.pins for tile in self.fabric.numbered.values()):
            raise ValueError(f"Fabric of {self.name} must have no tiles with pins of their own, which the board lacks")
        if "{bitstream}" not in " ".join(self.flash_command):
            raise ValueError(f"Flash command of {self.name} must contain '{{bitstream}}', not {self.flash_command!r}")
        if not self.obstacle:
            self._check_baud_rate()

    def _check_baud_rate(self) -> None:
        if not isinstance(self.baud_rate, int) or not 0 < self.baud_rate <= self.clock_hz / 3:
            raise ValueError(
                f"Baud rate of {self.name} must be from 1 to a third of its clock ({self.clock_hz // 3:.0f}), "
                f"not {self.baud_rate!r}"
            )
        if abs(self.clock_hz / self.divisor / self.baud_rate - 1) > 0.01:
            raise ValueError(
                f"Baud rate of {self.name} must be within 1 % of its clock ({self.clock_hz:.0f} Hz) divided by an "
                f"integer, not {self.baud_rate!r}"
            )

    def buildable_fabric(self) -> FabricConfig:
        """The fabric, or ``ValueError`` with what keeps one from being built."""
        if self.obstacle:
            raise ValueError(f"Board {self.name} must be able to hold a fabric, and cannot: {self.obstacle}")
        return choose_fabric(self.device) if self.fabric is None else self.fabric

    @property
    def device(self) -> Device:
        """The FPGA."""
        return DEVICES[self.device_name]

    @property
    def flow(self) -> Flow:
        """The tools for the FPGA."""
        return self.device.flow

    @property
    def oscillator_hz(self) -> float:
        """The board's oscillator in Hz."""
        return float(self.platform().default_clk_frequency)

    @property
    def clock_hz(self) -> float:
        """The fabric's clock in Hz: what the PLL really gives, which may be a little off."""
        if self.pll_hz is None:
            return self.oscillator_hz
        settings, _ = PLLS[self.flow.pll]
        return settings(self.oscillator_hz, self.pll_hz).output_hz

    def with_clock(self, most_hz: float) -> "BoardDescription | None":
        """The same board with the highest clock up to ``most_hz``; None if there is none.

        Clocks are the board's oscillator itself, and what its PLL makes of it, in steps of `CLOCK_STEP_HZ`. A serial
        line needs three cycles per bit.
        """
        settings, _ = PLLS[self.flow.pll]
        least_hz = 3 * self.baud_rate
        oscillator = self.oscillator_hz if least_hz <= self.oscillator_hz <= most_hz else 0.0
        for step in range(int(most_hz // CLOCK_STEP_HZ), 0, -1):
            wanted = step * CLOCK_STEP_HZ
            if wanted <= max(oscillator, least_hz - 1):
                break
            try:
                made = settings(self.oscillator_hz, wanted).output_hz
            except PllError:
                continue
            if made <= most_hz:
                return dataclasses.replace(self, pll_hz=float(wanted))
        return dataclasses.replace(self, pll_hz=None) if oscillator else None

    @property
    def divisor(self) -> int:
        """Clock cycles of one bit on the serial line."""
        return round(self.clock_hz / self.baud_rate)

    @property
    def link(self) -> str:
        """How the host gets at it."""
        where = self.line if self.serial is None else self.serial.where
        return f"adapter on {where}" if where else "USB"
