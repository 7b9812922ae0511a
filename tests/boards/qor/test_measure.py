"""Quality of a block: a measurement of a small one, bounds, tolerances, stored files."""

import dataclasses

import pytest
from harness.quality import COUNTER, QUALITY, Counter

from spikeloom.boards.qor.measure import ECP5_85F, ICE40_UP5K, Quality, changes, measure, missed_bounds


class PlainCounter(Counter):
    """On any FPGA."""

    def elaborate(self, platform):
        assert platform.device == "iCE40UP5K"
        return super().elaborate(ECP5_85F)


def test_measures_a_block():
    quality = measure(COUNTER, seeds=(1, 2))
    assert quality.ff == 8
    assert 8 <= quality.lut <= 16
    assert quality.ram == quality.dsp == 0
    assert list(quality.seeds) == ["1", "2"]
    assert quality.fmax_mhz == max(quality.seeds.values()) > 100
    assert [tool.split()[0] for tool in quality.tools] == ["yosys", "nextpnr-ecp5"]
    assert Quality.from_json(quality.to_json()) == quality


def test_measures_a_block_between_pins():
    """Where place and route needs pins: the ports' 12 registers and lookup tables count."""
    quality = measure(dataclasses.replace(COUNTER, device=ICE40_UP5K, make=PlainCounter), seeds=(1,))
    assert quality.ff == 8 + 4 + 8
    assert 8 + 8 <= quality.lut <= 8 + 4 + 8 + 4
    assert quality.fmax_mhz > 30
    assert quality.tools[1].startswith("nextpnr-ice40 ")


def test_a_block_that_no_tool_takes_is_an_error():
    block = dataclasses.replace(COUNTER, options="-no-such-option")
    with pytest.raises(RuntimeError, match=r"^yosys must take the block, and failed: ERROR: Command syntax error"):
        measure(block)


def test_bounds():
    block = dataclasses.replace(COUNTER, maximum_lut=99, minimum_fmax_mhz=151)
    assert missed_bounds(block, QUALITY) == [
        "counter 8-bits: lut must be at most 99, not 100",
        "counter 8-bits: fmax_mhz must be at least 151, not 150.0",
    ]
    assert missed_bounds(dataclasses.replace(COUNTER, maximum_lut=100, minimum_fmax_mhz=150), QUALITY) == []


def test_tolerances():
    assert changes(COUNTER, QUALITY, dataclasses.replace(QUALITY, lut=105, fmax_mhz=135.0)) == []
    assert changes(COUNTER, QUALITY, dataclasses.replace(QUALITY, lut=106, fmax_mhz=134.9)) == [
        "counter 8-bits: lut has grown from 100 to 106",
        "counter 8-bits: fmax_mhz has fallen from 150.0 to 134.9",
    ]


def test_a_kept_file_must_be_whole():
    message = r"^A kept result must be JSON with lut, ff, ram, dsp, fmax_mhz, seeds, tools \("
    with pytest.raises(ValueError, match=message):
        Quality.from_json('{"lut": 3}')
    with pytest.raises(ValueError, match=message):
        Quality.from_json("{")
