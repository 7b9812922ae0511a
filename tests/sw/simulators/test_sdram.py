"""Compiled simulation of fabrics with SDRAM: the chip model in C++ equals that in Python, and a streamed core the
reference."""

import collections
import dataclasses
import functools
import re

import pytest
from harness.compiled import BUILD, run_compiled
from harness.compiled_chip import PairedChips, compile_chip
from harness.engine import assert_equal_to_reference
from harness.networks import random_network, random_spikes, rng_of
from harness.sdram_rules import (
    ACTIVATE,
    ALL,
    LIMITS,
    POWER_UP,
    PRECHARGE,
    READ,
    REFRESH,
    REFUSED,
    SPARED,
    STOP,
    TIMING,
    WRITE,
    Player,
)
from harness.sdram_rules import CHIP as NARROW
from harness.streamed_fabric import FABRIC, STREAMED, streamed_library
from harness.weight_memory import BUSY, LARGE

from spikeloom.compiler.place import place
from spikeloom.runners.compiled import CompiledRunner
from spikeloom.sim.network.reference import simulate
from spikeloom.sim.sdram.chips import CHIPS
from spikeloom.sim.sdram.device import RULES, SdramViolation
from spikeloom.simulators import compiled
from spikeloom.simulators.compiled import CompiledSimulator, Pauses
from spikeloom.simulators.sdram import SdramTraffic, clock_periods, core_clock, simulated_chip
from spikeloom.simulators.verilator import SimulationError

WIDE = CHIPS["2x M12L16161A-5T"]


@pytest.fixture(scope="module")
def chip(tmp_path_factory):
    return compile_chip(tmp_path_factory.mktemp("chip"))


def sequences():
    """The commands of `harness.sdram_rules`: each accepted sequence, each refused one, and the rule that refuses it."""
    for name, (*before, (least, command, values)) in SPARED.items():
        yield [*before, (least, command, values)], None, True
        yield [*before, (least - 1, command, values)], name.split()[0], True
    for rule, (accepted, refused) in LIMITS.items():
        yield accepted, None, True
        yield refused, rule, True
    for name, refused in REFUSED.items():
        yield refused, name.split(":")[0], True
    for refused in POWER_UP.values():
        yield refused, "power-up", False


def test_both_models_accept_and_refuse_the_same(chip):
    """A planted violation of every rule, and the same commands at the limit."""
    found = set()
    for commands, rule, initialise in sequences():
        player = Player(initialise=initialise, device=functools.partial(PairedChips, chip))
        if rule is None:
            for after, command, values in commands:
                player.send(after, command, **values)
        else:
            *before, (after, command, values) = commands
            for some in before:
                player.send(some[0], some[1], **some[2])
            with pytest.raises(SdramViolation) as refused:
                player.send(after, command, **values)
            assert refused.value.rule == rule
        player.device.compare_contents()
        player.device.close()
        found.add(rule)
    assert found == {None, *RULES}


