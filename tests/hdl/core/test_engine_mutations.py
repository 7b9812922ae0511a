"""Planted bugs around the neurons: each must make the comparison with the reference fail.

Those in the update of a neuron are in `test_lane_mutations`, those of convolutions and lists in `test_row_mutations`.
"""

import dataclasses

import pytest
from harness.engine import assert_equal_to_reference, run_engine
from harness.mutations import mutated
from harness.networks import random_network, random_spikes, rng_of

from spikeloom.compiler.place import place
from spikeloom.hdl.core import accumulate, adders, emit, engine, sweep
from spikeloom.hdl.core import neuron_bank as neurons
from spikeloom.hdl.core import row_reader as rows
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.network.reference import simulate

CORE = CoreParameters(
    lanes=1, neurons=32, axons=128, weight_words=1024, v_width=12, accumulator_width=16, beta_fraction=8
)
SHIFTS = dataclasses.replace(CORE, multiplier=False, shifts=(2, 3))
LUT_RAM = dataclasses.replace(CORE, neurons=64, lanes=4, accumulator_memory="distributed", state_memory="distributed")
GROUPS = dataclasses.replace(LUT_RAM, lanes=16, neurons=96, axons=256)
BANKS = dataclasses.replace(GROUPS, lane_banks=2)
SHORT_ROWS = dataclasses.replace(CORE, lanes=4)  # rows of one and two words, so that sums follow each other at once

MUTATIONS = {
    "fresh state": (neurons, "lane.fresh.eq(control.fresh)", "lane.fresh.eq(0)"),
    "forwarding of the last sum": (accumulate, "control.last.eq(hits[2][0])", "control.last.eq(0)"),
    "forwarding of the sum before": (adders, "Mux(control.is_last_on_way, last, earlier)", "earlier"),
    "forwarding of the third sum": (accumulate, "stages[1:4])", "stages[1:3])"),
    "forwarding of another bank's sum": (accumulate, "(earlier.bank == later.bank) &", ""),
    "touched: never": (accumulate, "ok.eq(", "ok.eq(0 & "),
    "touched: always": (accumulate, "ok.eq(", "ok.eq(1 | "),
    "touched: of the other bank": (accumulate, "bit_select(stages[2].bank, 1)", "bit_select(~stages[2].bank, 1)"),
    "touched by the word before, LUT RAM": (accumulate, " | hits[1][0]),", "),"),
    "touched: where nothing was added": (accumulate, "stages[0].valid &", ""),
    "touched: in both banks": (accumulate, "& (stages[0].bank == number)", ""),
    "touched: the wrong word": (
        accumulate,
        "self.clear_address, memory.address",
        "self.clear_address, stages[1].target",
    ),
    "touched: in the sweep": (engine, "current_valid.eq(accumulator.current_valid)", "current_valid.eq(1)"),
    "clearing of accumulators": (accumulate, "~(self.clear | sweeping)", "~self.clear"),
    "a row waits for the sequencer": (rows, "rows.output_enable.eq(~fetched.valid | take)", "rows.output_enable.eq(1)"),
    "a row waits for the one before": (
        rows,
        "rows.enable.eq(~reading.valid | rows.output_enable)",
        "rows.enable.eq(1)",
    ),
    "events wait for continued rows": (rows, "rows.enable & ~again.valid", "rows.enable"),
    "the last word of a row": (rows, "with m.Elif(remaining[-1]):", "with m.Elif(0):"),
    "the address of a continued row": (rows, "fetched.axon[coordinates:] + 1", "fetched.axon[coordinates:]"),
    "the spare place of the emitter": (emit, "free.eq(~spare_valid)", "free.eq(1)"),
    "a route waits for the one before": (emit, "~valid[0] | ~valid[1] | free", "1"),
    "a word waits for the one before": (emit, "~reading | output_enable", "1"),
    "a word waits for the one before, LUT RAM": (emit, "~reading | output_enable", "1"),
    "groups of lanes: a word waits for the one before": (emit, "~reading if groups > 1", "1 if groups > 1"),
    "groups of lanes: a word waits for the one before, block RAM": (
        emit,
        "~reading if groups > 1",
        "1 if groups > 1",
    ),
    "groups of lanes: the next one": (emit, "others.eq(left & ~lowest_left)", "others.eq(left)"),
    "groups of lanes: the last one": (
        emit,
        "is_last.eq(Mux(chosen_valid, _is_single(others), _is_single(front.groups)))",
        "is_last.eq(1)",
    ),
    "groups of lanes: the number": (emit, "number.eq(_number(chosen))", "number.eq(0)"),
    "rows that continue": (rows, "again.valid.eq(row.more)", "again.valid.eq(0)"),
    "delay": (rows, "fetched.other ^ row.delay", "fetched.other"),
    "delayed input of a finished sample": (rows, "~(row.delay & fetched.last)", "1"),
    "a packet is sent once": (
        emit,
        "packet_waits.eq(packet_waits & ~self.packets.ready)",
        "packet_waits.eq(packet_waits)",
    ),
    "a local event is sent once": (
        emit,
        "local_waits.eq(local_waits & ~self.local.ready)",
        "local_waits.eq(local_waits)",
    ),
    "a population's events before its sweep": (engine, "~adding.bit_select(parity, 1) &", ""),
    "banks of lanes: what they send takes as long back": (sweep, "sent = end + 2 * far", "sent = end + far"),
    "banks of lanes: any of them sends": (sweep, "any_of_bank.any()", "any_of_bank[0]"),
    "bank of the sweep": (accumulate, "swept_bank.eq(self.bank)", "swept_bank.eq(~self.bank)"),
}


