"""Step equations of the frameworks that write NIR files: time steps, gains and rules that the files do not contain.

NIR describes neurons in continuous time: ``tau dv/dt = v_leak - v + r I``, or ``dv/dt = r I`` for IF. One step of
length ``dt`` is ``v = beta v + bias + gain I`` with the table below. A synaptic current, ``tau_syn dI/dt = -I + w_in
S``, is stepped likewise, ``I = alpha I + synapse_gain S``, before the membrane, which takes the new ``I``::

    Euler         beta = 1 - dt / tau         gain = r dt / tau         bias = v_leak dt / tau
    exponential   beta = exp(-dt / tau)       gain = r (1 - beta)       bias = v_leak (1 - beta)
    IF, I         beta = 1                    gain = r dt               bias = 0
    synapse       alpha = 1 - dt / tau_syn    synapse_gain = w_in dt / tau_syn
    exponential   alpha = exp(-dt / tau_syn)  synapse_gain = w_in (1 - alpha)

Some frameworks write an ``r`` that differs from the gain they use themselves; their presets define the true gain.
`docs/loading.md` shows the step equation of every preset and its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from spikeloom.sim.core.neuron import Compare, Reset

__all__ = ["PRESETS", "Discretisation", "Gain", "Preset", "TimeUnit"]


class Discretisation(Enum):
    """Discretisation of continuous time; the equations are in the docstring of this module."""

    EULER = "euler"
    EXPONENTIAL = "exponential"


class TimeUnit(Enum):
    """Unit of the number in ``tau``."""

    SECONDS = "seconds"
    STEPS = "steps"
    SECONDS_TIMES_STEP = "seconds times the step in seconds"


class Gain(Enum):
    """Contribution of one step to the membrane for a current ``I`` that lasts the step.

    For a synapse: contribution of one step to the current for its spikes ``S``, with ``w_in`` in place of ``r`` and
    ``alpha`` in place of ``beta``.
    """

    NIR = "r dt/tau, r (1 - beta) or, for IF, r dt"
    R = "r"
    ONE = "1"
    BETA = "beta"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Conventions of a framework that its NIR files do not contain.

    ``time_step_s`` None means that it must be given. ``reset`` None means a reset to ``v_reset``, as in NIR's equation.
    ``r_ratio`` is the ``r dt/tau`` known to be written by the exporter if its own gain does not depend on ``r``: a file
    with another ratio is refused, and likewise, for a ``synapse_gain`` of 1, a ``w_in dt/tau_syn`` other than 1.
    ``lost`` names the options that the exporter does not write, so that the preset's value is an assumption;
    ``caveats`` holds sentences about other differences, one tuple per kind of node; ``unseen`` those about the whole
    file. ``start`` names the parameter at which membranes start, if not at 0. ``norm_input`` holds, for a framework
    with this option, its default by kind of node: True for a gain of 1 - beta, False for 1. ``r_is_beta`` tells that
    the exporter writes the decay factor as ``r``, which is checked. Kinds of node in ``reset_at_once`` have reset delay
    0. With ``several``, neurons of the framework can fire several times per step, which its exporter does not write.
    ``bound`` is the framework's name of the lower bound of membranes, which its exporter does not write either.
    With ``late``, neurons compare the membrane of the previous step, so that each population adds a step:
    connections between populations have delay 1, and the last step of the framework is one later than here.
    """

    title: str
    time_step_s: float | None = None
    tau_unit: TimeUnit = TimeUnit.SECONDS
    discretisation: Discretisation = Discretisation.EULER
    lif_gain: Gain = Gain.NIR
    li_gain: Gain = Gain.NIR
    if_gain: Gain = Gain.NIR
    synapse_gain: Gain = Gain.NIR
    r_ratio: Gain | None = None
    compare: Compare = Compare.GREATER
    reset: Reset | None = None
    reset_delay: int = 0
    lost: tuple[str, ...] = ()
    caveats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    start: str | None = None
    norm_input: Mapping[str, bool] = field(default_factory=dict)
    r_is_beta: bool = False
    reset_at_once: tuple[str, ...] = ()
    several: bool = False
    bound: str = ""
    late: bool = False


PRESETS: Mapping[str, Preset] = {
    "nir": Preset(title="NIR"),
    "snntorch": Preset(
        title="snnTorch",
        time_step_s=1e-4,
        lif_gain=Gain.ONE,
        synapse_gain=Gain.ONE,
        r_ratio=Gain.ONE,
        reset=Reset.SUBTRACT,
        reset_delay=1,
        lost=("reset", "reset_delay"),
        unseen=("snnTorch does not export inhibition and graded_spikes_factor, so neither is applied",),
    ),
    "norse": Preset(
        title="Norse",
        time_step_s=1e-3,
        tau_unit=TimeUnit.SECONDS_TIMES_STEP,
        if_gain=Gain.R,
        synapse_gain=Gain.R,
        caveats={
            "CubaLIF": ("Norse does not export v_reset; that of the file is taken",),
            "LIF": ("Norse does not export v_reset and reset_method; a reset to the file's v_reset is assumed",),
            "IF": ("Norse does not export v_reset, at which membranes start; that of the file is taken",),
        },
        start="v_leak",
    ),
    "spikingjelly": Preset(title="SpikingJelly", time_step_s=1e-4, compare=Compare.GREATER_EQUAL, start="v_reset"),
    "sinabs": Preset(
        title="sinabs",
        time_step_s=1e-3,
        tau_unit=TimeUnit.STEPS,
        discretisation=Discretisation.EXPONENTIAL,
        if_gain=Gain.R,
        compare=Compare.GREATER_EQUAL,
        reset=Reset.SUBTRACT,
        lost=("reset",),
        several=True,
        bound="min_v_mem",
        unseen=("sinabs does not export tau_syn, so it is not applied",),
        norm_input={"LIF": True, "LI": False},
    ),
    "rockpool": Preset(
        title="Rockpool",
        time_step_s=1e-3,
        discretisation=Discretisation.EXPONENTIAL,
        lif_gain=Gain.ONE,
        li_gain=Gain.BETA,
        synapse_gain=Gain.BETA,
        r_ratio=Gain.BETA,
        compare=Compare.GREATER_EQUAL,
        reset=Reset.SUBTRACT,
        caveats={
            "LIF": ("Rockpool does not export the neuron's own bias",),
            "CubaLIF": ("Rockpool does not export the neuron's own bias",),
        },
        several=True,
        unseen=("Rockpool does not export the weights w_rec of recurrent layers, so none are applied",),
    ),
    "spyx": Preset(
        title="Spyx",
        time_step_s=1.0,
        lif_gain=Gain.ONE,
        if_gain=Gain.ONE,
        synapse_gain=Gain.R,
        r_is_beta=True,
        reset=Reset.SUBTRACT,
        reset_delay=1,
        reset_at_once=("CubaLIF",),
        late=True,
        unseen=(
            "neurons of Spyx fire one step after their membrane exceeds the threshold: spikes of all populations come "
            "one step earlier here",
            "Spyx does not export ALIF and LI, so none are applied",
        ),
    ),
}
"""Presets by name; `docs/loading.md` shows the step equations and their sources."""
