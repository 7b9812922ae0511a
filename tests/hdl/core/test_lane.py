"""One lane against the recurrence: all next states of neurons in arbitrary states, for every neuron model."""

import dataclasses

import numpy as np
import pytest
from harness.lane import EVERYTHING, LEAKS, NEEDED, PLAIN, LaneBench, check_lane
from harness.networks import rng_of

from spikeloom.hdl.core.lane import LaneTiming, NeuronLane
from spikeloom.sim.core.features import PER_NEURON
from spikeloom.sim.core.neuron import Leak, Reset, signed_range


@pytest.mark.parametrize("own", [False, True], ids=["per-population", "per-neuron"])
@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("feature", ["plain", *EVERYTHING, "everything"])
def test_models(request, feature, leak, own):
    rng = rng_of(request.node.name)
    changes = EVERYTHING if feature == "everything" else {}
    if feature in EVERYTHING:
        changes = {feature: EVERYTHING[feature], **NEEDED.get(feature, {})}
    core = dataclasses.replace(PLAIN, **LEAKS[leak], **changes, per_neuron=frozenset(PER_NEURON if own else ()))
    bench = LaneBench(NeuronLane(core))
    checks = [check_lane(bench, rng, wide=case % 2 == 1, fresh=case % 5 == 4) for case in range(10)]
    spikes = sum(int(check.spikes.sum()) for check in checks)
    assert 0 < spikes < sum(check.spikes.size for check in checks)


def cores(rng):
    """Random cores with any of the features, at widths from the narrowest to the widest."""
    while True:
        # Few neurons of a core reset to a value, so that most cores can do it.
        chance = dict.fromkeys(EVERYTHING, 0.5) | {"reset_value": 0.8}
        features = {name: value for name, value in EVERYTHING.items() if rng.random() < chance[name]}
        features.pop("count_width", None)
        if "value_width" in features:
            features["count_width"] = int(rng.choice([0, 2, 3, 4]))
        v_width = int(rng.choice([8, 9, 16, 24]))
        yield dataclasses.replace(
            PLAIN,
            **features,
            v_width=v_width,
            accumulator_width=int(rng.choice([8, v_width, 32])),
            beta_fraction=int(rng.choice([1, 8, 14, 20])),
            **({} if rng.random() < 0.5 else {"multiplier": False, "shifts": (2, 0, v_width - 1)}),
            per_neuron=frozenset(name for name in PER_NEURON if rng.random() < 0.5),
        )


@pytest.mark.parametrize("part", [0, 1, *(pytest.param(part, marks=pytest.mark.slow) for part in range(2, 6))])
def test_random_cores_and_extreme_values(request, part):
    rng = rng_of(request.node.name)
    seen = dict.fromkeys(
        (
            *("spikes", "holding", "saturated high", "saturated low", "pending", "subtract", "value", "noise", "line"),
            *("second", "count of the most", "count below the most", "rest not reached"),
            *("bound", "bound after a reset", "bound below saturation"),
        ),
        0,
    )
    for _, core in zip(range(40), cores(rng), strict=False):
        check = check_lane(LaneBench(NeuronLane(core)), rng, wide=rng.random() < 0.6, fresh=rng.random() < 0.1)
        p, (low, high) = check.parameters, signed_range(core.v_width)
        fired = check.spikes.any()
        seen["spikes"] += check.spikes.sum()
        seen["holding"] += (check.before.refractory_count > 0).sum()
        seen["saturated high"] += (check.after.v == high).sum()
        seen["saturated low"] += (check.after.v == low).sum()
        seen["pending"] += (check.before.pending > 0).sum()
        seen["subtract"] += p.reset is Reset.SUBTRACT and not p.reset_delay and fired
        seen["value"] += p.reset is Reset.VALUE and fired
        seen["noise"] += p.noise_bits > 0
        seen["line"] += p.delay_line
        if p.max_spikes > 1:
            seen["count of the most"] += (check.values == p.max_spikes).sum()
            seen["count below the most"] += ((check.values > 1) & (check.values < p.max_spikes)).sum()
            # An even count below the maximum, after which the comparison with the threshold itself fails.
            seen["rest not reached"] += ((check.values % 2 == 0) & (check.values > 0)).sum()
        if p.lower_bound is not None:
            at_bound = check.after.v == p.lower_bound
            seen["bound"] += at_bound.sum()
            seen["bound after a reset"] += (at_bound & (check.spikes > 0)).sum()
            seen["bound below saturation"] += (np.asarray(p.lower_bound) == low).sum()
        seen["second"] += p.second_threshold and (check.before.v > p.threshold).any()
    assert not [name for name, times in seen.items() if not times]


