"""``spikeloom generate``: Verilog and memory images."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.options import (
    DEFAULT_FABRIC,
    CompareOption,
    DelayOption,
    DiscretisationOption,
    FabricOption,
    Loading,
    NetworkArgument,
    PresetOption,
    RefractoryOption,
    ResetOption,
    TimeStepOption,
    WeightOption,
    named_fabric,
    out,
    placed,
)
from spikeloom.compiler.place import place
from spikeloom.compiler.quantise import Quantisation, quantise

__all__ = ["Format", "generate"]


class Format(Enum):
    """What `generate` writes: the core for other designs, or the whole fabric as boards are built with it."""

    VERILOG = "verilog"
    FABRIC = "fabric"


def generate(
    network: NetworkArgument = None,
    preset: PresetOption = None,
    time_step: TimeStepOption = None,
    discretisation: DiscretisationOption = None,
    compare: CompareOption = None,
    reset: ResetOption = None,
    reset_delay: DelayOption = None,
    refractory: RefractoryOption = None,
    weight_bits: WeightOption = 8,
    fabric: FabricOption = DEFAULT_FABRIC,
    what: Annotated[
        Format,
        typer.Option("--format", help="The core with AXI ports and a testbench, or the fabric with its UART."),
    ] = Format.VERILOG,
    divisor: Annotated[int, typer.Option(help="Clock cycles a bit of the UART.")] = 12,
    output: Annotated[Path, typer.Option(help="Directory for all files.")] = Path("build/generate"),
) -> None:
    """Write Verilog: the core with a testbench of this network, or the fabric and the network's memory images."""
    from spikeloom.export.verilog import export_core, export_fabric
    from spikeloom.hdl.host.uart import check_divisor

    check_divisor(divisor)
    options = Loading(preset, time_step, discretisation, compare, reset, reset_delay, refractory)
    loaded = options.load(network)
    if what is Format.FABRIC:
        files = export_fabric(placed(loaded, named_fabric(fabric), weight_bits), output, divisor=divisor)
    else:
        quantised = quantise(loaded, Quantisation.for_core(named_fabric(fabric).core, weight_width=weight_bits))
        files = export_core(quantised, place(quantised, named_fabric(fabric)), output)
    out.print(f"{', '.join(file.name for file in files)} in {output}")
