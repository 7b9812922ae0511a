"""Spike encoders and decoders: every coding scheme in one interface, in integers. NumPy only.

`docs/encoders.md` has the formulas, worked examples and what sharing one register costs; `docs/encoders-compared.md`
says which code to choose when.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikeloom.datasets.encoders.contrast import (
    DeltaEncoder,
    MovingWindowEncoder,
    StepForwardEncoder,
    TemporalContrastEncoder,
)
from spikeloom.datasets.encoders.deconvolution import (
    BensSpikerEncoder,
    HoughSpikerEncoder,
    ModifiedHoughSpikerEncoder,
    lowpass_taps,
)
from spikeloom.datasets.encoders.graded import GradedEncoder
from spikeloom.datasets.encoders.hilbert import HilbertEncoder
from spikeloom.datasets.encoders.interface import Encoder, LevelEncoder, SignalEncoder
from spikeloom.datasets.encoders.patterns import BurstEncoder, IntervalEncoder, LatencyEncoder, PhaseEncoder
from spikeloom.datasets.encoders.population import PopulationEncoder
from spikeloom.datasets.encoders.rank_order import RankOrderEncoder, rank_order_activation
from spikeloom.datasets.encoders.rate import PoissonEncoder, RateEncoder, SigmaDeltaEncoder
from spikeloom.datasets.encoders.scale import Scale
from spikeloom.sim.lib.files import shown

__all__ = [
    "ENCODERS",
    "BensSpikerEncoder",
    "BurstEncoder",
    "DeltaEncoder",
    "Encoder",
    "GradedEncoder",
    "HilbertEncoder",
    "HoughSpikerEncoder",
    "IntervalEncoder",
    "LatencyEncoder",
    "LevelEncoder",
    "ModifiedHoughSpikerEncoder",
    "MovingWindowEncoder",
    "PhaseEncoder",
    "PoissonEncoder",
    "PopulationEncoder",
    "RankOrderEncoder",
    "RateEncoder",
    "Scale",
    "SigmaDeltaEncoder",
    "SignalEncoder",
    "StepForwardEncoder",
    "TemporalContrastEncoder",
    "encoder_from",
    "encoder_from_text",
    "lowpass_taps",
    "rank_order_activation",
]

_ENCODERS: tuple[type[Encoder], ...] = (
    RateEncoder,
    PoissonEncoder,
    LatencyEncoder,
    RankOrderEncoder,
    PopulationEncoder,
    PhaseEncoder,
    BurstEncoder,
    IntervalEncoder,
    TemporalContrastEncoder,
    StepForwardEncoder,
    MovingWindowEncoder,
    DeltaEncoder,
    SigmaDeltaEncoder,
    HoughSpikerEncoder,
    ModifiedHoughSpikerEncoder,
    BensSpikerEncoder,
    GradedEncoder,
    HilbertEncoder,
)
ENCODERS: Mapping[str, type[Encoder]] = {each.kind: each for each in _ENCODERS}
"""Every encoder by the kind that settings name."""


def encoder_from(settings: Mapping[str, Any]) -> Encoder:
    """The encoder whose ``settings()`` these are, also after a way through a file. Raises ``ValueError`` otherwise."""
    kind = settings.get("kind")
    if isinstance(kind, bytes):
        kind = kind.decode("utf8", "replace")
    if not isinstance(kind, str) or kind not in ENCODERS:
        raise ValueError(f"kind of an encoder must be one of {', '.join(ENCODERS)}, not {shown(kind)}")
    return ENCODERS[kind].from_settings(settings)


def _setting(text: str) -> Any:
    """A number, a row of numbers with colons between them, or a text."""
    for convert in (int, float):
        try:
            found = [convert(part) for part in text.split(":")]
        except ValueError:
            continue
        return tuple(found) if len(found) > 1 else found[0]
    return text


def encoder_from_text(text: str) -> Encoder:
    """The encoder of ``kind:setting=value,...``, such as ``latency:steps=8,bits=4``; rows of numbers are ``3:4:5``.

    Raises ``ValueError`` if the text is no such settings.
    """
    kind, _, rest = text.partition(":")
    settings: dict[str, Any] = {"kind": kind}
    for part in rest.split(",") if rest else ():
        name, equals, value = part.partition("=")
        if not equals or not name or name in settings:
            raise ValueError(
                "encoder must be KIND:NAME=VALUE,..., such as latency:steps=8,bits=4, with each name once, "
                f"not {shown(text)}"
            )
        settings[name] = _setting(value)
    return encoder_from(settings)