@pytest.mark.parametrize("feature", ["plain", "reset_value", "adaptation", "noise_bits"])
def test_intermediate_values_take_every_bit(request, feature):
    """Membrane, input and threshold at the ends of equal ranges, so that their sums need the widths they have."""
    rng = rng_of(request.node.name)
    more = {feature: EVERYTHING[feature]} if feature != "plain" else {}
    core = dataclasses.replace(
        PLAIN, **LEAKS["none"], accumulator_width=PLAIN.v_width, per_neuron=frozenset(PER_NEURON), **more
    )
    bench, widest = LaneBench(NeuronLane(core)), 0
    low, high = signed_range(core.v_width)
    for _ in range(8):
        check = check_lane(bench, rng, size=250, wide=True)
        extreme = (check.before.v == high) & (np.asarray(check.parameters.threshold) == low) & (check.spikes > 0)
        widest += extreme.sum() * (check.parameters.reset is not Reset.NONE)
    assert widest > 5


def test_every_leak_is_reached():
    rng = rng_of("test_every_leak_is_reached")
    core = dataclasses.replace(PLAIN, synaptic_current=True, adaptation=True)
    bench = LaneBench(NeuronLane(core))
    kinds = set()
    for _ in range(20):
        p = check_lane(bench, rng, size=4).parameters
        kinds |= {("leak", p.leak), ("current", p.current_leak), ("adaptation", p.adaptation_leak)}
    some = {Leak.NONE, Leak.SHIFT, Leak.MULTIPLY}
    expected = {("leak", kind) for kind in Leak} | {("current", kind) for kind in some | {None}}
    assert kinds == expected | {("adaptation", kind) for kind in some | {None}}


def test_latency():
    """A plain neuron takes four cycles, five with a multiplier; a term with its own addition takes one more, and each
    multiple of the threshold takes two."""
    latency = {
        name: LaneTiming.of(dataclasses.replace(PLAIN, **{name: value}, **NEEDED.get(name, {}))).latency
        for name, value in EVERYTHING.items()
    }
    assert LaneTiming.of(dataclasses.replace(PLAIN, **LEAKS["shift"])).latency == 4
    assert LaneTiming.of(PLAIN).latency == 5
    assert LaneTiming.of(dataclasses.replace(PLAIN, adaptation=True, lower_bound=True)).latency == 6
    assert latency == dict.fromkeys(EVERYTHING, 5) | {
        "reset_delay": 6,
        "refractory_width": 6,
        "synaptic_current": 6,
        "adaptation": 6,
        "noise_bits": 6,
        "count_width": 11,
        "lower_bound": 6,
    }


def test_intermediate_values_reach_their_widths():
    """The widths are minimal: the extremes of the stored values need all bits of the sums."""
    core = dataclasses.replace(PLAIN, **EVERYTHING)
    low, high = signed_range(core.v_width)
    least, most = signed_range(core.accumulator_width)
    drive = (2 * low + least, 2 * high + most)
    base = (low - high, high - low)
    u = (base[0] + drive[0], base[1] + drive[1])
    difference = (u[0] - 2 * high, u[1] - 2 * low)
    noise = signed_range(core.noise_bits)
    compared = (difference[0] + noise[0], difference[1] + noise[1])
    bounds = {"base": base, "drive": drive, "u": u, "difference": difference, "compared": compared}
    for name, (smallest, greatest) in bounds.items():
        wide_low, wide_high = signed_range(getattr(core.update_widths, name))
        assert wide_low <= smallest <= greatest <= wide_high, name