def compare(core, engine_module, name):
    rng = rng_of(name)
    busy_output = "waits for the one before" in name  # many spikes, and an output that takes few
    sizes = (40, 14, 12) if core.lanes == GROUPS.lanes else (14, 9, 6) if busy_output else (5, 5, 4)
    network = random_network(rng, core, inputs=6, sizes=sizes)
    spikes = random_spikes(rng, 8, 2, network.inputs)
    program = place(network, FabricConfig(core=core))
    reference = simulate(network, spikes, record=[p.name for p in network.populations])
    run = run_engine(
        engine_module.LifEngine(core),
        program,
        spikes,
        rng,
        idle=0,
        stall=0.9 if busy_output else 0.3,
        shuffle=False,
        timeout=20_000,
    )
    assert_equal_to_reference(run, network, program, spikes, reference)


def networks_of(mutation):
    core = CORE
    if "block RAM" in mutation:
        core = dataclasses.replace(GROUPS, state_memory="block")
    elif "LUT RAM" in mutation:
        core = LUT_RAM
    elif "banks of lanes" in mutation:
        core = BANKS
    elif "groups" in mutation:
        core = GROUPS
    elif "forwarding" in mutation or "touched" in mutation:
        core = SHORT_ROWS
    elif mutation == "leak shift":
        core = SHIFTS
    return [(core, f"{mutation} {case}") for case in range(12)]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    module, old, new = MUTATIONS[mutation]
    copy = mutated(module, old, new)
    engine_module = engine
    if module is engine:
        engine_module = copy
    else:
        user, name = {
            neurons: (sweep, "NeuronBank"),
            adders: (accumulate, "AdderBank"),
            accumulate: (engine, "Accumulator"),
            rows: (engine, "RowReader"),
            emit: (engine, "SpikeEmitter"),
            sweep: (engine, "NeuronSweep"),
        }[module]
        monkeypatch.setattr(user, name, getattr(copy, name))
    for core, name in networks_of(mutation):
        try:
            compare(core, engine_module, name)
        except AssertionError:
            return
    pytest.fail(f"the planted bug in {mutation!r} must be found")


def test_without_a_planted_bug_the_same_networks_agree():
    for mutation in ("leak shift", "bias", "forwarding", "LUT RAM", "groups", "groups, block RAM", "banks of lanes"):
        for core, name in networks_of(mutation)[:1]:
            compare(core, engine, name)
