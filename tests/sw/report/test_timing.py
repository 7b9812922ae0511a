"""The clock of a report: from a given file, or from a build of the same fabric."""

import dataclasses
import json

import pytest

from spikeloom.cli.app import main
from spikeloom.report.timing import timing_from, timing_of_build
from spikeloom.sim.fabric.fabric_file import fabric_to_json
from spikeloom.sim.fabric.presets import FABRICS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"timing '.*' must be JSON \(.*\)"),
        ("[]", "timing must be a JSON file with fmax_mhz, but '.*' has none"),
        ("{}", "timing must be a JSON file with fmax_mhz, but '.*' has none"),
        ('{"fmax_mhz": "fast"}', "fmax_mhz of '.*' must be a number of megahertz, not 'fast'"),
        ('{"fmax_mhz": true}', "fmax_mhz of '.*' must be a number of megahertz, not True"),
        ('{"fmax_mhz": 1e300}', "fmax_mhz of '.*' must be a number of megahertz, not 1e\\+300"),
        ('{"fmax_mhz": 50, "clock_mhz": 0}', "clock_mhz of '.*' must be a number of megahertz, not 0"),
    ],
)
def test_other_files_of_timing_are_refused(tmp_path, text, message):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match=f"^{message}$"):
        timing_from(tmp_path / "other.json")


def test_a_build_of_the_same_fabric_is_found_whatever_its_name(tmp_path):
    fabric = FABRICS["small"]
    assert timing_of_build([tmp_path], fabric) is None
    (tmp_path / "report.json").write_text(json.dumps({"fmax_mhz": 50.0, "clock_mhz": 48.0}))
    assert timing_of_build([tmp_path], fabric) is None
    (tmp_path / "fabric.json").write_text(fabric_to_json(dataclasses.replace(fabric, name="other")))
    assert timing_of_build([tmp_path], fabric) == {"file": "report.json", "fmax_mhz": 50.0, "clock_mhz": 48.0}
    assert timing_of_build([tmp_path / "none", tmp_path], fabric) is not None
    assert timing_of_build([tmp_path], FABRICS["medium"]) is None
    (tmp_path / "report.json").write_text("{")
    assert timing_of_build([tmp_path], fabric) is None


def test_the_page_has_images_per_second_once_there_is_a_build(tmp_path, monkeypatch):
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "fabric.json").write_text(fabric_to_json(FABRICS["small"]))
    command = ["report", "--fabric", str(tmp_path / "built"), "--images", "2", "-o", str(tmp_path / "page.html")]
    monkeypatch.chdir(tmp_path)
    main(command)
    assert "images per second at the built clock" in (tmp_path / "page.html").read_text()
    (tmp_path / "built" / "report.json").write_text(json.dumps({"fmax_mhz": 50.0, "clock_mhz": 48.0}))
    main(command)
    assert "images per second at 48 MHz" in (tmp_path / "page.html").read_text()


def test_the_format_of_a_report_is_checked_and_not_a_figure(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"format": 1, "board": "demo", "fmax_mhz": 50.0}))
    assert timing_from(path) == {"file": "report.json", "board": "demo", "fmax_mhz": 50.0}
    path.write_text(json.dumps({"format": 99, "board": "demo", "fmax_mhz": 50.0}))
    with pytest.raises(ValueError, match=r"^timing '.*report\.json' has format 99, expected .*; update spikeloom$"):
        timing_from(path)
