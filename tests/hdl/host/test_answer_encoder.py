"""The answer encoder in its bridge: the bytes of the model, one per cycle, and planted bugs."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from harness.bridge import BridgeBench, bridge_with_bug, check, find_planted_bug, random_data
from harness.networks import rng_of

from spikeloom.hdl.host import answer_encoder, bridge
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.sim.host.messages import ConfigurationAddress, encode_read
from spikeloom.sim.lib.registers import CORE_TILE


def test_values_of_graded_spikes(request):
    """A spike with the value 1 is one byte, and any other carries its value; a core without values leaves the field
    undefined."""
    data = random_data(rng_of(request.node.name), 9)
    lengths = []
    for graded in (False, True):
        bench = BridgeBench(HostBridge(9, 20, graded=graded), rng_of(request.node.name), density=8)
        run, _ = check(bench, data)
        lengths.append(len(run.answers))
    assert lengths[0] < lengths[1]


def test_answers_are_exact(request):
    rng = rng_of(request.node.name)
    bench = BridgeBench(HostBridge(9, 24), rng, density=20)
    run, _ = check(bench, random_data(rng, 9, samples=6, requests=False))
    assert 0x10 in run.answers
    assert 0x11 in run.answers
    assert sum(byte >= 0x80 for byte in run.answers) > 20


def test_a_spike_a_cycle_out(request):
    class Dense(BridgeBench):
        def step_answers(self, step):
            return [(PacketKind.SPIKE, axon, 0) for axon in range(500)]

    bench = Dense(HostBridge(9, 16), rng_of(request.node.name), idle=0, stall=0)
    run, _ = check(bench, b"\x21")
    assert len(run.answers) == 501
    assert run.cycles <= 501 + 100 + 12


MUTATIONS = {
    "first answer of a step": (
        "packet.kind == PacketKind.TICK)):\n                    m.d.sync += previous.eq(-1)",
        "packet.kind == PacketKind.TICK)):\n                    m.d.sync += previous.eq(previous)",
    ),
    "far answer": ("is_near = distance[DISTANCE_BITS:] == 0", "is_near = Const(1)"),
    "sign of a membrane": ("numbers[8 * AXON_BYTES :].eq(packet.value)", "numbers[16:].eq(packet.value.as_unsigned())"),
    "stalled byte": ("free = ~byte_valid | self.o.ready", "free = 1"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_planted_bugs_are_found(monkeypatch, name):
    find_planted_bug(monkeypatch, answer_encoder, *MUTATIONS[name])


class FarTiles(wiring.Component):
    """A bridge whose tiles are ``latency`` cycles away: the bench answers after one cycle, and registers add the
    others."""

    def __init__(self, design):
        self.bridge = design
        self.axon_width, self.value_width, self.graded = design.axon_width, design.value_width, design.graded
        self.index_width, self.plane_width = design.index_width, design.plane_width
        self.input_value_width = design.input_value_width
        super().__init__(design.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.bridge = inner = self.bridge
        port, outer = inner.configuration, wiring.flipped(self)
        for name, member in self.signature.members.items():
            if member.is_signature and name != "configuration":
                wiring.connect(m, getattr(outer, name), getattr(inner, name))
        m.d.comb += [self.flush.eq(inner.flush), self.clear.eq(inner.clear), inner.program.eq(self.program)]
        for name, member in port.signature.members.items():
            if member.flow is wiring.Out:
                m.d.comb += getattr(self.configuration, name).eq(getattr(port, name))
        data = self.configuration.read_data
        for _ in range(inner.latency - 1):
            before, data = data, Signal(8)
            m.d.sync += data.eq(before)
        m.d.comb += port.read_data.eq(data)
        return m


def check_far(kind, rng, latency):
    """Reads of registers that are ``latency`` cycles away."""
    _, expected = check(BridgeBench(FarTiles(kind(8, 20, latency=latency)), rng), random_data(rng, 8, samples=6))
    assert sum(map(len, expected.reads)) > 20
    cycles = []
    for count in (3, 13):
        bench = BridgeBench(FarTiles(kind(8, 20, latency=latency)), rng, idle=0, stall=0)
        cycles.append(check(bench, 2 * encode_read(ConfigurationAddress(tile=CORE_TILE), count))[0].cycles)
    assert cycles[1] - cycles[0] == 2 * 10 * (latency + 1), "a byte takes a cycle besides its way"


@pytest.mark.parametrize("latency", [1, 2, 3, 4, 7])
def test_read_data_come_as_late_as_they_are_far(request, latency):
    check_far(HostBridge, rng_of(request.node.name), latency)


FAR = {
    "a word too soon": (answer_encoder, "waited == self.latency - 1", "waited == 0"),
    "the second word": (
        answer_encoder,
        'm.d.sync += waited.eq(0)\n                    m.next = "DATA"',
        'm.next = "DATA"',
    ),
    "the bridge does not know": (bridge, "several=self.tiles > 0, latency=self.latency", "several=self.tiles > 0"),
}


@pytest.mark.parametrize("name", FAR)
def test_planted_bugs_with_far_tiles_are_found(monkeypatch, name):
    design = bridge_with_bug(monkeypatch, *FAR[name])
    with pytest.raises((AssertionError, ValueError)):
        check_far(design, rng_of(name), 3)
