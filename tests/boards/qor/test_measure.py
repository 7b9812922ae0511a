"""Quality of a block: measurement of a small one, bounds and tolerances."""

import dataclasses

import pytest
from harness.quality import COUNTER, QUALITY, SEEDS, Counter

from spikeloom.boards.qor.figures import median
from spikeloom.boards.qor.measure import ECP5_85F, ICE40_UP5K, SYNTHESISED, BlockSubject, changes, missed_bounds


class PlainCounter(Counter):
    """On any FPGA."""

    def elaborate(self, platform):
        assert platform.device == "iCE40UP5K"
        return super().elaborate(ECP5_85F)


def figures_of(block, folder, seeds):
    subject, said = BlockSubject(block), []
    for _ in range(2):  # the second time, the netlist exists
        subject.synthesise(folder, said.append)
    assert said == ["synthesis"]
    measured = {seed: subject.route(folder, seed) for seed in seeds}
    return subject.figures(measured, "0a" * 16, "1b" * 20)


def test_measures_a_block(tmp_path):
    quality = figures_of(COUNTER, tmp_path, (2, 1))
    assert quality.ff == 8
    assert 8 <= quality.lut <= 16
    assert quality.ram == quality.dsp == 0
    assert list(quality.seeds) == ["1", "2"]
    assert quality.fmax_mhz == median(quality.seeds.values(), 2) > 100
    assert [tool.split()[0] for tool in quality.tools] == ["yosys", "nextpnr-ecp5"]
    assert (quality.netlist, quality.commit) == ("0a" * 16, "1b" * 20)
    assert BlockSubject(COUNTER).read(quality.to_json()) == quality


def test_measures_a_block_between_pins(tmp_path):
    """Where place and route needs pins, the 12 registers and lookup tables of the ports count."""
    quality = figures_of(dataclasses.replace(COUNTER, device=ICE40_UP5K, make=PlainCounter), tmp_path, (1,))
    assert quality.ff == 8 + 4 + 8
    assert 8 + 8 <= quality.lut <= 8 + 4 + 8 + 4
    assert quality.fmax_mhz > 30
    assert quality.tools[1].startswith("nextpnr-ice40 ")


def test_a_block_that_no_tool_takes_is_an_error(tmp_path):
    subject = BlockSubject(dataclasses.replace(COUNTER, options="-no-such-option"))
    with pytest.raises(RuntimeError, match=r"^yosys failed on the block: ERROR: Command syntax error"):
        subject.synthesise(tmp_path, lambda sentence: None)
    assert not (tmp_path / SYNTHESISED).exists()


def test_what_is_wrong_with_a_block():
    subject = BlockSubject(dataclasses.replace(COUNTER, minimum_fmax_mhz=151))
    assert subject.wrong(None, QUALITY) == ["counter 8-bits: fmax_mhz must be at least 151, not 150.0"]
    assert len(subject.wrong(dataclasses.replace(QUALITY, lut=50), QUALITY)) == 2


def test_bounds():
    block = dataclasses.replace(COUNTER, maximum_lut=99, minimum_fmax_mhz=151)
    assert missed_bounds(block, QUALITY) == [
        "counter 8-bits: lut must be at most 99, not 100",
        "counter 8-bits: fmax_mhz must be at least 151, not 150.0",
    ]
    assert missed_bounds(dataclasses.replace(COUNTER, maximum_lut=100, minimum_fmax_mhz=150), QUALITY) == []


def test_tolerances():
    slower = dataclasses.replace(QUALITY, lut=105, seeds={"1": 135.0})
    assert changes(COUNTER, QUALITY, slower) == []
    # The median counts, not the best seed.
    slower = dataclasses.replace(QUALITY, lut=106, seeds=SEEDS | {"1": 120.0, "2": 121.0, "3": 134.9, "5": 134.0})
    assert changes(COUNTER, QUALITY, slower) == [
        "counter 8-bits: lut has grown from 100 to 106",
        "counter 8-bits: fmax_mhz has fallen from 150.0 to 134.0",
    ]
