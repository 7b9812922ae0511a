"""Turn the hardware options into a fabric: a named one, an existing build, or one chosen for the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeloom.cli.console import note
from spikeloom.cli.options import Hardware, Loading
from spikeloom.compiler.checks import PlaceError
from spikeloom.compiler.place import place
from spikeloom.compiler.program import Program
from spikeloom.compiler.quantise import Quantisation, Scales, quantise
from spikeloom.compiler.tile_widths import with_own_widths
from spikeloom.datasets.inputs import InputError
from spikeloom.model.network import Network
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import (
    baud_rate_from_json,
    fabric_from_json,
    link_kind_from_json,
    read_identity,
)
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.lib.files import read_text
from spikeloom.sim.network.network import QuantisedNetwork

if TYPE_CHECKING:
    from spikeloom.boards.targets.board import BoardDescription
    from spikeloom.explore.choose import Choice

__all__ = [
    "DEFAULT_BOARD",
    "DEFAULT_FABRIC",
    "Built",
    "board_of",
    "built",
    "choose_for",
    "chosen_fabric",
    "fabric_for",
    "given_fields",
    "link_of",
    "mesh_shape",
    "named_fabric",
    "on_mesh",
    "place_on",
    "quantised_for",
    "sdram_clock",
    "with_fields",
]

DEFAULT_FABRIC = "small"
DEFAULT_BOARD = "icebreaker"
_BAUD_RATE = 1_000_000  # of almost every board


@dataclass(frozen=True, kw_only=True)
class Built:
    """A fabric that exists, on a board or in a file.

    ``build_hash`` is the hash of the bitstream, or None if any build of the fabric is acceptable.
    """

    fabric: FabricConfig
    baud_rate: int
    build_hash: bytes | None
    link_kind: LinkKind = LinkKind.UART


def given_fields(core: Sequence[str] | None) -> dict[str, Any]:
    """Parse ``FIELD=VALUE`` options, with the fields of `CoreParameters`, into a dictionary. Raises `InputError`."""
    read: dict[Any, Callable[[str], Any]] = {"int": int, "bool": {"yes": True, "no": False}.__getitem__, "str": str}
    kinds = {field.name: str(field.type) for field in fields(CoreParameters) if field.type in read}
    given: dict[str, Any] = {}
    for text in core or ():
        name, _, value = text.partition("=")
        if name not in kinds:
            raise InputError(f"core must be FIELD=VALUE with one of {', '.join(kinds)}, not {text!r}")
        try:
            given[name] = read[kinds[name]](value)
        except (ValueError, KeyError) as error:
            needed = {"int": "an integer", "bool": "yes or no"}[kinds[name]]
            raise InputError(f"{name} must be {needed}, not {value!r}") from error
    return given


def named_fabric(name: str) -> FabricConfig:
    """Return the fabric called ``name``, or the one in the ``fabric.json`` or build folder ``name``."""
    return FABRICS[name] if name in FABRICS else _from_file(name).fabric


def _from_file(name: str, identity: Path | None = None) -> Built:
    """Return the fabric of a ``fabric.json`` or build folder, with baud rate and build hash where they are known."""
    path = Path(name)
    if path.is_dir():
        path /= "fabric.json"
    elif not path.name.endswith(".json") or not path.exists():
        raise InputError(f"fabric must be one of {', '.join(FABRICS)}, a fabric.json or a build folder, not {name!r}")
    text = read_text(path)
    fabric, baud_rate = fabric_from_json(text), baud_rate_from_json(text)
    beside = path.with_name("identity")
    chosen = identity or (beside if beside.exists() else None)
    return Built(
        fabric=fabric,
        baud_rate=_BAUD_RATE if baud_rate is None else baud_rate,
        build_hash=None if chosen is None else _build_hash(chosen),
        link_kind=link_kind_from_json(text),
    )


def _build_hash(path: Path) -> bytes:
    try:
        return read_identity(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be the identity file of a build") from error


def built(hardware: Hardware, identity: Path | None = None) -> Built:
    """Return the fabric of ``--fabric``, else of the build in ``build/BOARD``, else the general fabric of the board.

    A named fabric and a fabric in a file need only the base installation.
    """
    _refuse_changes(hardware, "a fabric that is built already")
    if hardware.fabric is not None and hardware.fabric not in FABRICS:
        return _with_link(_from_file(hardware.fabric, identity), hardware)
    if hardware.fabric is None:
        name = hardware.board or DEFAULT_BOARD
        path = (identity or Path("build") / name / "identity").with_name("fabric.json")
        if path.exists():
            return _with_link(_from_file(str(path), identity), hardware)
    build_hash = None if identity is None else _build_hash(identity)
    if hardware.fabric is not None and hardware.board is None and hardware.link is None:
        return Built(fabric=FABRICS[hardware.fabric], baud_rate=_BAUD_RATE, build_hash=build_hash)
    board = board_of(hardware)
    fabric = board.buildable_fabric() if hardware.fabric is None else FABRICS[hardware.fabric]
    return Built(fabric=fabric, baud_rate=board.baud_rate, build_hash=build_hash, link_kind=board.link_kind)


def _with_link(found: Built, hardware: Hardware) -> Built:
    """Return ``found``; raise `InputError` if it was built for another link than ``--link``."""
    if hardware.link not in (None, found.link_kind.option):
        raise InputError(
            f"the build has the link {found.link_kind.option}, expected {hardware.link}; build it with: "
            f"spikeloom bitstream --board {hardware.board or DEFAULT_BOARD} --link {hardware.link}"
        )
    return found


def board_of(hardware: Hardware) -> BoardDescription:
    """Return the board of ``--board``, or the default one, with the link of ``--link``.

    Raises `InputError` if the boards are not installed, and ``ValueError`` if there is no such board or link.
    """
    return _find_board(hardware.board or DEFAULT_BOARD).with_link(hardware.link)


def link_of(hardware: Hardware) -> LinkKind:
    """Return the link of ``--link``: one of the board or, without a board, one that has hardware.

    The default is that of the board, else a UART. Raises `InputError` or ``ValueError`` for another one.
    """
    if hardware.board is not None and hardware.link is not None:
        return board_of(hardware).link_kind
    known = {kind.option: kind for kind in (LinkKind.UART, LinkKind.USB, LinkKind.UDP)}
    if hardware.link not in (None, *known):
        raise InputError(f"link must be one of {', '.join(known)}, not {hardware.link!r}")
    return known[hardware.link or LinkKind.UART.option]


def _find_board(name: str) -> BoardDescription:
    try:
        from spikeloom.boards.targets.registry import find_board
    except ModuleNotFoundError as error:
        raise InputError(
            f"board {name} has no build in build/{name}, and its general fabric needs spikeloom[boards]: "
            f"give a fabric.json or build folder with --fabric, or pip install 'spikeloom[boards]'"
        ) from error
    return find_board(name)


def _refuse_changes(hardware: Hardware, what: str) -> None:
    for option in ("core", "mesh", "tiles"):
        if getattr(hardware, option):
            raise InputError(f"{option} must be left out with {what}")


def fabric_for(
    hardware: Hardware, loading: Loading, networks: Sequence[Network], *, counters: bool = False
) -> FabricConfig:
    """Return the named fabric, the fabric chosen for ``networks`` on the board, or the default fabric.

    With ``counters``, a mesh made around the core of the fabric counts packets.
    """
    given = given_fields(hardware.core)
    if hardware.fabric is None and hardware.board is not None and networks:
        choice = choose_for(networks, hardware, loading, given)
        core = choice.core
        note(
            f"chosen for {hardware.board}: {core.lanes} lane{'s' * (core.lanes > 1)}, {core.neurons:,} neurons, "
            f"{core.weight_words * core.lanes:,} weights{' in SDRAM' * (core.weight_memory == 'sdram')}"
            f"{f' and {core.streamed_words * core.lanes:,} in SDRAM' * core.mixed}"
        )
        fabric = chosen_fabric(networks, choice)
    else:
        if hardware.link is not None and hardware.board is not None:
            board_of(hardware)  # refuses a link that the board lacks
        name = hardware.fabric or DEFAULT_FABRIC
        if name not in FABRICS:
            _refuse_changes(hardware, "a fabric that is built already")
        fabric = with_fields(named_fabric(name), given)
    return on_mesh(fabric, hardware, loading, networks, counters=counters)


def with_fields(fabric: FabricConfig, given: dict[str, Any]) -> FabricConfig:
    """Return ``fabric`` with the fields ``given`` set in each core."""
    if not given:
        return fabric
    return FabricConfig(
        name=fabric.name,
        link=fabric.link,
        tiles=tuple(replace(tile, **given) if isinstance(tile, CoreParameters) else tile for tile in fabric.tiles),
        mesh=fabric.mesh,
        encoder=fabric.encoder,
        readout=fabric.readout,
        sdram=fabric.sdram,
    )


def on_mesh(
    fabric: FabricConfig,
    hardware: Hardware,
    loading: Loading,
    networks: Sequence[Network],
    *,
    counters: bool = False,
) -> FabricConfig:
    """Return ``fabric`` on the mesh of ``--mesh``, or on the smallest mesh for ``--tiles``; else unchanged.

    Where the weights of ``networks`` have different widths, so have the tiles, unless they share an SDRAM.
    """
    if hardware.mesh is None and (hardware.tiles or 1) <= len(fabric.cores):
        return fabric
    meshed = fabric.on_mesh(*mesh_shape(hardware.mesh, hardware.tiles), counters=counters)
    # The words of an SDRAM have one width.
    same = all(len(set(loading.weight_widths(network).values())) == 1 for network in networks)
    if same or meshed.sdram is not None:
        return meshed
    quantised = [quantised_for(network, meshed, loading) for network in networks]
    try:
        return with_own_widths(meshed, quantised, tiles=hardware.tiles, seed=hardware.seed)
    except PlaceError:
        return meshed  # the command places the network itself, and names what is missing


def mesh_shape(mesh: str | None, tiles: int | None) -> tuple[int, int]:
    """Return (columns, rows) as given, or of the mesh closest to a square that holds ``tiles``. Raises `InputError`."""
    if mesh is not None:
        shape = mesh.split("x")
        if len(shape) != 2 or not all(extent.isdecimal() for extent in shape):
            raise InputError(f"mesh must be columns x rows, such as 3x2, not {mesh!r}")
        return int(shape[0]), int(shape[1])
    count, most = 1 + (tiles or 1), 8 * 8
    if not 2 <= count <= most:
        raise InputError(f"tiles must be 1 to {most - 1} (the largest mesh), not {tiles}")
    columns = next(columns for columns in range(1, count + 1) if columns * columns >= count)
    return columns, -(-count // columns)


def choose_for(networks: Sequence[Network], hardware: Hardware, loading: Loading, given: dict[str, Any]) -> Choice:
    """Choose the core for ``networks`` on the board of ``hardware`` with its link; if nothing fits, raise an error that
    names suitable boards."""
    from spikeloom.explore.choose import ChoiceError, boards_for, choose

    described = board_of(hardware)
    device = described.device
    v_width = {"v_width": given["v_width"]} if "v_width" in given else {}
    quantised = []
    for network in networks:
        widths = Quantisation(
            multiplier=device.dsp > 0,
            scales=loading.scales or Scales.POPULATION,
            weight_widths=loading.weight_widths(network),
            calibration=loading.calibration_of(network),
            **v_width,
        )
        quantised.append(quantise(network, widths))
        for text in quantised[-1].notes[len(network.notes) :]:
            note(f"{network.name} as {loading.bits_text(network)}-bit integers: {text}")
    try:
        return choose(quantised, device, link=described.link_kind, sdram=described.sdram_parameters, **given)
    except (ChoiceError, PlaceError) as error:
        others = ", ".join(boards_for(quantised, link=hardware.link, **given)) or "none"
        if isinstance(error, PlaceError) and others == "none":  # fields that were given, rather than the board
            raise
        bits = max(network.weight_width for network in quantised)
        raise ChoiceError(f"{error}; boards that can hold it at {bits} bits: {others}") from error


def chosen_fabric(networks: Sequence[Network], choice: Choice) -> FabricConfig:
    """Return the fabric around the core of ``choice``, named after the networks."""
    return FabricConfig(name="-".join(network.name for network in networks), core=choice.core, sdram=choice.sdram)


def sdram_clock(fabric: FabricConfig, hardware: Hardware) -> int | None:
    """Return the clock in hertz that a fabric with SDRAM has on the board; None without SDRAM or board."""
    if fabric.sdram is None or hardware.board is None:
        return None
    return round(board_of(hardware).with_fabric(fabric).clock_hz)


def quantised_for(network: Network, fabric: FabricConfig, loading: Loading) -> QuantisedNetwork:
    """Quantise ``network`` for the cores of ``fabric``."""
    return quantise(network, loading.widths(network, next(iter(fabric.cores.values()))))


def place_on(
    fabric: FabricConfig, network: QuantisedNetwork, hardware: Hardware, *, is_built: bool = False, **options: Any
) -> Program:
    """Place ``network``. Raises `PlaceError`, which names the option that yields a fabric that can run it."""
    try:
        return place(network, fabric, tiles=hardware.tiles, seed=hardware.seed, **options)
    except PlaceError as error:
        if hardware.mesh is not None or hardware.tiles is not None:
            raise
        board = hardware.board or (DEFAULT_BOARD if is_built and hardware.fabric is None else "NAME")
        if is_built:
            remedy = f"spikeloom bitstream NETWORK --board {board} builds a fabric for it"
        elif hardware.fabric is None and hardware.board is not None:
            raise
        else:
            without = "" if hardware.fabric is None else " without --fabric"
            remedy = f"--board {board}{without} chooses a fabric for it"
        raise PlaceError(f"{error}; {remedy}") from error
