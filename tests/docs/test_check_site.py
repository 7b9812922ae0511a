"""The check of the built site finds dead links and everything that a browser would load from the network."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("check_site", Path(__file__).parents[2] / "docs" / "check_site.py")
check_site = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_site)

PAGE = """<html><head><link rel="stylesheet" href="site.css"></head><body><h1 id="top">Title</h1>
<a href="other.html#there">other</a> <a href="#top">up</a> <a href="https://example.org/">elsewhere</a>
<img src="data:image/png;base64,AA=="></body></html>"""
OTHER = '<html><body><p id="there">here</p></body></html>'


@pytest.fixture
def site(tmp_path):
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "other.html").write_text(OTHER)
    (tmp_path / "site.css").write_text('body { background: url("data:image/png;base64,AA==") }')
    return tmp_path


def test_a_site_without_faults(site):
    assert check_site.faults(site) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("other.html#", "none.html#", "index.html links to none.html#there, which does not exist"),
        ("#there", "#nowhere", "index.html links to other.html#nowhere, which has no such anchor"),
        ("site.css", "https://example.org/a.css", "index.html loads https://example.org/a.css from the network"),
        ("data:image/png;base64,AA==", "//example.org/a.png", "index.html loads //example.org/a.png from the network"),
    ],
)
def test_faults_of_a_page(site, old, new, fault):
    (site / "index.html").write_text(PAGE.replace(old, new))
    assert check_site.faults(site) == [fault]


def test_a_style_sheet_that_loads_a_font(site):
    (site / "site.css").write_text("@font-face { src: url(https://example.org/font.woff2) }")
    assert check_site.faults(site) == ["site.css loads https://example.org/font.woff2 from the network"]
