"""Order of the populations, and the connections that close cycles."""

from __future__ import annotations

from collections.abc import Iterable

from spikeloom.frontends.nir_graph import Graph
from spikeloom.model.population import INPUT

__all__ = ["closing_pairs", "first_appearance", "in_order"]


def first_appearance(graph: Graph) -> list[str]:
    """Return the nodes in the order of a breadth-first walk along the edges from the input."""
    seen = [graph.input]
    for name in seen:
        seen.extend(after for after in dict.fromkeys(graph.after(name)) if after not in seen)
    seen.extend(name for name in sorted(graph.nodes) if name not in seen)
    return seen


def closing_pairs(order: Iterable[str], pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the pairs (source, target) of populations that close a cycle: their spikes arrive one step later.

    A depth-first walk starts at the input and otherwise follows ``order``; a pair that leads back to a population on
    the current path of the walk, or to itself, closes a cycle. The other pairs have no cycle. A loop with a single
    entry is closed at its entry, whatever the order.
    """
    order, pairs = list(order), list(pairs)
    after: dict[str, list[str]] = {name: [] for name in (INPUT, *order)}
    for name in order:
        for source, target in pairs:
            if target == name:
                after[source].append(target)
    closing: set[tuple[str, str]] = set()
    done: set[str] = set()
    for root in (INPUT, *order):
        if root in done:
            continue
        path, branches = [root], [iter(after[root])]
        while path:
            onward = next(branches[-1], None)
            if onward is None:
                done.add(path.pop())
                branches.pop()
            elif onward in path:
                closing.add((path[-1], onward))
            elif onward not in done:
                path.append(onward)
                branches.append(iter(after[onward]))
    return closing


def in_order(order: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Sort ``order`` so that the source of every pair precedes its target, otherwise stably; the pairs have no
    cycle."""
    left = dict.fromkeys(order)
    before: dict[str, list[str]] = {name: [] for name in left}
    for source, target in pairs:
        before[target].append(source)
    result: list[str] = []
    while left:
        ready = next(name for name in left if not any(source in left for source in before[name]))
        del left[ready]
        result.append(ready)
    return result
