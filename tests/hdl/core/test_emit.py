"""The emitter: every pushed spike reaches its destinations, in order; and planted bugs."""

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator
from harness.assign import assign
from harness.lane import PLAIN, random_rule
from harness.loading import load_memory, packed, rule_of
from harness.mutations import mutated
from harness.networks import rng_of

from spikeloom.hdl.core import emit
from spikeloom.hdl.core.emit import SpikeEmitter
from spikeloom.sim.core.neuron import saturate, signed_range

POPULATIONS = 8


class Bench:
    """Populations one after the other: at most one word is pushed per cycle, and the two outputs stall
    independently."""

    def __init__(self, rng, dut, *, stall):
        self.rng, self.core, self.dut, self.stall = rng, dut.parameters, dut, stall
        core = self.core
        routes = {f.name: rng.integers(0, 1 << f.width, core.neurons) for f in core.route_layout.fields}
        if core.readout:
            routes["membrane"] &= routes["send"]  # a membrane goes out or nowhere, as in compiled routes
        self.routes = routes
        self.given = {"packets": [], "local": []}
        self.expected = {"packets": [], "local": []}
        self.done = self.neurons = 0

    async def run(self, ctx):
        core, dut = self.core, self.dut
        await load_memory(ctx, dut.load, core.memories["routes"].number, packed(core.route_layout, **self.routes))
        for _ in range(POPULATIONS if core.lanes < 16 else POPULATIONS // 2):
            p = random_rule(self.rng, core, core.neurons, wide=False)
            ctx.set(dut.rule, rule_of(core, p))
            assert not ctx.get(dut.busy)
            ctx.set(dut.restart, 1)
            await self._cycle(ctx)
            ctx.set(dut.restart, 0)
            for word in np.flatnonzero(self.rng.random(core.words) < 0.7).tolist():
                while self.rng.random() < 0.3:
                    await self._cycle(ctx)
                self._push(ctx, word, p)
                await self._cycle(ctx)
                ctx.set(dut.push, 0)
            waited = 0
            while ctx.get(dut.busy):
                await self._cycle(ctx)
                waited += 1
                assert waited < 40 * core.neurons + 60, "the emitter must end its work, not hang"

    def _push(self, ctx, word, p):
        core, rng = self.core, self.rng
        low, high = signed_range(core.sent_width)
        fired = rng.random(core.lanes) < rng.choice([0.1, 0.6, 1.0])
        fired[int(rng.integers(core.lanes))] = True  # the sweep pushes no word without a spike
        values = rng.integers(low, high + 1, core.lanes) >> int(rng.integers(8))
        bits = sum(int(bit) << lane for lane, bit in enumerate(fired))
        pushed = (self.dut.push, 1), (self.dut.word, word), (self.dut.fired, bits)
        assign(ctx, [*pushed, *zip(self.dut.value, values, strict=True)])
        for lane in np.flatnonzero(fired).tolist():
            self.neurons += 1
            self._expect(
                {name: int(array[word * core.lanes + lane]) for name, array in self.routes.items()},
                int(values[lane]),
                p,
            )

    def _expect(self, route, value, p):
        """The packets and events of one neuron, by the definitions in the docstring of the emitter."""
        core = self.core
        if core.value_width:
            spike = int(saturate(np.int64(value >> p.graded_shift), core.value_width)) if p.graded else 1
            packet = local = spike
            if core.readout and not p.spiking:
                packet = int(saturate(np.int64(value), core.v_width))
                # A membrane only goes out; an event would get only its lowest bits.
                local = (packet + (half := 1 << core.value_width - 1)) % (2 * half) - half
        else:
            packet, local = value if core.readout and route["membrane"] else 1, 0
        if route["send"]:
            self.expected["packets"].append((route["axon"], packet, route.get("membrane", 0)))
        if route["local"]:
            event = route["axon"] & (1 << core.event_width) - 1
            self.expected["local"].append((event, local))

    async def _cycle(self, ctx):
        dut = self.dut
        assign(ctx, [(getattr(dut, name).ready, self.rng.random() >= self.stall[name]) for name in self.given])
        for name, taken in self.given.items():
            stream = getattr(dut, name)
            if ctx.get(stream.valid) and ctx.get(stream.ready):
                payload = stream.payload
                if name == "packets":
                    taken.append(tuple(ctx.get(getattr(payload, field)) for field in ("axon", "value", "membrane")))
                else:
                    value = ctx.get(payload.value) if self.core.value_width else 0
                    taken.append((ctx.get(payload.axon), value))
        self.done += ctx.get(dut.done)
        await ctx.tick()


def run_all(dut, benches):
    """Run ``benches`` one after the other, each from reset, in one simulator; everything pushed must come out."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    running = iter(benches)

    async def testbench(ctx):
        await next(running).run(ctx)

    simulator.add_testbench(testbench)
    for number, bench in enumerate(benches):
        if number:
            simulator.reset()
        simulator.run()
        assert bench.given == bench.expected
        assert bench.done == bench.neurons


CASES = {
    "spikes only": {},
    "membranes": {"readout": True},
    "graded": {"value_width": 6},
    "graded, membranes": {"value_width": 6, "readout": True},
    "LUT RAM": {"readout": True, "state_memory": "distributed"},
}


STALLED = {
    1: [("packets", 0.9)],
    8: [("packets", 0.0), ("local", 0.9), ("packets", 0.9)],
    16: [("packets", 0.9), ("local", 0.9)],
}
"""For each number of lanes, the output that stalls most, and how often it does."""


def emitter_core(case, lanes):
    return dataclasses.replace(PLAIN, **CASES[case], lanes=lanes, neurons=max(3 * lanes, 16))


def benches_of(rng, dut):
    """A bench for each of the outputs that stall."""
    stalled = STALLED[dut.parameters.lanes]
    return [Bench(rng, dut, stall={"packets": s / 3, "local": s / 3} | {name: s}) for name, s in stalled]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lanes", STALLED)
def test_every_spike_once_and_in_order(request, case, lanes):
    dut = SpikeEmitter(emitter_core(case, lanes))
    benches = benches_of(rng_of(request.node.name), dut)
    run_all(dut, benches)
    for bench in benches:
        assert len(bench.given["packets"]) > 10
        assert len(bench.given["local"]) > 10
        assert len({value for _, value, _ in bench.given["packets"]}) > (2 if CASES[case] else 0)


MUTATIONS = {
    "the spare place of the emitter": ("free.eq(~spare_valid)", "free.eq(1)"),
    "a route waits for the one before": ("~valid[0] | ~valid[1] | free", "1"),
    "a word waits for the one before": ("~reading | output_enable", "1"),
    "a word waits for the one before, LUT RAM": ("~reading | output_enable", "1"),
    "groups of lanes: a word waits for the one before": ("~reading if groups > 1", "1 if groups > 1"),
    "groups of lanes: a word waits for the one before, block RAM": (
        "~reading if groups > 1",
        "1 if groups > 1",
    ),
    "groups of lanes: the next one": ("others.eq(left & ~lowest_left)", "others.eq(left)"),
    "groups of lanes: the last one": (
        "is_last.eq(Mux(chosen_valid, _is_single(others), _is_single(front.groups)))",
        "is_last.eq(1)",
    ),
    "groups of lanes: the number": ("number.eq(_number(chosen))", "number.eq(0)"),
    "a packet is sent once": (
        "packet_waits.eq(packet_waits & ~self.packets.ready)",
        "packet_waits.eq(packet_waits)",
    ),
    "a local event is sent once": (
        "local_waits.eq(local_waits & ~self.local.ready)",
        "local_waits.eq(local_waits)",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(mutation):
    """In the queue, the search for spikes or the outputs: what the emitter sends differs, or it does not end.

    Without a bug the same emitters do what they must, as `test_every_spike_once_and_in_order` shows.
    """
    groups = "groups" in mutation
    distributed = "LUT RAM" in mutation or (groups and "block RAM" not in mutation)
    core = emitter_core("LUT RAM" if distributed else "membranes", 16 if groups else 8)
    dut = mutated(emit, *MUTATIONS[mutation]).SpikeEmitter(core)
    with pytest.raises(AssertionError):
        run_all(dut, benches_of(rng_of(mutation), dut))
