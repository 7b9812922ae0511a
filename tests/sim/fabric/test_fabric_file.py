"""The untrusted files beside a bitstream: ``fabric.json`` and ``identity``."""

import json
import re

import pytest

from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import (
    baud_rate_from_json,
    fabric_from_json,
    fabric_to_json,
    link_kind_from_json,
    read_fabric,
    read_identity,
)
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.parameters import SdramParameters


def test_a_fabric_is_read_from_its_file(tmp_path):
    path = tmp_path / "fabric.json"
    path.write_text(fabric_to_json(FABRICS["small"]))
    assert read_fabric(path) == FABRICS["small"]
    readable = FabricConfig(core=CoreParameters(), read_back=True)
    path.write_text(fabric_to_json(readable))
    assert read_fabric(path) == readable
    assert read_fabric(path).read_back
    streamed = FabricConfig(
        core=CoreParameters(weight_memory="sdram", weight_words=1 << 22),
        sdram=SdramParameters(chip=BOARDS["ulx3s"], clock_hz=100_000_000, more_column_bits=1),
    )
    path.write_text(fabric_to_json(streamed))
    assert read_fabric(path) == streamed
    assert read_fabric(path).sdram.more_column_bits == 1


HUGE = 10**400


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ["small"]),
        ("name", None),
        ("tiles", [[]]),
        ("tiles", [3]),
        ("tiles", {"core": {}}),
        ("tiles", [{"core": []}]),
        ("tiles", [{"core": {"lanes": HUGE}}]),
        ("tiles", [{"core": {"lanes": [1]}}]),
        ("tiles", [{"core": {"neurons": 1e300}}]),
        ("tiles", [{"core": {"per_neuron": [["bias"]]}}]),
        ("tiles", [{"core": {"shifts": 5}}]),
        ("tiles", [{"aer": {"direction": "up"}}]),
        ("tiles", [{"core": {"read_back": 5}}]),
        ("tiles", [{"core": {}}, {"aer": {"direction": "input", "read_back": []}}]),
        ("mesh", [3, 2]),
        ("mesh", {"columns": HUGE, "rows": 2}),
        ("mesh", {"columns": 10**9, "rows": 10**9}),
        ("sdram", {"chip": {"width": 16}, "clock_hz": 100_000_000}),
        ("sdram", None),
        ("link", {"maximum_payload": "x" * 10_000}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_no_build_writes_is_one_short_sentence(key, value):
    content = {**json.loads(fabric_to_json(FABRICS["small"])), key: value}
    with pytest.raises(
        ValueError, match=r"^fabric\.json must come from a build, with name and tiles \(.*\)$"
    ) as refused:
        fabric_from_json(json.dumps(content))
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


def test_an_identity_is_32_hexadecimal_digits(tmp_path):
    path = tmp_path / "identity"
    path.write_text("00112233445566778899aabbccddeeff\n")
    assert read_identity(path) == bytes.fromhex("00112233445566778899aabbccddeeff")
    for text in ("", "0011", "x" * 32, "0" * 33, "0" * 31, "00 " * 16, "\x00" * 32, "٣" * 32):
        path.write_text(text)
        message = f"{str(path)!r} must be the identity file of a build: 32 hexadecimal digits"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            read_identity(path)
    path.write_text("0" * 1000)
    with pytest.raises(ValueError, match=r"^'.*' must have at most 128 bytes, not 1,000$"):
        read_identity(path)


def test_the_baud_rate_is_written_beside_the_fabric():
    fabric = FABRICS["small"]
    text = fabric_to_json(fabric, baud_rate=3_000_000, clock_hz=90_000_000)
    assert json.loads(text)["clock_hz"] == 90_000_000
    assert fabric_from_json(text) == fabric
    assert baud_rate_from_json(text) == 3_000_000
    assert baud_rate_from_json(fabric_to_json(fabric)) is None


@pytest.mark.parametrize("kind", [LinkKind.UART, LinkKind.USB, LinkKind.UDP])
def test_the_link_is_written_beside_the_fabric(kind):
    fabric = FABRICS["small"]
    text = fabric_to_json(fabric, link_kind=kind)
    assert fabric_from_json(text) == fabric
    assert link_kind_from_json(text) is kind
    assert link_kind_from_json(fabric_to_json(fabric)) is LinkKind.UART  # as in files of older builds


@pytest.mark.parametrize("value", ['"simulation"', '"UART"', "1", "null", "[]"])
def test_a_link_that_is_none(value):
    with pytest.raises(ValueError, match=r"^link_kind of a fabric.json must be one of uart, usb, udp, not "):
        link_kind_from_json(f'{{"link_kind": {value}}}')


def test_the_slowest_and_the_fastest_line():
    for rate in (1, 1 << 28):
        assert baud_rate_from_json(f'{{"baud_rate": {rate}}}') == rate
    with pytest.raises(ValueError, match=r"^baud_rate of a fabric.json must be .*, not 268435457$"):
        baud_rate_from_json(f'{{"baud_rate": {(1 << 28) + 1}}}')


def test_long_values_are_cut():
    content = {**json.loads(fabric_to_json(FABRICS["small"])), "link": {"receive_buffer": "x" * 10_000}}
    with pytest.raises(ValueError, match=r" \(receive_buffer must be .*\)$") as refused:
        fabric_from_json(json.dumps(content))
    assert len(str(refused.value)) == len("fabric.json must come from a build, with name and tiles ()") + 200


@pytest.mark.parametrize("value", ["0", "-1", "true", '"fast"', "1.5", "1e99"])
def test_a_baud_rate_that_is_none(value):
    with pytest.raises(ValueError, match=r"^baud_rate of a fabric.json must be an integer from 1 to 268435456, not "):
        baud_rate_from_json(f'{{"baud_rate": {value}}}')


def test_the_format_number_stands_first_and_files_without_one_are_read():
    content = json.loads(fabric_to_json(FABRICS["small"]))
    assert next(iter(content)) == "format"
    del content["format"]
    assert fabric_from_json(json.dumps(content)) == FABRICS["small"]


def test_a_newer_format_is_refused_by_name():
    content = {**json.loads(fabric_to_json(FABRICS["small"])), "format": 99}
    message = r"^fabric\.json has format 99, expected .*: it was written by a newer version; update spikeloom$"
    with pytest.raises(ValueError, match=message):
        fabric_from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "[]", "3"])
def test_text_that_is_no_object(text):
    for read in (fabric_from_json, baud_rate_from_json, link_kind_from_json):
        with pytest.raises(ValueError, match=r"^fabric\.json must come from a build, with name and tiles \(it must "):
            read(text)
