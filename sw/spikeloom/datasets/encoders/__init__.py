"""Spike encoders and decoders: all coding schemes behind one interface, in integers. Only NumPy is needed.

`docs/encoders.md` has the formulas, worked examples and the cost of sharing one shift register;
`docs/encoders-compared.md` compares the codes and says which one to choose.
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
from spikeloom.datasets.encoders.direct import DirectEncoder
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
    "DirectEncoder",
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
    DirectEncoder,
    HilbertEncoder,
)
ENCODERS: Mapping[str, type[Encoder]] = {each.kind: each for each in _ENCODERS}
"""Encoder classes by ``kind``, the name used in settings."""


def encoder_from(settings: Mapping[str, Any]) -> Encoder:
    """Return the encoder with these ``settings()``, also if they come from a file.

    Raises ``ValueError`` if they are not the settings of an encoder.
    """
    kind = settings.get("kind")
    if isinstance(kind, bytes):
        kind = kind.decode("utf8", "replace")
    if not isinstance(kind, str) or kind not in ENCODERS:
        raise ValueError(f"kind of an encoder must be one of {', '.join(ENCODERS)}, not {shown(kind)}")
    return ENCODERS[kind].from_settings(settings)


def _setting(text: str) -> Any:
    """Parse a number, a list of numbers separated by colons, or a text."""
    for convert in (int, float):
        try:
            found = [convert(part) for part in text.split(":")]
        except ValueError:
            continue
        return tuple(found) if len(found) > 1 else found[0]
    return text


def encoder_from_text(text: str) -> Encoder:
    """Parse ``kind:setting=value,...``, such as ``latency:steps=8,bits=4``; a list of numbers is ``3:4:5``.

    Raises ``ValueError`` for other texts and for invalid settings.
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
