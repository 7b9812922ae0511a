"""The answer encoder in its bridge: bytes as the model gives them, one per cycle, and planted bugs."""

import pytest
from harness.bridge import BridgeBench, check, find_planted_bug, random_data
from harness.networks import rng_of

from spikeloom.hdl.host import answer_encoder
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.hdl.noc.packet import PacketKind


def test_values_of_graded_spikes(request):
    """A spike whose value is 1 is one byte, another brings its value; a core without values means nothing by them."""
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
