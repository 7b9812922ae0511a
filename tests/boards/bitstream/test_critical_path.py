"""Critical paths from the report of nextpnr, in the names of the design."""

import json
from pathlib import Path

import pytest

from spikeloom.boards.bitstream.critical_path import CriticalPath, Hop, critical_path, design_name
from spikeloom.boards.bitstream.report import clocks

RECORDED = (Path(__file__).parent / "nextpnr-ulx3s-12f.json").read_text()
"""The report of nextpnr for the general fabric of an ULX3S 12F."""


def test_critical_path_in_the_names_of_the_design():
    """From the header of the link's packets, through the decision whether a step may begin, to the state of its
    sender."""
    (clock,) = clocks(RECORDED)
    assert (clock.name, clock.constraint_mhz, clock.achieved_mhz) == ("clk", 90.001, 103.7)
    path = clock.path
    assert path == CriticalPath(
        start="link.header[0]",
        end="link.sender.fsm_state",
        delay_ns=9.643,
        routing=0.77,
        hops=(
            Hop(name="link.header[0]", logic_ns=0.525, routing_ns=0.834),
            Hop(name="link.ahead", logic_ns=0.472, routing_ns=2.201),
            Hop(name="link.step_valid", logic_ns=0.236, routing_ns=0.417),
            Hop(name="link.update", logic_ns=0.236, routing_ns=1.218),
            Hop(name="link.step_valid", logic_ns=0.256, routing_ns=1.517),
            Hop(name="link.sender.fsm_state", logic_ns=0.492, routing_ns=1.239),
        ),
    )
    assert sum(hop.logic_ns + hop.routing_ns for hop in path.hops) == pytest.approx(path.delay_ns)
    assert 1000 / path.delay_ns == pytest.approx(clock.achieved_mhz, rel=0.01)
    assert str(path) == "link.header[0] to link.sender.fsm_state: 9.6 ns, 77% of it routing"


def test_a_clock_without_a_path_has_none():
    paths = json.loads(RECORDED)["critical_paths"]
    assert critical_path(paths, "other") is None
    assert critical_path([], "clk") is None
    # The report also has paths from and to pins, which belong to no clock.
    assert {entry["from"] for entry in paths} > {"<async>"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("design.link.header_TRELLIS_FF_Q_61", "link.header"),
        ("design.link.update_LUT4_B_Z_LUT4_Z_1_C_LUT4_C", "link.update"),
        ("count_SB_DFFESR_Q_5_D_SB_LUT4_O_LC", "count"),
        ("started_DFFRE_Q_CE_MUX2_LUT6_O_S0", "started"),
        ("design.fabric.core.data_SB_MAC16_O", "fabric.core.data"),
        ("design.tx_LUT4_Z_D_PFUMX_Z_BLUT", "tx"),
        ("design.memory.0.0", "memory.0.0"),
        ("$glbnet$design.fabric.bridge.clk", "fabric.bridge.clk"),
        ("$auto$alumacc.cc:512:replace_alu$99.slice[0]", "unnamed logic"),
    ],
)
def test_names_of_cells_and_nets(name, expected):
    assert design_name(name) == expected


def cell(kind, name, delay, net=None):
    """A step of a path: through the cell ``name``, or along ``net`` to it."""
    step = {"type": kind, "delay": delay, "to": {"cell": name}}
    return step if net is None else step | {"net": net}


STEPS = [
    cell("clk-to-q", "design.count_SB_DFF_Q_3_LC", 0.5),
    cell("routing", "design.sum_SB_CARRY_1_LC", 0.3, "design.count"),
    cell("logic", "design.sum_SB_CARRY_1_LC", 0.2),
    cell("routing", "design.sum_SB_CARRY_2_LC", 0.1, "design.sum"),
    cell("logic", "$auto$carry", 0.2),
    cell("routing", "design.full_SB_DFF_Q_LC", 0.6, "$nextpnr$net"),
    cell("setup", "design.full_SB_DFF_Q_LC", 0.4),
]


def test_steps_of_one_signal_are_one_hop():
    """Signals named only by the tools count as the signal before them."""
    path = critical_path([{"from": "posedge clk", "to": "posedge clk", "path": STEPS}], "clk")
    assert path.hops == (
        Hop(name="count", logic_ns=0.5, routing_ns=0.3),
        Hop(name="sum", logic_ns=0.4, routing_ns=0.7),
        Hop(name="full", logic_ns=0.4, routing_ns=0.0),
    )
    assert (path.start, path.end) == ("count", "full")
    assert path.delay_ns == 2.3
    assert path.routing == round(1.0 / 2.3, 3)


def test_the_longest_of_the_paths_of_the_clock():
    """Both ends belong to the clock; paths from other clocks and from pins do not count."""
    short = {"from": "posedge clk", "to": "negedge clk", "path": STEPS[:1]}
    whole = {"from": "negedge clk", "to": "posedge clk", "path": STEPS}
    others = [
        {"from": "posedge other", "to": "posedge clk", "path": STEPS * 2},
        {"from": "<async>", "to": "posedge clk", "path": STEPS * 3},
        {"from": "posedge clk", "to": "posedge clk", "path": []},
    ]
    assert critical_path([short, *others], "clk").delay_ns == 0.5
    assert critical_path([short, *others, whole], "clk").delay_ns == 2.3
    assert critical_path(others, "clk") is None
