"""A block between two pins: every input is driven, and every output is observable."""

from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out
from amaranth.sim import Simulator
from harness.networks import rng_of

from spikeloom.boards.qor.between_pins import BetweenPins


class Mixer(Component):
    """Outputs that depend on all inputs."""

    a: In(3)
    b: In(2)
    total: Out(4)
    parity: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.total.eq(self.a + self.b), self.parity.eq(self.a.xor() ^ self.b[1])]
        return m


def test_inputs_are_shifted_in_and_outputs_added(request):
    rng = rng_of(request.node.name)
    design, given, taken, seen = BetweenPins(Mixer()), [0] * 5, [0] * 5, []

    async def bench(ctx):
        for bit in rng.integers(0, 2, 200).tolist():
            a = given[0] | given[1] << 1 | given[2] << 2
            b = given[3] | given[4] << 1
            outputs = [(a + b) >> place & 1 for place in range(4)] + [(a.bit_count() ^ b >> 1) & 1]
            ctx.set(design.shift_in, bit)
            taken[:] = [old ^ output for old, output in zip([bit, *taken[:-1]], outputs, strict=True)]
            given[:] = [bit, *given[:-1]]
            await ctx.tick()
            assert ctx.get(design.shift_out) == taken[-1]
            seen.append(taken[-1])

    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert 50 < sum(seen) < 150
