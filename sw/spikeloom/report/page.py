"""Report as one self-contained HTML page, with style, drawings and script inline.

Each section is a function of a `spikeloom.report.collect.Report`. Names come from user files: every text passes through
`spikeloom.report.text.markup`, and the script inserts text as text only. The content security policy of the page
forbids all requests, so that even a mistake here cannot leak data.
"""

from __future__ import annotations

from pathlib import Path

from spikeloom.report.collect import Report
from spikeloom.report.mesh import mesh_section
from spikeloom.report.plots import plots_section
from spikeloom.report.tables import (
    answers_section,
    counters_section,
    figures_section,
    rates_section,
    resources_section,
    timing_section,
    utilisation_section,
)
from spikeloom.report.text import markup

__all__ = ["page"]

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_SECTIONS = (
    figures_section,
    mesh_section,
    utilisation_section,
    rates_section,
    plots_section,
    answers_section,
    resources_section,
    counters_section,
    timing_section,
)


def page(report: Report) -> str:
    """Return the complete page."""
    title = markup(f"{report.program.network} on {report.program.fabric.name}", 120)
    style, script = (Path(__file__).with_name(f"page.{suffix}").read_text("utf-8") for suffix in ("css", "js"))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>\n'
        f"<body><main><h1>{title}</h1>{''.join(section(report) for section in _SECTIONS)}</main>\n"
        f"<script>{script}</script></body></html>\n"
    )
