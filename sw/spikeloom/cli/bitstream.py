"""``spikeloom bitstream``: build a bitstream for a board."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.choosing import (
    board_of,
    choose_for,
    chosen_fabric,
    given_fields,
    named_fabric,
    on_mesh,
    place_on,
    quantised_for,
    with_fields,
)
from spikeloom.cli.console import note, out, print_json
from spikeloom.cli.groups import grouped
from spikeloom.cli.options import Hardware, JsonOption, Loading
from spikeloom.compiler.bake import bake
from spikeloom.datasets.inputs import InputError
from spikeloom.host.peripherals import with_units
from spikeloom.model.network import Network
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.ethernet import EthernetParameters
from spikeloom.sim.host.usb import UsbParameters

__all__ = ["bitstream"]


@grouped
def bitstream(
    networks: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="NETWORK...",
            help="NIR files to choose the fabric for; default: the general fabric of the board.",
            show_default=False,
        ),
    ] = None,
    units: Annotated[
        bool, typer.Option("--units", help="Add an encoder and a readout to the board, see: spikeloom run.")
    ] = False,
    baked: Annotated[
        bool,
        typer.Option("--bake", help="Include the program of the network; other programs can still be loaded."),
    ] = False,
    clock: Annotated[
        float | None,
        typer.Option(
            help="Highest clock to try, in MHz; default: as high as place and route reaches.", show_default=False
        ),
    ] = None,
    baud: Annotated[
        int | None,
        typer.Option(
            help="Baud rate of the serial link; default: the highest that USB bridge and clock allow.",
            min=1,
            show_default=False,
        ),
    ] = None,
    usb_id: Annotated[
        str | None,
        typer.Option(
            help="Numbers of the USB device, for --link usb; default: 1209:0001, which is for private tests only.",
            metavar="VID:PID",
            show_default=False,
        ),
    ] = None,
    usb_serial: Annotated[
        str | None,
        typer.Option(
            help="Serial number of the USB device, for --link usb; default: none.", metavar="TEXT", show_default=False
        ),
    ] = None,
    usb_flash_serial: Annotated[
        bool,
        typer.Option(
            "--usb-flash-serial",
            help="Serial number of the USB device: the unique ID of the flash chip on the board, for --link usb.",
        ),
    ] = False,
    ip: Annotated[
        str | None,
        typer.Option(
            help=f"IPv4 address of the board, for --link udp; default: {EthernetParameters().address}.",
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = None,
    udp_port: Annotated[
        int | None,
        typer.Option(
            help=f"UDP port of the board, for --link udp; default: {EthernetParameters().port}.",
            metavar="PORT",
            show_default=False,
        ),
    ] = None,
    mac: Annotated[
        str | None,
        typer.Option(
            help="MAC address of the board, for --link udp; default: one that is derived from the bitstream.",
            metavar="MAC",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(help="Number of seeds for place and route; the best result is used.", metavar="N", min=1),
    ] = 4,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output directory; default: build/BOARD.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    *,
    loading: Loading,
    hardware: Hardware,
) -> None:
    """Build the bitstream for a board with open tools, unless an identical build exists."""
    from spikeloom.boards.bitstream.builder import build
    from spikeloom.boards.families.flow import ECP5

    if hardware.board is None:
        raise InputError("a board must be given with --board, see: spikeloom boards")
    if baked and len(networks or ()) != 1:
        raise InputError(f"--bake must be given with exactly one network, not {len(networks or ())}")
    loaded = [loading.load(path) for path in networks or ()]
    fabric = _fabric(hardware, loading, loaded, baked=baked, quiet=as_json)
    if units:
        fabric = with_units(
            fabric,
            [encoder for network in loaded if (encoder := loading.encoder_of(network)) is not None],
            inputs=max((network.inputs for network in loaded), default=0),
            outputs=max((network.population(network.output).size for network in loaded), default=0),
        )
    if baked:
        fabric = bake(place_on(fabric, quantised_for(loaded[0], fabric, loading), hardware))
        if board_of(hardware).flow is not ECP5:
            # Reports say that address 0 of an initialised memory may be lost after configuration
            # (docs/verification.md), so the board must not claim to hold the program: the driver then loads it.
            fabric = dataclasses.replace(fabric, program=0)
            note("memories of this FPGA may lose words after configuration: `spikeloom run` still loads the program")
    result = build(
        hardware.board,
        output,
        fabric=fabric,
        clock_mhz=clock,
        link=hardware.link,
        baud_rate=baud,
        usb=_usb(usb_id, usb_serial, usb_flash_serial),
        ethernet=_ethernet(ip, udp_port, mac),
        seeds=seeds,
        announce=note,
    )
    if as_json:
        said = dataclasses.asdict(result.report)
        print_json({"bitstream": str(result.bitstream), "flash_command": list(result.flash_command), "report": said})
        return
    out.print(result.table())
    out.print(f"{result.bitstream}\nload it with: spikeloom flash {hardware.board}")


def _usb(number: str | None, serial: str | None, flash_serial: bool) -> UsbParameters | None:
    """Return the parameters of the USB device; None if no option was given."""
    if number is None and serial is None and not flash_serial:
        return None
    if serial and flash_serial:
        raise InputError("usb-serial must be left out with --usb-flash-serial: a device has one serial number")
    return UsbParameters.from_text(number or UsbParameters().number, serial or "", flash_serial=flash_serial)


def _ethernet(ip: str | None, port: int | None, mac: str | None) -> EthernetParameters | None:
    """Return the addresses of the board; None if no option was given."""
    if ip is None and port is None and mac is None:
        return None
    default = EthernetParameters()
    return EthernetParameters(
        address=default.address if ip is None else ip,
        port=default.port if port is None else port,
        mac=default.mac if mac is None else mac,
    )


def _fabric(hardware: Hardware, loading: Loading, networks: list[Network], *, baked: bool, quiet: bool) -> FabricConfig:
    """Return the named fabric, the one chosen for ``networks``, or the general fabric of the board."""
    board = board_of(hardware)
    given = given_fields(hardware.core)
    if hardware.fabric is not None:
        fabric = on_mesh(with_fields(named_fabric(hardware.fabric), given), hardware, loading, networks)
        for network in networks:  # before a build that takes minutes, check that the fabric can run the network
            place_on(fabric, quantised_for(network, fabric, loading), hardware)
        return fabric
    if networks:
        # A bitstream can initialise block RAM, but not single-port RAM.
        given = ({"weight_memory": "block"} if baked else {}) | given
        choice = choose_for(networks, hardware, loading, given)
        if not quiet:
            out.print(*choice.tables(), sep="\n")
        fabric = chosen_fabric(networks, choice)
    else:
        fabric = with_fields(board.buildable_fabric(), given)
    return on_mesh(fabric, hardware, loading, networks)
