"""Units between populations: their permitted sources, and the members that a subclass must define."""

import numpy as np
import pytest
from harness.chains import Gate, connection, network, relay

from spikeloom.sim.network.population import INPUT
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.network.unit import QuantisedUnit

RELAYS = [relay("a"), relay("b")]


def gated(*sources, **options):
    """The input fires ``a``; a gate of ``sources`` fires ``b``."""
    unit = Gate("gate", sources, **options)
    return network(RELAYS, [connection(INPUT, "a"), connection("gate", "b")], units=(unit,))


@pytest.mark.parametrize("sources", [(INPUT,), ("a",), ("a", INPUT)])
def test_sources_are_populations_and_the_input(sources):
    assert gated(*sources).readers(sources[0])[0].name == "gate"


@pytest.mark.parametrize(
    ("sources", "named"), [(("x",), "x"), (("a", "gate"), "gate"), (("", "x"), "")], ids=["unknown", "itself", "empty"]
)
def test_other_sources_are_refused(sources, named):
    with pytest.raises(ValueError, match=rf"^sources of 'gate' must be out of \['input', 'a', 'b'\], not '{named}'$"):
        gated(*sources)


def test_a_unit_fires_in_the_step_of_its_sources():
    spikes = np.array([1, 0, 0, 1])[:, None]
    fired = simulate(gated("a"), spikes).spikes
    assert fired["b"][:, 0, 0].tolist() == [True, False, False, True]


def test_every_run_begins_anew():
    """The state of a unit lasts from one call of ``begin`` to the next."""
    net = gated("a", alternates=True)
    first, again = (simulate(net, np.zeros((3, 2, 1))).spikes["b"] for _ in range(2))
    assert first[:, 0, 0].tolist() == [False, True, False]
    assert np.array_equal(first, again)


@pytest.mark.parametrize("left_out", ["size", "sources", "needs", "begin"])
def test_a_unit_must_say_all_of_it(left_out):
    members = {"size": 1, "sources": (INPUT,), "needs": "a tile", "begin": lambda self, steps, samples: None}
    whole = type("Whole", (QuantisedUnit,), members)()
    assert whole.check({}, 1) is None
    del members[left_out]
    with pytest.raises(TypeError, match=f"abstract method '?{left_out}"):
        type("Part", (QuantisedUnit,), members)()
