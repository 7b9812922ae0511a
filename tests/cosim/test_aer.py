"""The Verilog of the external AER port against a partner that has no clock."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.aer import AerReceiver, AerSender

WIDTH = 9
TESTS = 2 * 6 + 1


class AerPort(wiring.Component):
    """A receiver and a sender."""

    def __init__(self, *, active_low: bool, setup_cycles: int) -> None:
        self.receiver = AerReceiver(WIDTH, active_low=active_low)
        self.sender = AerSender(WIDTH, active_low=active_low, setup_cycles=setup_cycles)
        super().__init__(
            {
                "receiver_request": In(1),
                "receiver_acknowledge": Out(1),
                "receiver_address": In(WIDTH),
                "receiver_o": Out(stream.Signature(WIDTH)),
                "sender_request": Out(1),
                "sender_acknowledge": In(1),
                "sender_address": Out(WIDTH),
                "sender_i": In(stream.Signature(WIDTH)),
                "sender_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self.receiver
        m.submodules.sender = sender = self.sender
        wiring.connect(m, receiver.o, wiring.flipped(self.receiver_o))
        wiring.connect(m, wiring.flipped(self.sender_i), sender.i)
        m.d.comb += [
            receiver.request.eq(self.receiver_request),
            receiver.address.eq(self.receiver_address),
            self.receiver_acknowledge.eq(receiver.acknowledge),
            self.sender_request.eq(sender.request),
            self.sender_address.eq(sender.address),
            sender.acknowledge.eq(self.sender_acknowledge),
            self.sender_idle.eq(sender.idle),
        ]
        return m


def environment(active_low: int, setup_cycles: int) -> dict[str, str]:
    return {"ACTIVE_LOW": str(active_low), "SETUP_CYCLES": str(setup_cycles), "ADDRESS_WIDTH": str(WIDTH)}


@pytest.mark.parametrize(("active_low", "setup_cycles"), [(0, 1), (1, 3)])
def test_aer(verilog, run_bench, active_low, setup_cycles):
    port = AerPort(active_low=bool(active_low), setup_cycles=setup_cycles)
    run_bench(verilog(port, "aer"), "aer", "aer_bench", tests=TESTS, environment=environment(active_low, setup_cycles))
