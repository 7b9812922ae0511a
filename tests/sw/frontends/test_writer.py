"""Detection of the framework that wrote a graph: numbers of each exporter, read with every preset."""

import dataclasses
import itertools

import h5py
import nir
import numpy as np
import pytest
from harness.networks import rng_of
from harness.nir_graphs import exactly, graph, integrate_and_fire, integrator, lif, linear

from spikeloom.frontends.nir import PRESETS, LoadError, load
from spikeloom.frontends.nir_graph import unfold
from spikeloom.frontends.tensors import content_of
from spikeloom.frontends.writer import chosen_preset, doubts, writers

LINES, NEURONS = 20, 4


def layer(scale):
    return nir.Linear(rng_of("test_writer").normal(0.1, 1.0, (NEURONS, LINES)) * scale)


def single(value, kind=np.float32):
    return np.full(NEURONS, value, kind)


def cuba(*, tau_syn, tau_mem, r, w_in=1.0, kind=np.float32):
    return nir.CubaLIF(
        tau_syn=single(tau_syn, kind),
        tau_mem=single(tau_mem, kind),
        r=single(r, kind),
        v_leak=single(0, kind),
        v_threshold=single(1, kind),
        w_in=single(w_in, kind),
    )


def scalar_lif(tau):
    values = {"tau": tau, "r": 1, "v_leak": 0, "v_threshold": 1}
    return nir.LIF(**{name: np.full(1, value, np.float32) for name, value in values.items()})


# Neurons of small recordings: the framework, the neuron, and the scale of weights at which it fires.
WRITTEN = {
    "snntorch Leaky": ("snntorch", lif(NEURONS, tau=1e-3, r=9.999997, kind=np.float32), 0.3),
    "snntorch Synaptic": ("snntorch", cuba(tau_syn=2e-4, tau_mem=1e-3, r=10, w_in=2), 0.2),
    "norse LIFBoxCell": ("norse", scalar_lif(2e-6), 1.0),
    "norse LIFCell": ("norse", cuba(tau_syn=5e-6, tau_mem=1e-5, r=1), 1.0),
    "norse LIBoxCell": ("norse", integrator(NEURONS, tau=5e-6, kind=np.float32), 1.0),
    "spikingjelly IFNode": ("spikingjelly", integrate_and_fire(NEURONS, r=1e4), 0.5),
    "spikingjelly LIFNode": ("spikingjelly", lif(NEURONS, tau=2e-4, leak=0.25, reset=0.25), 0.5),
    "sinabs LIF": ("sinabs", scalar_lif(4.0), 1.0),
    "sinabs ExpLeak": ("sinabs", integrator(NEURONS, tau=5.0, kind=np.float32), 1.0),
    "rockpool LIFNeuronTorch": ("rockpool", lif(NEURONS, tau=20e-3, r=20 * np.exp(-0.05), kind=np.float32), 0.3),
    "rockpool LIFTorch": ("rockpool", cuba(tau_syn=10e-3, tau_mem=20e-3, r=20 * np.exp(-0.05)), 0.2),
}


def written(name):
    preset, neuron, scale = WRITTEN[name]
    return preset, graph({"fc": layer(scale), "n": neuron}, inputs=(LINES,), outputs=(NEURONS,))


def flat(source):
    return unfold(content_of(source))


@pytest.mark.parametrize("name", WRITTEN)
def test_the_writer_is_found(name, tmp_path):
    preset, source = written(name)
    nir.write(tmp_path / "net.nir", source)
    for given in (source, tmp_path / "net.nir"):
        network = load(given, preset="auto", name="net")
        assert network.notes[0].startswith(f"preset {preset} was found: ")
        told = load(given, preset=preset, name="net")
        assert network.notes[1:] == told.notes
        assert [p.equation for p in network.populations] == [p.equation for p in told.populations]
        assert not any("may not come from" in note or "hardly" in note for note in told.notes)


@pytest.mark.parametrize(
    ("name", "preset"), [(n, p) for n, p in itertools.product(WRITTEN, PRESETS) if WRITTEN[n][0] != p]
)
def test_a_wrong_preset_is_refused_or_warned_about(name, preset):
    _, source = written(name)
    try:
        network = load(source, preset=preset, time_step_s=1e-3 if preset == "nir" else None)
    except LoadError:
        return
    warned = [note for note in network.notes if "may not come from" in note or "hardly" in note]
    # SpikingJelly writes the numbers that a careful author of a NIR graph would write, in seconds and with r = 1.
    excused = preset == "nir" and WRITTEN[name][0] == "spikingjelly" and network.populations[-1].beta.min() < 1.0
    assert warned or excused


def test_a_wrong_preset_is_named_with_the_right_one():
    _, source = written("sinabs LIF")
    assert doubts(flat(source), "nir", 1e-3) == [
        "the graph may not come from NIR: it looks like a file of sinabs, because r is 1, and each tau is a number of "
        "steps or v_reset is missing; --preset sinabs reads it as such"
    ]
    assert doubts(flat(source), "sinabs") == []


