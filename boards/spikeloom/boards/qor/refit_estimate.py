"""Synthesise the cores in ``measured.json`` again, to which `spikeloom.boards.sizing.estimate` is fitted.

``python -m spikeloom.boards.qor.refit_estimate`` measures all cores, 10 s each, and shows the changes; ``--only NAME``
selects those whose name contains ``NAME``. To add a core, add it to the file with zeros. Run it when the size of the
core has changed by more than a few percent.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from amaranth.lib.wiring import Component
from rich.console import Console

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.families.flow import ECP5, GOWIN, ICE40
from spikeloom.boards.qor.measure import run_tool
from spikeloom.boards.sizing.estimate import MeasuredCore, measured_cores
from spikeloom.hdl.core.tile import LifCore
from spikeloom.hdl.lib.rtlil import to_rtlil
from spikeloom.hdl.top.ethernet_top import EthernetTop
from spikeloom.hdl.top.top import Top
from spikeloom.hdl.top.usb_top import UsbTop
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import core_to_json
from spikeloom.sim.host.ethernet import UDP_LINK, EthernetParameters
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.usb import UsbParameters

__all__ = ["FAMILIES", "Family", "measure"]

FILE = Path(__file__).parents[1] / "sizing" / "measured.json"


@dataclass(frozen=True, kw_only=True)
class Family:
    """Synthesis for a family, and the cells to count. It also takes the place of an Amaranth platform.

    ``cells`` has, for each resource, the prefixes of the names of Yosys' cells, and the number of units that each cell
    uses.
    """

    family: str
    device: str
    synthesis: str
    cells: dict[str, dict[str, int]]


FAMILIES = {
    ECP5.pll: Family(
        family="ecp5",
        device="LFE5U-85F",
        synthesis="synth_ecp5",
        cells={
            # A carry cell takes two lookup tables; a 16 x 4 LUT RAM takes four, and its write port two more.
            "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
            "ff": {"TRELLIS_FF": 1},
            "ram": {"DP16KD": 1},
            "dsp": {"MULT18X18D": 1},
        },
    ),
    ICE40.pll: Family(
        family="iCE40",
        device="iCE40UP5K",
        synthesis="synth_ice40 -dsp -abc9",
        cells={"lut": {"SB_LUT4": 1}, "ff": {"SB_DFF": 1}, "ram": {"SB_RAM40_4K": 1}, "dsp": {"SB_MAC16": 1}},
    ),
    GOWIN.pll: Family(
        family="gowin",
        device="GW1NR-9C",
        synthesis="synth_gowin",
        cells={
            "lut": {"LUT": 1, "ALU": 1, "RAM16SDP4": 4},
            "ff": {"DFF": 1},
            "ram": {"DPB": 1, "DPX9B": 1, "SDPB": 1, "SDPX9B": 1},
            "dsp": {"MULT18X18": 1},
        },
    ),
}


def _whole_design(core: CoreParameters, link: LinkKind) -> Component:
    fabric, build = FabricConfig(core=core), bytes(range(16))
    if link is LinkKind.USB:
        return UsbTop(fabric, UsbParameters(), build, clock_hz=90_000_000)
    if link is LinkKind.UDP:
        return EthernetTop(replace(fabric, link=UDP_LINK), EthernetParameters(), build, clock_hz=90_000_000)
    return Top(fabric, 25, build, link_kind=link, clock_hz=90_000_000)


def measure(core: MeasuredCore) -> MeasuredCore:
    """Return ``core`` with the figures of a new synthesis. Raises ``RuntimeError`` if Yosys fails."""
    family = FAMILIES[core.family]
    design: Component = LifCore(core.core) if core.link is None else _whole_design(core.core, core.link)
    with tempfile.TemporaryDirectory(prefix="spikeloom-measured-") as name:
        folder = Path(name)
        (folder / "top.il").write_text(to_rtlil(design, platform=family))
        script = f"read_rtlil top.il; {family.synthesis} -top top; tee -q -o stat.json stat -json"
        run_tool(DEVICES[family.device].flow, "yosys", ["-q", "-p", script], folder)
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    counts = {
        resource: sum(
            count * each for name, count in cells.items() for start, each in starts.items() if name.startswith(start)
        )
        for resource, starts in family.cells.items()
    }
    return replace(core, **counts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m spikeloom.boards.qor.refit_estimate", description=__doc__)
    parser.add_argument("--only", default="", help="measure the cores whose name contains this")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    cores = list(measured_cores())
    for place, before in enumerate(cores):
        if options.only not in before.name:
            continue
        cores[place] = after = measure(before)
        console.print(
            f"{after.family} {after.name}: lut {before.lut:,} to {after.lut:,}, ram {before.ram} to {after.ram}"
        )
        # Written after each core, so that an interruption loses nothing.
        entries = [
            json.dumps(
                asdict(core) | {"core": core_to_json(core.core), "link": None if core.link is None else core.link.name}
            )
            for core in cores
        ]
        FILE.write_text("[\n" + ",\n".join(entries) + "\n]\n")


if __name__ == "__main__":
    main()
