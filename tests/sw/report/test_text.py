"""Names from untrusted files, as text of a page."""

import pytest

from spikeloom.report.text import markup, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hidden", "hidden"),
        ("größe 層", "größe 層"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m\x00\x7f\x9b", r"\x1b[31m\x00\x7f\x9b"),
        ("\u202egnol\u2066", r"\u202egnol\u2066"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("x" * 81, "x" * 79 + "…"),
    ],
)
def test_what_is_not_printable_is_written_out(text, shown):
    assert visible(text) == shown
    assert markup(text) == shown


def test_markup_is_text():
    assert markup("<b a='1' b=\"2\">&amp;") == "&lt;b a=&#x27;1&#x27; b=&quot;2&quot;&gt;&amp;amp;"
