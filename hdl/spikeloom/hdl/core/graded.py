"""The value of a spike or membrane packet, computed from the output of a lane.

In a core with graded spikes the lanes output the exact ``u``. Shift and saturation are done once, where neurons are
sent one at a time, instead of in each lane, and take two cycles::

    shifted = u >> graded_shift, or u for a membrane
    value   = saturate(shifted, value_width), or saturate(u, v_width) for a membrane, or 1 for any other spike
"""

from amaranth.hdl import Cat, Mux, Shape, Value
from amaranth.lib import data

from spikeloom.sim.core.parameters import CoreParameters

__all__ = ["overflows", "saturated", "shifted_value", "spike_value", "value_shape"]


def value_shape(parameters: CoreParameters) -> Shape:
    """Shape of the value of an event; zero bits in a core without graded spikes."""
    return Shape(parameters.value_width, signed=parameters.value_width > 0)


def overflows(value: Value, width: int) -> Value:
    """Whether the signed ``value`` does not fit in ``width`` bits."""
    # It fits if all bits from the sign of the narrow value upwards are equal.
    top = value[width - 1 :]
    return top.any() & ~top.all()


def saturated(value: Value, width: int) -> Value:
    """The signed ``value`` clamped to ``width`` bits."""
    # The sign is right in either case. The largest value has ones below it, the smallest one zeros: its inverse.
    low = Mux(overflows(value, width), (~value[-1]).replicate(width - 1), value[: width - 1])
    return Cat(low, value[-1]).as_signed()


def shifted_value(rule: data.View, sent: Value) -> Value:
    """The signed ``sent``, shifted right by ``graded_shift`` if its population is graded."""
    return Mux(rule.graded, sent >> rule.graded_shift, sent)


def spike_value(parameters: CoreParameters, rule: data.View, shifted: Value) -> Value:
    """The value of the packet, computed from a `shifted_value`."""
    membrane = saturated(shifted, parameters.v_width)
    value = Mux(rule.graded, saturated(shifted, parameters.value_width), 1)
    return Mux(rule.readout, membrane, value) if parameters.readout else value
