"""The committed figures match their sources, and the timing diagrams match the hardware."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, Value
from amaranth.sim import Simulator
from harness.cores import NARROW

from spikeloom.compiler.bake import bake
from spikeloom.compiler.place import place
from spikeloom.hdl.aer.handshake import AerReceiver, AerSender
from spikeloom.hdl.core.tile import LifCore
from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.hdl.lib.memory import LoadedMemory
from spikeloom.hdl.lib.registers import RegisterBank
from spikeloom.hdl.noc.packet import PacketKind
from spikeloom.hdl.noc.router import Router
from spikeloom.sim.core.neuron import NeuronParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.memory import Memory
from spikeloom.sim.lib.registers import Register, RegisterMap
from spikeloom.sim.network.network import QuantisedConnection, QuantisedNetwork
from spikeloom.sim.network.population import INPUT, QuantisedPopulation
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
    """The signals of a timing diagram, each a list with the value in every cycle, None where it does not matter."""
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
        # The second word of the diagram belongs to another memory.
        for word in range(4):
            ctx.set(dut.address, word)
            await ctx.tick().repeat(dut.latency)
            assert ctx.get(dut.data) == (0x0A28 if word == 0 else 0)

    simulate(dut, bench)


def test_a_stream_transfers_what_is_drawn():
    """The drawn sink reads from a queue, and the words are put into the queue a cycle before they are drawn."""
    drawn, dut = waves("stream"), Fifo(8, 4)
    cycles = len(drawn["clk"])
    valid, ready, payload = drawn["valid"], drawn["ready"], drawn["payload"]
    assert [payload[cycle] if valid[cycle] and ready[cycle] else None for cycle in range(cycles)] == drawn[
        "transferred"
    ]
    # A word is new if none was offered before, or if the one before was taken.
    new = [bool(valid[c] and not (c and valid[c - 1] and not ready[c - 1])) for c in range(cycles)]

    async def bench(ctx):
        for cycle in range(cycles):
            coming = cycle + 1 < cycles and new[cycle + 1]
            ctx.set(dut.i.valid, coming)
            ctx.set(dut.i.payload, ord(payload[cycle + 1]) if coming else 0)
            ctx.set(dut.o.ready, ready[cycle])
            assert ctx.get(dut.o.valid) == valid[cycle]
            if valid[cycle]:
                assert ctx.get(dut.o.payload) == ord(payload[cycle])
            await ctx.tick()

    simulate(dut, bench)
    assert sum(new) == 3
    assert 0 in ready[3:]


def test_the_handshake_has_the_phases_that_are_drawn():
    """A sender and a receiver wired together: the levels of request and acknowledge follow each other as drawn."""
    drawn, address = waves("handshake"), 0x2A
    m = Module()
    m.submodules.sender = sender = AerSender(8)
    m.submodules.receiver = receiver = AerReceiver(8)
    m.d.comb += [
        receiver.request.eq(sender.request),
        receiver.address.eq(sender.address),
        sender.acknowledge.eq(receiver.acknowledge),
    ]
    seen = []

    async def bench(ctx):
        ctx.set(receiver.o.ready, 1)
        ctx.set(sender.i.payload, address)
        ctx.set(sender.i.valid, 1)
        for _ in range(40):
            if ctx.get(sender.i.ready):
                await ctx.tick()
                ctx.set(sender.i.valid, 0)
            else:
                await ctx.tick()
            levels = ctx.get(sender.request), ctx.get(receiver.acknowledge)
            if not seen or seen[-1] != levels:
                seen.append(levels)
            if levels != (0, 0):
                assert ctx.get(sender.address) == address

    simulate(m, bench)
    levels = list(zip(drawn["request"], drawn["acknowledge"], strict=True))
    assert seen == [pair for pair, before in zip(levels, [None, *levels], strict=False) if pair != before]
    # The address is valid from before the request until both are released.
    for pair, drawn_address in zip(levels, drawn["address"], strict=True):
        assert pair == (0, 0) or drawn_address == "valid"
    assert drawn["address"][drawn["request"].index(1) - 1] == "valid"


def test_a_step_has_the_packets_that_are_drawn():
    """A core with a program in its memories, on which the drawn inputs make the drawn neurons fire."""
    drawn = waves("step")
    given, wanted = (
        [word.split() for word, valid in zip(drawn[f"{port}.payload"], drawn[f"{port}.valid"], strict=True) if valid]
        for port in "io"
    )
    weight = np.zeros((16, 10), np.int64)
    weight[[int(number) for kind, *number in wanted if kind == "SPIKE" for number in number]] = 2
    network = QuantisedNetwork(
        name="drawn",
        inputs=10,
        populations=(QuantisedPopulation(name="out", parameters=NeuronParameters(size=16, v_width=12, threshold=5)),),
        connections=(QuantisedConnection(source=INPUT, target="out", weight=weight),),
        output="out",
    )
    program = place(network, FabricConfig(core=NARROW))
    dut = LifCore(bake(program).core)
    neuron_of = {int(axon): number for number, axon in enumerate(program.output_axons)}
    found = []

    async def bench(ctx):
        ctx.set(dut.o.ready, 1)
        ticked = False
        for kind, *numbers in given:
            axon = int(program.input_axons[int(numbers[0])]) if numbers else 0
            ctx.set(dut.i.payload, {"kind": PacketKind[kind], "axon": axon})
            ctx.set(dut.i.valid, 1)
            while not ctx.get(dut.i.ready):
                await ctx.tick()
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            if kind == "TICK":
                assert not ticked
                ticked = True
                for _ in range(200):
                    if ctx.get(dut.o.valid):
                        packet = dut.o.payload
                        name = PacketKind(ctx.get(packet.kind)).name
                        found.append([name, str(neuron_of[ctx.get(packet.axon)])] if name == "SPIKE" else [name])
                    await ctx.tick()
            else:
                assert not ctx.get(dut.o.valid), "nothing leaves before the step is complete, or after it"

    simulate(dut, bench)
    assert found == wanted
    # As drawn, the sink's ACK comes when the TICK has left.
    assert [kind for kind, *_ in given][-2:] == ["TICK", "ACK"]
