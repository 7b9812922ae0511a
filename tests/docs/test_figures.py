"""The committed pictures are those of their sources, and the timing diagrams show what the hardware does."""

import importlib.util
import json
from pathlib import Path

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.lib.memory import LoadedMemory
from spikeloom.hdl.lib.registers import RegisterBank
from spikeloom.hdl.noc.router import Router
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.registers import Register, RegisterMap
from spikeloom.sim.noc.mesh import MeshParameters

FOLDER = Path(__file__).parents[2] / "docs" / "figures"
SPEC = importlib.util.spec_from_file_location("render", FOLDER / "render.py")
render = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(render)


@pytest.mark.parametrize("source", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_pictures_are_those_of_their_sources(source):
    picture = source.with_suffix(".svg").read_text()
    assert picture == render.render(source), "python docs/figures/render.py draws them"


def test_every_picture_has_a_source():
    assert {path.stem for path in FOLDER.glob("*.svg")} == {path.stem for path in FOLDER.glob("*.json")}


def waves(name):
    """The signals of a timing diagram, each a list of the value in every cycle; None where it does not matter."""
    signals = {}
    for signal in json.loads((FOLDER / f"{name}.json").read_text())["signal"]:
        values, data = [], list(signal.get("data", []))
        for state in signal["wave"]:
            match state:
                case ".":
                    values.append(values[-1])
                case "=":
                    values.append(data.pop(0))
                case "0" | "1":
                    values.append(int(state))
                case _:
                    values.append(None)
        signals[signal["name"]] = values
    return signals


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def test_the_queue_does_what_is_drawn():
    drawn, dut = waves("fifo"), Fifo(8, 2)

    async def bench(ctx):
        for cycle in range(len(drawn["clk"])):
            ctx.set(dut.i.valid, drawn["i.valid"][cycle])
            ctx.set(dut.i.payload, ord(drawn["i.payload"][cycle]))
            ctx.set(dut.o.ready, drawn["o.ready"][cycle])
            assert ctx.get(dut.i.ready) == drawn["i.ready"][cycle]
            assert ctx.get(dut.o.valid) == drawn["o.valid"][cycle]
            if drawn["o.payload"][cycle] is not None:
                assert ctx.get(dut.o.payload) == ord(drawn["o.payload"][cycle])
            await ctx.tick()

    simulate(dut, bench)


def test_the_router_does_what_is_drawn():
    """Packet A is for the tile itself and its eastern neighbour, packet B for the neighbour."""
    drawn, dut = waves("router"), Router(MeshParameters(columns=3, rows=3), 4)
    ports = {name: getattr(dut, name) for name in ("west_i", "east_o", "local_o")}
    destinations = {"A": 1 << 4 | 1 << 5, "B": 1 << 5}

    async def bench(ctx):
        ctx.set(dut.east_o.ready, 1)
        ctx.set(dut.local_o.ready, 1)
        for cycle in range(len(drawn["clk"])):
            packet = drawn["west_i.payload"][cycle]
            ctx.set(ports["west_i"].valid, drawn["west_i.valid"][cycle])
            if packet is not None:
                ctx.set(Value.cast(ports["west_i"].payload), destinations[packet] << 24 | ord(packet))
            for name in ("east_o", "local_o"):
                assert ctx.get(ports[name].valid) == drawn[f"{name}.valid"][cycle]
                if drawn[f"{name}.payload"][cycle] is not None:
                    payload = ctx.get(Value.cast(ports[name].payload)) & 0xFF
                    assert payload == ord(drawn[f"{name}.payload"][cycle])
            await ctx.tick()

    simulate(dut, bench)


def test_the_configuration_port_reads_as_drawn():
    drawn = waves("configuration-read")
    values = {"status": 0x5A, "words[7:0]": 0xC3}
    registers = (
        Register(name="status", offset=4, width_bits=8, access="read", description=""),
        Register(name="words", offset=12, width_bits=32, access="read", description=""),
    )
    dut = RegisterBank(RegisterMap(name="drawn", where="", registers=registers))

    async def bench(ctx):
        ctx.set(dut.status, values["status"])
        ctx.set(dut.words, values["words[7:0]"])
        for cycle in range(len(drawn["clk"])):
            ctx.set(dut.configuration.index, int(drawn["index"][cycle] or 63))
            if drawn["read_data"][cycle] is not None:
                assert ctx.get(dut.configuration.read_data) == values[drawn["read_data"][cycle]]
            await ctx.tick()

    simulate(dut, bench)


def test_the_configuration_port_is_written_as_drawn():
    drawn, dut = waves("configuration-write"), LoadedMemory(Memory("weights", 1, 4, 16))

    async def bench(ctx):
        for cycle in range(len(drawn["clk"])):
            ctx.set(dut.load.write_enable, drawn["write_enable"][cycle])
            for name in ("plane", "index"):
                ctx.set(getattr(dut.load, name), int(drawn[name][cycle] or 0))
            ctx.set(dut.load.memory, int((drawn["memory"][cycle] or "0").split()[0]))
            ctx.set(dut.load.write_data, int(drawn["write_data"][cycle] or "0xFF", 16))
            await ctx.tick()
        # The second word of the diagram is one of another memory.
        for word in range(4):
            ctx.set(dut.address, word)
            await ctx.tick().repeat(dut.latency)
            assert ctx.get(dut.data) == (0x0A28 if word == 0 else 0)

    simulate(dut, bench)
