"""The UART in Verilog on a line whose bits are longer or shorter than its own."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.host.uart import UartReceiver, UartTransmitter

DIVISORS = (3, 4, 12)


class Uarts(wiring.Component):
    """A receiver and a transmitter for each divisor, so that one binary is enough. The bytes of the receivers are
    taken."""

    def __init__(self):
        byte = stream.Signature(8)
        super().__init__(
            {f"rx_{divisor}": In(1, init=1) for divisor in DIVISORS}
            | {f"tx_{divisor}": Out(1) for divisor in DIVISORS}
            | {f"received_{divisor}": Out(byte) for divisor in DIVISORS}
            | {f"send_{divisor}": In(byte) for divisor in DIVISORS}
        )

    def elaborate(self, platform):
        m = Module()
        for divisor in DIVISORS:
            m.submodules[f"receiver_{divisor}"] = receiver = UartReceiver(divisor)
            m.submodules[f"transmitter_{divisor}"] = transmitter = UartTransmitter(divisor)
            received = getattr(self, f"received_{divisor}")
            m.d.comb += [
                receiver.rx.eq(getattr(self, f"rx_{divisor}")),
                received.valid.eq(receiver.o.valid),
                received.payload.eq(receiver.o.payload),
                receiver.o.ready.eq(1),
                getattr(self, f"tx_{divisor}").eq(transmitter.tx),
            ]
            wiring.connect(m, wiring.flipped(getattr(self, f"send_{divisor}")), transmitter.i)
        return m


def test_uart(verilog, run_bench):
    tests = len(DIVISORS) * (3 + 2) + 1
    variables = {"DIVISORS": " ".join(map(str, DIVISORS))}
    run_bench(verilog(Uarts(), "uarts"), "uarts", "uart_bench", tests=tests, environment=variables)
