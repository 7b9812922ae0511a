"""The public interface of spikeloom: everything that an application needs, under one name.

::

    from spikeloom.api import FABRICS, CompiledRunner, Quantisation, ReferenceRunner, load, place, quantise

    network = quantise(load("net.nir", preset="snntorch"), Quantisation(weight_width=8))
    program = place(network, FABRICS["small"])
    spikes_out = ReferenceRunner(network).run(spikes_in).output

Names listed here keep their meaning; other modules are for contributors and may change. The import of this module is
cheap: each name is imported from its module on first use. A machine with a board therefore needs only NumPy and
pyserial for `Board`, and Amaranth only to build hardware.

**From a file to integers.** `load` reads a network from NIR, `from_snntorch` from a module, and `from_torch` converts a
module of ReLUs; `save` writes it as NIR, for every command. `Quantisation` and `quantise` convert it to integers,
`describe` lists the step equations as they were interpreted. `calibrate` records the activity on training data, by
which `Quantisation` chooses scales, and `propose` finds widths at which integers and floats agree.

**From integers to a program.** `FABRICS` holds the named fabrics, `FabricConfig` describes any other, and `read_fabric`
reads that of a build folder. `with_own_widths` makes tiles as wide as their weights. `place` returns a `Program` or
raises `PlaceError`; `bake` makes the program part of the bitstream.

**Running.** `ReferenceRunner`, `CompiledRunner`, `PinsRunner` and `BoardRunner` take spikes ``(T, B, n)`` and return a
`RunResult`; `classify` makes answers of its output by a `Decision`. `Board` is the driver itself, behind an `Endpoint`
and a transport.

**Exploring.** `sweep` evaluates the points of a `Grid` for a `Study` (a network and its samples), and `front` returns
those that no other point surpasses.

**Custom tiles.** A new kind of tile consists of `TileParameters`, `QuantisedUnit`, `TileCompiler`, `register_compiler`,
`TileSignature` and `register_tile`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeloom.compiler.aer_ports import AerInput, AerOutput
    from spikeloom.compiler.bake import bake
    from spikeloom.compiler.calibrate import calibrate
    from spikeloom.compiler.checks import PlaceError
    from spikeloom.compiler.place import place
    from spikeloom.compiler.program import Program
    from spikeloom.compiler.quantise import Quantisation, QuantiseError, quantise
    from spikeloom.compiler.tile_widths import with_own_widths
    from spikeloom.compiler.tiles.registry import TileCompiler, register_compiler
    from spikeloom.datasets.encoders import Encoder
    from spikeloom.datasets.readout import Decision, classify
    from spikeloom.explore.cost import explain, measured_rates
    from spikeloom.explore.pareto import front
    from spikeloom.explore.points import Grid
    from spikeloom.explore.study import Study
    from spikeloom.explore.sweep import sweep
    from spikeloom.export.verilog import export_core, export_fabric
    from spikeloom.frontends.errors import LoadError
    from spikeloom.frontends.nir import load
    from spikeloom.frontends.relu import from_torch
    from spikeloom.frontends.saving import save
    from spikeloom.frontends.snntorch import from_snntorch
    from spikeloom.hdl.noc.tile import TileSignature, register_tile
    from spikeloom.host.driver import Board
    from spikeloom.host.endpoint import Endpoint
    from spikeloom.host.protocols import DriverError
    from spikeloom.host.transport import SerialTransport
    from spikeloom.model.describe import describe
    from spikeloom.model.network import Network
    from spikeloom.runners.compiled import CompiledRunner
    from spikeloom.runners.propose import propose
    from spikeloom.runners.runner import BoardRunner, PinsRunner, ReferenceRunner, Runner, RunResult, Task
    from spikeloom.sim.fabric.fabric import FabricConfig
    from spikeloom.sim.fabric.fabric_file import fabric_to_json, read_fabric
    from spikeloom.sim.fabric.presets import FABRICS
    from spikeloom.sim.host.readout import ReadoutMode
    from spikeloom.sim.lib.tile import TileParameters
    from spikeloom.sim.network.network import QuantisedNetwork
    from spikeloom.sim.network.population import INPUT
    from spikeloom.sim.network.reference import simulate
    from spikeloom.sim.network.unit import QuantisedUnit

__all__ = [
    "FABRICS",
    "INPUT",
    "AerInput",
    "AerOutput",
    "Board",
    "BoardRunner",
    "CompiledRunner",
    "Decision",
    "DriverError",
    "Encoder",
    "Endpoint",
    "FabricConfig",
    "Grid",
    "LoadError",
    "Network",
    "PinsRunner",
    "PlaceError",
    "Program",
    "Quantisation",
    "QuantiseError",
    "QuantisedNetwork",
    "QuantisedUnit",
    "ReadoutMode",
    "ReferenceRunner",
    "RunResult",
    "Runner",
    "SerialTransport",
    "Study",
    "Task",
    "TileCompiler",
    "TileParameters",
    "TileSignature",
    "bake",
    "calibrate",
    "classify",
    "describe",
    "explain",
    "export_core",
    "export_fabric",
    "fabric_to_json",
    "from_snntorch",
    "from_torch",
    "front",
    "load",
    "measured_rates",
    "place",
    "propose",
    "quantise",
    "read_fabric",
    "register_compiler",
    "register_tile",
    "save",
    "simulate",
    "sweep",
    "with_own_widths",
]

_HOMES = {
    "FABRICS": "spikeloom.sim.fabric.presets",
    "Grid": "spikeloom.explore.points",
    "INPUT": "spikeloom.sim.network.population",
    "AerInput": "spikeloom.compiler.aer_ports",
    "AerOutput": "spikeloom.compiler.aer_ports",
    "Board": "spikeloom.host.driver",
    "BoardRunner": "spikeloom.runners.runner",
    "CompiledRunner": "spikeloom.runners.compiled",
    "Decision": "spikeloom.datasets.readout",
    "DriverError": "spikeloom.host.protocols",
    "Encoder": "spikeloom.datasets.encoders",
    "Endpoint": "spikeloom.host.endpoint",
    "FabricConfig": "spikeloom.sim.fabric.fabric",
    "LoadError": "spikeloom.frontends.errors",
    "Network": "spikeloom.model.network",
    "PinsRunner": "spikeloom.runners.runner",
    "PlaceError": "spikeloom.compiler.checks",
    "Program": "spikeloom.compiler.program",
    "Quantisation": "spikeloom.compiler.quantise",
    "QuantiseError": "spikeloom.compiler.quantise",
    "QuantisedNetwork": "spikeloom.sim.network.network",
    "QuantisedUnit": "spikeloom.sim.network.unit",
    "ReadoutMode": "spikeloom.sim.host.readout",
    "ReferenceRunner": "spikeloom.runners.runner",
    "RunResult": "spikeloom.runners.runner",
    "Runner": "spikeloom.runners.runner",
    "SerialTransport": "spikeloom.host.transport",
    "Study": "spikeloom.explore.study",
    "Task": "spikeloom.runners.runner",
    "TileCompiler": "spikeloom.compiler.tiles.registry",
    "TileParameters": "spikeloom.sim.lib.tile",
    "TileSignature": "spikeloom.hdl.noc.tile",
    "bake": "spikeloom.compiler.bake",
    "calibrate": "spikeloom.compiler.calibrate",
    "classify": "spikeloom.datasets.readout",
    "describe": "spikeloom.model.describe",
    "explain": "spikeloom.explore.cost",
    "export_core": "spikeloom.export.verilog",
    "export_fabric": "spikeloom.export.verilog",
    "fabric_to_json": "spikeloom.sim.fabric.fabric_file",
    "from_snntorch": "spikeloom.frontends.snntorch",
    "from_torch": "spikeloom.frontends.relu",
    "front": "spikeloom.explore.pareto",
    "load": "spikeloom.frontends.nir",
    "measured_rates": "spikeloom.explore.cost",
    "place": "spikeloom.compiler.place",
    "propose": "spikeloom.runners.propose",
    "quantise": "spikeloom.compiler.quantise",
    "read_fabric": "spikeloom.sim.fabric.fabric_file",
    "register_compiler": "spikeloom.compiler.tiles.registry",
    "register_tile": "spikeloom.hdl.noc.tile",
    "save": "spikeloom.frontends.saving",
    "simulate": "spikeloom.sim.network.reference",
    "sweep": "spikeloom.explore.sweep",
    "with_own_widths": "spikeloom.compiler.tile_widths",
}
"""Module of each name, the same as in the imports above, which type checkers read."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # the next use finds it directly
    return value


def __dir__() -> list[str]:
    return __all__
