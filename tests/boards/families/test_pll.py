"""Settings of the PLLs: the frequency, the ranges of the data sheets, and what is refused."""

import pytest

from spikeloom.boards.families.pll import TOLERANCE, PllError, ecp5_settings, gowin_settings, ice40_settings


@pytest.mark.parametrize(
    ("input_hz", "output_hz"),
    [
        (8e6, 80e6),
        (12e6, 60e6),
        (16e6, 40e6),
        (25e6, 100e6),
        (25e6, 62.5e6),
        (25e6, 48e6),
        (25e6, 81e6),
        (30e6, 75e6),
        (48e6, 96e6),
        (100e6, 75e6),
    ],
)
def test_ecp5(input_hz, output_hz):
    found = ecp5_settings(input_hz, output_hz)
    d = found.dividers
    assert found.output_hz == pytest.approx(input_hz / d["CLKI_DIV"] * d["CLKOP_DIV"] / d["CLKOS_DIV"])
    assert found.output_hz == pytest.approx(output_hz)
    assert found.compared_hz == input_hz / d["CLKI_DIV"]
    assert 3.125e6 <= found.compared_hz <= 400e6
    assert 400e6 <= found.compared_hz * d["CLKOP_DIV"] == found.oscillator_hz <= 800e6
    assert all(1 <= divider <= 128 for divider in d.values())


@pytest.mark.parametrize(
    ("input_hz", "output_hz"), [(12e6, 24e6), (12e6, 30e6), (16e6, 40e6), (100e6, 50e6), (48e6, 24e6)]
)
def test_ice40(input_hz, output_hz):
    found = ice40_settings(input_hz, output_hz)
    d = found.dividers
    compared = input_hz / (d["DIVR"] + 1)
    assert found.output_hz == pytest.approx(compared * (d["DIVF"] + 1) / 2 ** d["DIVQ"])
    assert abs(found.output_hz - output_hz) <= TOLERANCE * output_hz
    assert 10e6 <= compared <= 133e6
    assert 533e6 <= found.oscillator_hz <= 1066e6
    assert 1 <= d["FILTER_RANGE"] <= 6


def test_ice40_as_others_set_it():
    """12 MHz to 24 MHz: known good dividers."""
    assert ice40_settings(12e6, 24e6).dividers == {"DIVR": 0, "DIVF": 63, "DIVQ": 5, "FILTER_RANGE": 1}


@pytest.mark.parametrize("output_hz", [27e6, 40.5e6, 54e6, 67.5e6, 81e6])
def test_gowin(output_hz):
    found = gowin_settings(27e6, output_hz)
    d = found.dividers
    assert found.output_hz == pytest.approx(27e6 * (d["FBDIV_SEL"] + 1) / (d["IDIV_SEL"] + 1))
    assert found.output_hz == pytest.approx(output_hz)
    assert 500e6 <= found.oscillator_hz == found.output_hz * d["ODIV_SEL"] <= 1200e6


def test_what_no_setting_gives_is_refused():
    with pytest.raises(PllError, match=r"^Clock of an ECP5 must be one that its PLL makes of 25 MHz, not 900 MHz$"):
        ecp5_settings(25e6, 900e6)
    with pytest.raises(PllError, match=r"^Clock of an iCE40 must be one that its PLL makes of 12 MHz, not 8 MHz$"):
        ice40_settings(12e6, 8e6)
    with pytest.raises(PllError, match=r"^Clock of a Gowin FPGA must be one that its PLL makes of 27 MHz, not 1 MHz$"):
        gowin_settings(27e6, 1e6)
    with pytest.raises(PllError, match=r"^Oscillator of an ECP5 must have from 8 to 400 MHz, not 2 MHz$"):
        ecp5_settings(2e6, 50e6)
