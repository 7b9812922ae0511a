"""The NIR frontend: metadata, options, files, and invalid input."""

import h5py
import nir
import numpy as np
import pytest
from harness.networks import rng_of
from harness.nir_graphs import exactly, feed_forward, graph, integrator, lif, linear
from sw.frontends.test_nir_graph import recurrent_inside, recurrent_networks

from spikeloom.datasets.encoders import RateEncoder, encoder_from
from spikeloom.frontends.nir import ENCODER_KEY, METADATA_KEYS, PRESETS, LoadError, load
from spikeloom.model.describe import describe
from spikeloom.sim.core.neuron import Compare, Reset


def test_a_population_that_leads_nowhere_is_noted():
    network = load(graph({"lif": lif(2), "lost": lif(2)}, "in lif, lif lost, lif out", inputs=(2,)), time_step_s=1e-3)
    assert "lost: it does not reach the output" in network.notes
    assert network.output == "lif"


def test_metadata_survives_a_file_and_is_used_where_the_caller_is_silent(tmp_path):
    hints = {
        "format": 1,
        "preset": "snntorch",
        "time_step_s": 1e-3,
        "discretisation": "euler",
        "seed": 5,
        "input_value_width": 4,
        "weight_bits": 6,
        "compare": ">=",
        "reset": "zero",
        "reset_delay": 0,
        "refractory": 2,
    }
    assert (*hints, "max_spikes", "lower_bound", "norm_input") == METADATA_KEYS  # the last option is for sinabs only
    neuron = lif(2, r=8.0)
    own = {"reset": "subtract", "reset_delay": True, "weight_bits": 3}
    neuron.metadata = {"spikeloom": own, "author": "someone else"}
    source = graph(
        {"fc": linear(2, 3), "lif": neuron, "fc2": linear(2, 2), "last": lif(2, r=8.0)}, metadata={"spikeloom": hints}
    )
    nir.write(tmp_path / "hints.nir", source)
    assert nir.read(tmp_path / "hints.nir").nodes["lif"].metadata["spikeloom"]["reset"] == "subtract"
    for given in (source, tmp_path / "hints.nir"):
        network = load(given)
        first, last = network.populations
        assert network.time_step_s == 1e-3
        assert (network.seed, network.input_value_width) == (5, 4)
        assert [population.weight_bits for population in network.populations] == [3, 6]
        assert (first.reset, first.reset_delay, first.refractory) == (Reset.SUBTRACT, 1, 2)
        assert (last.reset, last.reset_delay, last.refractory) == (Reset.ZERO, 0, 2)
        assert first.compare is last.compare is Compare.GREATER_EQUAL
        assert network.notes == ()
        told = load(given, reset="none", refractory=0, seed=6)
        assert told.seed == 6
        assert {population.reset for population in told.populations} == {Reset.NONE}
        assert {population.refractory for population in told.populations} == {0}
    assert load(tmp_path / "hints.nir").name == "hints"
    assert load(tmp_path / "hints.nir", name="mine").name == "mine"


def test_a_firing_rule_of_a_nested_graph_holds_for_its_neurons(tmp_path):
    inner = recurrent_inside()
    inner.metadata = {"spikeloom": {"reset": "none", "preset": "norse"}, "author": "someone else"}
    nir.write(tmp_path / "nested.nir", graph({"rec": inner, "last": lif(2)}, inputs=(2,)))
    network = load(tmp_path / "nested.nir", time_step_s=1e-3)
    assert "metadata 'author', 'preset' of the nested graph 'rec' is not used" in network.notes
    assert [population.reset for population in network.populations] == [Reset.NONE, Reset.ZERO]
    inner.nodes["lif"].metadata = {"spikeloom": {"reset": "subtract"}}
    network = load(
        graph({"rec": inner, "last": lif(2)}, inputs=(2,)), time_step_s=1e-3, layers={"last": {"refractory": 2}}
    )
    assert [population.reset for population in network.populations] == [Reset.SUBTRACT, Reset.ZERO]
    assert [population.refractory for population in network.populations] == [0, 2]


