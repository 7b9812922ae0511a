"""Driver functions for the units of the bridge: encoder settings, image messages, and answers of the readout.

`Board.classify` combines them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.datasets.encoders import Encoder, RateEncoder
from spikeloom.datasets.encoders.direct import DirectEncoder
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.encoder import EncoderMode, EncoderParameters, EncoderSettings
from spikeloom.sim.host.messages import Messages
from spikeloom.sim.host.readout import ReadoutMode, ReadoutParameters
from spikeloom.sim.lib.words import bits_for

__all__ = [
    "AnswerCollector",
    "Answers",
    "UnitError",
    "check_score",
    "encoder_settings",
    "hold_settings",
    "readout_registers",
    "with_units",
]

_REMEDY = "spikeloom bitstream NETWORK --units builds one"


class UnitError(ValueError):
    """The units of a fabric do not support the request. The message is one sentence."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """``classes`` ``(B,)``: answer of each sample. ``scores`` ``(B, n)``: score of each output, None unless
    requested."""

    classes: NDArray[np.int64]
    scores: NDArray[np.int64] | None


def with_units(
    fabric: FabricConfig, encoders: Sequence[Encoder] = (), *, inputs: int = 0, outputs: int = 0
) -> FabricConfig:
    """Return ``fabric`` with an encoder for images of ``inputs`` pixels and a readout for ``outputs`` outputs.

    The encoder supports all those of ``encoders`` that the hardware can implement; without any, it is the default
    encoder. It can hold an input if one of them presents the same in every step. Raises `UnitError` if a single encoder
    cannot support all of them.
    """
    usual = EncoderParameters()
    hold = any(isinstance(encoder, DirectEncoder) for encoder in encoders)
    encoders = [encoder for encoder in encoders if encoder.on_chip]
    registers = {(encoder.bits, encoder.lfsr.width) for encoder in encoders if isinstance(encoder, RateEncoder)}
    bits = max((encoder.bits for encoder in encoders), default=usual.bits)
    if len(registers) > 1 or any(bits != rate_bits for rate_bits, _ in registers):
        raise UnitError(
            "the encoders of all networks must have the same bits and shift register to share one on the board"
        )
    lfsr_width = max([usual.lfsr_width] * (not registers) + [width for _, width in registers])
    steps = max((encoder.steps for encoder in encoders), default=usual.steps)
    return replace(
        fabric,
        encoder=EncoderParameters(
            pixels=_power_of_two(inputs or usual.pixels),
            bits=bits,
            steps=_power_of_two(steps),
            lfsr_width=lfsr_width,
            hold=hold,
        ),
        readout=ReadoutParameters(outputs=_power_of_two(outputs or ReadoutParameters().outputs)),
    )


def _power_of_two(least: int) -> int:
    """Return the smallest power of two that is at least ``least`` and at least 2."""
    return 1 << bits_for(least)


def encoder_settings(encoder: Encoder, parameters: EncoderParameters | None, input_axons: ArrayLike) -> EncoderSettings:
    """Return the settings with which the board's encoder equals ``encoder``. Raises `UnitError` if there are none.

    ``input_axons`` ``(n,)`` are the axons of the input lines.
    """
    if parameters is None:
        raise UnitError(f"the fabric must have an encoder to encode images on the board; {_REMEDY}")
    if not encoder.on_chip:
        raise UnitError(
            "the encoder must be rate, or latency with the curve 'floor', with integer settings, to run on the board, "
            f"not {encoder.kind}: encode on the host"
        )
    axons = np.asarray(input_axons)
    if (axons != np.arange(len(axons))).any():
        raise UnitError("the inputs must have axons 0, 1, 2, ... to be encoded on the board")
    if len(axons) > parameters.pixels:
        raise UnitError(f"the encoder of the fabric must hold {len(axons):,} pixels, not {parameters.pixels:,}")
    if isinstance(encoder, RateEncoder):
        if (encoder.bits, encoder.lfsr.width) != (parameters.bits, parameters.lfsr_width):
            raise UnitError(
                f"the encoder of the fabric must have {encoder.bits} bits and a shift register of "
                f"{encoder.lfsr.width}, not {parameters.bits} and {parameters.lfsr_width}"
            )
        return EncoderSettings(mode=EncoderMode.RATE, pixels=len(axons), steps=encoder.steps, seed=encoder.lfsr.seed)
    if encoder.bits > parameters.bits:
        raise UnitError(f"the encoder of the fabric must have {encoder.bits} bits, not {parameters.bits}")
    if encoder.steps > parameters.steps:
        raise UnitError(f"the encoder of the fabric must have {encoder.steps} steps, not {parameters.steps}")
    stride = 1 << (parameters.bits - encoder.bits)
    return EncoderSettings(mode=EncoderMode.LATENCY, pixels=len(axons), steps=encoder.steps, stride=stride)


def hold_settings(
    values: NDArray[np.int64], parameters: EncoderParameters | None, input_axons: ArrayLike
) -> EncoderSettings | None:
    """Return the settings with which the board repeats ``values`` ``(T, B, n)`` of one step, so that a sample is sent
    once; None if they are not the same in every step, or the encoder of the fabric cannot do it."""
    # Axons that no input has hold nothing.
    steps, pixels = len(values), int(np.max(input_axons)) + 1
    if parameters is None or not parameters.hold or not 1 < steps <= 1 << 16 or pixels > parameters.pixels:
        return None
    if (values[1:] != values[0]).any():
        return None
    return EncoderSettings(mode=EncoderMode.HOLD, pixels=pixels, steps=steps)


def check_score(mode: ReadoutMode, *, membranes: bool) -> None:
    """Raise `UnitError` if an output population that sends spikes or, with ``membranes``, membranes has no score of
    ``mode``."""
    if membranes != (mode >= ReadoutMode.LAST):
        has, wants = ("membranes", "spikes") if membranes else ("spikes", "membranes")
        raise UnitError(f"readout {mode.name} needs an output population that sends {wants}, but this one sends {has}")


def readout_registers(
    mode: ReadoutMode,
    parameters: ReadoutParameters | None,
    output_axons: ArrayLike,
    *,
    membranes: bool,
    counted: bool,
    vector: bool,
) -> dict[str, int]:
    """Return the values of the bridge registers for a readout by ``mode``; raise `UnitError` if it is impossible.

    ``output_axons`` ``(n,)`` are the axons of the output population; ``membranes`` tells whether it sends membranes,
    ``counted`` whether its events have numbers of spikes as values, and ``vector`` whether the scores of all outputs
    are sent as well.
    """
    if parameters is None:
        raise UnitError(f"the fabric must have a readout to answer on the board; {_REMEDY}")
    axons = np.asarray(output_axons)
    if (axons != axons[0] + np.arange(len(axons))).any():
        raise UnitError("the outputs must have consecutive axons to be read out on the board")
    if len(axons) > parameters.outputs:
        raise UnitError(f"the readout of the fabric must hold {len(axons):,} outputs, not {parameters.outputs:,}")
    check_score(mode, membranes=membranes)
    return {
        "readout_mode": mode.of_unit(counted=counted),
        "readout_vector": int(vector),
        "readout_outputs": len(axons) - 1,
        "readout_first": int(axons[0]),
    }


class AnswerCollector:
    """Collect the answers of ``samples`` samples with ``outputs`` outputs, as `StepCollector` collects spikes.

    Raises ``ValueError`` for messages that a readout cannot send.
    """

    def __init__(self, outputs: int, first_axon: int, samples: int, *, vector: bool, first: int) -> None:
        self._outputs, self._first_axon, self._samples = outputs, first_axon, samples
        self._vector, self._first = vector, first
        self._received = 0
        self._axons: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.int64]] = []
        self.done = 0
        """Number of completed samples."""
        self.total = f"{samples} samples"

    @property
    def complete(self) -> bool:
        """Whether all samples have been answered."""
        return self.done >= self._samples

    def take(self, messages: Messages) -> None:
        """Take the values of ``messages``, which arrive in sample order with the same number for each sample."""
        if messages.spike_step.size or messages.reads or not messages.ticks.all():
            raise ValueError("unexpected message from the board, expected answers of the readout only")
        each = 1 + self._outputs * self._vector
        wanted = self._first + (self._received + np.arange(len(messages.value))) // each
        if (messages.value_step != wanted).any():
            raise ValueError(f"unexpected number of values for a sample, expected {each}")
        self._received += len(messages.value)
        self._axons.append(messages.value_axon)
        self._values.append(messages.value)
        self.done += len(messages.ticks)

    def result(self) -> Answers:
        """Return all answers. Raises ``ValueError`` if some are missing or invalid."""
        each = 1 + self._outputs * self._vector
        axons, values = np.concatenate(self._axons), np.concatenate(self._values)
        if len(axons) != each * self._samples or self.done != self._samples:
            raise ValueError(f"incomplete answers, expected {self._samples} samples with {each} values each")
        axons, values = axons.reshape(-1, each), values.reshape(-1, each)
        classes = axons[:, -1]
        vectors = self._first_axon + np.arange(each - 1)
        if (axons[:, :-1] != vectors).any() or (classes >= self._outputs).any():
            raise ValueError("the board has answered with an unknown output")
        return Answers(classes=classes.copy(), scores=values[:, :-1].copy() if self._vector else None)
