"""Proposal of widths: the smallest at which the integers of a network agree with its floats.

With inputs, bisection finds the smallest width of all weights, then of those into each population in turn, those with
the most weights first, then of the membranes. Each trial is a run of the integers, which is compared with the float
model. Agreement need not fall with every bit, so that the widths found are small, not provably the smallest.

Without inputs, bounds decide: weights are so wide that the error of a sum in which every source fires, if the errors
of the weights are independent, is at most `ERROR` thresholds; membranes hold thresholds, biases and one step of input.

Accumulators follow from the weights in both cases: they hold the worst case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from spikeloom.compiler.quantise import Quantisation, QuantiseError, exponent_of_weights, quantise, scale_exponents
from spikeloom.datasets.inputs import Inputs
from spikeloom.datasets.readout import Decision, classify
from spikeloom.model.network import Network
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.network.sparse import SparseMatrix

__all__ = ["ERROR", "Proposal", "ProposalError", "propose"]

ERROR = 0.05
"""Without inputs, the largest error of a sum in thresholds, or in the largest sum of a population that never fires."""

_WEIGHTS, _MEMBRANES = (1, 16), (8, 24)


class ProposalError(ValueError):
    """No widths are enough. The message is one sentence."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Widths in bits: of the weights into each population by name, of membranes, of the sum of a step, of thresholds.

    ``cells`` and ``answers`` are the shares, 0 to 1, of equal cells and answers at these widths; None without inputs.
    """

    weight_bits: dict[str, int]
    membrane_bits: int
    accumulator_bits: int
    threshold_bits: int
    cells: float | None = None
    answers: float | None = None

    @property
    def options(self) -> str:
        """Options of the command line that select these widths."""
        weights = self.weight_bits
        same = len(set(weights.values())) == 1
        text = f"{next(iter(weights.values()))}" if same else ",".join(f"{k}={v}" for k, v in weights.items())
        return f"--weight-bits {text} --core v_width={self.membrane_bits}"


def propose(
    network: Network,
    quantisation: Quantisation,
    inputs: Inputs | None = None,
    *,
    bar: float = 0.99,
    decision: Decision | None = None,
) -> Proposal:
    """Return small widths for ``network``; everything else is as in ``quantisation``.

    ``bar``, above 0 to 1, is the share of the cells and of the answers by ``decision`` that must be equal in integers
    and floats. Raises `ProposalError` if the widest are not enough, and ``ValueError`` for another bar.
    """
    if not 0.0 < bar <= 1.0:
        raise ValueError(f"bar must be above 0 and at most 1, not {bar!r}")
    if inputs is None:
        return _by_bounds(network, quantisation)
    trials = _Trials(network, quantisation, inputs, bar, decision)
    names = [population.name for population in network.populations]
    best = trials.shares(dict.fromkeys(names, _WEIGHTS[1]), _MEMBRANES[1])
    if not trials.are_enough(best):
        shown = "no integers" if best is None else f"{100 * min(best):.4g} %"
        raise ProposalError(
            f"widths must be found for which {100 * bar:g} % of the cells and answers are equal, but weights of "
            f"{_WEIGHTS[1]} and membranes of {_MEMBRANES[1]} bits give {shown}; use a lower bar"
        )
    every = _smallest(_WEIGHTS, lambda bits: trials.enough(dict.fromkeys(names, bits), _MEMBRANES[1]))
    widths = trials.narrowed(dict.fromkeys(names, every), _MEMBRANES[1])
    membranes = _smallest(_MEMBRANES, lambda bits: trials.enough(widths, bits))
    # Narrow membranes make scales coarser, so that fewer bits may hold the same weights.
    widths = trials.narrowed(widths, membranes)
    shares = trials.shares(widths, membranes)
    assert shares is not None
    found_network = quantise(network, trials.options(widths, membranes))
    return _proposal(found_network, widths, membranes, shares)


def _smallest(bounds: tuple[int, int], enough: Callable[[int], bool]) -> int:
    """Return the smallest number in ``bounds`` that is ``enough``; the largest must be, and all above one that is."""
    low, high = bounds
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return high


class _Trials:
    """Runs of the integers with several widths, compared with one run of the float model."""

    def __init__(
        self, network: Network, quantisation: Quantisation, inputs: Inputs, bar: float, decision: Decision | None
    ) -> None:
        self._network, self._quantisation, self._inputs = network, quantisation, inputs
        self._bar, self._decision = bar, decision
        self._floats = network.run(inputs.spikes)
        self._spiking = [population.name for population in network.populations if population.spiking]
        fires = network.output in self._spiking
        output = self._floats.fired(network.output) if fires else self._floats.membranes[network.output]
        self._answers = classify(output, decision)

    def options(self, widths: Mapping[str, int], membranes: int) -> Quantisation:
        """Return the quantisation with these widths."""
        return replace(self._quantisation, weight_widths=widths, v_width=membranes)

    def shares(self, widths: Mapping[str, int], membranes: int) -> tuple[float, float] | None:
        """Return the shares of equal cells and answers; None if the network has no integers of these widths."""
        try:
            quantised = quantise(self._network, self.options(widths, membranes))
        except QuantiseError:
            return None
        found = simulate(quantised, self._inputs.spikes)
        cells = sum(found.spikes[name].size for name in self._spiking)
        equal = sum(int(np.count_nonzero(found.fired(name) == self._floats.fired(name))) for name in self._spiking)
        last = self._network.output
        output = found.fired(last) if last in self._spiking else found.states[last].v
        answers = classify(output, self._decision)
        return equal / cells if cells else 1.0, float(np.mean(answers == self._answers))

    def are_enough(self, shares: tuple[float, float] | None) -> bool:
        """Whether both shares reach the bar."""
        return shares is not None and min(shares) >= self._bar

    def enough(self, widths: Mapping[str, int], membranes: int) -> bool:
        """Whether the integers of these widths reach the bar."""
        return self.are_enough(self.shares(widths, membranes))

    def narrowed(self, widths: dict[str, int], membranes: int) -> dict[str, int]:
        """Return ``widths`` made smaller where the bar is still reached, those of the most weights first."""

        def weights(name: str) -> int:
            return sum(c.synapses for c in self._network.connections if c.target == name)

        for name in sorted(widths, key=weights, reverse=True):
            tried = dict(widths)

            def enough(bits: int, name: str = name, tried: dict[str, int] = tried) -> bool:
                return self.enough(tried | {name: bits}, membranes)

            widths = widths | {name: _smallest((_WEIGHTS[0], widths[name]), enough)}
        return widths


def _by_bounds(network: Network, quantisation: Quantisation) -> Proposal:
    widest = replace(quantisation, v_width=_MEMBRANES[1])
    widths = {}
    for population in network.populations:

        def enough(bits: int, name: str = population.name) -> bool:
            return _error(network, name, widest, bits) <= ERROR

        widths[population.name] = _smallest(_WEIGHTS, enough)
    found = quantise(network, replace(widest, weight_widths=widths))
    bits = [_MEMBRANES[0]]
    for exact in found.populations:
        p = exact.parameters
        if p.delay_line:
            continue
        least, greatest = found.current_bounds(exact.name)
        threshold, bias = (np.abs(np.asarray(x)).max() if p.spiking else 0 for x in (p.threshold, p.bias))
        bound = 0 if p.lower_bound is None else np.abs(np.asarray(p.lower_bound)).max()
        # One bit of headroom above the constants, as the quantiser keeps it.
        most = int(max(2 * threshold, 2 * bias, 2 * bound, threshold + bias + max(greatest, -least)))
        bits.append(most.bit_length() + 1)
    return _proposal(found, widths, min(max(bits), _MEMBRANES[1]), None)


def _error(network: Network, name: str, widest: Quantisation, bits: int) -> float:
    """Return the root mean square error of the worst sum into a population at ``bits`` bits per weight, in thresholds;
    infinite if there are no such integers."""
    options = replace(widest, weight_widths={name: bits})
    try:
        exponents, values = scale_exponents(network, options)
        quantised = quantise(network, options)
    except QuantiseError:
        return np.inf
    wrong = largest = 0.0
    for connection, exact in zip(network.connections, quantised.connections, strict=True):
        if connection.target != name:
            continue
        exponent = exponent_of_weights(connection, exponents[name], values.get(connection.source, 0))
        if isinstance(connection.weight, SparseMatrix):
            assert isinstance(exact.weight, SparseMatrix)
            rows, floats = connection.weight.rows, connection.weight.values
            kept = exact.weight.at(rows, connection.weight.columns)
        else:
            floats, kept = connection.kernel, exact.kernel
            rows = np.repeat(np.arange(len(floats)), floats[0].size)
        difference = floats - np.ldexp(np.asarray(kept, np.float64), -np.asarray(exponent))
        wrong += float(np.bincount(rows, np.square(difference).reshape(-1)).max(initial=0.0))
        largest += float(np.bincount(rows, np.square(floats).reshape(-1)).max(initial=0.0))
    population = network.population(name)
    whole = float(np.abs(population.threshold).min()) if population.spiking else np.sqrt(largest)
    return float(np.sqrt(wrong)) / whole if whole else (np.inf if wrong else 0.0)


def _proposal(
    network: QuantisedNetwork, widths: dict[str, int], membranes: int, shares: tuple[float, float] | None
) -> Proposal:
    sums = [bound for population in network.populations for bound in network.current_bounds(population.name)]
    thresholds = [
        int(np.abs(np.asarray(p.parameters.threshold)).max()) for p in network.populations if p.parameters.spiking
    ]
    return Proposal(
        weight_bits=dict(widths),
        membrane_bits=membranes,
        # A core has accumulators at least as wide as its weights.
        accumulator_bits=max(network.weight_width, *(1 + max(b, -b - 1).bit_length() for b in sums)),
        threshold_bits=1 + max(thresholds, default=0).bit_length(),
        cells=None if shares is None else shares[0],
        answers=None if shares is None else shares[1],
    )
