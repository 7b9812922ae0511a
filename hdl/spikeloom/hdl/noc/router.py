"""A router of the mesh: up to five ports, multicast by forking, one packet per cycle and port.

::

                ┌ destinations ─▶ branches ─┐
    east_i ──▶ Fifo ─── following ──▶ pending ──▶ arbiter of each output ─┐
                └───── packet ───────────────▶ multiplexer of each output ──▶ register ──▶ west_o

The branches of a packet, one bit per output, are computed as it enters the queue, from constant masks of its
destinations (`spikeloom.sim.noc.mesh`). At the front of the queue they are its `pending` bits. Each is cleared when its
output takes the packet; branches do not wait for each other. The packet leaves the queue with its last branch, and the
branches of the next packet are loaded in the same cycle.

An input queue holds a packet until all of its branches have been taken. This cannot deadlock; the model gives the
proof.

Unused logic is omitted. An input stores only the destination bits that can arrive there and forwards those used by
later routers. An output is connected only to inputs that may turn to it, and a port without a neighbour does not exist.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.lib.arbiter import RoundRobinArbiter
from spikeloom.hdl.lib.fifo import Fifo
from spikeloom.sim.noc.mesh import MeshParameters, Port

__all__ = ["Router", "mesh_packet_layout"]


def mesh_packet_layout(parameters: MeshParameters) -> data.StructLayout:
    """Layout of a packet inside the mesh."""
    return data.StructLayout({"payload": parameters.payload_width, "destinations": parameters.tiles})


class Router(wiring.Component):
    """The router of one tile.

    Parameters
    ----------
    parameters
        The mesh.
    tile
        Position of the router, which determines its ports and masks.

    Members
    -------
    local_i : Stream(mesh_packet_layout), in
    local_o : Stream(payload_width), out
        Streams from and to the tile. The input carries packets with destinations, the output payloads only. The tile
        may be its own destination; a packet without destinations is accepted and discarded.
    east_i, west_i, north_i, south_i : Stream(mesh_packet_layout), in
    east_o, west_o, north_o, south_o : Stream(mesh_packet_layout), out
        Streams of packets from and to the existing neighbours. Destination bits that cannot arrive at a port are
        ignored there.
    """

    def __init__(self, parameters: MeshParameters, tile: int) -> None:
        if not isinstance(parameters, MeshParameters):
            raise TypeError(f"parameters must be MeshParameters, not {parameters!r}")
        self.parameters = parameters
        self.tile = tile
        packets = stream.Signature(mesh_packet_layout(parameters))
        members = {}
        for port in parameters.ports(tile):
            members[f"{port.value}_i"] = In(packets)
            local = port is Port.LOCAL
            members[f"{port.value}_o"] = Out(stream.Signature(parameters.payload_width) if local else packets)
        super().__init__(members)
        # Created here so that proofs can refer to their state (tests/formal).
        self._inputs = {port: _Input(parameters, tile, port) for port in parameters.ports(tile)}
        self._arbiters = {
            port: RoundRobinArbiter(len(parameters.inputs(tile, port))) for port in parameters.ports(tile)
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ports = self.parameters.ports(self.tile)
        inputs = self._inputs
        for port, entry in inputs.items():
            self._enter(m, port, entry)
        free = {port: Signal(name=f"{port.value}_free") for port in ports}
        sent = {port: self._output(m, port, free[port], inputs) for port in ports}
        for entry in inputs.values():
            left = [
                entry.pending[number] & ~(sent[port][entry.port] & free[port])
                for number, port in enumerate(entry.outputs)
            ]
            m.d.comb += entry.left.eq(Cat(left))
        return m

    def _enter(self, m: Module, port: Port, entry: "_Input") -> None:
        """Add the queue of an input and the pending branches of its front packet."""
        incoming = self._stream(port, "i")
        destinations = incoming.payload.destinations
        # Only destinations that can arrive here are considered, so an output whose mask excludes them all needs no
        # logic.
        branches = [
            Cat(destinations[bit] for bit in _bits(self.parameters.mask(self.tile, output) & entry.arrivals)).any()
            for output in entry.outputs
        ]
        count = len(branches)
        word = Signal(entry.layout, name=f"{port.value}_word")
        done = Signal(name=f"{port.value}_done")
        m.d.comb += [
            word.payload.eq(incoming.payload.payload),
            word.destinations.eq(Cat(destinations[bit] for bit in entry.kept)),
            word.branches.eq(Cat(branches)),
            done.eq(~entry.left.any()),
        ]
        queue = entry.queue
        if queue is None:
            # The packet stays at the input until its last branch is taken, so the branches already taken are stored.
            gone = entry.gone
            m.d.comb += [
                entry.front.eq(word),
                entry.pending.eq(word.branches & ~gone & incoming.valid.replicate(count)),
                incoming.ready.eq(done),
            ]
            m.d.sync += gone.eq(Mux(done, 0, word.branches & ~entry.left))
        else:
            m.submodules[f"{port.value}_queue"] = queue
            m.d.comb += [
                queue.i.payload.eq(word),
                queue.i.valid.eq(incoming.valid),
                incoming.ready.eq(queue.i.ready),
                entry.front.eq(queue.o.payload),
                queue.o.ready.eq(done),
            ]
            # `following` is the next front word, so `pending` is a register although it belongs to the front packet.
            arriving = queue.following.branches & queue.following_valid.replicate(count)
            m.d.sync += entry.pending.eq(Mux(done, arriving, entry.left))

    def _output(self, m: Module, port: Port, free: Signal, inputs: dict[Port, "_Input"]) -> dict[Port, Value]:
        """Add the register and arbiter of an output. Return the grants, one bit per input."""
        outgoing = self._stream(port, "o")
        mask = self.parameters.mask(self.tile, port)
        entries = [entry for entry in inputs.values() if port in entry.outputs]
        # The destinations are of no use behind the last router.
        passed = [] if port is Port.LOCAL else _bits(mask)
        m.submodules[f"{port.value}_arbiter"] = arbiter = self._arbiters[port]
        m.d.comb += [
            # The register takes the next packet in the cycle in which the current one leaves: one packet per cycle.
            free.eq(~outgoing.valid | outgoing.ready),
            arbiter.requests.eq(Cat(entry.pending[entry.outputs.index(port)] for entry in entries)),
            # A free register takes any grant. Without a request there is no grant, and the order of the inputs is
            # unchanged.
            arbiter.taken.eq(free),
        ]
        words = [Cat(entry.front.payload, *(entry.destination(bit) for bit in passed)) for entry in entries]
        word = Signal(self.parameters.payload_width + len(passed), name=f"{port.value}_register", reset_less=True)
        with m.If(free):
            m.d.sync += [outgoing.valid.eq(arbiter.requests.any()), word.eq(_select(m, port, arbiter.grants, words))]
        payload = word[: self.parameters.payload_width]
        if port is Port.LOCAL:
            m.d.comb += outgoing.payload.eq(payload)
        else:
            m.d.comb += outgoing.payload.payload.eq(payload)
            for number, bit in enumerate(passed):
                m.d.comb += outgoing.payload.destinations[bit].eq(word[self.parameters.payload_width + number])
        return {entry.port: arbiter.grants[number] for number, entry in enumerate(entries)}

    def _stream(self, port: Port, side: str) -> stream.Interface:
        return getattr(self, f"{port.value}_{side}")


class _Input:
    """State of an input: reachable destinations and outputs, queue and front packet."""

    def __init__(self, parameters: MeshParameters, tile: int, port: Port) -> None:
        self.port = port
        self.arrivals = parameters.arrivals(tile, port)
        # The reachable outputs, in the bit order of the branches, `pending` and `left`.
        self.outputs = [output for output in parameters.ports(tile) if port in parameters.inputs(tile, output)]
        # The tile's own bit is not needed once the branches are known.
        self.kept = [bit for bit in _bits(self.arrivals) if bit != tile]
        count = len(self.outputs)
        self.layout = data.StructLayout(
            {"payload": parameters.payload_width, "destinations": len(self.kept), "branches": count}
        )
        self.queue = Fifo(self.layout, parameters.queue_depth) if parameters.queue_depth else None
        self.front = Signal(self.layout, name=f"{port.value}_front")
        self.pending = Signal(count, name=f"{port.value}_pending")  #: branches of the front packet still to be taken
        self.left = Signal(count, name=f"{port.value}_left")  #: branches that remain after this cycle
        self.gone = Signal(count, name=f"{port.value}_gone")  #: branches already taken, at an input without queue

    def destination(self, bit: int) -> Value:
        """A bit of the front packet's destination set.

        All destinations behind an output can arrive at each input that leads there.
        """
        return self.front.destinations[self.kept.index(bit)]


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def _select(m: Module, port: Port, choices: Value, words: list[Value]) -> Value:
    """Select the word whose bit of the one-hot ``choices`` is set; undefined if no bit is set.

    An AND-OR structure takes three 4-input tables per bit for four words. This structure takes two, plus one for every
    two further words. The first table selects between words 0 and 1. Each later table either forwards the previous
    result or selects between its own two words; in the latter case the previous result is the select bit.
    """
    count = len(words)
    if count == 1:
        return words[0]
    width = len(words[0])
    odd = Signal(name=f"{port.value}_odd")
    beyond = Signal(name=f"{port.value}_beyond")
    m.d.comb += [
        odd.eq(Cat(choices[number] for number in range(1, count, 2)).any()),
        beyond.eq(choices[2:].any()),
    ]
    result = Mux(beyond, odd.replicate(width), Mux(odd, words[1], words[0]))
    for number in range(2, count, 2):
        if number + 1 < count:
            chosen = choices[number] | choices[number + 1]
            pair = Cat(Mux(result[bit], words[number + 1][bit], words[number][bit]) for bit in range(width))
        else:
            # A single last word needs no selection within its pair.
            chosen, pair = choices[number], words[number]
        result = Mux(chosen, pair, result)
    return result
