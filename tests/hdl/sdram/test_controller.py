"""The SDRAM controller against a memory of bursts, with a chip model at its pins that refuses every violation."""

import dataclasses

import numpy as np
import pytest
from harness.mutations import mutated
from harness.networks import rng_of
from harness.sdram import (
    COLORLIGHT,
    MICROSECOND,
    ULX3S,
    Request,
    expected_words,
    quick,
    random_requests,
    run_controller,
    stored,
)

from spikeloom.hdl.sdram import controller as module
from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.commands import AUTO_PRECHARGE, BURST, SdramCommand
from spikeloom.sim.sdram.device import SdramDevice, SdramViolation
from spikeloom.sim.sdram.parameters import STRIPE, SdramParameters

# A refresh every microsecond meets every state of the controller in a short run.
BUSY = dataclasses.replace(ULX3S, chip=quick(BOARDS["ulx3s"], refresh_interval=MICROSECOND))
LARGE = dataclasses.replace(BUSY.chip, column_bits=10)
TWO_BANKS = dataclasses.replace(COLORLIGHT, chip=quick(COLORLIGHT.chip, refresh_interval=MICROSECOND))
CASES = {
    "64 MB": (BUSY, LARGE, 0.2, 0.3),
    "without pauses": (BUSY, LARGE, 0.0, 0.0),
    "stalled": (BUSY, LARGE, 0.0, 0.8),
    "rare": (BUSY, LARGE, 0.9, 0.0),
    "whole words, two banks": (TWO_BANKS, TWO_BANKS.chip, 0.2, 0.3),
    "CAS latency 2, two cycles on the board": (
        SdramParameters(chip=BUSY.chip, clock_hz=80_000_000, read_delay=2, more_column_bits=0),
        BUSY.chip,
        0.1,
        0.1,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_random_requests(request, case):
    rng = rng_of(request.node.name)
    parameters, chip, idle, stall = CASES[case]
    requests = random_requests(rng, parameters, 25 if case == "rare" else 40)
    run = run_controller(parameters, requests, rng, idle=idle, stall=stall, chip=chip)
    wanted = expected_words(parameters, requests)
    assert run.words == wanted
    assert stored(parameters, run.device) == stored(parameters, requests=requests)
    assert 0 < sum(word != 0 for word in wanted) < len(wanted)
    assert run.device.counts[SdramCommand.REFRESH] > 10
    assert run.device.counts[SdramCommand.ACTIVATE] > len(requests), "some requests run over the end of a row"
    assert run.device.initialised
    # Pin 10 selects auto precharge; address pins that the chip does not need for the column are 0.
    columns = parameters.chip.column_bits + parameters.more_column_bits
    assert columns <= 10
    transfers = [pins.address for _, pins in run.commands if pins.command in (SdramCommand.READ, SdramCommand.WRITE)]
    assert {address >> columns & ~(1 << 10 - columns) for address in transfers} == {0}


def test_a_smaller_chip_repeats_its_contents(request):
    """The upper half of the addresses of a 64 MB chip is the lower half of a 32 MB chip."""
    rng = rng_of(request.node.name)
    half = 1 << BUSY.least_address_bits
    requests = [Request(half + 5, 2, [11, 22]), Request(5, 2), Request(5, 1, [33]), Request(half + 5, 2)]
    for chip, wanted in ((BUSY.chip, [11, 22, 33, 22]), (LARGE, [0, 0, 11, 22])):
        assert run_controller(BUSY, requests, rng, chip=chip).words == wanted


def test_a_stall_of_1000_cycles_in_the_middle_of_a_row(request):
    """Words wait, refreshes continue, and the row is opened again; nothing is lost or read twice."""
    rng = rng_of(request.node.name)
    data = [int(word) for word in rng.integers(1 << 32, size=100)]
    requests = [Request(70, 100, data), Request(70, 100)]
    run = run_controller(BUSY, requests, rng, long_stall=1000, chip=LARGE)
    assert run.words == data
    waited = max(np.diff(run.cycles_of_words))
    assert waited > 1000
    during = [c for c in run.of(SdramCommand.REFRESH) if run.cycles_of_words[49] < c < run.cycles_of_words[50]]
    assert len(during) >= 1000 // BUSY.refresh_period
    assert not [c for c in run.of(SdramCommand.READ) if during[0] < c < during[-1]], "no word is read that has no room"


def test_requests_of_many_rows(request):
    rng = rng_of(request.node.name)
    small = dataclasses.replace(BUSY.chip, column_bits=8)
    parameters = SdramParameters(chip=small, clock_hz=120_000_000)
    requests = [Request(100, 3, [7, 8, 9]), Request(383, 2, [1, 2]), Request(60, 400)]
    run = run_controller(parameters, requests, rng)
    assert run.words == expected_words(parameters, requests)
    assert sum(word != 0 for word in run.words) == 5


def reads(rng, parameters, row_bytes, rows):
    """Rows in random banks, each at the beginning of a row of the chip, or of a stripe."""
    columns = 1 << parameters.stripe_bits
    pages = [int(page) for page in rng.integers(1 << parameters.address_bits - parameters.stripe_bits, size=rows)]
    return [Request(page * columns, row_bytes // parameters.burst_bytes) for page in pages]


@pytest.mark.parametrize("parameters", [ULX3S, COLORLIGHT], ids=["16 bits", "32 bits"])
@pytest.mark.parametrize("row_bytes", [8, 16, 64])
def test_commands_are_sent_in_the_cycles_of_the_recurrence(request, parameters, row_bytes):
    rng = rng_of(request.node.name)
    requests = reads(rng, parameters, row_bytes, 640 // row_bytes)
    run = run_controller(parameters, requests, rng)
    schedule = parameters.read_schedule(
        (segment.bank, segment.bursts)
        for request in requests
        for segment in parameters.segments(request.address, request.bursts)
    )
    activates, columns = run.of(SdramCommand.ACTIVATE), run.of(SdramCommand.READ)
    assert [cycle - activates[0] for cycle in activates] == [read.activate for read in schedule]
    assert [cycle - activates[0] for cycle in columns] == [
        cycle for read in schedule for cycle in range(read.first, read.last + 1, BURST)
    ]
    # The run is short enough to meet no refresh, and some rows had to wait for their bank.
    assert run.device.counts[SdramCommand.REFRESH] == 8
    gaps = np.diff(columns)
    assert 0 < sum(gaps > BURST) < len(gaps)


def test_consecutive_stripes_of_two_banks_are_read_without_a_pause(request):
    """Rows that begin in the first bank, and a long one: the ACTIVATE of each stripe is hidden by the stripe before."""
    rng = rng_of(request.node.name)
    stripes = [(2 * int(page), count) for page, count in zip(rng.integers(1 << 16, size=12), [2, 4] * 6, strict=True)]
    requests = [Request(page * STRIPE, count * STRIPE) for page, count in [*stripes, (6, 21)]]
    run = run_controller(COLORLIGHT, requests, rng)
    assert run.device.counts[SdramCommand.REFRESH] == 8
    assert np.diff(run.of(SdramCommand.READ)).tolist() == [BURST] * (STRIPE * (6 * 2 + 6 * 4 + 21) - 1)
    assert [pins.bank for _, pins in run.commands if pins.command == SdramCommand.ACTIVATE] == [0, 1] * 28 + [0]


def check_bandwidth(rng, row_bytes, rows):
    requests = reads(rng, ULX3S, row_bytes, rows)
    run = run_controller(ULX3S, requests, rng)
    columns = run.of(SdramCommand.READ)
    used = len(columns) * BURST / (columns[-1] + BURST - columns[0])
    assert run.device.counts[SdramCommand.REFRESH] > 8 + 1
    assert used == pytest.approx(ULX3S.bandwidth_used(row_bytes, rng), abs=0.025)
    return used


def test_bandwidth(request):
    assert check_bandwidth(rng_of(request.node.name), 16, 220) >= 0.65


@pytest.mark.slow
@pytest.mark.parametrize(("row_bytes", "aim"), [(16, 0.65), (64, 0.85), (256, 0.93)])
def test_bandwidth_of_long_runs(request, row_bytes, aim):
    assert check_bandwidth(rng_of(request.node.name), row_bytes, 40_000 // row_bytes) >= aim


def test_latency(request):
    """From the request to the first word, with all banks closed."""
    rng = rng_of(request.node.name)
    run = run_controller(ULX3S, [Request(0, 1)], rng)
    (ready,) = run.of(SdramCommand.LOAD_MODE)
    (activate,) = run.of(SdramCommand.ACTIVATE)
    # The request waits for the initialisation here: count from the ACTIVATE, four cycles after a request is accepted.
    assert activate - ready == ULX3S.timing.mrd
    assert run.cycles_of_words[0] - activate == ULX3S.activate_to_column + ULX3S.read_latency + BURST - 1


# Each rule, in cycles, on a chip on which it is decisive: with the chip's own number the controller keeps the rule,
# with one less it does not. An auto precharge begins tWR after the last word by itself; the ACTIVATE is what comes too
# early.
RULES = {
    "tRCD": ("rcd", 10, "tRCD"),
    "tRP": ("rp", 10, "tRP"),
    "tRAS": ("ras", 15, "tRAS"),
    "tRC": ("rc", 30, "tRC"),
    "tRRD": ("rrd", 10, "tRRD"),
    "tRFC": ("rfc", 12, "tRFC"),
    "tWR": ("wr", 10, "tRP"),
    "tMRD": ("mrd", 10, "tMRD"),
    "power-up": ("power_up", 150, "power-up"),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_kept_and_one_cycle_less_is_caught(request, rule):
    rng = rng_of(request.node.name)
    name, cycles, shown = RULES[rule]
    hz = ULX3S.clock_hz
    chip, hasty = (
        dataclasses.replace(BUSY.chip, refresh_interval=2 * MICROSECOND, **{name: number * 10**12 // hz})
        for number in (cycles, cycles - 1)
    )
    timing = chip.timing(hz)
    for known in (chip, hasty):
        parameters = dataclasses.replace(ULX3S, chip=known, more_column_bits=0)
        assert getattr(parameters.timing, name) == (cycles if known is chip else cycles - 1)
        requests = random_requests(rng, parameters, 25, most=4)
        device = SdramDevice(chip, timing)
        if known is chip:
            assert run_controller(parameters, requests, rng, device=device).words == expected_words(
                parameters, requests
            )
            continue
        with pytest.raises(SdramViolation) as found:
            run_controller(parameters, requests, rng, device=device)
        assert found.value.rule == shown


def least_distance(run, first, then, *, same_bank=False, last=False):
    """The fewest cycles from a command of the kinds ``first``, if ``last`` the last one of its segment, to the next one
    of the kinds ``then``."""
    found = []
    for number, (cycle, pins) in enumerate(run.commands):
        if pins.command in first and (not last or pins.address & AUTO_PRECHARGE):
            after = (
                later - cycle
                for later, other in run.commands[number + 1 :]
                if other.command in then and (not same_bank or other.bank == pins.bank)
            )
            found.append(next(after, None))
    return min(cycles for cycles in found if cycles is not None)


@pytest.mark.parametrize("parameters", [BUSY, TWO_BANKS], ids=["four banks", "two banks"])
def test_no_command_waits_longer_than_it_must(request, parameters):
    """Each distance that the parameters give occurs; shorter ones break a rule."""
    rng = rng_of(request.node.name)
    requests = random_requests(rng, parameters, 60, most=4)
    chip = LARGE if parameters is BUSY else parameters.chip
    run = run_controller(parameters, requests, rng, idle=0.05, chip=chip)
    activate, read, write = (SdramCommand.ACTIVATE,), (SdramCommand.READ,), (SdramCommand.WRITE,)
    precharge, refresh = (SdramCommand.PRECHARGE,), (SdramCommand.REFRESH,)
    timing = parameters.timing
    assert run.of(*precharge)[0] == timing.power_up
    assert np.diff(run.of(*refresh)[:8]).tolist() == [timing.rfc] * 7
    assert run.of(SdramCommand.LOAD_MODE) == [run.of(*refresh)[7] + timing.rfc]
    assert run.of(*activate)[0] == run.of(SdramCommand.LOAD_MODE)[0] + timing.mrd
    assert least_distance(run, precharge, refresh) == timing.rp
    assert least_distance(run, refresh, activate) == timing.rfc
    assert least_distance(run, activate, activate) == timing.rrd
    assert least_distance(run, activate, read + write, same_bank=True) == parameters.activate_to_column
    assert least_distance(run, read, activate, same_bank=True, last=True) == parameters.read_to_activate
    assert least_distance(run, write, activate, same_bank=True, last=True) == parameters.write_to_activate
    assert least_distance(run, read, write) == parameters.read_to_write
    assert least_distance(run, read + write, read + write) == BURST
    assert least_distance(run, activate + read + write, precharge) == parameters.refresh_wait
    # With few requests, most refreshes come at once.
    run = run_controller(parameters, requests[:12], rng, idle=0.99, chip=chip)
    assert np.median(np.diff(run.of(*refresh)[8:])) == parameters.refresh_period


def test_a_restart_initialises_the_chip_again(request):
    """In the middle of requests, twice, once while a refresh is due: nothing is lost, and the rules are kept."""
    rng = rng_of(request.node.name)
    requests = random_requests(rng, BUSY, 60)
    timing = BUSY.timing
    first = timing.power_up + timing.rp + 8 * timing.rfc + timing.mrd
    # The period of the refreshes begins with the reset.
    due = next(n * BUSY.refresh_period for n in range(1, 100) if n * BUSY.refresh_period > first + 500)
    restarts = (first + 150, due)
    run = run_controller(BUSY, requests, rng, chip=LARGE, stall=0.2, restarts=restarts)
    assert (run.words, stored(BUSY, run.device)) == (expected_words(BUSY, requests), stored(BUSY, requests=requests))
    modes = run.of(SdramCommand.LOAD_MODE)
    assert len(modes) == 3
    assert run.cycles > modes[-1] + 100
    for mode, restart in zip(modes[1:], restarts, strict=True):
        refreshes = run.of(SdramCommand.REFRESH)
        end = refreshes.index(mode - timing.rfc) + 1
        assert np.diff(refreshes[end - 8 : end]).tolist() == [timing.rfc] * 7
        assert refreshes[end - 8] > restart
        assert refreshes[end - 8] - timing.rp in run.of(SdramCommand.PRECHARGE)


def test_a_wrong_refresh_interval_and_cas_latency_are_caught(request):
    rng = rng_of(request.node.name)
    requests = random_requests(rng, BUSY, 20)
    slow = dataclasses.replace(BUSY.chip, refresh_interval=MICROSECOND // 2)
    with pytest.raises(SdramViolation) as found:
        run_controller(BUSY, requests, rng, device=SdramDevice(slow, slow.timing(BUSY.clock_hz)))
    assert found.value.rule == "tREFI"
    # A word that is sampled a cycle late is not the word that was read.
    late = module.SdramController(dataclasses.replace(BUSY, read_delay=1))
    assert run_controller(BUSY, requests, rng, controller=late, chip=LARGE).words != expected_words(BUSY, requests)


MUTATIONS = {
    "bank of the current segment": ("& (following.bank != current.bank)", ""),
    "rows after a refresh": ("[current.active.eq(0), following.active.eq(0)]", "[current.active.eq(0)]"),
    "room of the queue": ("(_QUEUE_BURSTS + 1), init=_QUEUE_BURSTS)", "(_QUEUE_BURSTS + 3), init=_QUEUE_BURSTS + 2)"),
    "column of a larger chip": ("current.more[: p.more_column_bits])", "Const(0, p.more_column_bits))"),
    "turn of the data pins": ("p.read_to_write - 1)", "p.read_to_write - 2)"),
    "end of a row": ("offered.left.eq(Mux(crosses, ~start, request.count))", "offered.left.eq(request.count)"),
    "rest of a request": ("Cat(end[:columns], end[columns:] - 1)", "Cat(end[:columns], end[columns:])"),
    "mask of the second word": ("pins.mask.eq(Mux(driving[0], kept, 0))", "pins.mask.eq(0)"),
    "late activate": ("Mux(late, row(current), row(following))", "row(following)"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(request, mutation):
    rng = rng_of(request.node.name)
    wrong = mutated(module, *MUTATIONS[mutation]).SdramController(BUSY)
    requests = random_requests(rng, BUSY, 40)
    try:
        run = run_controller(BUSY, requests, rng, controller=wrong, chip=LARGE, stall=0.3, long_stall=150, timeout=2000)
    except (SdramViolation, AssertionError):
        return
    assert (run.words, stored(BUSY, run.device)) != (expected_words(BUSY, requests), stored(BUSY, requests=requests))
