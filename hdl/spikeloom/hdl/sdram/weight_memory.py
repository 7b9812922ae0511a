"""Weights in an SDRAM: streams rows to a core, and is loaded, read back and checked through the configuration port.

::

    rows ──▶ Gearbox ─────────┐                        ┌──▶ requests
    configuration ─┬▶ ByteGatherer ─▶ in this order, ──┤
                   ├▶ reads ──┤       after the test   └──▶ writes
                   ├▶ checksum┤
                   └▶ registers      SelfTest ◀── Retest
    words ◀── Gearbox ◀── the one that has requested them ◀────── bursts

All of this is in the clock domain of the core; `spikeloom.hdl.sdram.crossing` leads to that of the memory. The bursts
of a host's request and those of the core are never on their way at the same time, so that they need no tag: the host's
requests wait until the core's bursts have arrived, and go first then.

A session (``reset``) and a clear leave the memory and its contents alone. The bursts of forgotten rows are dropped.
"""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.registers import ConfigurationPort, RegisterBank
from spikeloom.hdl.sdram.controller import request_layout
from spikeloom.hdl.sdram.crossing import SdramPortSignature
from spikeloom.hdl.sdram.gather import ByteGatherer
from spikeloom.hdl.sdram.gearbox import Gearbox, row_layout
from spikeloom.hdl.sdram.retest import Retest
from spikeloom.hdl.sdram.self_test import SelfTest
from spikeloom.sim.lib.registers import INDEX_WIDTH
from spikeloom.sim.lib.words import bits_for
from spikeloom.sim.sdram.registers import SDRAM
from spikeloom.sim.sdram.weights import WeightMemoryParameters

__all__ = ["WeightMemory"]

_CHECKED = 64
"""Bursts of a request of the checksum."""


