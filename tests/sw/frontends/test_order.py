"""The order of populations and the connections that close cycles, on small graphs."""

import itertools

import pytest

from spikeloom.frontends.nir_graph import Graph, Node
from spikeloom.frontends.order import closing_pairs, first_appearance, in_order
from spikeloom.model.population import INPUT


def test_a_walk_from_the_input_meets_the_nearest_first():
    kinds = {"b": "LIF", "in": "Input", "a": "LIF", "c": "LIF", "alone": "LIF"}
    nodes = {name: Node(kind=kind, parameters={}, metadata={}) for name, kind in kinds.items()}
    edges = [("in", "c"), ("c", "a"), ("in", "b"), ("b", "a"), ("a", "c")]
    graph = Graph(nodes=nodes, edges=edges, metadata={}, notes=[])
    assert first_appearance(graph) == ["in", "c", "b", "a", "alone"]


@pytest.mark.parametrize(
    ("pairs", "closing"),
    [
        ([(INPUT, "a"), ("a", "b"), ("b", "c")], set()),
        ([(INPUT, "a"), ("a", "a"), ("a", "b")], {("a", "a")}),
        ([(INPUT, "a"), ("a", "b"), ("b", "a"), ("b", "c")], {("b", "a")}),
        ([(INPUT, "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("c", "b")], {("c", "a"), ("c", "b")}),
        ([("b", "c"), ("c", "b"), (INPUT, "a")], {("c", "b")}),  # a cycle that no input reaches
        ([(INPUT, "a"), (INPUT, "b"), ("a", "c"), ("b", "c")], set()),
    ],
)
def test_what_closes_a_cycle(pairs, closing):
    assert closing_pairs("abc", pairs) == closing
    left = [pair for pair in pairs if pair not in closing and pair[0] != INPUT]
    order = in_order("abc", left)
    assert all(order.index(source) < order.index(target) for source, target in left)


def test_a_loop_with_one_entry_is_closed_there_in_any_order():
    pairs = [(INPUT, "b"), ("b", "c"), ("c", "a"), ("a", "b")]
    for order in itertools.permutations("abc"):
        assert closing_pairs(order, pairs) == {("a", "b")}


def test_the_order_changes_only_where_it_must():
    assert in_order("dcba", [("a", "c")]) == ["d", "b", "a", "c"]
    assert in_order("abc", []) == ["a", "b", "c"]
