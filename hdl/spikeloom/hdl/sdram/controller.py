"""SDRAM controller: requests for bursts in, commands to the chip out, words back in order.

::

    requests ──▶ splitter ──▶ next ──▶ current ──▶ READ, WRITE ─┬─▶ pins
                               │ ACTIVATE ──────────────────────┤
                     refresh, initialisation ───────────────────┘
    writes ────────────────────────────────────────▶ data out ───▶
    words ◀── queue ◀─────────────────────────────── data in ◀────

`spikeloom.sim.sdram.parameters` describes segments and gives the cycle of each command. Two segments are held: one READ
or WRITE is sent for the current segment every `BURST` cycles, and the next one is activated in a cycle between. The
last command of a segment closes its row, so rows never have to be compared and no PRECHARGE is sent except before a
refresh.

A READ is sent only if the queue has room for its burst in addition to all bursts in flight, so ``words`` may stall for
any time. A refresh never waits for ``words``: commands stop, and after `refresh_wait` cycles all banks are precharged
and refreshed; an unfinished segment is then activated again.

All outputs to the pins are registers, and the data inputs lead to a register, so that both can be those of the I/O
cells. Throughput: one burst per `BURST` cycles. Latency of a read of an idle bank: 4 + `activate_to_column` +
`read_latency` + `BURST` cycles from ``requests`` to ``words``.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, Signature

from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.sim.sdram.commands import AUTO_PRECHARGE, BURST, SdramCommand, mode_register
from spikeloom.sim.sdram.parameters import SdramParameters

__all__ = ["SdramController", "SdramPinSignature", "request_layout", "write_layout"]

_QUEUE_BURSTS = 16
"""Capacity of the queue: about five bursts in flight, and those that wait. LUT RAM has 16 words in any case."""
_REFRESHES = 8
"""REFRESHes before the mode is set. Most chips need two, some eight."""


def request_layout(parameters: SdramParameters) -> data.StructLayout:
    """A request: ``count`` + 1 bursts from burst ``address`` on, written if ``write`` is set, else read."""
    return data.StructLayout({"address": parameters.address_bits, "count": parameters.count_bits, "write": 1})


def write_layout(parameters: SdramParameters) -> data.StructLayout:
    """A burst to write, its first word in the lowest bits. A set bit of ``keep`` leaves a byte of the chip unchanged;
    without byte masks ``keep`` has no bits."""
    return data.StructLayout({"data": parameters.burst_bits, "keep": parameters.burst_bytes if parameters.masks else 0})


def address_pins(parameters: SdramParameters) -> int:
    """Number of address pins: the bits of a row, and at least 11, because bit 10 selects auto precharge."""
    return max(parameters.chip.row_bits + parameters.more_row_bits, AUTO_PRECHARGE.bit_length())


class SdramPinSignature(Signature):
    """The pins of the chip, as the controller drives them. The chip has the clock of the controller; its clock enable
    and unconnected byte masks are tied on the board.

    Parameters
    ----------
    parameters
        Parameters of the controller.

    Members
    -------
    command : Signal(4), out
        CS#, RAS#, CAS#, WE#, from the highest bit.
    bank : Signal(chip.bank_bits), out
    address : Signal(address_pins(parameters)), out
    mask : Signal(chip.width // 8 if masks else 0), out
        Byte masks; no bits without them.
    data_o : Signal(chip.width), out
    data_enable : Signal, out
    data_i : Signal(chip.width), in
        Data, and whether the controller drives them.
    """

    def __init__(self, parameters: SdramParameters) -> None:
        width = parameters.chip.width
        super().__init__(
            {
                "command": Out(4, init=SdramCommand.NOP),
                "bank": Out(parameters.chip.bank_bits),
                "address": Out(address_pins(parameters)),
                "mask": Out(width // 8 if parameters.masks else 0),
                "data_o": Out(width),
                "data_enable": Out(1),
                "data_i": In(width),
            }
        )


class SdramController(wiring.Component):
    """Reads and writes bursts of an SDRAM. After a reset it initialises the chip and accepts requests meanwhile.

    Requests are executed in order. A request may run over any number of rows; past the last address it continues at
    address 0.

    Parameters
    ----------
    parameters
        Parameters of the controller.

    Members
    -------
    requests : Stream(request_layout(parameters)), in
        Bursts to read or write.
    writes : Stream(write_layout(parameters)), in
        The bursts of write requests. A WRITE waits for its burst; refreshes continue.
    words : Stream(parameters.burst_bits), out
        The bursts of read requests, the first word of each in the lowest bits.
    restart : Signal, in
        Close all rows and initialise the chip again, without the wait after power-up: high until ``ready`` is low,
        which remains so until ``restart`` is low again. A request in progress continues afterwards.
    ready : Signal, out
        The chip is initialised.
    pins : SdramPinSignature(parameters), out
        Pins of the chip.
    """

    def __init__(self, parameters: SdramParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "requests": In(stream.Signature(request_layout(parameters))),
                "writes": In(stream.Signature(write_layout(parameters))),
                "words": Out(stream.Signature(parameters.burst_bits)),
                "restart": In(1),
                "ready": Out(1),
                "pins": Out(SdramPinSignature(parameters)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.parameters
        place = _place(p)
        segment = data.StructLayout(
            {
                "valid": 1,
                "active": 1,  # its row is open, or opens within `wait`
                "wait": _bits(p.activate_to_column - 1),
                "write": 1,
                **place,
                "left": min(p.count_bits, p.stripe_bits),
            }
        )
        current, following = Signal(segment, name="current"), Signal(segment, name="following")
        column = Signal()  # a READ or WRITE of `current` is sent in this cycle
        activate = Signal()
        finish = Signal()  # it is the last one of the segment
        advance = Signal()  # `following` becomes `current`
        hold = Signal(init=1)  # a refresh or the initialisation: no command of a segment
        m.d.comb += [
            finish.eq(column & (current.left == 0)),
            advance.eq(following.valid & (~current.valid | finish)),
        ]
        given = self._split(m, ~following.valid | advance)
        for waiting in (current, following):
            with m.If(waiting.wait != 0):
                m.d.sync += waiting.wait.eq(waiting.wait - 1)

        # The timers of the chip. One counter per bank: cycles until it may be activated again.
        idle = [Signal(name=f"idle_{number}") for number in range(1 << p.chip.bank_bits)]
        most = max(p.read_to_activate, p.write_to_activate)
        for number, is_idle in enumerate(idle):
            closing = Signal(_bits(most - 1), name=f"closing_{number}")
            m.d.comb += is_idle.eq(closing == 0)
            with m.If(finish & (current.bank == number)):
                m.d.sync += closing.eq(Mux(current.write, p.write_to_activate - 1, p.read_to_activate - 1))
            with m.Elif(~is_idle):
                m.d.sync += closing.eq(closing - 1)
        may_activate = self._timer(m, "activated", activate, p.timing.rrd - 1)
        may_column = self._timer(m, "burst", column, BURST - 1)
        may_write = self._timer(m, "turn", column & ~current.write, p.read_to_write - 1)

        # ACTIVATE: `following`, or `current` if it was taken up late or lost its row to a refresh. `following` is not
        # activated while `current` is free, because it moves in this cycle, nor in the bank that `current` holds open.
        late = current.valid & ~current.active
        early = current.valid & current.active & following.valid & ~following.active
        free = Array(idle)
        m.d.comb += activate.eq(
            ~hold
            & ~column
            & may_activate
            & ((late & free[current.bank]) | (early & free[following.bank] & (following.bank != current.bank)))
        )
        can_read, can_write = Signal(), Signal()
        m.d.comb += [
            column.eq(
                ~hold
                & current.active
                & (current.wait == 0)
                & may_column
                & Mux(current.write, can_write & may_write, can_read)
            ),
            can_write.eq(self.writes.valid),
            self.writes.ready.eq(column & current.write),
        ]
        with m.If(activate):
            with m.If(late):
                m.d.sync += [current.active.eq(1), current.wait.eq(p.activate_to_column - 1)]
            with m.Else():
                m.d.sync += [following.active.eq(1), following.wait.eq(p.activate_to_column - 1)]
        with m.If(column):
            m.d.sync += [current.column.eq(current.column + 1), current.left.eq(current.left - 1)]
        with m.If(finish):
            m.d.sync += [current.valid.eq(0), current.active.eq(0)]
        with m.If(advance):
            m.d.sync += [current.eq(following), following.valid.eq(0), following.active.eq(0)]
            with m.If(following.wait != 0):
                m.d.sync += current.wait.eq(following.wait - 1)
        with m.If(given.valid & (~following.valid | advance)):
            m.d.sync += [following.valid.eq(1), following.active.eq(0)]
            m.d.sync += [getattr(following, name).eq(getattr(given, name)) for name in ("write", *place, "left")]

        self._send(m, current, following, column, finish, activate, late)
        self._refresh(m, current, following, column | activate, hold)
        self._move_data(m, column, current.write, can_read)
        return m

    def _timer(self, m: Module, name: str, start: Signal, cycles: int) -> Signal:
        """Low for ``cycles`` cycles after the cycle of ``start``."""
        done = Signal(name=f"{name}_done", init=1)
        if cycles < 2:
            m.d.sync += done.eq(~start if cycles else 1)
            return done
        left = Signal(range(cycles), name=f"{name}_left")
        with m.If(start):
            m.d.sync += [done.eq(0), left.eq(cycles - 1)]
        with m.Else():
            m.d.sync += done.eq(left == 0)
            with m.If(left != 0):
                m.d.sync += left.eq(left - 1)
        return done

    def _split(self, m: Module, taken: Signal) -> data.View:
        """Cut requests into segments at the ends of rows or stripes; return the segment that waits until ``taken``."""
        p = self.parameters
        request = Signal(request_layout(p), name="request")
        valid = Signal(name="request_valid")
        columns = p.stripe_bits
        place = _place(p)
        offered = Signal(
            data.StructLayout({"valid": 1, "write": 1, **place, "left": min(p.count_bits, columns)}),
            name="offered",
        )
        queued = Signal(offered.shape(), name="queued")
        # The last burst of the request, relative to the row in which it begins: a register, because it decides when the
        # next request is taken. If a bit beyond the column is set, the request continues in the next row, without the
        # bursts that belong to this one.
        end = Signal(max(p.count_bits, columns) + 1)
        crosses = Signal()
        start = request.address[:columns]
        m.d.comb += [
            crosses.eq(end[columns:].any()),
            offered.valid.eq(valid),
            offered.write.eq(request.write),
            Cat(getattr(offered, name) for name in place).eq(request.address),
            offered.left.eq(Mux(crosses, ~start, request.count)),
            self.requests.ready.eq(~valid | (~queued.valid & ~crosses)),
        ]
        # A segment of its own between the requests and `following`: when that is free is known late in the cycle. It is
        # filled in every second cycle at most, and a segment takes two.
        with m.If(~queued.valid):
            m.d.sync += queued.eq(offered)
        with m.Elif(taken):
            m.d.sync += queued.valid.eq(0)
        rest = Cat(end[:columns], end[columns:] - 1)
        with m.If(valid & ~queued.valid & crosses):
            # The rest begins at column 0, so that its length is its end.
            m.d.sync += [
                request.address.eq(Cat(Const(0, columns), request.address[columns:] + 1)),
                request.count.eq(rest),
                end.eq(rest),
            ]
        with m.If(self.requests.ready):
            given = self.requests.payload
            m.d.sync += [
                valid.eq(self.requests.valid),
                request.eq(given),
                end.eq(given.count + given.address[:columns]),
            ]
        return queued

    def _send(
        self,
        m: Module,
        current: data.View,
        following: data.View,
        column: Signal,
        finish: Signal,
        activate: Signal,
        late: Signal,
    ) -> None:
        """Drive the command, bank and address pins for READ, WRITE and ACTIVATE; `_refresh` overrides them."""
        p, pins = self.parameters, self.pins
        # The column of a word. The bits that only larger chips have are the highest of the address, and of the column.
        # Pin 10 selects auto precharge, so an eleventh bit of the column is pin 11.
        upper = [current.upper] if "upper" in _place(p) else []
        place = Cat(Const(0, BURST.bit_length() - 1), current.column, *upper, current.more[: p.more_column_bits])
        columns = Cat(place[:10], Const(0, max(0, 10 - len(place))), finish, place[10:])

        def row(of: data.View) -> Cat:
            return Cat(of.row, of.more[p.more_column_bits :])

        m.d.sync += pins.command.eq(SdramCommand.NOP)
        with m.If(column):
            m.d.sync += [
                pins.command.eq(Mux(current.write, SdramCommand.WRITE, SdramCommand.READ)),
                pins.bank.eq(current.bank),
                pins.address.eq(columns),
            ]
        with m.Else():
            with m.If(activate):
                m.d.sync += pins.command.eq(SdramCommand.ACTIVATE)
            m.d.sync += [
                pins.bank.eq(Mux(late, current.bank, following.bank)),
                pins.address.eq(Mux(late, row(current), row(following))),
            ]

    def _refresh(self, m: Module, current: data.View, following: data.View, busy: Signal, hold: Signal) -> None:
        """Initialise the chip, and refresh it once per period.

        ``busy`` marks a command of a segment; ``hold`` prevents such commands.
        """
        p, pins, timing = self.parameters, self.pins, self.parameters.timing
        # `due`, `waited` and `hold` are registers that are set one cycle ahead: every command depends on them, and the
        # comparisons of the counters would be in front of all its conditions.
        due = Signal()
        period = Signal(range(p.refresh_period), init=p.refresh_period - 1)
        expires = Signal()
        m.d.comb += expires.eq(period == 0)
        m.d.sync += period.eq(Mux(expires, p.refresh_period - 1, period - 1))
        with m.If(expires):
            m.d.sync += due.eq(1)
        quiet = self._timer(m, "quiet", busy, p.refresh_wait - 1)

        left = Signal(range(max(timing.power_up, timing.rfc, timing.rp, timing.mrd) + 1), init=timing.power_up - 1)
        refreshes = Signal(range(_REFRESHES), init=_REFRESHES - 1)
        restarting = Signal()
        waited, ends = Signal(), Signal()  # `ends`: `waited` is set in the next cycle
        m.d.comb += ends.eq(left == 1)
        with m.If(~waited):
            m.d.sync += [left.eq(left - 1), waited.eq(ends)]

        def send(command: SdramCommand, cycles: int, address: int = 0) -> list:
            # The following command is sent `cycles` cycles later.
            return [
                pins.command.eq(command),
                pins.bank.eq(0),
                pins.address.eq(address),
                left.eq(cycles - 1),
                waited.eq(cycles == 1),
            ]

        with m.FSM():
            with m.State("POWER UP"), m.If(waited):
                m.d.sync += send(SdramCommand.PRECHARGE, timing.rp, AUTO_PRECHARGE)
                m.next = "REFRESH"
            with m.State("REFRESH"), m.If(waited):
                m.d.sync += [*send(SdramCommand.REFRESH, timing.rfc), due.eq(0)]
                with m.If(refreshes != 0):
                    m.d.sync += refreshes.eq(refreshes - 1)
                with m.Elif(~self.ready):
                    m.next = "MODE"
                with m.Else():
                    m.d.sync += hold.eq(timing.rfc != 1)
                    m.next = "RUN"
            with m.State("MODE"), m.If(waited & ~self.restart):
                m.d.sync += [
                    *send(SdramCommand.LOAD_MODE, timing.mrd, mode_register(timing.cas_latency)),
                    hold.eq(timing.mrd != 1),
                    self.ready.eq(1),
                ]
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(~waited & ends):
                    m.d.sync += hold.eq(due)
                with m.If(expires):
                    m.d.sync += hold.eq(1)
                # A restart is a refresh with all the REFRESHes and the mode of the initialisation.
                with m.If(self.restart):
                    m.d.sync += [restarting.eq(1), due.eq(1), hold.eq(1)]
                with m.If(due & quiet & waited):
                    m.d.sync += send(SdramCommand.PRECHARGE, timing.rp, AUTO_PRECHARGE)
                    # The rows of both segments are closed now. A segment in progress continues at its current column.
                    m.d.sync += [current.active.eq(0), following.active.eq(0)]
                    with m.If(restarting):
                        m.d.sync += [restarting.eq(0), refreshes.eq(_REFRESHES - 1), self.ready.eq(0)]
                    m.next = "REFRESH"

    def _move_data(self, m: Module, column: Signal, write: Signal, can_read: Signal) -> None:
        """Send data to the chip with their WRITE, and receive data `read_latency` cycles after their READ."""
        p, pins = self.parameters, self.pins
        width = p.chip.width
        word = self.writes.payload
        # The first word leaves together with the command, the others from a shift register.
        rest = Signal(p.burst_bits - width)
        kept = Signal(len(word.keep) - len(pins.mask))
        driving = Signal(BURST - 1)
        m.d.sync += [
            pins.data_o.eq(rest),
            rest.eq(rest >> width),
            pins.mask.eq(Mux(driving[0], kept, 0)),
            kept.eq(kept >> len(pins.mask)),
            pins.data_enable.eq(driving[0]),
            driving.eq(driving >> 1),
        ]
        with m.If(column & write):
            m.d.sync += [
                Cat(pins.data_o, rest).eq(word.data),
                Cat(pins.mask, kept).eq(word.keep),
                pins.data_enable.eq(1),
                driving.eq(-1),
            ]

        m.submodules.queue = queue = Fifo(p.burst_bits, _QUEUE_BURSTS)
        arriving = Signal(p.read_latency + BURST - 1)
        sampled = Signal(width)
        earlier = Signal(p.burst_bits - width)
        m.d.sync += [
            arriving.eq(Cat(column & ~write, arriving)),
            sampled.eq(pins.data_i),
            earlier.eq(Cat(earlier, sampled)[width:]),
        ]
        m.d.comb += [
            queue.i.valid.eq(arriving[-1]),
            queue.i.payload.eq(Cat(earlier, sampled)),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.words))
        # Free places of the queue that are not reserved for bursts in flight. The next READ is at least two cycles
        # after the last one, so `can_read` may be a register.
        room = Signal(range(_QUEUE_BURSTS + 1), init=_QUEUE_BURSTS)
        m.d.sync += [
            room.eq(room - (column & ~write) + (self.words.valid & self.words.ready)),
            can_read.eq(room != 0),
        ]


def _place(p: SdramParameters) -> dict[str, int]:
    """The fields of an address from its lowest bit: name and width. ``upper`` is the column of a stripe."""
    upper = p.column_bits - p.stripe_bits
    return {
        "column": p.stripe_bits,
        "bank": p.chip.bank_bits,
        **({"upper": upper} if upper else {}),
        "row": p.chip.row_bits,
        "more": p.more_column_bits + p.more_row_bits,
    }


def _bits(most: int) -> int:
    """Width of a counter from 0 to ``most``."""
    return most.bit_length()