class WeightMemory(wiring.Component):
    """The weight memory of one core.

    Parameters
    ----------
    parameters
        Words and bursts.
    number
        Number of the memory of weights on the configuration port.

    Members
    -------
    configuration : ConfigurationPort(read_back=True), in
        Access of the host to the weights and to the registers `spikeloom.sim.sdram.registers.SDRAM`. The data of a read
        follow its address by at most `spikeloom.sim.sdram.weights.READ_CYCLES`.
    rows : Stream(row_layout(parameters)), in
    words : Stream(word_bits), out
        Rows, and their weight words in the same order.
    clear : Signal, in
        The core has forgotten its rows.
    reset : Signal, in
        Reset the registers for a new session.
    memory : SdramPortSignature(sdram), out
        The memory.
    """

    def __init__(self, parameters: WeightMemoryParameters, number: int) -> None:
        self.parameters = p = parameters
        self._number = number
        index_width = max(INDEX_WIDTH, bits_for(p.words))
        super().__init__(
            {
                "configuration": In(ConfigurationPort(index_width=index_width, read_back=True)),
                "rows": In(stream.Signature(row_layout(p))),
                "words": Out(stream.Signature(p.word_bits)),
                "clear": In(1),
                "reset": In(1),
                "memory": Out(SdramPortSignature(p.sdram)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p, port, memory = self.parameters, self.configuration, self.memory
        m.submodules.gearbox = gearbox = Gearbox(p)
        m.submodules.gather = gather = ByteGatherer(p.sdram)
        test = SelfTest(p)
        m.submodules.retest = retest = Retest(p.sdram.phases)
        m.submodules.test = ResetInserter(retest.reset_test)(test)
        tested = Signal()  # and the memory may be used
        m.d.comb += tested.eq(test.done & ~retest.busy)
        registers = RegisterBank(SDRAM)
        m.submodules.registers = ResetInserter(self.reset)(registers)
        wiring.connect(m, wiring.flipped(self.rows), gearbox.rows)
        wiring.connect(m, gearbox.words, wiring.flipped(self.words))
        of_registers = registers.configuration
        # The bank decodes the usual width of the index only.
        m.d.comb += [
            getattr(of_registers, name).eq(getattr(port, name)) for name in ("memory", "plane", "index", "write_data")
        ]
        m.d.comb += of_registers.write_enable.eq(port.write_enable & (port.index[INDEX_WIDTH:] == 0))

        # The address of a byte. Words have a power of two of bytes, so there is nothing to compute.
        address = Cat(port.plane[: p.byte_bits], port.index)[: len(gather.address)]
        here = port.memory == self._number
        m.d.comb += [
            gearbox.clear.eq(self.clear),
            test.ready.eq(memory.ready),
            gather.enable.eq(port.write_enable & here & tested),
            gather.address.eq(address),
            gather.data.eq(port.write_data),
        ]

        wanted = Signal()  # the host reads a weight, which belongs to the burst `burst`
        place, burst = Signal(p.burst_byte_bits), Signal(p.sdram.address_bits)
        m.d.sync += [wanted.eq(port.reading & here), Cat(place, burst).eq(address)]
        held, held_number, is_held = Signal(p.sdram.burst_bits), Signal(p.sdram.address_bits), Signal()
        fetching = Signal()  # the burst `held_number` is on its way
        is_other = Signal()
        m.d.comb += is_other.eq((held_number != burst) | ~(is_held | fetching))

        # The checksum, in requests of `_CHECKED` bursts.
        left, following = Signal(p.sdram.address_bits + 1), Signal(p.sdram.address_bits)
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=p.sdram.burst_bits).create()
        starts = registers.control[0]
        # Bursts of the next request minus one, and whether it is the last one: registers like `check_wants` below.
        checked, is_last = Signal(range(_CHECKED)), Signal()
        m.d.sync += [is_last.eq(left <= _CHECKED), checked.eq(Mux(left <= _CHECKED, left - 1, _CHECKED - 1))]

        # Bursts on their way to the host. `for_checksum` says to which of the two.
        flight, for_checksum = Signal(range(_CHECKED + 1)), Signal()
        host_wants, host_asks, host_accepted = Signal(), Signal(), Signal()
        # Registers, because the comparisons of addresses would be in front of the core's requests. Each is out of date
        # for one cycle after its request has been accepted; nothing is asked then, because a burst is on its way.
        read_wants, check_wants = Signal(), Signal()
        read_wanted = Signal()
        m.d.comb += read_wanted.eq(wanted & is_other & ~gather.busy)
        m.d.sync += [read_wants.eq(read_wanted), check_wants.eq((left != 0) & ~read_wanted & ~gather.busy)]
        m.d.comb += [
            host_wants.eq(read_wants | check_wants),
            host_asks.eq(host_wants & (flight == 0) & ~gearbox.busy & ~retest.busy),
        ]

        # Requests: the test alone, then writes, then the host's reads, then the core.
        request, of_host = memory.requests, Signal(request_layout(p.sdram))
        m.d.comb += [
            of_host.address.eq(Mux(read_wants, burst, following)),
            of_host.count.eq(Mux(read_wants, 0, checked)),
        ]
        with m.If(~test.done):
            wiring.connect(m, test.requests, wiring.flipped(request))
        with m.Elif(gather.requests.valid):
            wiring.connect(m, gather.requests, wiring.flipped(request))
        with m.Elif(host_wants):
            m.d.comb += [
                request.valid.eq(host_asks),
                request.payload.eq(of_host),
                host_accepted.eq(host_asks & request.ready),
            ]
        with m.Elif((flight == 0) & ~retest.busy):
            wiring.connect(m, gearbox.requests, wiring.flipped(request))
        with m.If(test.done):
            wiring.connect(m, gather.writes, wiring.flipped(memory.writes))
        with m.Else():
            wiring.connect(m, test.writes, wiring.flipped(memory.writes))

        # Bursts.
        to_host = Signal()
        bursts = memory.words
        m.d.comb += to_host.eq(test.done & (flight != 0) & bursts.valid)
        for sink in (test.bursts, gearbox.bursts):
            m.d.comb += sink.payload.eq(bursts.payload)
        with m.If(~test.done):
            m.d.comb += [test.bursts.valid.eq(bursts.valid), bursts.ready.eq(test.bursts.ready)]
        with m.Elif(flight != 0):
            m.d.comb += bursts.ready.eq(1)
        with m.Else():
            m.d.comb += [gearbox.bursts.valid.eq(bursts.valid), bursts.ready.eq(gearbox.bursts.ready)]
        with m.If(host_accepted):
            m.d.sync += [flight.eq(of_host.count + 1), for_checksum.eq(~read_wants)]
        with m.Elif(to_host):
            m.d.sync += flight.eq(flight - 1)

        # A read: the burst is kept, since the next byte usually belongs to it too, until the host has finished.
        with m.If(to_host & ~for_checksum):
            m.d.sync += [held.eq(bursts.payload), fetching.eq(0), is_held.eq(1)]
        with m.If(host_accepted & read_wants):
            m.d.sync += [held_number.eq(burst), fetching.eq(1), is_held.eq(0)]
        with m.If(~wanted & ~fetching):
            m.d.sync += is_held.eq(0)
        of_weights = Signal(8)
        m.d.sync += of_weights.eq(Mux(wanted & is_held & ~is_other, held.word_select(place, 8), 0))
        m.d.comb += port.read_data.eq(of_registers.read_data | of_weights)

        with m.If(host_accepted & ~read_wants):
            m.d.sync += [left.eq(Mux(is_last, 0, left - _CHECKED)), following.eq(following + _CHECKED)]
        with m.If(starts):
            m.d.sync += [left.eq(registers.checksum_bursts), following.eq(registers.checksum_first), check_wants.eq(0)]
        m.d.sync += [crc.data.eq(bursts.payload), crc.valid.eq(to_host & for_checksum), crc.start.eq(starts)]

        lost = Signal()
        is_late = Signal()  # the host has not waited for the byte that it read
        m.d.comb += is_late.eq(fetching & wanted & (held_number != burst))
        with m.If(self.reset | registers.control[1]):
            m.d.sync += lost.eq(0)
        with m.Elif(gather.lost | is_late | (port.write_enable & here & ~tested)):
            m.d.sync += lost.eq(1)
        busy = (left != 0) | ((flight != 0) & for_checksum) | crc.valid
        m.d.comb += [
            retest.start.eq(registers.control[2]),
            retest.steps.eq(registers.phase_steps),
            retest.idle.eq(~gather.busy & (flight == 0) & ~gearbox.busy),
            retest.ready.eq(memory.ready),
            memory.restart.eq(retest.restart),
            memory.phase_step.eq(retest.phase_step),
            registers.phases.eq(p.sdram.phases),
            registers.phase.eq(retest.phase),
            registers.step_ps.eq(p.sdram.step_ps),
            registers.status.eq(Cat(tested, tested & test.wrong.any(), lost, busy)),
            registers.larger.eq(test.larger),
            registers.wrong.eq(test.wrong),
            registers.checksum.eq(crc.crc),
        ]
        return m