def test_an_old_file_of_integrators_comes_from_sinabs(tmp_path):
    """sinabs is pinned to nir 1.0.4, which writes no v_reset; r = 1 alone would also fit Norse."""
    source = graph({"fc": layer(0.5), "n": integrate_and_fire(NEURONS, kind=np.float32)}, inputs=(LINES,), outputs=(4,))
    nir.write(tmp_path / "net.nir", source)
    with pytest.raises(
        LoadError,
        match=exactly(
            "preset 'auto' must be replaced by the framework that wrote the graph, because its numbers fit norse and "
            "sinabs"
        ),
    ):
        load(tmp_path / "net.nir", preset="auto")
    assert not any("may not" in note for note in load(tmp_path / "net.nir", preset="norse").notes)
    with h5py.File(tmp_path / "net.nir", "a") as file:
        del file["node/nodes/n/v_reset"]
    assert load(tmp_path / "net.nir", preset="auto").notes[0].startswith("preset sinabs was found")
    assert any("looks like a file of sinabs" in note for note in load(tmp_path / "net.nir", preset="norse").notes)
    # The project's recording: read with the preset of snnTorch, its weights are divided by 10,000.
    weak = load(tmp_path / "net.nir", preset="snntorch")
    assert any("n: it can hardly fire" in note for note in weak.notes)


def test_equal_numbers_of_two_frameworks_are_not_guessed():
    """SpikingJelly's LIFNode(decay_input=False) and snnTorch's Leaky in double precision."""
    source = graph({"fc": layer(0.3), "n": lif(NEURONS, tau=4e-4, r=4.0)}, inputs=(LINES,), outputs=(NEURONS,))
    with pytest.raises(LoadError, match=r"because its numbers fit snntorch and spikingjelly$"):
        load(source, preset="auto")
    assert any("looks like a file of snnTorch" in note for note in load(source, preset="spikingjelly").notes)


def test_no_writer():
    strange = graph({"fc": linear(2, 3), "lif": lif(2, r=3.0)})
    with pytest.raises(
        LoadError,
        match=exactly(
            "preset 'auto' must be replaced by one of nir, snntorch, norse, spikingjelly, sinabs, rockpool, spyx, "
            "because the numbers of the graph are those of no exporter"
        ),
    ):
        chosen_preset(flat(strange))
    assert writers(flat(graph({"t": nir.Threshold(np.ones(2))}, inputs=(2,)))) == ()
    broken = flat(graph({"lif": lif(2)}, inputs=(2,)))
    node = broken.nodes["lif"]
    broken.nodes["lif"] = dataclasses.replace(node, parameters={})
    assert writers(broken) == ()


def test_a_file_that_names_its_framework_needs_no_guess():
    _, source = written("snntorch Leaky")
    source.metadata = {"spikeloom": {"preset": "snntorch", "reset": "zero"}}
    network = load(source, preset="auto")
    assert not any(note.startswith("preset") for note in network.notes)
    assert network.time_step_s == 1e-4
    source.metadata = {"spikeloom": {"preset": "auto"}}
    with pytest.raises(LoadError, match=r"^metadata of the graph: preset must be one of nir, .*, not 'auto'$"):
        load(source)


def test_without_leak_the_names_decide():
    """An infinite tau looks the same in files of snnTorch and Rockpool; snnTorch is assumed unless a name decides."""
    endless = lif(NEURONS, tau=np.inf, r=np.inf, kind=np.float32)
    nodes = {"fc": layer(0.3), "n": endless}
    assert load(graph(nodes, inputs=(LINES,), outputs=(4,)), preset="auto").notes[0].startswith("preset snntorch was")
    named = {"0_LinearTorch": nodes["fc"], "1_LIFNeuronTorch": endless}
    source = graph(named, inputs=(LINES,), outputs=(4,))
    assert load(source, preset="auto").notes[0].startswith("preset rockpool was")
    assert any("looks like a file of Rockpool" in note for note in load(source, preset="snntorch").notes)


def test_rockpool_is_found_with_another_step():
    source = graph(
        {"fc": layer(0.3), "n": lif(NEURONS, tau=20e-3, r=10 * np.exp(-0.1), kind=np.float32)},
        inputs=(LINES,),
        outputs=(NEURONS,),
    )
    assert [writer.preset for writer in writers(flat(source))] == ["rockpool"]
    with pytest.raises(LoadError, match=r"^r dt/tau of node 'n' .* another time step"):
        load(source, preset="auto")
    assert load(source, preset="auto", time_step_s=2e-3).time_step_s == 2e-3


def test_sinabs_is_doubted_where_v_reset_is_written():
    """With v_reset, the file looks like one of Norse with nir 1.0.8; sinabs is pinned to 1.0.4, which has no
    v_reset."""
    source = graph({"fc": layer(0.5), "n": integrate_and_fire(NEURONS, kind=np.float32)}, inputs=(LINES,), outputs=(4,))
    assert any("looks like a file of Norse" in note for note in load(source, preset="sinabs").notes)
    assert not any("may not" in note for note in load(source, preset="norse").notes)


def test_spikingjelly_writes_one_number_per_layer():
    several = lif(NEURONS, tau=4e-4, r=4.0)
    several.tau[0], several.r[0] = 5e-4, 5.0
    source = graph({"fc": layer(0.3), "n": several}, inputs=(LINES,), outputs=(NEURONS,))
    assert [writer.preset for writer in writers(flat(source))] == ["snntorch"]
    same = graph({"fc": layer(0.3), "n": lif(NEURONS, tau=4e-4, r=4.0)}, inputs=(LINES,), outputs=(NEURONS,))
    assert any("looks like a file of SpikingJelly" in note for note in load(same, preset="snntorch").notes)
