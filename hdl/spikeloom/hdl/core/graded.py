"""The value that goes with a spike or a membrane, from what a lane hands on.

In a core with graded spikes the lanes hand on the exact ``u``, and shift and saturation are done once, where neurons
are sent one at a time, instead of in each lane. That takes two cycles::

    shifted = u >> graded_shift, or u for a membrane
    value   = saturate(shifted, value_width), or saturate(u, v_width) for a membrane, or 1 for any other spike
"""

from amaranth.hdl import Cat, Mux, Shape, Value
from amaranth.lib import data

from spikeloom.sim.core.parameters import CoreParameters

__all__ = ["overflows", "saturated", "shifted_value", "spike_value", "value_shape"]


def value_shape(parameters: CoreParameters) -> Shape:
    """Of the value of an event; without bits where there are no graded spikes."""
    return Shape(parameters.value_width, signed=parameters.value_width > 0)


def overflows(value: Value, width: int) -> Value:
    """Whether the signed ``value`` is not one of ``width`` bits."""
    top = value[width - 1 :]
    return top.any() & ~top.all()


def saturated(value: Value, width: int) -> Value:
    """The signed ``value`` clamped to ``width`` bits."""
    low = Mux(overflows(value, width), (~value[-1]).replicate(width - 1), value[: width - 1])
    return Cat(low, value[-1]).as_signed()


def shifted_value(rule: data.View, sent: Value) -> Value:
    """``sent``, signed, shifted as the rule of its population says."""
    return Mux(rule.graded, sent >> rule.graded_shift, sent)


def spike_value(parameters: CoreParameters, rule: data.View, shifted: Value) -> Value:
    """The value, from a `shifted_value`."""
    membrane = saturated(shifted, parameters.v_width)
    value = Mux(rule.graded, saturated(shifted, parameters.value_width), 1)
    return Mux(rule.readout, membrane, value) if parameters.readout else value