def test_a_firing_rule_of_one_layer_takes_precedence():
    source = graph({"a": lif(2, metadata={"spikeloom": {"reset": "none"}}), "b": lif(2), "c": lif(2)}, inputs=(2,))
    layers = {"a": {"reset": "subtract", "reset_delay": 1}, "b": {"compare": ">="}}
    network = load(source, time_step_s=1e-3, reset="zero", layers=layers)
    assert [p.reset for p in network.populations] == [Reset.SUBTRACT, Reset.ZERO, Reset.ZERO]
    assert [p.reset_delay for p in network.populations] == [1, 0, 0]
    assert [p.compare for p in network.populations] == [Compare.GREATER, Compare.GREATER_EQUAL, Compare.GREATER]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"d": {"reset": "zero"}}, "layers must name neuron nodes of the graph, 'lif', not 'd'"),
        ({"fc": {"reset": "zero"}}, "layers must name neuron nodes of the graph, 'lif', not 'fc'"),
        ({"lif": {"preset": "nir"}}, "layers of node 'lif' must have keys out of compare, reset, reset_delay, "
         "refractory, max_spikes, lower_bound, norm_input, not 'preset'"),
        ({"lif": {"refractory": 300}}, "layers of node 'lif': refractory must be an integer from 0 to 255, not 300"),
    ],
)  # fmt: skip
def test_a_firing_rule_of_one_layer_is_checked(layers, message):
    with pytest.raises(LoadError, match=exactly(message)):
        load(feed_forward(lif(2)), time_step_s=1e-3, layers=layers)


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"dt": 1e-3}, f"metadata 'spikeloom' of the graph must have keys out of {', '.join(METADATA_KEYS)}, not 'dt'"),
        ("snntorch", "metadata 'spikeloom' of the graph must be a group of keys, not 'snntorch'"),
        ({"reset": "hard"},
         "metadata of the graph: reset must be one of 'none', 'zero', 'value', 'subtract', not 'hard'"),
        ({"reset_delay": 2}, "metadata of the graph: reset_delay must be an integer from 0 to 1, not 2"),
    ],
)  # fmt: skip
def test_metadata_that_cannot_be_used_is_refused(hints, message, tmp_path):
    source = feed_forward(lif(2), metadata={"spikeloom": hints})
    nir.write(tmp_path / "hints.nir", source)
    for given in (source, tmp_path / "hints.nir"):
        with pytest.raises(LoadError, match=exactly(message)):
            load(given, time_step_s=1e-3)


