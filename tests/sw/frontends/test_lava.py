"""Lava-dl files against the integer step of Loihi, written again here, and refusals."""

import itertools
import re

import h5py
import numpy as np
import pytest
from harness.float_networks import same
from harness.loops import convolved, pooled
from harness.networks import rng_of

from spikeloom.cli.app import main
from spikeloom.compiler.quantise import Quantisation, quantise
from spikeloom.datasets.encoders import encoder_from
from spikeloom.frontends.errors import LoadError
from spikeloom.frontends.lava import MOST_NEURONS, load_net, network_of
from spikeloom.frontends.nir import load
from spikeloom.sim.network.projection import Convolution
from spikeloom.sim.network.reference import simulate

WIDE = Quantisation(weight_width=16, v_width=24, beta_fraction=16)


def cuba(**changes):
    params = {"iDecay": 4096, "vDecay": 0, "vThMant": 64, "refDelay": 1, "gradedSpike": False}
    return {"type": "CUBA", **params, **changes}


def dense(weight, /, **fields):
    neuron = fields.pop("neuron", {})
    return {"type": "dense", "shape": np.array([len(weight)]), "weight": weight, "neuron": cuba(**neuron), **fields}


def as_file(layers):
    return {str(number): layer for number, layer in enumerate(layers)}


