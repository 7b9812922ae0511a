"""Tensors of a framework in NIR nodes, with stand-ins that fail where torch fails."""

import nir
import numpy as np
from harness.nir_graphs import graph, lif

from spikeloom.frontends.nir import load
from spikeloom.frontends.tensors import as_array, content_of


class Tensor:
    """A tensor that is the result of a computation: only a detached copy can be read, and deepcopy is refused."""

    def __init__(self, values, *, kind="float32", has_gradient=True):
        self.values, self.kind, self.has_gradient = np.asarray(values, np.float32), kind, has_gradient
        self.shape, self.dtype, self.ndim, self.size = self.values.shape, self.values.dtype, self.values.ndim, None

    def __deepcopy__(self, memo):
        raise RuntimeError("Only Tensors created explicitly by the user support the deepcopy protocol")

    def __array__(self, *args, **kwargs):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return Tensor(self.values, kind=self.kind, has_gradient=False)

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.values, has_gradient=self.has_gradient)

    def numpy(self):
        if self.has_gradient:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.kind == "bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values


def test_tensors_become_arrays_and_other_values_stay():
    values = [0.5, -1.25]
    for kind in ("float32", "bfloat16"):
        array = as_array(Tensor(values, kind=kind))
        assert isinstance(array, np.ndarray)
        assert array.tolist() == values
    assert as_array("text") == "text"


def test_a_graph_with_tensors_is_that_with_arrays():
    weight = np.array([[0.5, 0.25, 1.0], [0.75, 1.0, 0.5]], np.float32)
    plain, tensors = nir.Linear(weight=weight), nir.Linear(weight=weight)
    tensors.weight = Tensor(weight, kind="bfloat16")
    neuron = lif(2, kind=np.float32)
    neuron.tau = Tensor(neuron.tau)
    one = load(graph({"fc": plain, "lif": lif(2, kind=np.float32)}), time_step_s=1e-3)
    other = load(graph({"fc": tensors, "lif": neuron}), time_step_s=1e-3)
    assert np.array_equal(one.connections[0].weight, other.connections[0].weight)
    assert one.populations[0].equation == other.populations[0].equation


def test_the_content_of_a_graph_is_that_of_nir():
    inner = graph({"lif": lif(2, metadata={"author": "someone"})}, inputs=(2,))
    source = graph({"a": inner, "flat": nir.Flatten(np.array([2]), 0), "b": lif(2)}, inputs=(2,), metadata={"x": 1})
    expected, found = source.to_dict(), content_of(source)

    def same(a, b):
        if isinstance(a, dict):
            assert a.keys() == b.keys()
            for key in a:
                same(a[key], b[key])
        else:
            np.testing.assert_array_equal(a, b)

    assert set(found) == {"type", "edges", "metadata", "nodes"}
    same({key: expected[key] for key in found}, found)
