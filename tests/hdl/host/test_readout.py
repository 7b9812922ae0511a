"""The readout of the bridge against its model: one tile, several tiles of which one may be ahead; and planted bugs."""

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module
from harness.block_ram import garbage_block_ram, shallow_block_ram
from harness.mutations import mutated
from harness.networks import rng_of
from harness.streams import run_streams

from spikeloom.datasets.readout import classify
from spikeloom.hdl.host import readout as readout_module
from spikeloom.hdl.noc.packet import PacketKind, packet_layout
from spikeloom.sim.host.readout import ReadoutMode, ReadoutParameters, answers, scores

AXON_WIDTH, VALUE_WIDTH = 6, 8
PARAMETERS = ReadoutParameters(outputs=16, width=8)
MODES = [mode for mode in ReadoutMode if mode is not ReadoutMode.OFF]


class Configured(Elaboratable):
    """A readout whose registers are constant."""

    def __init__(self, design, **values):
        self.design, self.values = design, values

    def elaborate(self, platform):
        m = Module()
        m.submodules.design = self.design
        for name, value in self.values.items():
            m.d.comb += getattr(self.design, name).eq(int(value))
        return m


def packet(kind, parity, *, last=0, axon=0, value=0):
    return {"kind": kind, "parity": parity, "last": last, "axon": axon, "value": value}


def traffic(rng, mode, values, first, tiles):
    """Packets with ``values`` ``(T, B, n)`` from ``tiles`` tiles, none of which is more than one step ahead of the
    others.

    Each tile has some of the outputs. Packets of other axons are among them, and an ACK after each TICK.
    """
    steps, samples, n = values.shape
    tile_of = rng.integers(0, tiles, n)
    queues = []
    for tile in range(tiles):
        queue = []  # lists of packets, one per step
        for number in range(steps * samples):
            sample, step = divmod(number, steps)
            packets = []
            for output in rng.permutation(np.flatnonzero(tile_of == tile)):
                value = int(values[step, sample, output])
                axon = first + int(output)
                if mode in (ReadoutMode.COUNT, ReadoutMode.FIRST):
                    if value:
                        packets.append(packet(PacketKind.SPIKE, number & 1, axon=axon, value=value))
                else:
                    packets.append(packet(PacketKind.MEMBRANE, number & 1, axon=axon, value=value))
                if rng.random() < 0.2:
                    other = int(rng.choice([first - 1, first + n]))
                    packets.append(packet(PacketKind.SPIKE, number & 1, axon=other, value=1))
            packets.append(packet(PacketKind.TICK, number & 1, last=int(step == steps - 1)))
            packets.append(packet(PacketKind.ACK, number & 1))
            queue.append(packets)
        queues.append(queue)
    done = [0] * tiles
    merged, ahead = [], 0
    places = [0] * tiles
    total = steps * samples
    while min(done) < total:
        able = [tile for tile in range(tiles) if done[tile] < total and done[tile] <= min(done) + 1]
        tile = int(rng.choice(able))
        merged.append(queues[tile][done[tile]][places[tile]])
        ahead += done[tile] > min(done) and merged[-1]["kind"] in (PacketKind.SPIKE, PacketKind.MEMBRANE)
        places[tile] += 1
        if places[tile] == len(queues[tile][done[tile]]):
            places[tile], done[tile] = 0, done[tile] + 1
    return merged, ahead


def values_of(rng, mode, steps, samples, n, counted):
    if counted:
        return rng.integers(1, 16, (steps, samples, n)) * (rng.random((steps, samples, n)) < rng.choice([0.3, 0.7]))
    if mode in (ReadoutMode.COUNT, ReadoutMode.FIRST):
        return (rng.random((steps, samples, n)) < rng.choice([0.05, 0.5])).astype(np.int64)
    return rng.integers(-128, 128, (steps, samples, n))


def expected(mode, values, first, vector):
    """Axons and values of the MEMBRANE packets of each sample."""
    found = []
    for sample in scores(mode, values, PARAMETERS.width):
        best = int(answers(sample[None])[0])
        vectors = [(first + output, int(score)) for output, score in enumerate(sample)] if vector else []
        found.append([*vectors, (best, int(sample[best]))])
    return found