def written(path, layers):
    """Write layers as lava-dl does: the type of a layer as an array with one element, everything else unchanged."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            group = file.create_group(f"layer/{number}")
            group.create_dataset("type", (1,), "S10", [layer["type"].encode()])
            for key, value in layer.items():
                if isinstance(value, dict):
                    for inner, each in value.items():
                        group[f"{key}/{inner}"] = each
                elif key != "type":
                    group[key] = np.float32(value) if key in ("weight", "bias") else value
        file["simulation/Ts"] = 1
    return path


def of_one_number_each(values, shape):
    flat = np.asarray(values, np.int64).reshape(-1)
    return np.repeat(flat, np.prod(shape) // flat.size)


def matrix_of(layer, shape):
    """The weights ``(n_out, n_in)`` of a layer, derived from its responses to single inputs."""
    if layer["type"] == "dense":
        return np.asarray(layer["weight"], np.int64)
    units = np.eye(np.prod(shape), dtype=np.int64).reshape(-1, *shape)
    weight = np.asarray(layer["weight"], np.int64)
    if layer["type"] == "pool":
        assert np.all(weight == weight.flat[0])
        return weight.flat[0] * np.stack([pooled(weight.shape[2:4], unit).reshape(-1) for unit in units], axis=1)
    window = Convolution(
        input_shape=shape,
        output_channels=len(weight),
        kernel=weight.shape[2:4],
        groups=layer["groups"],
        **{key: tuple(layer[key]) for key in ("stride", "padding", "dilation")},
    )
    return np.stack([convolved(window, weight.reshape(weight.shape[:4]), unit).reshape(-1) for unit in units], axis=1)


def towards_zero(state, decay):
    product = state * (4096 - decay)
    return np.sign(product) * (np.abs(product) >> 12)


def loihi(layers, inputs):
    """Spikes of every layer of neurons, each in the step in which the next layer receives them: one step later per
    layer.

    States have 6 fractional bits; ``inputs`` is ``(T, B, n)``.
    """
    shape, results = None, []
    spikes = np.asarray(inputs, np.int64)
    for layer in layers:
        if layer["type"] in ("input", "flatten"):
            shape = tuple(layer["shape"]) if layer["type"] == "input" else (np.prod(shape),)
            continue
        weight, neuron = matrix_of(layer, shape), layer["neuron"]
        shape = tuple(layer["shape"])
        numbers = {key: of_one_number_each(neuron[key], shape) for key in ("iDecay", "vDecay", "vThMant")}
        bias = of_one_number_each(layer.get("bias", 0), shape)
        fired = np.zeros((*spikes.shape[:2], len(weight)), np.int64)
        u, v, held = (np.zeros(fired.shape[1:], np.int64) for _ in range(3))
        for t, now in enumerate(spikes):
            u = towards_zero(u, numbers["iDecay"]) + ((now @ weight.T << 6) * 2 ** neuron.get("wgtExp", 0))
            v = np.where(held > 0, v, towards_zero(v, numbers["vDecay"]) + u + (bias << 6))
            fired[t] = (v > numbers["vThMant"] << 6) & (held == 0)
            v = np.where(fired[t], 0, v)
            held = np.where(fired[t], neuron["refDelay"] - 1, np.maximum(held - 1, 0))
        results.append(fired)
        spikes = np.concatenate([np.zeros_like(fired[:1]), fired[:-1]])
    return results


def random_layers(rng, sizes, *, biases, **neuron):
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        fields = {"bias": rng.integers(-8, 16, outputs)} if biases else {}
        layers.append(dense(rng.integers(-40, 64, (outputs, inputs)), neuron=neuron, **fields))
    return layers


def differing(network, layers, inputs, *, integers=False):
    """The number of cells that differ between a network and Loihi, and of all cells; steps are those of the network."""
    expected = loihi(layers, inputs)
    found = simulate(quantise(network, WIDE), inputs) if integers else network.run(inputs)
    cells = wrong = 0
    for number, (population, fired) in enumerate(zip(network.populations, expected, strict=True)):
        # Without delays of connections, layers after the first fire earlier.
        early = 0 if any(c.delay for c in network.connections) else number
        spikes = found.spikes[population.name][: len(fired) - early]
        assert 0 < spikes.sum() < spikes.size
        wrong += np.count_nonzero(spikes != fired[early:])
        cells += spikes.size
    return wrong, cells


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize(("current", "leak"), [(4096, 0), (4096, 4096), (0, 4096), (0, 0)])
def test_without_rounding_every_cell_is_that_of_loihi(current, leak, biases, request):
    rng = rng_of(request.node.nodeid)
    neuron = {"iDecay": current, "vDecay": leak, "vThMant": 90, "refDelay": 3}
    layers = random_layers(rng, (20, 16, 12, 6), biases=biases, **neuron)
    layers[1]["neuron"] |= {"wgtExp": 1, "vThMant": rng.integers(60, 120, 12)}
    inputs = rng.random((40, 3, 20)) < 0.3
    network = network_of(as_file(layers), "net")
    assert [c.delay for c in network.connections] == [0, int(biases), int(biases)]
    assert differing(network, layers, inputs)[0] == 0
    assert differing(network, layers, inputs, integers=True)[0] == 0
    assert not any("rounded" in note for note in network.notes)


def test_decays_that_are_rounded_differ_in_few_cells(request):
    """The share is the one in the note."""
    rng = rng_of(request.node.nodeid)
    floats = whole = cells = 0
    for _ in range(12):
        neuron = {"iDecay": rng.integers(200, 2000), "vDecay": rng.integers(100, 1000), "vThMant": 200}
        layers = random_layers(rng, (30, 24, 16), biases=False, **neuron)
        network = network_of(as_file(layers), "net")
        inputs = rng.random((50, 4, 30)) < 0.2
        wrong, several = differing(network, layers, inputs)
        floats, cells = floats + wrong, cells + several
        whole += differing(network, layers, inputs, integers=True)[0]
    (note,) = (note for note in network.notes if "rounded" in note)
    assert f"{100 * floats / cells:.2f} % of the cells" in note
    assert abs(whole - floats) < 0.001 * cells


def convolutional(rng):
    geometry = {"stride": np.array([1, 2]), "padding": np.array([1, 0]), "dilation": np.array([1, 1]), "groups": 2}
    return [
        {"type": "input", "shape": np.array([4, 6, 8])},
        {
            "type": "conv",
            "shape": np.array([6, 6, 3]),
            "weight": rng.integers(-30, 60, (6, 2, 3, 3, 1)),
            "neuron": cuba(vDecay=4096, vThMant=60),
            **geometry,
        },
        {
            "type": "pool",
            "shape": np.array([6, 3, 3]),
            "weight": np.full((1, 1, 2, 1, 1), 20),
            "stride": np.array([2, 1]),
            "neuron": cuba(iDecay=0, vDecay=4096, vThMant=np.arange(10, 70, 10)),
        },
        {"type": "flatten", "shape": np.array([1, 1, 54])},
        dense(rng.integers(-30, 40, (5, 54)), neuron={"vThMant": 80}),
    ]


def test_convolutions_and_pools_are_those_of_the_file(request):
    rng = rng_of(request.node.nodeid)
    layers = convolutional(rng)
    network = network_of(as_file(layers), "net")
    assert network.input_shape == (4, 6, 8)
    assert [population.shape for population in network.populations] == [(6, 6, 3), (6, 3, 3), (5,)]
    inputs = rng.random((20, 2, 192)) < 0.3
    assert differing(network, layers, inputs)[0] == 0
    assert differing(network, layers, inputs, integers=True)[0] == 0


def test_a_file_is_what_its_layers_are(tmp_path, request, capsys):
    """A file is loaded through the reader process, and accepted by every command."""
    layers = convolutional(rng_of(request.node.nodeid))
    path = written(tmp_path / "some.net", layers)
    network = load(path)
    assert network.name == "some"
    assert same(network, network_of(as_file(layers), "some"))
    saved = tmp_path / "saved.nir"
    main(["save", str(path), str(saved)])
    assert same(load(saved), network)
    main(["check", str(path), "--board", "ulx3s-85f"])
    assert "layer4" in capsys.readouterr().out
    spikes = rng_of(request.node.nodeid).random((8, 2, 192)) < 0.3
    np.save(tmp_path / "spikes.npy", spikes)
    folder = tmp_path / "results"
    options = ["--board", "ulx3s-85f", "--backend", "reference", "--output", str(folder)]
    main(["simulate", str(path), "--inputs", str(tmp_path / "spikes.npy"), *options])
    assert "layer4: 0 of 80 cells differ between float model and integers" in capsys.readouterr().out
    with pytest.raises(LoadError, match=r"^preset must be left out, because a Lava-dl file has the exact steps"):
        load(path, preset="snntorch")


def test_a_matrix_in_one_line_and_numbers_per_channel():
    layer = dense(np.arange(6.0), shape=np.array([2, 1, 1]), neuron={"vDecay": np.array([0, 1024])})
    network = network_of({"0": layer}, "net")
    assert network.connections[0].weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert network.populations[0].beta.tolist() == [1.0, 0.75]


def test_a_threshold_that_is_never_reached_makes_the_membrane_the_result():
    network = network_of({"0": dense(np.ones((2, 3)), neuron={"vThMant": 131071})}, "net")
    assert not network.populations[0].spiking
    assert network.simulate(np.ones((4, 3)))[:, 0].tolist() == [[3, 3], [6, 6], [9, 9], [12, 12]]


def test_numbers_of_an_input_layer_are_presented_in_every_step():
    """``weight (2 x - 1) + bias`` for x from 0 to 1."""
    weight, bias = 40, 36
    neuron = cuba(vDecay=4096, vThMant=25)
    layer = {"type": "input", "shape": np.array([3, 1, 2]), "neuron": neuron, "weight": weight, "bias": bias}
    network = network_of({"0": layer}, "net")
    encoder = encoder_from(network.encoder)
    x = np.array([0.0, 0.25, 0.375, 0.5, 0.75, 0.0])
    spikes = encoder.encode(x.reshape(1, 6))
    found = network.run(spikes, record_membranes=["layer0"])
    expected = weight * (2 * x - 1) + bias
    fires = expected > 25
    assert found.spikes["layer0"][0, 0].tolist() == fires.tolist()
    assert found.membranes["layer0"][0, 0].tolist() == np.where(fires, 0, expected).tolist()


def test_an_average_is_the_share_of_its_group_that_fires():
    layers = [
        dense(np.eye(6) * 100, neuron={"vDecay": 4096}),
        {"type": "average", "shape": np.array([2, 1, 1])},
    ]
    network = network_of(as_file(layers), "net")
    inputs = np.array([[1, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1]])
    np.testing.assert_allclose(network.simulate(inputs)[:, 0], [[2 / 3, 1 / 3], [0, 1]])


WEIGHT = np.ones((2, 3))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({}, "layers must be groups numbered from 0, not []"),
        ({"1": dense(WEIGHT)}, "layers must be groups numbered from 0, not ['1']"),
        ({"0": np.ones(2)}, "layers must be groups numbered from 0, not ['0']"),
        ({"0": dense(WEIGHT, type="concat")},
         "type of layer 0 must be one of input, dense, conv, pool, flatten, average, not 'concat'"),
        ({"0": dense(WEIGHT, type=3)}, "type of layer 0 must be a text, not 3"),
        ({"0": dense(WEIGHT, delay=np.array([0, 2]))},
         "layer 0 has axonal delays, which are not supported; train it with delay=False"),
        ({"0": {"type": "input", "shape": np.array([3])}},
         "the file must have at least one layer of neurons, not only inputs"),
        ({"0": dense(WEIGHT), "1": {"type": "input", "shape": np.array([3])}},
         "layer 1 is an input layer, which must be the first"),
        ({"0": dense(WEIGHT), "1": dense(WEIGHT)}, "weight of layer 1 must have shape (2, 2), not (2, 3)"),
        ({"0": dense(WEIGHT * 300)}, "weight of layer 0 must be integers from -256 to 255, not 300.0"),
        ({"0": dense(WEIGHT * 0.5)}, "weight of layer 0 must be integers from -256 to 255, not 0.5"),
        ({"0": dense(WEIGHT * np.nan)}, "weight of layer 0 must be integers from -256 to 255, not nan"),
        ({"0": dense(WEIGHT, weight={"real": WEIGHT})},
         "weight of layer 0 must be real, not complex, as resonators have them"),
        ({"0": dense(WEIGHT, weight="x")}, "weight of layer 0 must be integers from -256 to 255, not 'x'"),
        ({"0": dense(WEIGHT, neuron={"type": "SDNN"})},
         "neurons of layer 0 must be one of LOIHI, CUBA, CUBA-LIF, not 'SDNN'"),
        ({"0": dense(WEIGHT, neuron={"gradedSpike": True})},
         "layer 0 has graded spikes, which are not supported for its neurons"),
        ({"0": dense(WEIGHT, neuron={"iDecay": 4097})}, "iDecay of layer 0 must be integers from 0 to 4096, not 4097"),
        ({"0": dense(WEIGHT, neuron={"vDecay": np.array([1, 2, 3])})},
         "vDecay of layer 0 must have 1, 2 or 2 values, not 3"),
        ({"0": dense(WEIGHT, neuron={"refDelay": np.array([1, 2])})},
         "refDelay of layer 0 must be one number for all, not [1, 2]"),
        ({"0": {"type": "dense", "shape": np.array([2]), "weight": WEIGHT}}, "layer 0 must have a group 'neuron'"),
        ({"0": dense(WEIGHT, shape=np.array([1 << 20, 2]))},
         f"shape of layer 0 must be at most 3 extents and {MOST_NEURONS:,} neurons, not [1048576, 2]"),
        ({"0": dense(WEIGHT, type="conv")},
         "weight of layer 0 must have shape (outputs, inputs, height, width), not (2, 3)"),
        ({"0": dense(np.ones((2, 3, 1, 1)), type="conv")},
         "layer 0 must get an input of shape (channels, height, width), which is unknown without an input layer"),
        ({"0": {"type": "flatten", "shape": np.array([3])}},
         "layer 0 must not be the first, because the shape of the input is needed"),
        ({"0": {"type": "input", "shape": np.array([3, 4, 4])}, "1": dense(np.ones((2, 3, 1, 1)), type="conv")},
         "shape of layer 1 must be (2, 4, 4), as its kernel gives, not (2,)"),
        ({"0": {"type": "input", "shape": np.array([3, 4, 4])}, "1": dense(np.ones((2, 1, 1, 1)), type="conv")},
         "weight of layer 1 must have shape (2, 3, 1, 1), not (2, 1, 1, 1)"),
        ({"0": {"type": "input", "shape": np.array([3, 4, 4])}, "1": dense(np.ones((2, 1, 1, 1)), type="pool")},
         "weight of layer 1 must have shape (1, 1, height, width), not (2, 1, 1, 1)"),
        ({"0": dense(WEIGHT), "1": {"type": "average", "shape": np.array([3])}},
         "shape of layer 1 must be a divisor of the 2 neurons of the layer before it, not 3"),
        ({"0": dense(WEIGHT), "1": {"type": "average", "shape": np.array([2])}, "2": dense(np.ones((2, 2)))},
         "layer 2 must not follow an average layer, which must be the last"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_in_one_sentence(layers, message):
    with pytest.raises(LoadError, match=f"^{re.escape(message)}$"):
        network_of(layers, "net")


def test_too_many_neurons_are_refused_before_they_take_memory():
    half = {"shape": np.array([1, 1024, 600]), "weight": np.ones((1, 1, 1, 1)), "neuron": cuba()}
    layers = [{"type": "input", "shape": half["shape"]}, half | {"type": "pool"}, half | {"type": "pool"}]
    with pytest.raises(LoadError, match=r"^the layers must have at most 1,048,576 neurons, but have more$"):
        network_of(as_file(layers), "net")


def linked(file, folder):
    h5py.File(folder / "other.h5", "w").close()
    file["layer/0/weight"] = h5py.ExternalLink(str(folder / "other.h5"), "/x")


def stored_elsewhere(file, folder):
    (folder / "secret").write_bytes(b"secret")
    file.create_dataset("layer/0/weight", shape=(2, 3), dtype="i1", external=[(str(folder / "secret"), 0, 6)])


def referring(file, folder):
    file.create_dataset("layer/0/weight", shape=(2,), dtype=h5py.ref_dtype)


def vast(file, folder):
    file.create_dataset("layer/0/weight", shape=(100_000, 100_000), dtype="f4")


def another_kind(file, folder):
    del file["layer"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (linked, "'layer/0/weight' is a link to another place or file, but a Lava-dl file must be self-contained"),
        (stored_elsewhere, "'layer/0/weight' is stored in another file, but a Lava-dl file must be self-contained"),
        (referring, "'layer/0/weight' must hold integers or floats of at most 64 bits or text, not another type"),
        (vast, "its numbers must take at most 536,870,912 bytes, but it declares more"),
        (another_kind, "it is an HDF5 file but not a Lava-dl file, it has no layers"),
    ],
)
def test_files_of_strangers_are_refused_before_they_do_harm(tmp_path, spoil, message):
    path = written(tmp_path / "hostile.net", [dense(WEIGHT)])
    with h5py.File(path, "a") as file:
        del file["layer/0/weight"]
        spoil(file, tmp_path)
    with pytest.raises(LoadError, match=rf"^cannot read {re.escape(repr(str(path)))}: {re.escape(message)}$"):
        load_net(path)
