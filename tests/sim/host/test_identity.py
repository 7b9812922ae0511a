"""The identity record: the position of each field, versions, and features in words."""

import dataclasses

import pytest

from spikeloom.sim.host.identity import IDENTITY_BYTES, PROTOCOL_VERSION, Feature, Identity, LinkKind

IDENTITY = Identity(lanes=8, neurons=256, axons=784, weight_words=8192, weight_width=8, v_width=16)


def test_bytes():
    """The record, byte by byte."""
    identity = Identity(
        tiles=3,
        lanes=0x0504,
        neurons=0x09080706,
        axons=0x0D0C0B0A,
        weight_words=0x11100F0E,
        weight_width=12,
        v_width=13,
        link_kind=LinkKind.UDP,
        maximum_payload=0x0514,
        clock_hz=78_125_000,
        features=Feature.ENCODER | Feature.HOST_VALUES | Feature(1 << 31),
        build_hash=bytes(range(16, 32)),
    )
    record = identity.encode()
    assert record == (
        b"SPKL\x02"
        + bytes(range(3, 0x12))
        + b"\x0c\x0d\x03\x14\x05"
        + (78_125_000).to_bytes(4, "little")
        + b"\x11\0\0\x80"
        + bytes(range(16, 32))
        + bytes(11)
    )
    assert len(record) == IDENTITY_BYTES
    assert Identity.decode(record) == identity


def test_defaults():
    assert IDENTITY.protocol_version == PROTOCOL_VERSION == 2
    assert Identity.decode(IDENTITY.encode()) == IDENTITY


def test_another_version_keeps_its_version_only():
    """For version 1, with its record of 40 bytes, and for later versions."""
    for version, rest in ((1, bytes(35)), (9, b" whatever comes then"), (3, b"")):
        decoded = Identity.decode(b"SPKL" + bytes([version]) + rest)
        assert decoded.protocol_version == version
        assert (decoded.features, decoded.link_kind) == (Feature(0), LinkKind.UNKNOWN)
        others = {name: value for name, value in dataclasses.asdict(decoded).items() if name != "protocol_version"}
        assert "weight_words" in others
        assert not any(any(value) if isinstance(value, bytes) else value for value in others.values()), others


def test_a_kind_of_link_to_come_is_unknown():
    record = bytearray(IDENTITY.encode())
    record[22] = 200
    assert Identity.decode(bytes(record)) == IDENTITY
    record[22] = LinkKind.USB
    assert Identity.decode(bytes(record)).link_kind is LinkKind.USB


def test_bits_of_the_feature_word():
    """The bits keep their meaning in all versions."""
    assert [(feature.name, feature.value) for feature in Feature] == [
        ("ENCODER", 1),
        ("READOUT", 2),
        ("MESH", 4),
        ("MEMORY_READ", 8),
        ("HOST_VALUES", 16),
        ("HELD_INPUT", 32),
        ("SDRAM", 64),
    ]


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (Feature(0), "none"),
        (Feature.READOUT, "readout"),
        (Feature.MEMORY_READ | Feature.ENCODER, "encoder, memory read"),
        (Feature.MESH | Feature(1 << 30), "mesh, unknown (0x40000000)"),
    ],
)
def test_features_in_words(features, words):
    assert features.words == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "unknown"),
        ({"link_kind": LinkKind.SIMULATION}, "simulation"),
        (
            {"link_kind": LinkKind.UART, "clock_hz": 78_125_000, "features": Feature.ENCODER | Feature.READOUT},
            "UART, 78.125 MHz, encoder, readout",
        ),
    ],
)
def test_identity_in_words(arguments, words):
    values = {"lanes": 1, "neurons": 1, "axons": 1, "weight_words": 1, "weight_width": 8, "v_width": 16}
    assert Identity(**values, **arguments).words == words


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"SPAM" + bytes(36), r"^an identity record must begin with b'SPKL', not b'SPAM'$"),
        (b"SPKL", r"^an identity record must begin with b'SPKL', not b'SPKL'$"),
        (IDENTITY.encode()[:-1], r"^an identity record must be 60 bytes, not 59$"),
    ],
)
def test_decode_errors(record, message):
    with pytest.raises(ValueError, match=message):
        Identity.decode(record)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lanes": 65536}, ValueError, r"^lanes must be from 0 to 65535, not 65536$"),
        ({"weight_words": -1}, ValueError, r"^weight_words must be from 0 to 4294967295, not -1$"),
        ({"clock_hz": 27e6}, TypeError, r"^clock_hz must be an integer, not 27000000\.0$"),
        ({"link_kind": 1}, TypeError, r"^link_kind must be a LinkKind, not 1$"),
        ({"features": 1}, TypeError, r"^features must be a Feature, not 1$"),
        ({"build_hash": bytes(15)}, ValueError, r"^build_hash must be 16 bytes, not 15$"),
        ({"build_hash": "0" * 16}, TypeError, r"^build_hash must be bytes, not '0000000000000000'$"),
    ],
)
def test_errors(arguments, error, message):
    values = {"lanes": 1, "neurons": 1, "axons": 1, "weight_words": 1, "weight_width": 8, "v_width": 16} | arguments
    with pytest.raises(error, match=message):
        Identity(**values)
