"""The identity record, the reply of a board to OPEN: protocol version, sizes, features, link and build.

``docs/link.md`` describes the record and the protocol versions.
"""

import enum
from dataclasses import dataclass

__all__ = ["IDENTITY_BYTES", "PROTOCOL_VERSION", "Feature", "Identity", "LinkKind"]

PROTOCOL_VERSION = 2
"""Version of the frames, of the identity record and of the messages inside the streams; equal at both ends."""

IDENTITY_BYTES = 60
"""With the preceding nonce, the record fills a payload of 64 bytes, the smallest allowed ``maximum_payload``."""

BUILD_HASH_BYTES = 16


class LinkKind(enum.IntEnum):
    """The transport of the frames between host and board."""

    UNKNOWN = 0
    UART = 1
    USB = 2
    UDP = 3
    SIMULATION = 4

    @property
    def words(self) -> str:
        """The name for users."""
        return self.name if self in (LinkKind.UART, LinkKind.USB, LinkKind.UDP) else self.name.lower()

    @property
    def option(self) -> str:
        """The name on the command line and in files: ``"uart"``."""
        return self.name.lower()


class Feature(enum.IntFlag):
    """Optional parts of a fabric, the feature word of the identity. A bit keeps its meaning in all later versions."""

    ENCODER = 1 << 0
    """The encoder: pixels are sent once and encoded on the board."""
    READOUT = 1 << 1
    """The readout: the board answers with classes or scores."""
    MESH = 1 << 2
    """Several tiles on a mesh of routers."""
    MEMORY_READ = 1 << 3
    """READ returns the contents of memories, not only of registers."""
    HOST_VALUES = 1 << 4
    """The host may send values in addition to spikes."""
    HELD_INPUT = 1 << 5
    """The encoder repeats an input that is sent for one step."""
    SDRAM = 1 << 6
    """The weights lie in SDRAM, which has a self-test and a checksum."""

    @property
    def words(self) -> str:
        """The names for users: ``"encoder, readout"``; unknown bits by number, ``"none"`` without any."""
        numbers = (number for number in range(self.bit_length()) if self >> number & 1)
        names = (Feature(1 << number).name for number in numbers)
        known = [name.lower().replace("_", " ") for name in names if name is not None]
        unknown = int(self) & ~sum(Feature)
        return ", ".join([*known, *([f"unknown ({unknown:#x})"] if unknown else [])]) or "none"


_NO_FEATURES = Feature(0)


