"""The blocks as plain Verilog have exactly the ports that their pages name."""

import re

import pytest

from spikeloom.hdl.lib.arbiter import RoundRobinArbiter
from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.noc.mesh import Mesh
from spikeloom.hdl.noc.router import Router
from spikeloom.hdl.noc.tokens import Tokens
from spikeloom.hdl.top.verilog import write_verilog
from spikeloom.sim.noc.mesh import MeshParameters

CLOCK = {"clk": ("input", 1), "rst": ("input", 1)}


def stream(name, width, *, taken):
    into, out = ("input", "output") if taken else ("output", "input")
    return {f"{name}__valid": (into, 1), f"{name}__ready": (out, 1), f"{name}__payload": (into, width)}


def streams(i_width, o_width, *pairs):
    found = {}
    for i, o in pairs:
        found |= stream(i, i_width, taken=True) | stream(o, o_width, taken=False)
    return found


MESH = MeshParameters(columns=2, rows=2, payload_width=10)
BLOCKS = {
    "router": (
        lambda: Router(MeshParameters(), 5),
        streams(40, 40, *((f"{p}_i", f"{p}_o") for p in ("east", "west", "north", "south")))
        | streams(40, 24, ("local_i", "local_o")),
    ),
    "corner": (
        lambda: Router(MeshParameters(), 0),
        streams(40, 40, ("east_i", "east_o"), ("north_i", "north_o")) | streams(40, 24, ("local_i", "local_o")),
    ),
    "mesh": (lambda: Mesh(MESH), streams(14, 10, *((f"i__{n}", f"o__{n}") for n in range(4)))),
    "fifo": (
        lambda: Fifo(24, 16),
        streams(24, 24, ("i", "o")) | {"following_valid": ("output", 1), "following": ("output", 24)},
    ),
    "tokens": (
        lambda: Tokens(16),
        {name: ("input", 5) for name in ("sources", "sinks", "delayed_sources", "delayed_sinks")}
        | {f"{name}_destinations": ("input", 16) for name in ("tick", "ack", "delayed_tick", "delayed_ack")}
        | {name: ("input", 1) for name in ("tick", "ack", "token_parity", "token_last", "start", "finish")}
        | {name: ("output", 1) for name in ("due", "parity", "last", "done")}
        | stream("o", 20, taken=False),
    ),
    "arbiter": (
        lambda: RoundRobinArbiter(3),
        {"requests": ("input", 3), "grants": ("output", 3), "taken": ("input", 1)},
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_ports(tmp_path, name):
    design, expected = BLOCKS[name]
    text = write_verilog(design(), name, tmp_path).read_text()
    body = re.search(rf"^module {name}\(.*?^endmodule", text, re.M | re.S).group()
    ports = {
        port: (direction, int(high) + 1 if high else 1)
        for direction, high, port in re.findall(r"^  (input|output) (?:reg )?(?:\[(\d+):0\] )?(\w+);", body, re.M)
    }
    assert ports == expected | CLOCK
