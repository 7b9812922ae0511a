"""The LIF core as a tile: the engine with its registers behind the configuration port."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.engine import LifEngine
from spikeloom.hdl.core.stream_sequencer import weight_request_layout
from spikeloom.hdl.lib.memory import connect_registers, load_register
from spikeloom.hdl.lib.registers import ConfigurationPort, RegisterBank
from spikeloom.hdl.noc.tile import TileSignature, register_tile
from spikeloom.hdl.noc.tokens import relation_members
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.core.registers import CORE

__all__ = ["LifCore"]


@register_tile(CoreParameters)
class LifCore(wiring.Component):
    """An event-driven, time-multiplexed LIF core.

    Writing 1 to bit 0 of the register ``control``, or asserting ``clear`` or ``reset``, empties the core: states,
    accumulators, queues, tokens and counters, but not the program. This takes one cycle per word of accumulators; input
    is stalled meanwhile.

    Parameters
    ----------
    parameters
        Sizes and features of the core.

    Members
    -------
    requests : Stream(weight_request_layout(parameters)), out
    weights : Stream(parameters.lanes * parameters.weight_width), in
    restarted : Signal, out
        If weights are streamed: requests for weight words, the words, and whether all requests are forgotten.

    The others are those of `TileSignature`. A SPIKE names an axon in both directions. `spikeloom.sim.core.registers`
    lists the registers, `CoreParameters.memories` the memories.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        self.parameters = parameters
        self.engine = LifEngine(parameters)
        ways = {
            "requests": Out(stream.Signature(weight_request_layout(parameters))),
            "weights": In(stream.Signature(parameters.lanes * parameters.weight_width)),
            "restarted": Out(1),
        }
        signature = TileSignature(parameters)
        super().__init__({**signature.members, **ways} if parameters.streamed else signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        restart = Signal()
        engine = self.engine
        # The reset reaches registers only. Memories, and with them the program, keep their contents.
        m.submodules.engine = ResetInserter(restart)(engine)
        wiring.connect(m, wiring.flipped(self.i), engine.i)
        wiring.connect(m, engine.o, wiring.flipped(self.o))

        # The load port is registered once, so that its fan-out to the memories is not on the critical path.
        port = self._narrow(m) if self.parameters.streamed else self.configuration
        load = load_register(m, port)
        wiring.connect(m, load, engine.load)

        registers = RegisterBank(CORE, self.parameters.contents)
        # Not `restart`: a clear between samples must keep what the host has configured.
        m.submodules.registers = ResetInserter(self.reset)(registers)
        if self.parameters.read_back:
            connect_registers(m, port, registers.configuration, load)
        else:
            wiring.connect(m, wiring.flipped(port), registers.configuration)
        m.d.comb += [
            restart.eq(self.reset | self.clear | registers.control),
            engine.populations.eq(registers.populations),
            registers.status.eq(engine.idle),
            self.step_done.eq(engine.step_done),
        ]
        if self.parameters.streamed:
            wiring.connect(m, engine.requests, wiring.flipped(self.requests))
            wiring.connect(m, wiring.flipped(self.weights), engine.weights)
            m.d.comb += self.restarted.eq(restart)
        relations = relation_members(self.parameters.destinations)
        m.d.comb += [getattr(engine, name).eq(getattr(registers, name)) for name in relations]
        for count, event in (
            (registers.busy_cycles, ~engine.idle),
            (registers.waiting_cycles, engine.waiting),
            (registers.words, engine.word_added),
            (registers.sweep_cycles, engine.sweeping),
            (registers.spikes, engine.spike),
            (registers.steps, engine.step_done),
        ):
            # Registered, so that the carry chains of the counters are not on the critical path of the events.
            happened = Signal(name=f"{count.name}_happened")
            with m.If(restart):
                m.d.sync += [count.eq(0), happened.eq(0)]
            with m.Else():
                m.d.sync += [count.eq(count + happened), happened.eq(event)]
        return m

    def _narrow(self, m: Module) -> wiring.PureInterface:
        """The configuration port with the usual width of the index: only weights in SDRAM have higher ones, which would
        otherwise be taken for lower ones of another memory."""
        port, wide = ConfigurationPort(read_back=True).create(), self.configuration
        m.d.comb += [getattr(port, name).eq(getattr(wide, name)) for name in ("memory", "plane", "index", "write_data")]
        is_near = wide.index[len(port.index) :] == 0
        m.d.comb += [
            port.write_enable.eq(wide.write_enable & is_near),
            port.reading.eq(wide.reading & is_near),
            wide.read_data.eq(port.read_data),
        ]
        return port
