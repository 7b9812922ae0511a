"""``spikeloom generate``: write Verilog and memory images."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.choosing import fabric_for, link_of, place_on, quantised_for
from spikeloom.cli.console import out
from spikeloom.cli.groups import grouped
from spikeloom.cli.options import Hardware, Loading, NetworkArgument
from spikeloom.datasets.inputs import InputError
from spikeloom.export.verilog import export_core, export_fabric

__all__ = ["Format", "generate"]


class Format(Enum):
    """Output of `generate`: the core for use in other designs, or the complete fabric as built for boards."""

    VERILOG = "verilog"
    FABRIC = "fabric"


@grouped
def generate(
    network: NetworkArgument = None,
    what: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="verilog: the core with AXI ports and a testbench; fabric: the fabric with its link. Default: "
            "verilog for a fabric with a single core, else fabric.",
            show_default=False,
        ),
    ] = None,
    divisor: Annotated[int, typer.Option(help="Clock cycles per bit of the UART.")] = 12,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output directory.")] = Path("build/generate"),
    *,
    loading: Loading,
    hardware: Hardware,
) -> None:
    """Write Verilog: the core with a testbench for this network, or the fabric with the memory images of the
    network."""
    from spikeloom.hdl.host.uart import check_divisor

    check_divisor(divisor)
    link = link_of(hardware)
    loaded = loading.load(network)
    fabric = fabric_for(hardware, loading, [loaded])
    is_one_core = fabric.mesh is None
    if what is Format.VERILOG and not is_one_core:
        raise InputError(f"format must be fabric, not verilog, for fabric {fabric.name}, which has several tiles")
    quantised = quantised_for(loaded, fabric, loading)
    program = place_on(fabric, quantised, hardware)
    if what is Format.FABRIC or not is_one_core:
        files = export_fabric(program, output, divisor=divisor, link=link)
    else:
        files = export_core(quantised, program, output)
    out.print(f"{', '.join(file.name for file in files)} in {output}")
