"""The counts of the traffic program: right for a correct mesh, wrong for broken ones."""

import gc
import math
from pathlib import Path

import numpy as np
import pytest
from harness.mutations import mutated

from spikeloom.benchmarks import traffic
from spikeloom.benchmarks.traffic import build, check, ideal_latency, load
from spikeloom.hdl.noc import mesh as mesh_module
from spikeloom.hdl.noc import router as router_module
from spikeloom.hdl.noc.mesh import Mesh
from spikeloom.sim.noc.mesh import MeshParameters

BUILD = Path(__file__).resolve().parents[3] / "build" / "tests" / "traffic"
SMALL = MeshParameters(columns=2, rows=2, payload_width=16)
PAIR = MeshParameters(columns=2, rows=1, payload_width=16)
MISTAKES = ("lost", "duplicated", "misrouted", "reordered")


@pytest.fixture(autouse=True)
def unoptimised(monkeypatch):
    """Optimisation takes longer than these runs."""
    monkeypatch.setattr(traffic, "OPTIMISATION", "-O0")


def test_every_packet_arrives_once_and_in_order():
    program = build(Mesh(SMALL), BUILD)
    found = check(program, 300_000, multicast=0.4, seed=3)
    assert found["packets"] >= 300_000
    assert found["delivered"] == found["copies"] > 1.3 * found["packets"]
    assert [found[name] for name in MISTAKES] == [0, 0, 0, 0]
    assert not found["deadlock"]
    # Another seed gives another run.
    assert check(program, 1000, seed=4)["cycles"] != check(program, 1000, seed=5)["cycles"]


def test_latency_and_saturation():
    """At low load, a packet takes the time given by the model, and no source exceeds the throughput of the ideal
    mesh."""
    program = build(Mesh(SMALL), BUILD)
    alone = load(program, 0.001, 400_000)
    assert alone["latency"] == pytest.approx(np.mean([2, 4, 4, 6]), abs=0.1)
    assert ideal_latency(SMALL, 0.001) == pytest.approx(4.0, abs=0.01)
    busy = load(program, 0.5, 50_000)
    assert 0.95 * ideal_latency(SMALL, 0.5) < busy["latency"] < 6
    assert busy["delivered_per_cycle"] == pytest.approx(2.0, abs=0.05)
    assert 2.5 < load(program, 1.0, 20_000)["delivered_per_cycle"] < 4
    assert ideal_latency(SMALL, 1.0) == math.inf


BUGS = {
    "lost": ("done.eq(~entry.left.any())", "done.eq(~entry.left.all())", "lost"),
    "duplicated": ("Mux(done, arriving, entry.left)", "Mux(done, arriving, entry.pending)", "duplicated"),
    "misrouted": ("(self.tile, output) & entry.arrivals", "(self.tile, output) | 1 << (self.tile ^ 1)", "misrouted"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_broken_mesh_is_found_out(monkeypatch, bug):
    old, new, mistake = BUGS[bug]
    monkeypatch.setattr(mesh_module, "Router", mutated(router_module, old, new).Router)
    found = check(build(Mesh(PAIR), BUILD), 20_000, multicast=0.5)
    assert found[mistake] > 0


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_bad_parameters():
    with pytest.raises(ValueError, match=r"^mesh must have payloads of 12 bits or more, .*, not 8 and 16$"):
        build(Mesh(MeshParameters(payload_width=8)), BUILD)
    gc.collect()  # Amaranth warns when a refused design, never elaborated, is collected: do that here