def send_at_random(player, rng, chip):
    """Open banks, read, write, close and refresh at distances around the limits."""
    banks, columns = 1 << chip.bank_bits, 1 << chip.column_bits

    def word():
        return int(rng.integers(1 << chip.width))

    for _ in range(60):
        # Rarely a cycle too early, or a command that the state does not allow.
        early = int(rng.random() < 0.02)
        bank, row = int(rng.integers(banks)), int(rng.integers(3))
        player.send(22 - int(rng.integers(12)) * early, ACTIVATE, bank=bank, address=row)
        was_read = False
        for number in range(int(rng.integers(1, 5))):
            automatic = ALL if rng.random() < 0.3 else 0
            command = (READ, WRITE, STOP)[int(rng.choice(3, p=(0.5, 0.47, 0.03)))]
            address = int(rng.integers(8)) + (columns - 8) * int(rng.integers(2)) | automatic
            data, masks = [], []
            if command is WRITE:
                data = [word() for _ in range(4)]
                masks = [int(rng.integers(1 << chip.width // 8)) for _ in range(4)]
            after = int(rng.integers(4, 16)) if number == 0 else int(rng.integers(1, 9))
            after = 3 if early else max(after, 7 * was_read * (command is WRITE))
            was_read = command is READ
            player.send(after, command, bank=bank, address=address, data=data, masks=masks)
            if automatic:
                break
        every = ALL * int(rng.random() < 0.9)
        player.send(int(rng.integers(5 if early else 10, 25)), PRECHARGE, bank=bank, address=every)
        if rng.random() < 0.5:
            player.send(9, REFRESH)
        player.send(int(rng.integers(4)))


@pytest.mark.parametrize("kind", [NARROW, WIDE], ids=["16 bits, 4 banks", "32 bits, 2 banks"])
def test_both_models_agree_on_random_commands(request, chip, kind):
    """In every word that they drive and store, and in the text of every violation."""
    rng = rng_of(request.node.name)
    seen = collections.Counter()
    for _ in range(60):
        burst, latency = int(rng.choice([1, 2, 4])), int(rng.choice([2, 3]))
        timing = dataclasses.replace(TIMING, ras=8, cas_latency=2, power_up=0, refresh_interval=2000, ras_limit=300)

        def both(_chip, rules):
            return PairedChips(chip, kind, rules)

        player = Player(burst=burst, latency=latency, timing=timing, device=both)
        try:
            send_at_random(player, rng, kind)
            seen["complete"] += 1
        except SdramViolation as violation:
            seen[violation.rule] += 1
        device = player.device
        device.compare_contents()
        seen["words"] += len(device.words)
        seen["driven"] += sum(word != 0 for word in player.words.values())
        device.close()
        assert device.moved >= len(device.words)
    assert seen["words"] > 300, seen
    assert seen["driven"] > 100, seen
    assert len(set(seen) & set(RULES)) > 3, seen


def test_a_streamed_core_equals_the_reference_in_every_state(request):
    """With an SDRAM that is refreshed eight times as often as a real one."""
    rng = rng_of(request.node.name)
    network = random_network(rng, STREAMED, inputs=24, sizes=(20, 14, 9))
    program = place(network, FABRIC)
    spikes = random_spikes(rng, 8, 3, network.inputs)
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_compiled(streamed_library(), program, spikes, prefix="core_1.")
    assert_equal_to_reference(run, network, program, spikes, reference)
    pauses = Pauses(idle=0.2, stall=0.3, seed=7)
    overlapping = run_compiled(streamed_library(), program, spikes, pauses=pauses, credit=2, random_start=5)
    for part in ("spikes", "membranes", "packets", "words_added"):
        assert getattr(overlapping, part) == getattr(run, part)
    fired = sum(int(s.sum()) for s in reference.spikes.values())
    assert 0 < fired < sum(s.size for s in reference.spikes.values())


@pytest.mark.parametrize("core_hz", [108_000_000, 40_000_000, 10_000_000])
def test_the_runner_reports_the_bandwidth(request, core_hz):
    """At any ratio of the two clocks: every word of the core is one burst of the chip, which has two words."""
    rng = rng_of(request.node.name)
    network = random_network(rng, STREAMED, inputs=24, sizes=(20, 9))
    program = place(network, FABRIC)
    spikes = random_spikes(rng, 6, 9, network.inputs)
    runner = CompiledRunner(program, BUILD, workers=2, clock_hz=core_hz)
    result = runner.run(spikes)
    expected = simulate(network, spikes)
    assert (result.spikes[network.output] == expected.spikes[network.output]).all()
    added = result.counters[1]["words"]
    # Rows of 5 and 3 words begin within a burst of one word, so nothing is read in addition.
    assert result.sdram.words == 2 * added > 200
    # The first packet in is a few cycles after the end of loading.
    assert result.sdram.cycles == pytest.approx(result.cycles * BUSY.clock_hz / core_hz, rel=0.02)
    assert result.sdram.used == result.sdram.words / result.sdram.cycles


def loaded(rng, **options):
    """A simulator in which a small program is loaded."""
    program = place(random_network(rng, STREAMED, inputs=6, sizes=(5,)), FABRIC)
    with CompiledSimulator(streamed_library(), **options) as simulator:
        simulator.load(program)
        simulator.load(program)
        return simulator.sdram_traffic


def test_a_second_program_needs_no_power_up(request):
    """The self-test and both loads move words; the chip stays initialised."""
    traffic = loaded(rng_of(request.node.name))
    assert traffic.words > 2 * 64 * 3
    assert traffic.cycles < 20_000


@pytest.mark.parametrize(
    ("rule", "limit"),
    [("tRCD", "rcd"), ("tRP", "rp"), ("tRFC", "rfc"), ("tRP", "wr"), ("tRAS", "ras"), ("tRC", "rc")],
)
def test_a_chip_that_is_slower_than_the_controller_believes(request, monkeypatch, rule, limit):
    """The simulation ends with the rule that is broken. A row that is written closes by itself, after tWR."""
    picoseconds = {limit: getattr(BUSY.chip, limit) + 30_000}
    slower = dataclasses.replace(BUSY.chip, **picoseconds)
    monkeypatch.setattr(compiled, "simulated_chip", lambda sdram, needed: slower)
    with pytest.raises(SimulationError, match=rf"^Protocol error in the compiled design: the chip refuses {rule} at "):
        loaded(rng_of(request.node.name))


def test_a_word_that_is_not_stored_is_noticed(request, monkeypatch):
    monkeypatch.setattr(compiled, "checksum", lambda data: 0)
    message = (
        r"^the simulated SDRAM does not hold the weights that were written: checksum 0x[0-9a-f]{8}, expected 0x0+$"
    )
    with pytest.raises(SimulationError, match=message):
        loaded(rng_of(request.node.name))


def test_the_smallest_chip_with_room():
    fewer = dataclasses.replace(BUSY.chip, row_bits=12)
    sdram = dataclasses.replace(BUSY, chip=fewer, more_row_bits=1)
    assert simulated_chip(sdram, 100) == fewer
    assert simulated_chip(sdram, (16 << 20) + 1).column_bits == fewer.column_bits + 1
    assert simulated_chip(sdram, 64 << 20) == LARGE
    with pytest.raises(
        ValueError, match=r"^needed must be at most 67,108,864 bytes, the size of the largest chip, not 67,108,865$"
    ):
        simulated_chip(sdram, (64 << 20) + 1)


def test_the_two_clocks():
    assert clock_periods(90_000_000, 110_000_000) == (11, 9)
    assert core_clock(FABRIC) == 109_090_909
    assert clock_periods(core_clock(FABRIC), BUSY.clock_hz)
    message = "core_hz must be from 1 to 100,000,000 for an SDRAM at 110,000,000 Hz, not 100,000,002"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        clock_periods(100_000_002, 110_000_000)
    with pytest.raises(ValueError, match=r"^core_hz must be from 1 "):
        clock_periods(0, 110_000_000)


def test_traffic():
    both = SdramTraffic(10, 4) + SdramTraffic(30, 6)
    assert both == SdramTraffic(40, 10)
    assert both - SdramTraffic(10, 4) == SdramTraffic(30, 6)
    assert both.used == 0.25
    assert SdramTraffic().used == 0.0