def test_time_constants_are_no_metadata_of_a_node():
    neuron = lif(2, metadata={"spikeloom": {"time_step_s": 1e-3}})
    with pytest.raises(
        LoadError,
        match=exactly(
            "metadata 'spikeloom' of node 'lif' must have keys out of weight_bits, compare, reset, reset_delay, "
            "refractory, max_spikes, lower_bound, norm_input, adaptation_tau_s, adaptation_step, noise, value_limit, "
            "not 'time_step_s'"
        ),
    ):
        load(feed_forward(neuron), time_step_s=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "lava"}, f"preset must be one of {', '.join(PRESETS)}, auto, not 'lava'"),
        ({"time_step_s": 0}, "time_step_s must be positive, not 0.0"),
        ({"time_step_s": "fast"}, "time_step_s must be a finite number, not 'fast'"),
        ({"discretisation": "exact"}, "discretisation must be one of 'euler', 'exponential', not 'exact'"),
        ({"compare": "="}, "compare must be one of '>', '>=', not '='"),
        ({"reset_delay": 2}, "reset_delay must be an integer from 0 to 1, not 2"),
        ({"refractory": 0.5}, "refractory must be an integer from 0 to 255, not 0.5"),
        ({"seed": 0}, "seed must be an integer from 1 to 4294967295, not 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(LoadError, match=exactly(message)):
        load(feed_forward(lif(2)), **({"time_step_s": 1e-3} | options))


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ({"fc": linear(2, 4), "lif": lif(2)}, None, "node 'fc' must get 4 values, not 3 from 'in'"),
        ({"fc": linear(4, 3), "lif": lif(2)}, None, "node 'lif' must get 2 values, not 4 from 'fc'"),
        ({"fc": linear(4, 3), "lif": lif(4)}, None, "node 'out' must get 2 values, not 4 from 'lif'"),
        ({"lif": lif(2), "fc": linear(2, 2)}, "in lif, lif fc, fc out",
         "node 'lif' must get 2 values, not 3 from 'in'"),
        ({"fc": linear(2, 3), "lif": lif(2), "last": linear(2, 2)}, None,
         "node 'last' leads to the Output without a neuron; end the network with a LIF, IF or LI"),
        ({"fc": linear(2, 3), "a": lif(2), "b": lif(2)}, "in fc, fc a, fc b, a out, b out",
         "the Output must get the value of one node, not a sum of several"),
        ({"fc": linear(2, 3), "li": integrator(2), "lif": lif(2)}, None,
         "node 'li' is an LI that leads to 'lif': its membrane can only be the network output"),
        ({"fc": linear(2, 3), "lost": linear(2, 3), "lif": lif(2)}, "in fc, fc lif, lost lif, lif out",
         "node 'lost' has no edge that leads to it"),
        ({"fc": linear(2, 3), "lif": lif(2)}, "in fc, fc lif, lif out, lif in",
         "the edge from 'lif' to 'in' leads into the graph's Input or out of its Output"),
        ({"fc": linear(2, 3), "lif": lif(2)}, "in fc, fc lif, fc lif, lif out",
         "the edge from 'fc' to 'lif' is listed twice"),
        ({"fc": linear(2, 3), "lif": lif(2)}, "in fc, fc lif, lif away, lif out",
         "the edge from 'lif' to 'away' names 'away', which is not a node"),
        ({"fc": linear(2, 3), "lif": lif(2), "second": nir.Input(np.array([2]))}, "in fc, fc lif, second lif, lif out",
         "a graph must have one Input node, not 2"),
        ({"fc": linear(2, 3), "lif": lif(2), "second": nir.Output(np.array([2]))}, "in fc, fc lif, lif second, lif out",
         "a graph must have one Output node, not 2"),
        ({"fc": nir.Linear(weight=np.full((2, 3), np.nan)), "lif": lif(2)}, None,
         "weight of node 'fc' must be finite, not nan"),
        ({"fc": nir.Linear(weight=np.ones((2, 2, 3))), "lif": lif(2)}, None,
         "weight of node 'fc' must have two dimensions, not shape (2, 2, 3)"),
        ({"fc": nir.Affine(weight=np.ones((2, 3)), bias=np.ones(3)), "lif": lif(2)}, None,
         "bias of node 'fc' must have 2 values, not 3"),
        ({"fc": linear(2, 3), "lif": lif(2, tau=0.0)}, None, "tau of node 'lif' must be positive, not 0.0"),
        ({"fc": linear(2, 3), "lif": lif(2, tau=np.nan)}, None, "tau of node 'lif' must be positive, not nan"),
        ({"fc": linear(2, 3), "lif": lif(2, r=np.inf)}, None, "r of node 'lif' must be finite, not inf"),
        ({"fc": linear(2, 3), "lif": lif(2, threshold=np.nan)}, None,
         "v_threshold of node 'lif' must be finite, not nan"),
        ({"fc": linear(2, 3), "input": lif(2)}, None,
         "node 'input' is a LIF and must have another name; this one is reserved for the input of the network"),
    ],
)  # fmt: skip
def test_graphs_that_are_not_networks_are_refused(nodes, edges, message):
    with pytest.raises(LoadError, match=exactly(message)):
        load(graph(nodes, edges), time_step_s=1e-3)


def test_malformed_graphs_are_refused(tmp_path):
    with pytest.raises(LoadError, match=exactly("source must be the path of a NIR file or a nir.NIRGraph, not int")):
        load(3, time_step_s=1e-3)
    nir.write(tmp_path / "single.nir", lif(2))
    with pytest.raises(LoadError, match=exactly("a network must be a NIRGraph, not LIF")):
        load(tmp_path / "single.nir", time_step_s=1e-3)


