"""The board's end of the link in Verilog, with the driver at the other end of a faulty line."""

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.link import Link
from spikeloom.sim.host.identity import Identity
from spikeloom.sim.host.link import LinkParameters

# The ring size is no multiple of the payload size, and one frame does not fill the ring.
PARAMETERS = LinkParameters(receive_buffer=256, transmit_buffer=256, maximum_payload=72, idle_cycles=16)
IDENTITY = Identity(
    lanes=4, neurons=64, axons=128, weight_words=256, weight_width=8, v_width=12, build_hash=bytes(range(16))
).encode()


class EchoBoard(wiring.Component):
    """A link that transmits what it receives, unless ``paused``."""

    from_line: In(stream.Signature(8))
    to_line: Out(stream.Signature(8))
    paused: In(1)
    flush: In(1)
    reset: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = Link(PARAMETERS, IDENTITY)
        m.submodules.queue = queue = ResetInserter(link.reset)(SyncFIFOBuffered(width=8, depth=4))
        wiring.connect(m, wiring.flipped(self.from_line), link.from_line)
        wiring.connect(m, link.to_line, wiring.flipped(self.to_line))
        wiring.connect(m, queue.r_stream, link.transmit)
        m.d.comb += [
            queue.w_data.eq(link.receive.payload),
            queue.w_en.eq(link.receive.valid & ~self.paused),
            link.receive.ready.eq(queue.w_rdy & ~self.paused),
            link.flush.eq(self.flush),
            self.reset.eq(link.reset),
        ]
        return m


def test_link(verilog, run_bench):
    variables = {"IDENTITY": IDENTITY.hex(), "MAXIMUM_PAYLOAD": str(PARAMETERS.maximum_payload)}
    run_bench(verilog(EchoBoard(), "echo"), "echo", "link_bench", tests=8, environment=variables)
