"""What a board is to this project: pins, a clock, a serial line and the fabric that fits."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.build import Platform

from spikeloom.boards.flow import Flow
from spikeloom.boards.pll import PLLS
from spikeloom.sim.fabric import FabricConfig

__all__ = ["BoardDescription"]


@dataclass(frozen=True, kw_only=True)
class BoardDescription:
    """A board that a bitstream can be built for.

    Parameters
    ----------
    name : str
        What the user calls it, as in ``spikeloom bitstream NAME``.
    title : str
        What its maker calls it.
    device : str
        The FPGA, with package and speed.
    platform : callable
        Makes the amaranth platform, which knows the pins; a platform serves one build.
    flow : Flow
        The tools for its FPGA.
    fabric : FabricConfig
        What is built.
    pll_hz : float, optional
        The clock that a PLL makes for the fabric; without it the fabric runs on the board's oscillator.
    baud_rate : int
        Of the serial line to the host, in bits a second. The nearest that the clock gives must be within 1 %.
    flash_command : tuple of str
        Loads a bitstream; the word ``{bitstream}`` stands for its path.
    uart : tuple of str and int
        The platform's resource with the pins ``rx`` and ``tx``.
    """

    name: str
    title: str
    device: str
    platform: Callable[[], Platform]
    flow: Flow
    fabric: FabricConfig
    baud_rate: int
    flash_command: tuple[str, ...]
    uart: tuple[str, int] = ("uart", 0)
    pll_hz: float | None = None

    def __post_init__(self):
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
        if "{bitstream}" not in self.flash_command:
            raise ValueError(f"Flash command of {self.name} must contain '{{bitstream}}', not {self.flash_command!r}")

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

    @property
    def divisor(self) -> int:
        """Clock cycles of one bit on the serial line."""
        return round(self.clock_hz / self.baud_rate)