def test_files_that_are_missing_cut_or_something_else_are_refused(tmp_path):
    def refuses(path, why):
        with pytest.raises(LoadError, match=exactly(f"cannot read {str(path)!r}: {why}")):
            load(path, time_step_s=1e-3)

    refuses(tmp_path / "missing.nir", "there is no such file")
    refuses(tmp_path, "it is not a file")
    other = tmp_path / "text.nir"
    other.write_text("hello")
    refuses(other, "it is truncated or not an HDF5 file, which a NIR file must be")
    other.write_bytes(b"")
    refuses(other, "it is truncated or not an HDF5 file, which a NIR file must be")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros(3)
    refuses(tmp_path / "data.h5", "it is an HDF5 file but not a NIR file, it has no graph")
    whole = tmp_path / "whole.nir"
    nir.write(whole, feed_forward(lif(2)))
    content = whole.read_bytes()
    for part in (1, 3, 7, 9):
        other.write_bytes(content[: len(content) * part // 10])
        refuses(other, "it is truncated or not an HDF5 file, which a NIR file must be")


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "cut.nir"
    nir.write(path, recurrent_networks()[0])
    content = path.read_bytes()
    for length in rng_of("test_a_file_cut_anywhere_is_refused").integers(1, len(content), 20):
        path.write_bytes(content[:length])
        with pytest.raises(
            LoadError,
            match=r"^cannot read '.*cut\.nir': it is truncated or not an HDF5 file, which a NIR file must be$",
        ):
            load(path, time_step_s=1e-3)


def test_a_file_and_its_graph_are_the_same_network(tmp_path):
    for source in recurrent_networks():
        nir.write(tmp_path / "network.nir", source)
        first, second = load(source, time_step_s=1e-3), load(str(tmp_path / "network.nir"), time_step_s=1e-3)
        assert second.name == "network"
        assert [describe(first)] == [describe(second)]
        for one, other in zip(first.connections, second.connections, strict=True):
            assert np.array_equal(one.weight, other.weight)


def test_the_encoder_of_the_metadata_is_kept(tmp_path):
    encoder = RateEncoder(steps=12, bits=4)
    content = feed_forward(lif(2), {"spikeloom": {"time_step_s": 1e-3}, ENCODER_KEY: encoder.settings()})
    nir.write(tmp_path / "net.nir", content)
    for source in (content, tmp_path / "net.nir"):
        settings = load(source).encoder
        assert settings is not None
        assert encoder_from(settings) == encoder


def test_an_encoder_that_is_no_group_is_refused():
    content = feed_forward(lif(2), {"spikeloom": {"time_step_s": 1e-3}, ENCODER_KEY: "rate"})
    message = "metadata 'spikeloom_encoder' of the graph must be a group of keys, not 'rate'"
    with pytest.raises(LoadError, match=exactly(message)):
        load(content)


def test_the_format_of_the_metadata(tmp_path):
    """The number is read from graphs and files; a newer format is reported before keys that it may have added."""
    content = feed_forward(lif(2), {"spikeloom": {"format": 1, "time_step_s": 1e-3}})
    nir.write(tmp_path / "net.nir", content)
    assert load(content).time_step_s == load(tmp_path / "net.nir").time_step_s == 1e-3
    content = feed_forward(lif(2), {"spikeloom": {"format": 99, "time_step_s": 1e-3, "novelty": 1}})
    nir.write(tmp_path / "newer.nir", content)
    message = (
        "metadata 'spikeloom' of the graph has format 99, expected 1: it was written by a newer version; "
        "update spikeloom"
    )
    for source in (content, tmp_path / "newer.nir"):
        with pytest.raises(LoadError, match=exactly(message)):
            load(source)
    content = feed_forward(lif(2), {"spikeloom": {"format": 1.5, "time_step_s": 1e-3}})
    with pytest.raises(
        LoadError, match=exactly("format of metadata 'spikeloom' of the graph must be a positive integer, not 1.5")
    ):
        load(content)