def check(rng, mode, *, tiles, module=readout_module, stall=0.3, steps=None, silent=0, counted=False, graded=False):
    """Random values, with none in the first ``silent`` steps, through the readout and its model. With ``counted``, the
    events have numbers of spikes as values, with ``graded`` values that the model does not see."""
    n, samples = int(rng.choice([16, rng.integers(1, 17)])), 3
    steps = steps or int(rng.integers(1, 8))
    first, vector = int(rng.integers(1, 40)), int(rng.integers(2))
    values = values_of(rng, mode, steps, samples, n, counted)
    values[:silent] = 0
    packets, ahead = traffic(rng, mode, values, first, tiles)
    if graded:
        for each in packets:
            each["value"] = int(rng.integers(-128, 128))
    design = module.SpikeReadout(PARAMETERS, AXON_WIDTH, VALUE_WIDTH, 0 if tiles == 1 else tiles)
    layout = packet_layout(AXON_WIDTH, VALUE_WIDTH)
    run = run_streams(
        Configured(
            design, mode=mode.of_unit(counted=counted).value, vector=vector, outputs=n - 1, first=first, sources=tiles
        ),
        [design.i],
        [design.o],
        [[layout.const(each).as_bits() for each in packets]],
        rng,
        stall=stall,
        idle=0.1,
        quiet=200,
        timeout=100_000,
    )
    sent_layout = packet_layout(AXON_WIDTH, design.sent_value_width)
    found, tokens, ticks, complete = [[]], [], [0, 0], 0
    for word in run.words(0):
        one = sent_layout.from_bits(word)
        if one.kind == PacketKind.MEMBRANE:
            assert one.parity == complete & 1
            found[-1].append((one.axon, one.value))
        else:
            tokens.append((one.kind, one.parity, one.last))
            if one.kind == PacketKind.TICK:
                ticks[one.parity] += 1
                if ticks[one.parity] == tiles:
                    ticks[one.parity], complete = 0, complete + 1
                    if one.last:
                        found.append([])
    assert tokens == [
        (each["kind"], each["parity"], each["last"])
        for each in packets
        if each["kind"] in (PacketKind.TICK, PacketKind.ACK)
    ]
    wanted = expected(mode, values, first, vector)
    assert found == [*wanted, []]
    if mode is ReadoutMode.COUNT:
        assert (answers(scores(mode, values)) == classify(values.astype(np.uint8))).all()
    if counted:
        assert values.max() > 1
        # One event may be several spikes, so a score that counts events would be another.
        assert expected(mode, values != 0, first, vector) != wanted
    return ahead


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_answers(request, mode, tiles):
    rng = rng_of(request.node.name)
    ahead = sum(check(rng, mode, tiles=tiles, stall=float(rng.choice([0, 0.5]))) for _ in range(6))
    assert (ahead > 5) == (tiles > 1)


@pytest.mark.parametrize("tiles", [1, 3])
def test_several_spikes_per_event_are_counted(request, tiles):
    rng = rng_of(request.node.name)
    for _ in range(4):
        check(rng, ReadoutMode.COUNT, tiles=tiles, stall=float(rng.choice([0, 0.5])), counted=True)
    check(rng, ReadoutMode.COUNT, tiles=tiles, steps=60, counted=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [("ReadoutMode.COUNT, Const(1", "ReadoutMode.SUM, Const(1"), ("with m.If(total > top):", "with m.If(0):")],
)
def test_several_spikes_that_are_not_counted_are_found(request, old, new):
    broken = mutated(readout_module, old, new)
    with pytest.raises(AssertionError):
        check(rng_of(request.node.name), ReadoutMode.COUNT, tiles=1, steps=60, module=broken, counted=True)


def test_graded_spikes_are_counted_as_events(request):
    """In mode COUNT the values of events, of either sign, change nothing."""
    rng = rng_of(request.node.name)
    for tiles in (1, 3):
        check(rng, ReadoutMode.COUNT, tiles=tiles, steps=6, graded=True)


def test_block_ram_that_collides_changes_nothing(request, monkeypatch):
    garbage_block_ram(monkeypatch)
    for mode in MODES:
        check(rng_of(f"{request.node.name} {mode}"), mode, tiles=1)


def test_block_rams_that_are_not_deep_enough_change_nothing(request, monkeypatch):
    shallow_block_ram(monkeypatch)
    for mode in MODES:
        check(rng_of(f"{request.node.name} {mode}"), mode, tiles=1)


def test_counts_saturate(request):
    check(rng_of(request.node.name), ReadoutMode.COUNT, tiles=1, steps=200)


@pytest.mark.parametrize(("tiles", "banks"), [(0, 1), (3, 2)])
def test_the_memory_holds_the_scores_and_nothing_else(tiles, banks, monkeypatch):
    """There is a second bank only if a tile may be ahead, and one bit in addition to the score."""
    shapes = []

    def memory(*shape):
        shapes.append(shape)
        return block_memory(*shape)

    block_memory = readout_module.BlockMemory
    monkeypatch.setattr(readout_module, "BlockMemory", memory)
    rtlil.convert(readout_module.SpikeReadout(PARAMETERS, AXON_WIDTH, VALUE_WIDTH, tiles))
    assert shapes == [(PARAMETERS.width + 1, banks * PARAMETERS.outputs)]


STEPS = 1 << PARAMETERS.width - 1
"""Number of steps that the readout can count: all later steps count as the last of them."""


