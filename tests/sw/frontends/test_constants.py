"""Constants that reach a population in every step."""

import numpy as np
from harness.floats import join, network, population

from spikeloom.frontends.constants import with_constants


def test_constants_reach_a_population_in_every_step():
    first, second = population("a", 2, alpha=0.5), population("b", 1)
    plain = [join("input", "a", (2, 1)), join("a", "b", (1, 2))]
    assert with_constants([first, second], plain, {"a": np.zeros(2)}) == ((first, second), tuple(plain), ())
    populations, connections, notes = with_constants([first, second], plain, {"a": np.array([0.5, -1.0])})
    assert [p.name for p in populations] == ["constant", "a", "b"]
    assert notes == ("constant: fires in every step and adds the biases of the inputs of a",)
    result = network(populations, connections).run(np.zeros((6, 1)), record_membranes=["a"])
    assert result.spikes["constant"].all()
    assert result.membranes["a"][0, 0].tolist() == [0.5, -1.0]
    taken = population("constant", 2)
    populations, _, _ = with_constants([taken, second], [], {"b": np.ones(1)})
    assert populations[0].name == "constant.0"