def _check_range(name: str, value: object, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not 0 <= value <= high:
        raise ValueError(f"{name} must be from 0 to {high}, not {int(value)!r}")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Identity of a board, a record of 60 bytes.

    ``"SPKL"``; one byte each ``protocol_version`` and ``tiles``; two bytes ``lanes``; four bytes each ``neurons``,
    ``axons`` (row descriptors) and ``weight_words``; one byte each ``weight_width``, ``v_width`` and ``link_kind``; two
    bytes ``maximum_payload``; four bytes each ``clock_hz`` and ``features``; 16 bytes ``build_hash``; 11 bytes zero,
    for later versions. Magic and protocol version have these places in every version.

    Parameters
    ----------
    protocol_version
        `PROTOCOL_VERSION` of the board.
    tiles
        Number of tiles besides the host bridge.
    lanes, neurons, axons, weight_words, weight_width, v_width
        Sizes of a core, as in `CoreParameters`; with several cores, the largest of each.
    link_kind
        Transport of the frames.
    maximum_payload
        Largest payload of a frame in bytes, in both directions; 0 if unknown.
    clock_hz
        Clock of the fabric in Hz; 0 if unknown.
    features
        Optional parts.
    build_hash
        Hash of the build, 16 bytes; zeros without one.
    """

    protocol_version: int = PROTOCOL_VERSION
    tiles: int = 1
    lanes: int
    neurons: int
    axons: int
    weight_words: int
    weight_width: int
    v_width: int
    link_kind: LinkKind = LinkKind.UNKNOWN
    maximum_payload: int = 0
    clock_hz: int = 0
    features: Feature = _NO_FEATURES
    build_hash: bytes = bytes(BUILD_HASH_BYTES)

    # Without annotations, so that the dataclass does not take these for fields.
    _MAGIC = b"SPKL"
    _FIELDS = (
        ("protocol_version", 1),
        ("tiles", 1),
        ("lanes", 2),
        ("neurons", 4),
        ("axons", 4),
        ("weight_words", 4),
        ("weight_width", 1),
        ("v_width", 1),
        ("link_kind", 1),
        ("maximum_payload", 2),
        ("clock_hz", 4),
        ("features", 4),
    )

    def __post_init__(self) -> None:
        for name, size in self._FIELDS:
            _check_range(name, getattr(self, name), 256**size - 1)
        if not isinstance(self.link_kind, LinkKind):
            raise TypeError(f"link_kind must be a LinkKind, not {self.link_kind!r}")
        if not isinstance(self.features, Feature):
            raise TypeError(f"features must be a Feature, not {self.features!r}")
        if not isinstance(self.build_hash, bytes):
            raise TypeError(f"build_hash must be bytes, not {self.build_hash!r}")
        if len(self.build_hash) != BUILD_HASH_BYTES:
            raise ValueError(f"build_hash must be {BUILD_HASH_BYTES} bytes, not {len(self.build_hash)}")

    @property
    def words(self) -> str:
        """Link, clock and features for users: ``"UART, 78.125 MHz, encoder, readout"``."""
        clock = [f"{self.clock_hz / 1e6:.6g} MHz"] if self.clock_hz else []
        return ", ".join([self.link_kind.words, *clock, *([self.features.words] if self.features else [])])

    def encode(self) -> bytes:
        """The record, :data:`IDENTITY_BYTES` long."""
        fields = b"".join(int(getattr(self, name)).to_bytes(size, "little") for name, size in self._FIELDS)
        return (self._MAGIC + fields + self.build_hash).ljust(IDENTITY_BYTES, b"\0")

    @classmethod
    def decode(cls, record: bytes) -> "Identity":
        """Decode ``record``. Raises ``ValueError`` if it is not an identity record.

        For another protocol version only the version is decoded, and all other fields are zero. An unknown kind of link
        becomes `LinkKind.UNKNOWN`.
        """
        if record[:4] != cls._MAGIC or len(record) < 5:
            raise ValueError(f"an identity record must begin with {cls._MAGIC!r}, not {record[:4]!r}")
        version = record[4]
        # Only magic and version keep their places in all versions, so nothing else is read from such a record.
        if version != PROTOCOL_VERSION:
            return cls(
                protocol_version=version,
                tiles=0,
                lanes=0,
                neurons=0,
                axons=0,
                weight_words=0,
                weight_width=0,
                v_width=0,
            )
        if len(record) != IDENTITY_BYTES:
            raise ValueError(f"an identity record must be {IDENTITY_BYTES} bytes, not {len(record)}")
        values: dict[str, int] = {}
        position = 4
        for name, size in cls._FIELDS:
            values[name] = int.from_bytes(record[position : position + size], "little")
            position += size
        # A later version may define further kinds; an unknown kind does not prevent a session.
        kind = values["link_kind"]
        return cls(
            protocol_version=version,
            tiles=values["tiles"],
            lanes=values["lanes"],
            neurons=values["neurons"],
            axons=values["axons"],
            weight_words=values["weight_words"],
            weight_width=values["weight_width"],
            v_width=values["v_width"],
            link_kind=LinkKind(kind) if kind in LinkKind.__members__.values() else LinkKind.UNKNOWN,
            maximum_payload=values["maximum_payload"],
            clock_hz=values["clock_hz"],
            features=Feature(values["features"]),
            build_hash=bytes(record[position : position + BUILD_HASH_BYTES]),
        )
