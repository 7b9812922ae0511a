"""Description of a board: FPGA, pins, clock and links to the host."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from amaranth.build import Platform

from spikeloom.boards.families.device import DEVICES, Device
from spikeloom.boards.families.flow import Flow
from spikeloom.boards.families.pll import ICE40_USB_FABRIC_HZ, PLLS, PllError, sdram_phases
from spikeloom.boards.sizing.choose import choose_fabric
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.baud import BAUD_RATES, BAUD_TOLERANCE, LEAST_CYCLES_PER_BIT, cycles_per_bit, rates_of
from spikeloom.sim.host.ethernet import EthernetParameters, link_over_udp
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.usb import UsbParameters
from spikeloom.sim.sdram.chips import BOARDS as SDRAM_CHIPS
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.weights import MEMORY_TO_CORE

__all__ = [
    "CLOCK_STEP_HZ",
    "FT231X_BAUD",
    "FT2232H_BAUD",
    "BoardDescription",
    "EthernetPins",
    "SdramPins",
    "SerialPins",
    "SupplyPins",
    "UlpiPins",
    "UsbPins",
]

FT231X_BAUD = 3_000_000
"""Highest baud rate of an FT231X, and of a CP2102N."""
FT2232H_BAUD = 12_000_000
"""Highest baud rate of an FT2232H or FT232H."""

_TWO_PLLS = ("LFE5U-12F", "LFE5U-25F")
"""Devices with two PLLs; all other ECP5 have four."""

PIN_REGISTERS = 2
"""Registers of the I/O cells between controller and SDRAM: one on the way out, one on the way back."""

CLOCK_STEP_HZ = 1_000_000
"""PLL clocks are requested in multiples of this frequency; the PLL makes the nearest frequency that it can."""


@dataclass(frozen=True, kw_only=True)
class SerialPins:
    """Pins for a USB-to-serial adapter, for a board without its own.

    Parameters
    ----------
    rx, tx : str
        Input and output of the FPGA, as pins of ``connector``, or as FPGA pins without one.
    connector : tuple of str and int, optional
        Connector as named by the platform.
    where : str
        Location in words, for display.
    """

    rx: str
    tx: str
    where: str
    connector: tuple[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class UsbPins:
    """D+ and D- of a USB connector at pins of the FPGA, for a USB device at full speed inside it.

    Parameters
    ----------
    where : str
        Location in words, for display.
    number : int
        Number of the platform's resource ``usb``.
    """

    where: str
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class UlpiPins:
    """A PHY with ULPI at pins of an ECP5, for a USB device at high speed.

    Parameters
    ----------
    where : str
        Location in words, for display.
    resource : str
        Name of the platform's resource.
    number : int
        Number of the resource.
    drives_clock : bool
        Whether the FPGA makes the clock, and ``clk`` of the resource is an output; else the PHY makes it.
    registers : tuple of pairs of int
        Address and value of each register of this PHY that is written first.
    """

    where: str
    resource: str = "ulpi"
    number: int = 0
    drives_clock: bool = False
    registers: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SupplyPins:
    """Converters that supply I/O banks, whose voltages the FPGA sets by pulses (`spikeloom.hdl.tech.supply`).

    Each converter holds its feedback node at ``feedback_v``. From there, ``set_ohm`` leads to ground,
    ``feedback_ohm`` to the supply, and ``control_ohm`` to the pulses, with ``filter_farad`` behind it.

    Parameters
    ----------
    volts : mapping of LinkKind to tuple of float
        For each link that needs these banks, the voltage of each converter.
    resource : str
        Name of the platform's resource, with the members ``pdm`` and ``en``.
    pulse_v : float
        Voltage of a pin that is high.
    start_s : float
        Time in which an enabled converter starts, in seconds.
    """

    volts: Mapping[LinkKind, tuple[float, ...]]
    feedback_v: float
    set_ohm: float
    feedback_ohm: float
    control_ohm: float
    filter_farad: float
    resource: str = "vccio_ctrl"
    pulse_v: float = 3.3
    start_s: float = 2e-3

    def share(self, volts: float) -> float:
        """Return the share of the time in which the pulses of a converter are high, for a voltage of ``volts``."""
        set_a = self.feedback_v / self.set_ohm
        feedback_a = (volts - self.feedback_v) / self.feedback_ohm
        control_v = self.feedback_v + (set_a - feedback_a) * self.control_ohm
        if not 0 <= control_v <= self.pulse_v:
            raise ValueError(f"voltage of an I/O bank must be one that its converter can make, not {volts!r} V")
        return control_v / self.pulse_v

    @property
    def settle_s(self) -> float:
        """Time after which the filters have settled to a part in 10,000, in seconds."""
        return 10 * self.control_ohm * self.filter_farad


@dataclass(frozen=True, kw_only=True)
class EthernetPins:
    """RGMII of a gigabit PHY at pins of an ECP5.

    Clock and data must be about 2 ns apart at either end. The delays are those that PHY, board and the clock network of
    the FPGA leave to be added.

    Parameters
    ----------
    where : str
        Location in words, for display.
    rx_delay_s : float
        Delay of the lines from the PHY in seconds.
    tx_delay_s : float
        Delay of the clock to the PHY in seconds.
    number : int
        Number of the platform's resource ``eth_rgmii``.
    """

    where: str
    rx_delay_s: float
    tx_delay_s: float
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class SdramPins:
    """A single data rate SDRAM at pins of an ECP5.

    A platform whose resource has no chip select, clock enable or byte masks has them tied on the board.

    Parameters
    ----------
    chip : str
        Name in `spikeloom.sim.sdram.chips.BOARDS`.
    clock_hz : int
        Clock of the memory in Hz.
    more_column_bits : int
        Bits by which the column of the board's largest chip exceeds that of the smallest.
    masks : bool
        Whether the byte masks are connected.
    number : int
        Number of the platform's resource ``sdram``.
    """

    chip: str
    clock_hz: int
    more_column_bits: int = 0
    masks: bool = True
    number: int = 0

    @property
    def parameters(self) -> SdramParameters:
        """Parameters of the controller."""
        return SdramParameters(
            chip=SDRAM_CHIPS[self.chip],
            clock_hz=self.clock_hz,
            more_column_bits=self.more_column_bits,
            masks=self.masks,
            # The longest row: 16,384 weights of 8 bits in bursts of 4 bytes, and a burst for a row that begins within.
            count_bits=13,
            # Words and commands pass a register at the pins that the controller does not have.
            read_delay=PIN_REGISTERS,
        )


def _most_hz(fabric: FabricConfig | None) -> float:
    """Highest clock of ``fabric``: its SDRAM must keep up with bytes in every cycle while it is loaded."""
    if fabric is None or fabric.sdram is None:
        return float("inf")
    return fabric.sdram.clock_hz / MEMORY_TO_CORE


@dataclass(frozen=True, kw_only=True)
class BoardDescription:
    """Board.

    Parameters
    ----------
    name : str
        Name on the command line, as in ``spikeloom bitstream --board NAME``.
    title : str
        Product name.
    device_name : str
        FPGA, a name of `spikeloom.boards.families.device.DEVICES`.
    platform : callable
        Constructor of the amaranth platform, which defines the pins; a platform serves one build.
    fabric : FabricConfig, optional
        Fabric to build; default: the general fabric of the device (`spikeloom.boards.sizing.choose`).
    most_baud_rate : int
        Highest baud rate of the board's USB bridge; the default is a rate that every bridge and adapter supports.
    baud_rate : int
        Baud rate of the serial link to the host; 0 becomes the highest of `BAUD_RATES` that bridge and clock allow. The
        nearest rate that the clock allows must be within 1 %. It may exceed ``most_baud_rate``, for an adapter.
    flash_command : tuple of str
        Command that loads a bitstream; the word ``{bitstream}`` stands for its path.
    link_kind : LinkKind
        Link to the host, one of `links`; default: the serial line. Its cost decides how large the general fabric is.
    serial : SerialPins, optional
        Pins of the serial link; default: the platform's resource ``uart``.
    usb : UsbPins or UlpiPins, optional
        Pins of a USB device in the FPGA, or of its PHY. The clock of the fabric must be from a PLL then.
    usb_device : UsbParameters
        Numbers and serial number of this device.
    ethernet : EthernetPins, optional
        Pins of an Ethernet PHY.
    ethernet_device : EthernetParameters
        Addresses of the board on this Ethernet.
    sdram : SdramPins, optional
        SDRAM for weights. The oscillator must be at a PLL then, as for ``pll_hz``.
    supply : SupplyPins, optional
        Converters of I/O banks that the FPGA must start.
    line : str
        Location of the platform's own serial link, if it is not on USB.
    pll_hz : float, optional
        Clock of the fabric from a PLL; default: the oscillator of the board. For a build it is the aim of place and
        route, and `spikeloom.boards.bitstream.clock_search` sets the clock. For the listed boards, it is a clock at
        which the general fabric meets timing.
    fills_device : bool
        Whether the general fabric adds several words per cycle and has more neurons, as far as the FPGA has room. For
        the listed boards, ``pll_hz`` has been measured with it.
    pll_pad : bool
        Whether the oscillator is on the pad of an iCE40's PLL, which must then take it from there.
    obstacle : str
        Reason why no bitstream can be built for it.
    """

    name: str
    title: str
    device_name: str
    platform: Callable[[], Platform]
    flash_command: tuple[str, ...]
    fabric: FabricConfig | None = None
    most_baud_rate: int = BAUD_RATES[-1]
    baud_rate: int = 0
    link_kind: LinkKind = LinkKind.UART
    serial: SerialPins | None = None
    usb: UsbPins | UlpiPins | None = None
    usb_device: UsbParameters = field(default_factory=UsbParameters)
    ethernet: EthernetPins | None = None
    ethernet_device: EthernetParameters = field(default_factory=EthernetParameters)
    sdram: SdramPins | None = None
    supply: SupplyPins | None = None
    line: str = ""
    pll_hz: float | None = None
    fills_device: bool = False
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
        if not self.obstacle and self.link_kind not in self.links:
            raise ValueError(f"Link of {self.name} must be {self._links_in_words()}, not {self.link_kind.option!r}")
        if self.usb is not None and self.pll_hz is None:
            raise ValueError(f"Board {self.name} must have pll_hz, because it has USB")
        if self.fabric is not None and self.fabric.sdram is not None:
            self._check_sdram(self.fabric.sdram)
        if not self.obstacle and self.link_kind is LinkKind.UART:
            if self.baud_rate == 0:
                object.__setattr__(self, "baud_rate", self._highest_baud_rate())
            self._check_baud_rate()

    @property
    def sdram_parameters(self) -> SdramParameters | None:
        """Parameters of the controller of its SDRAM, with the phases of its PLL; None without one."""
        if self.sdram is None:
            return None
        phases = sdram_phases(self.flow.pll, self.oscillator_hz, self.sdram.clock_hz)
        return dataclasses.replace(self.sdram.parameters, phases=phases)

    def _check_sdram(self, wanted: SdramParameters) -> None:
        found = self.sdram_parameters
        if found is None:
            raise ValueError(
                f"Fabric of {self.name} must have its weights in block RAM, because the board has no SDRAM"
            )
        if wanted != found:
            raise ValueError(f"SDRAM of the fabric of {self.name} must be that of the board, {found!r}, not {wanted!r}")
        if self.pll_hz is None:
            raise ValueError(f"Board {self.name} must have pll_hz, because its fabric has SDRAM")
        if self.link_kind is LinkKind.USB and self.device_name in _TWO_PLLS:
            raise ValueError(
                f"Link of {self.name} must be uart for a fabric with SDRAM, because the two PLLs of {self.device_name} "
                "are those of the fabric and of the SDRAM"
            )
        if self.clock_hz > (most := _most_hz(self.fabric)):
            raise ValueError(
                f"Clock of {self.name} must be at most {most / 1e6:.0f} MHz for its SDRAM at "
                f"{wanted.clock_hz / 1e6:g} MHz, not {self.clock_hz / 1e6:g} MHz"
            )

    def _highest_baud_rate(self) -> int:
        return next((rate for rate in rates_of(self.clock_hz) if rate <= self.most_baud_rate), BAUD_RATES[-1])

    def _check_baud_rate(self) -> None:
        rates = [f"{rate}" for rate in rates_of(self.clock_hz)]
        such_as = f", such as {', '.join(rates)}" if rates else ""
        if not isinstance(self.baud_rate, int) or not 0 < self.baud_rate <= self.clock_hz / LEAST_CYCLES_PER_BIT:
            raise ValueError(
                f"Baud rate of {self.name} must be from 1 to a third of its clock ({self.clock_hz // 3:,.0f})"
                f"{such_as}, not {self.baud_rate!r}"
            )
        if not cycles_per_bit(self.clock_hz, self.baud_rate):
            raise ValueError(
                f"Baud rate of {self.name} must be within {BAUD_TOLERANCE * 100:g} % of its clock "
                f"({self.clock_hz:,.0f} Hz) divided by an integer{such_as}, not {self.baud_rate!r}"
            )

    @property
    def links(self) -> tuple[LinkKind, ...]:
        """Links to the host that the board can be built with, the default first; empty if nothing can be built."""
        if self.obstacle:
            return ()
        pins = {LinkKind.USB: self.usb, LinkKind.UDP: self.ethernet}
        return (LinkKind.UART, *(kind for kind, found in pins.items() if found is not None))

    def _links_in_words(self) -> str:
        return " or ".join(kind.option for kind in self.links) or "left out"

    def with_link(self, name: str | None) -> "BoardDescription":
        """Return the same board with the link called ``name``, such as ``"uart"``; None leaves the board's own.

        Raises ``ValueError`` with the links of the board if it has no such link.
        """
        if name is None:
            return self
        kinds = {kind.option: kind for kind in self.links}
        if name not in kinds:
            raise ValueError(f"Link of {self.name} must be {self._links_in_words()}, not {name!r}")
        return self if kinds[name] is self.link_kind else dataclasses.replace(self, link_kind=kinds[name])

    def buildable_fabric(self) -> FabricConfig:
        """Return the fabric; raise ``ValueError`` with the obstacle if none can be built."""
        if self.obstacle:
            raise ValueError(f"Board {self.name} cannot hold a fabric: {self.obstacle}")
        # At high speed, link and packets need as much block RAM as over Ethernet; the logic is smaller.
        is_fast = self.link_kind is LinkKind.UDP or (self.link_kind is LinkKind.USB and isinstance(self.usb, UlpiPins))
        cost = LinkKind.UDP if is_fast else self.link_kind
        fabric = choose_fabric(self.device, link=cost, filled=self.fills_device) if self.fabric is None else self.fabric
        return dataclasses.replace(fabric, link=link_over_udp(fabric.link)) if is_fast else fabric

    @property
    def device(self) -> Device:
        """FPGA of the board."""
        return DEVICES[self.device_name]

    @property
    def flow(self) -> Flow:
        """Tool flow for the FPGA."""
        return self.device.flow

    @property
    def oscillator_hz(self) -> float:
        """Frequency of the oscillator in Hz."""
        return float(self.platform().default_clk_frequency)

    @property
    def shares_pll(self) -> bool:
        """Whether the PLL of the fabric is that of the USB device."""
        return self.flow.pll == "ice40" and self.link_kind is LinkKind.USB

    @property
    def clock_hz(self) -> float:
        """Clock of the fabric in Hz: the exact output of the PLL, which may differ slightly from ``pll_hz``.

        It is fixed where the one PLL of an iCE40 makes the clocks of the USB device as well.
        """
        if self.shares_pll:
            return ICE40_USB_FABRIC_HZ
        if self.pll_hz is None:
            return self.oscillator_hz
        settings, _ = PLLS[self.flow.pll]
        return settings(self.oscillator_hz, self.pll_hz).output_hz

    def with_fabric(self, fabric: FabricConfig) -> "BoardDescription":
        """Return the same board with ``fabric``, at a lower clock if its SDRAM requires it.

        Raises ``ValueError`` if the board cannot have it.
        """
        if self.clock_hz <= (most := _most_hz(fabric)):
            return dataclasses.replace(self, fabric=fabric)
        slower = self.with_clock(most)
        return dataclasses.replace(slower or self, fabric=fabric)

    def with_clock(self, most_hz: float) -> "BoardDescription | None":
        """Return the same board with the highest clock up to ``most_hz``; None if there is none.

        Possible clocks are the oscillator itself, and PLL outputs in steps of `CLOCK_STEP_HZ`. A bit of a serial link
        must be a whole number of cycles (`spikeloom.sim.host.baud.cycles_per_bit`). On a board with
        USB, the clock is always from the PLL; with the link usb on an iCE40, there is no other one.
        """
        if self.shares_pll:
            return self if self.clock_hz <= most_hz else None
        settings, _ = PLLS[self.flow.pll]
        bound = _most_hz(self.fabric)
        most_hz = min(most_hz, bound)
        oscillator = 0.0 if bound < float("inf") else self.oscillator_hz
        if oscillator > most_hz or self.usb is not None or not self._has_bits(oscillator):
            oscillator = 0.0
        # Begin one step above the limit: the PLL may make slightly less than the step, which is then within the limit.
        for step in range(int(most_hz // CLOCK_STEP_HZ) + 1, 0, -1):
            wanted = step * CLOCK_STEP_HZ
            if wanted <= oscillator:
                break
            try:
                made = settings(self.oscillator_hz, wanted).output_hz
            except PllError:
                continue
            if made <= most_hz and self._has_bits(made):
                return dataclasses.replace(self, pll_hz=float(wanted))
        return dataclasses.replace(self, pll_hz=None) if oscillator else None

    def _has_bits(self, clock_hz: float) -> bool:
        return self.link_kind is not LinkKind.UART or bool(cycles_per_bit(clock_hz, self.baud_rate))

    @property
    def divisor(self) -> int:
        """Clock cycles per bit of the serial link."""
        return round(self.clock_hz / self.baud_rate)

    @property
    def link(self) -> str:
        """Connection to the host in words."""
        for kind, pins in ((LinkKind.USB, self.usb), (LinkKind.UDP, self.ethernet)):
            if self.link_kind is kind and pins is not None:
                return pins.where
        where = self.line if self.serial is None else self.serial.where
        return f"adapter on {where}" if where else "USB"
