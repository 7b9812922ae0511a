"""Phase code by Hilbert transform, for microphone arrays.

S. Haghighatshoar and D. R. Muir, Low-power SNN-based audio source localisation using a Hilbert transform spike encoding
scheme, 2024 (arXiv 2402.11748): spikes at robust zero crossings of the analytic signal of each microphone. The spikes
preserve the phase of the wave at each microphone, and the phase differences contain the direction of the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.encoders.checks import integer, one_of
from spikeloom.datasets.encoders.interface import SignalEncoder, Spikes, Values

__all__ = ["HilbertEncoder", "hilbert_taps"]

_TAP_BITS = 7  # fraction bits of a tap


@lru_cache(maxsize=16)
def hilbert_taps(half: int) -> tuple[int, ...]:
    """Return the taps 1, 3, 5, ... of a Hilbert transformer of ``2 * half + 1`` taps, times 128.

    ``round(128 * 2 / (pi * n) * w(n))`` with a Hamming window ``w``; even taps are 0, and tap ``-n`` is minus tap
    ``n``.
    """
    integer("half", half, 1, 512)
    place = np.arange(1, half + 1, 2)
    window = 0.54 + 0.46 * np.cos(np.pi * place / half)
    return tuple(np.rint((1 << _TAP_BITS) * 2 / (np.pi * place) * window).astype(int).tolist())


def _windowed(values: NDArray[Any], width: int) -> NDArray[Any]:
    """Return the maximum of each ``width`` consecutive values; the result is ``width - 1`` values shorter."""
    # Each pass combines two windows and so at most doubles their width: log2(width) passes.
    reach, largest = 1, values
    while reach < width:
        step = min(reach, width - reach)
        largest = np.maximum(largest[: len(largest) - step], largest[step:])
        reach += step
    return largest


def _peaks(sums: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """Return where a sum is the largest within ``width`` steps before and after, and the first of equal ones."""
    least = np.iinfo(sums.dtype).min
    padding = np.full((width, *sums.shape[1:]), least, sums.dtype)
    padded = np.concatenate([padding, sums, padding])
    around = _windowed(padded, width)  # around[t] covers padded[t : t + width]
    time = len(sums)
    before, after = around[:time], around[width + 1 : width + 1 + time]
    found = (sums > before) & (sums >= after)
    # A sum may be largest at an end only because the series ends there: that is no crossing.
    found[0] = found[-1] = False
    return found


@dataclass(frozen=True, kw_only=True)
class HilbertEncoder(SignalEncoder):
    """Spikes at four phases of the analytic signal of each channel, a quarter turn apart.

    In-phase signal ``i[t] = x[t - half]``, quadrature ``q[t] = sum over odd n of h[n] * x[t - half - n]``, with
    ``hilbert_taps``; samples before the series are 0. The running sum ``s[t] = x[0] + ... + x[t]`` of a signal has a
    maximum where the signal falls through zero, and a minimum where it rises. Only sums that are extreme within
    ``width`` steps before and after count (the first of equal sums), which makes the crossings robust against noise.
    The four lines of a channel are the phases of a wave ``cos(phase)``:

    | line | phase | event |
    |---|---|---|
    | 0 | 0 | ``q`` rises |
    | 1 | a quarter turn | ``i`` falls |
    | 2 | a half turn | ``q`` falls |
    | 3 | three quarters | ``i`` rises |

    With ``edges="falling"`` only lines 1 and 2 exist. Whether there is a spike at ``t`` is known ``width`` steps later.

    Decoder (only with ``edges="both"``): the phase in eighths of a turn, as the middle of the quarter that the last
    spike began; -1 before the first spike. For a wave of a single frequency in the passband of the filter, the error is
    at most one eighth, plus a delay of up to two steps from sampling and rounding.

    Parameters
    ----------
    half
        The filter has ``2 * half + 1`` taps; 1 to 512. A series must have at least as many samples.
    width
        Steps before and after a crossing, 1 to 4096: less than half a period of the highest frequency.
    edges
        "both" or "falling", as above.
    """

    kind: ClassVar[str] = "hilbert"

    half: int
    width: int
    edges: str = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("half", self.half, 1, 512)
        integer("width", self.width, 1, 4096)
        one_of("edges", self.edges, ("both", "falling"))

    @property
    def lines(self) -> int:
        """One per phase."""
        return 4 if self.edges == "both" else 2

    def quadrature(self, levels: Values) -> tuple[NDArray[np.signedinteger], NDArray[np.signedinteger]]:
        """Return the in-phase and quadrature signals ``(T, B, channels)`` of ``levels``, the latter times 128.

        Raises ``ValueError`` if the series is shorter than the filter.
        """
        time, length = len(levels), 2 * self.half + 1
        if time < length:
            raise ValueError(f"series must have at least as many samples as the filter has taps, {length}, not {time}")
        # The taps of one side add up to at most 256, and differences of two small levels are below 2**21: they fit 32
        # bits, which are faster.
        kind = np.int32 if np.abs(levels).max() < 1 << 20 else np.int64
        padded = np.concatenate([np.zeros((2 * self.half, *levels.shape[1:]), kind), levels.astype(kind)])
        quadrature = np.zeros(levels.shape, kind)
        for index, tap in enumerate(hilbert_taps(self.half)):
            # The filter is antisymmetric: one product serves tap n and tap -n.
            early, late = self.half - 1 - 2 * index, self.half + 1 + 2 * index
            quadrature += kind(tap) * (padded[early : early + time] - padded[late : late + time])
        return padded[self.half : self.half + time], quadrature

    def _encode(self, levels: Values) -> Spikes:
        in_phase, quadrature = self.quadrature(levels)
        i, q = (np.cumsum(each, axis=0, dtype=np.int64) for each in (in_phase, quadrature))
        both = self.edges == "both"
        # A rising zero crossing is a minimum of the running sum, and so a peak of its negative.
        found = [_peaks(-q, self.width)] * both + [_peaks(i, self.width), _peaks(q, self.width)]
        found += [_peaks(-i, self.width)] * both
        return np.stack(found, axis=-1).reshape(*levels.shape[:2], -1)

    def _decode(self, spikes: NDArray[Any], start: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.edges != "both":
            raise ValueError("edges must be 'both' for a phase to be decoded, not 'falling'")
        lines = spikes.reshape(*spikes.shape[:2], -1, 4)
        when = np.where(lines.any(axis=-1), np.arange(len(lines))[:, None, None], -1)
        last = np.maximum.accumulate(when, axis=0)
        line = np.take_along_axis(lines.argmax(axis=-1), np.maximum(last, 0), axis=0)
        return np.where(last >= 0, 2 * line + 1, -1)