@pytest.mark.parametrize("tiles", [1, 3])
def test_steps_saturate(request, tiles):
    """First spikes after more steps than are counted, and just before: the score is 1, as in the last counted step."""
    rng = rng_of(request.node.name)
    for silent in (STEPS - 4, STEPS + 20):
        check(rng, ReadoutMode.FIRST, tiles=tiles, steps=STEPS + 40, silent=silent, stall=0)


def test_steps_that_wrap_are_found(request):
    broken = mutated(readout_module, "Mux(step == top, top, step + 1)", "step + 1")
    with pytest.raises(AssertionError):
        check(rng_of(request.node.name), ReadoutMode.FIRST, tiles=1, steps=STEPS + 40, silent=STEPS + 20, module=broken)


def cycles_taken(module):
    """Cycles from a packet of an output to the next packet, from one that is dropped, and from a score to the next."""
    n, first = 6, 3
    axons = [first + number for number in range(n)] + [0, 0]
    packets = [packet(PacketKind.MEMBRANE, 0, axon=axon, value=axon) for axon in axons]
    packets += [packet(PacketKind.TICK, 0, last=1), packet(PacketKind.ACK, 0)]
    design = module.SpikeReadout(PARAMETERS, AXON_WIDTH, VALUE_WIDTH)
    words = [packet_layout(AXON_WIDTH, VALUE_WIDTH).const(each).as_bits() for each in packets]
    values = {"mode": ReadoutMode.SUM.value, "vector": 1, "outputs": n - 1, "first": first, "sources": 1}
    run = run_streams(
        Configured(design, **values),
        [design.i],
        [design.o],
        [words],
        np.random.default_rng(0),
        idle=0,
        stall=0,
    )
    taken, given = ([cycle for _, cycle in transfers] for transfers in (run.taken[0], run.given[0]))
    assert len(given) == n + 3, "the scores, the answer, the TICK and the ACK"
    return (
        set(np.diff(taken[: n + 1]).tolist()),
        set(np.diff(taken[n : n + 2]).tolist()),
        set(np.diff(given[:n]).tolist()),
    )


def test_cycles_of_a_packet_and_of_a_score():
    assert cycles_taken(readout_module) == ({4}, {1}, {3})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("with m.If(wait != 2):", "with m.If(wait != 3):"),
        ("with m.If(wait == 2):", "with m.If(wait == 3):"),
        ("(index >= 0) & (index <= self.outputs)", "1"),
    ],
)
def test_cycles_too_many_are_found(old, new):
    assert cycles_taken(mutated(readout_module, old, new)) != ({4}, {1}, {3})


def test_without_a_mode_nothing_changes(request):
    rng = rng_of(request.node.name)
    packets, _ = traffic(rng, ReadoutMode.LAST, rng.integers(-128, 128, (4, 3, 5)), 3, 1)
    design = readout_module.SpikeReadout(PARAMETERS, AXON_WIDTH, VALUE_WIDTH)
    layout = packet_layout(AXON_WIDTH, VALUE_WIDTH)
    words = [layout.const(each).as_bits() for each in packets]
    run = run_streams(Configured(design, mode=0), [design.i], [design.o], [words], rng)
    assert run.words(0) == words


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("score > best", "score >= best"),
        ("(number == 0) | (score > best)", "score > best"),
        ("touched & (score > value)", "score > value"),
        ("Mux(touched, score, Mux(", "Mux(0, score, Mux("),
        ("with m.If(total > top):", "with m.If(0):"),
        ("with m.Elif(total < -top - 1):", "with m.Elif(0):"),
        ("place_bank.eq(bank ^ following)", "place_bank.eq(bank)"),
        ("late.eq(Mux(following, 0,", "late.eq(Mux(0, 0,"),
        ("ahead & ended.bit_select(tokens.step_parity, 1)", "ahead & ended.bit_select(~tokens.step_parity, 1)"),
        ("mine.eq(0), step", "step"),
        ("index >= 0) & (", "1) & ("),
        ("index <= self.outputs", "index < self.outputs"),
        ("bank.eq(bank ^ packet.last)", "bank.eq(bank)"),
        ("m.d.comb += memory.write_enable.eq(1)\n                        with", "with"),
    ],
)
def test_a_planted_bug_is_found(old, new):
    broken = mutated(readout_module, old, new)
    for case in range(40):
        try:
            check(
                rng_of(f"planted {case}"), MODES[case % len(MODES)], tiles=1 + 2 * (case % 2), module=broken, stall=0.1
            )
        except AssertionError:
            return
    pytest.fail(f"{old!r} as {new!r} must be found")


def test_refused():
    with pytest.raises(ValueError, match=r"^outputs must be a power of two, not 10$"):
        ReadoutParameters(outputs=10)
    with pytest.raises(ValueError, match=r"^width must be an integer from 2 to 24, not 25$"):
        ReadoutParameters(width=25)
