"""The file ``fabric.json`` beside a bitstream, which describes its fabric so that programs can be placed on it.

It describes the whole fabric: all tiles except the host's, each by its kind, the mesh if there is one, the host link,
and the units of the bridge. Only values that differ from their defaults are written. A program that is part of the
bitstream is not included, since any other program can be loaded over it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from os import PathLike
from typing import Any, get_origin, get_type_hints

from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric import kinds  # noqa: F401 (declares the kinds of tiles)
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.link import LinkParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.lib.files import json_from, read_bytes, read_text, shown
from spikeloom.sim.lib.formats import FABRIC_FILE
from spikeloom.sim.lib.tile import TileParameters, tile_kinds
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.sim.sdram.parameters import SdramParameters

__all__ = [
    "baud_rate_from_json",
    "core_from_json",
    "core_to_json",
    "fabric_from_json",
    "fabric_to_json",
    "link_kind_from_json",
    "read_fabric",
    "read_identity",
]

_PARTS: dict[str, Any] = {
    "link": LinkParameters,
    "mesh": MeshParameters,
    "encoder": EncoderParameters,
    "readout": ReadoutParameters,
    "sdram": SdramParameters,
}
_LONGEST_IDENTITY = 128  # bytes, with room for the blanks of an editor


def core_to_json(core: CoreParameters) -> dict[str, Any]:
    """The fields of a core that differ from their defaults."""
    return _values(core)


def core_from_json(values: dict[str, Any]) -> CoreParameters:
    """The inverse of `core_to_json`. Raises ``TypeError`` for an unknown field, ``ValueError`` for an invalid value."""
    return CoreParameters(**_arguments(CoreParameters, values))


def fabric_to_json(
    fabric: FabricConfig,
    *,
    link_kind: LinkKind | None = None,
    baud_rate: int | None = None,
    clock_hz: int | None = None,
) -> str:
    """The text of ``fabric.json``. For the build of a board it includes the kind of the host link, the baud rate of a
    serial line, and the clock."""
    content: dict[str, Any] = {
        **FABRIC_FILE.entry,
        "name": fabric.name,
        # Without the host bridge, which every fabric has as tile 0.
        "tiles": [{tile.kind: _values(tile)} for tile in fabric.tiles[1:] if tile is not None],
    }
    for name in _PARTS:
        if (part := getattr(fabric, name)) is not None:
            content[name] = _values(part)
    kind = None if link_kind is None else link_kind.option
    for name, value in (("link_kind", kind), ("baud_rate", baud_rate), ("clock_hz", clock_hz)):
        if value is not None:
            content[name] = value
    return json.dumps(content, indent=2) + "\n"


def fabric_from_json(text: str) -> FabricConfig:
    """The fabric described by the text of a ``fabric.json``. Raises ``ValueError`` if it is invalid or of a format
    that this version does not read."""
    content = _content(text)
    # First, so that a file of another format is refused for that and not for one of its keys.
    FABRIC_FILE.check(content)
    try:
        parts = {name: kind(**_arguments(kind, content[name])) for name, kind in _PARTS.items() if name in content}
        tiles = tuple(_tile_from_json(tile) for tile in content["tiles"])
        if not isinstance(content["name"], str):
            raise ValueError(f"name must be text, not {shown(content['name'])}")
        return FabricConfig(name=content["name"], tiles=(None, *tiles), **parts)
    # The constructors raise these for values of other types, which no build has written.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise _refusal(error) from error


def read_fabric(path: str | PathLike[str]) -> FabricConfig:
    """The fabric of a file ``fabric.json``. Raises ``ValueError`` as `fabric_from_json`, ``OSError`` if unreadable."""
    return fabric_from_json(read_text(path))


def baud_rate_from_json(text: str) -> int | None:
    """The baud rate in the text of a ``fabric.json``, or None. Raises ``ValueError`` if it is invalid."""
    value = _content(text).get("baud_rate")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 1 << 28):
        raise ValueError(f"baud_rate of a fabric.json must be an integer from 1 to {1 << 28}, not {shown(value)}")
    return value


def link_kind_from_json(text: str) -> LinkKind:
    """The kind of the host link in the text of a ``fabric.json``; without one, as in files of older builds, a UART.
    Raises ``ValueError`` if it is invalid."""
    value = _content(text).get("link_kind", LinkKind.UART.option)
    known = {kind.option: kind for kind in (LinkKind.UART, LinkKind.USB, LinkKind.UDP)}
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"link_kind of a fabric.json must be one of {', '.join(known)}, not {shown(value)}")
    return known[value]


def read_identity(path: str | PathLike[str]) -> bytes:
    """The build hash in a file ``identity``, 16 bytes.

    Raises ``ValueError`` if it is invalid, ``OSError`` if it is unreadable.
    """
    content = read_bytes(path, _LONGEST_IDENTITY)
    if not re.fullmatch(rb"\s*[0-9a-fA-F]{32}\s*", content):
        raise ValueError(f"{str(path)!r} must be the identity file of a build: 32 hexadecimal digits")
    return bytes.fromhex(content.decode("ascii").strip())


def _content(text: str) -> dict[str, Any]:
    try:
        content = json_from(text, "it")
        if not isinstance(content, dict):
            raise ValueError(f"it must be an object, not {shown(content)}")
    except ValueError as error:
        raise _refusal(error) from error
    return content


def _refusal(error: Exception) -> ValueError:
    return ValueError(f"fabric.json must come from a build, with name and tiles ({shown(error, 200)})")


def _tile_from_json(values: dict[str, Any]) -> TileParameters:
    # One key per tile, its kind. Anything else raises `ValueError`, which becomes a refusal.
    ((name, fields_of_it),) = values.items()
    known = tile_kinds()
    if name not in known:
        raise ValueError(f"kind of a tile must be one of {', '.join(known)}, not {shown(name)}")
    return known[name](**_arguments(known[name], fields_of_it))


def _values(parameters: Any) -> dict[str, Any]:
    """The fields that differ from their defaults, as JSON values."""
    # Contents are not compared and thus not written: any program can be loaded over them.
    compared = (field for field in fields(parameters) if field.compare)
    found = ((field.name, getattr(parameters, field.name), field.default) for field in compared)
    # Defaults are left out, so that a field that is added later does not change the files of older fabrics.
    return {name: _value(value) for name, value, default in found if value != default}


def _value(value: Any) -> Any:
    if is_dataclass(value):
        return _values(value)
    if isinstance(value, Enum):
        return value.value
    # Sorted, because the order of a set is not the same in every run.
    return sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value


def _arguments(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `_values`. The annotations of ``kind`` give the types that JSON does not have."""
    hints = get_type_hints(kind)
    return {name: _read(hints.get(name), value) for name, value in values.items()}


def _read(hint: Any, value: Any) -> Any:
    # JSON has lists only.
    if get_origin(hint) in (tuple, frozenset) and isinstance(value, list):
        return get_origin(hint)(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        return hint(**_arguments(hint, value))
    return value
