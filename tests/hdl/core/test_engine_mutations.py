"""Planted bugs in the engine and in its reading of rows: each must make the comparison with the reference fail.

Bugs in a part of the engine are planted in the tests of that part.
"""

import pytest
from harness.engine import EngineSimulator
from harness.engine_bugs import assert_found, assert_shown, compare, networks_of
from harness.mutations import mutated

from spikeloom.hdl.core import engine
from spikeloom.hdl.core import row_reader as rows

MUTATIONS = {
    "touched: in the sweep": (engine, "current_valid.eq(accumulator.current_valid)", "current_valid.eq(1)"),
    "a row waits for the sequencer": (rows, "rows.output_enable.eq(~fetched.valid | take)", "rows.output_enable.eq(1)"),
    "a row waits for the one before": (
        rows,
        "rows.enable.eq(~reading.valid | rows.output_enable)",
        "rows.enable.eq(1)",
    ),
    "events wait for continued rows": (rows, "rows.enable & ~again.valid", "rows.enable"),
    "the last word of a row": (rows, "with m.Elif(remaining[-1]):", "with m.Elif(0):"),
    "the address of a continued row": (rows, "fetched.axon[coordinates:] + 1", "fetched.axon[coordinates:]"),
    "rows that continue": (rows, "again.valid.eq(row.more)", "again.valid.eq(0)"),
    "delay": (rows, "fetched.other ^ row.delay", "fetched.other"),
    "delayed input of a finished sample": (rows, "~(row.delay & fetched.last)", "1"),
    "a population's events before its sweep": (engine, "~adding.bit_select(parity, 1) &", ""),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_bug_is_found(monkeypatch, mutation):
    module, old, new = MUTATIONS[mutation]
    if module is engine:
        assert_shown(mutation, mutated(engine, old, new))
    else:
        assert_found(monkeypatch, mutation, engine, module, old, new)


def test_without_a_planted_bug_the_same_networks_agree():
    for mutation in ("leak shift", "bias", "forwarding", "LUT RAM", "banks of lanes"):
        core, name = networks_of(mutation)[0]
        compare(core, EngineSimulator(engine.LifEngine(core)), name)
