"""Every signal of a design that is read is driven, and every one that is driven is read: no connection was forgotten.

What a small configuration leaves out is listed for it. The rest is the same for all designs: memories without enables
read in every cycle, and constants may be written as signals.
"""

import importlib
import pkgutil
import re
from dataclasses import replace
from functools import partial

import pytest
from amaranth.hdl import Cat, ClockSignal, Fragment, Instance, Module, ResetSignal, Signal, Value
from amaranth.hdl._ast import Assign, Concat, Slice, Switch
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from harness.components import ATTENTION, EXAMPLES, GRADED, MAPS
from harness.cores import MESHED

from spikeloom import hdl
from spikeloom.hdl.core.accumulate import Accumulator
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.hdl.core.row_reader import RowReader
from spikeloom.hdl.core.tile import LifCore
from spikeloom.hdl.host.answer_encoder import AnswerEncoder
from spikeloom.hdl.host.bridge import HostBridge
from spikeloom.hdl.host.flash_id import FlashId
from spikeloom.hdl.host.readout import SpikeReadout
from spikeloom.hdl.host.request_decoder import RequestDecoder
from spikeloom.hdl.host.usb import UlpiDevice, UlpiLine, UsbDevice, UsbLine, UsbPhy
from spikeloom.hdl.lib.memory import LoadedMemory
from spikeloom.hdl.tech.block_ram import BlockMemory
from spikeloom.hdl.tech.supply import SupplyControl
from spikeloom.hdl.top.axi import AxiLifCore
from spikeloom.hdl.top.fabric import Fabric, Tiles
from spikeloom.hdl.top.top import Top
from spikeloom.hdl.top.ulpi_top import UlpiTop
from spikeloom.hdl.top.usb_top import UsbTop
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.host.usb import UsbParameters
from spikeloom.sim.noc.mesh import MeshParameters


def _signals(value):
    """The signals of a value by identity. Clocks and resets of domains are none."""
    try:
        return {id(signal): signal for signal in Value.cast(value)._rhs_signals()}
    except NotImplementedError:
        return {}


_EVERY = 1 << 20
"""More bits than any signal has."""


class Use:
    """The signals of a design that are driven and those that are read, with the path of the first place by identity;
    and of each signal, the bits that some assignment sets."""

    def __init__(self, fragment):
        self.driven, self.read = {}, {}
        self.signals, self.bits = {}, {}
        self._of(fragment, ())

    def _note(self, found, signals, path):
        for key, signal in signals.items():
            found.setdefault(key, ".".join((*path, getattr(signal, "name", ""))))

    def _set(self, target, count, first=0):
        """Note that ``count`` bits, or as many as it has, of ``target`` are set, from ``first`` on."""
        if isinstance(target, Signal):
            count = min(count, len(target) - first)
            self.signals[id(target)] = target
            self.bits[id(target)] = self.bits.get(id(target), 0) | (1 << count) - 1 << first
        elif isinstance(target, Slice) and isinstance(target.value, Signal):
            self._set(target.value, min(count, len(target)), target.start)
        elif isinstance(target, Concat):
            for part in target.parts:
                self._set(part, count)
                count = max(0, count - len(part))
        elif not isinstance(target, ClockSignal | ResetSignal):  # an element of an array, for example: any bit
            for signal in target._lhs_signals():
                if isinstance(signal, Signal):
                    self._set(signal, _EVERY)

    def _statement(self, statement, path):
        if isinstance(statement, Assign):
            targets = {id(signal): signal for signal in statement._lhs_signals() if isinstance(signal, Signal)}
            places = {key: signal for key, signal in _signals(statement.lhs).items() if key not in targets}
            self._note(self.driven, targets, path)
            self._set(statement.lhs, _EVERY if statement.rhs.shape().signed else len(statement.rhs))
            self._note(self.read, places | _signals(statement.rhs), path)
        elif isinstance(statement, Switch):
            self._note(self.read, _signals(statement.test), path)
            for _, statements, *_ in statement.cases:
                for inner in statements:
                    self._statement(inner, path)
        else:
            self._note(self.read, {id(signal): signal for signal in statement._rhs_signals()}, path)

    def _of(self, fragment, path):
        if isinstance(fragment, MemoryInstance):
            for port in fragment._read_ports:
                self._note(self.read, _signals(port._addr) | _signals(port._en), path)
                self._note(self.driven, _signals(port._data), path)
            for port in fragment._write_ports:
                self._note(self.read, _signals(port._addr) | _signals(port._en) | _signals(port._data), path)
        elif isinstance(fragment, Instance):
            for value, direction in fragment.ports.values():
                self._note(self.read if direction == "i" else self.driven, _signals(value), path)
        else:
            for statements in fragment.statements.values():
                for statement in statements:
                    self._statement(statement, path)
            for number, (inner, name, _) in enumerate(fragment.subfragments):
                self._of(inner, (*path, name or str(number)))


def _ports(design, flow):
    return {
        key: signal.name
        for _, member, value in design.signature.flatten(design)
        if member.flow is flow
        for key, signal in _signals(value).items()
    }


_OF_OTHERS = re.compile(r"(^|\.)((following(_valid)?)?$|(crc|device|phy)\.)")
"""States of state machines have no name, few users of a FIFO look behind its first element, and what the CRC of
Amaranth and the USB device and PHY of LUNA leave open is not of this project."""


def use_of(design):
    """The signals that are read and not driven, and those that are driven and not read, by their paths; and those of
    which some bits are never set, although others are, with a number that has these bits.

    Such bits are needed for nothing, except in layouts that several components share.
    """
    use = Use(Fragment.get(design, None))
    inputs, outputs = _ports(design, In), _ports(design, Out)
    undriven = [name for key, name in (outputs | use.read).items() if key not in use.driven and key not in inputs]
    unread = [name for key, name in (inputs | use.driven).items() if key not in use.read and key not in outputs]
    missing = {key: (1 << len(signal)) - 1 & ~use.bits[key] for key, signal in use.signals.items()}
    unset = {
        (use.driven[key], bits)
        for key, bits in missing.items()
        if bits and use.bits[key] and not bits & use.signals[key].init
    }
    return (
        *(
            sorted({name for name in found if not _OF_OTHERS.search(name)})
            for found in (_without_constants(undriven), unread)
        ),
        sorted((name, bits) for name, bits in unset if not _OF_OTHERS.search(name)),
    )


def _without_constants(undriven):
    """Without constants, and without the two enables of memories for which neither is driven."""
    constants = r"(^|\.)(zeros|ones|\$signal)$"
    enables = r"(^|\.)(output_)?enable$"
    owners = [re.sub(enables, "", name) for name in undriven if re.search(enables, name)]
    return [
        name
        for name in undriven
        if not re.search(constants, name)
        and not (re.search(enables, name) and owners.count(re.sub(enables, "", name)) == 2)
    ]


ENCODER = EncoderParameters(pixels=32, bits=3, steps=16, lfsr_width=7)
READOUT = ReadoutParameters(outputs=16, width=8)
UNITS = {"encoder": ENCODER, "readout": READOUT}
MESH = FabricConfig(
    tiles=(
        None,
        GRADED,
        AerTileParameters(direction=AerDirection.INPUT, address_width=5, depth=8),
        AerTileParameters(direction=AerDirection.OUTPUT, address_width=5, depth=8),
        AttentionTileParameters(attention=ATTENTION[0]["parameters"], axon_width=12),
        MESHED,
    ),
    mesh=MeshParameters(columns=3, rows=2, counters=True),
    **UNITS,
)
READ_BACK = replace(GRADED, read_back=True)
STREAMED = replace(GRADED, weight_memory="sdram")
SHARED = FabricConfig(
    tiles=(None, STREAMED, STREAMED),
    mesh=MeshParameters(columns=3, rows=1),
    sdram=EXAMPLES["SdramController"][0]["parameters"],
)
SINGLE = FabricConfig(core=MESHED, **UNITS)


def component(name, arguments):
    """A component of the examples."""
    modules = (importlib.import_module(info.name) for info in pkgutil.walk_packages(hdl.__path__, f"{hdl.__name__}."))
    return next(getattr(module, name) for module in modules if hasattr(module, name))(**arguments)


DESIGNS = {
    **{
        f"{name} {number}": partial(component, name, arguments)
        for name, several in EXAMPLES.items()
        for number, arguments in enumerate(several)
        if not name.endswith(("Port", "Signature")) and name != "HostBridge"  # a bridge with all its parts is below
    },
    "streamed rows": lambda: RowReader(STREAMED),
    "streamed sums": lambda: Accumulator(STREAMED),
    "streamed engine": lambda: LifEngine(STREAMED),
    "core": lambda: LifCore(READ_BACK),
    "core of maps": lambda: LifCore(MAPS),
    "core of SDRAM": lambda: LifCore(replace(STREAMED, read_back=True)),
    "mesh of SDRAM": lambda: Tiles(SHARED),
    "tiles of SDRAM": lambda: Tiles(FabricConfig(core=STREAMED, sdram=EXAMPLES["SdramController"][0]["parameters"])),
    "core of a mesh": lambda: LifCore(replace(READ_BACK, destinations=4)),
    "answers of several tiles": lambda: AnswerEncoder(9, 12, graded=True, several=True, latency=3),
    "bridge": lambda: HostBridge(
        9, 12, input_value_width=6, graded=True, tiles=4, counting=True, read_back=True, latency=4, **UNITS
    ),
    "readout of a mesh": lambda: SpikeReadout(READOUT, 9, 12, 4),
    "requests": lambda: RequestDecoder(9, 3, value_width=6, read_back=True),
    "memory": lambda: LoadedMemory(MESHED.memories["weights"], read_back=True),
    "usb": lambda: UsbDevice(UsbParameters()),
    "usb line": lambda: UsbLine(UsbParameters()),
    "flash id": FlashId,
    "supply": lambda: SupplyControl((0.1, 0.7), settle_cycles=100, start_cycles=30),
    "ulpi": lambda: UlpiDevice(UsbParameters()),
    "ulpi line": lambda: UlpiLine(UsbParameters()),
    "ulpi top": lambda: UlpiTop(SINGLE, UsbParameters()),
    "usb pins": UsbPhy,
    "axi": lambda: AxiLifCore(MESHED),
    "usb top": lambda: UsbTop(SINGLE, UsbParameters()),
    "top": lambda: Top(SINGLE, 100),
    "mesh": lambda: Fabric(MESH),
}

_LOAD = "load__(index|memory|plane|write_data|write_enable|reading)"
_CORE_1 = r"(core_1\.)?"
_MESH_ONLY = "registers\\.(delayed_sources|delayed_sinks|(delayed_)?(tick|ack)_destinations)"
_READOUT_TOKENS = "tokens\\.(ack|ack_parity|sent|sinks)"
_PLANE = r"configuration__plane"
LEFT_OUT = {
    # A core with few parts: no values, no words of neurons, no routes to tiles.
    "SpikeEmitter 0": ("item_0", "value|rule"),
    "SpikeEmitter [13]": ("", "rule"),
    "LifEngine 0": (
        r"emitter\.item_0",
        rf"value|rule|waiting|sweep\.({_LOAD}|bank0\.neuron|bank0\.lane0\.kept_v_1)",
    ),
    "LifEngine [13]": ("", "rule|waiting"),
    "LifEngine 2": ("", "waiting"),
    "NeuronLane 0": ("", "neuron|kept_v_1"),
    "NeuronBank 0": ("", rf"{_LOAD}|neuron|lane0\.kept_v_1"),
    "NeuronSweep 0": ("", rf"{_LOAD}|bank0\.(neuron|lane0\.kept_v_1)"),
    "streamed sums": ("", _LOAD),
    "streamed engine": ("", rf"waiting|accumulator\.{_LOAD}"),
    # Bytes of registers have no byte lane, and without a mesh there are no tokens of other tiles.
    "core": ("", rf"{_PLANE}|engine\.waiting|{_MESH_ONLY}"),
    "core of maps": ("", rf"{_PLANE}|engine\.(rule|waiting)|{_MESH_ONLY}"),
    "core of a mesh": ("", _PLANE),
    # Weights in SDRAM have no memory that is loaded.
    "(core|tiles) of SDRAM": (
        rf"{_CORE_1}engine\.accumulator\.load__read_data",
        rf"((weight_memory|core_1)\.)?{_PLANE}|{_CORE_1}({_MESH_ONLY}|engine\.(waiting|accumulator\.{_LOAD}))",
    ),
    "mesh of SDRAM": (
        r"configuration_2\.after__read_data|core_\d\.engine\.accumulator\.load__read_data|weight_memory\.clear",
        rf"configuration_2\.after__tile|(weight_memory|core_\d)\.{_PLANE}|core_\d\.engine\.accumulator\.{_LOAD}"
        r"|mesh\.router_\d_\d\.taken",
    ),
    # The unit has memories of one sample only; the tile uses the other signals of the engine.
    "AttentionUnit .": ("", r"engine\.(key|feature)_(head|read)"),
    "AnswerEncoder .": ("turn|drop", "step_parity"),
    "bridge": (rf"readout\.{_READOUT_TOKENS}", rf"{_PLANE}|readout\.tokens\.allowed"),
    "SpikeReadout .": (rf"bank|following|{_READOUT_TOKENS}", r"sources|tokens\.allowed"),
    "readout of a mesh": (_READOUT_TOKENS, r"tokens\.allowed"),
    "RequestDecoder 0": ("too_large", ""),
    "SharedWords 1": ("", "group"),
    "LoadedMemory 2": (r"memory\.memory\.output_enable", "enable|output_enable"),
    "SinglePortMemory 0": (r"memory\.output_enable", ""),
    # A packet that arrived at its last router is counted where it leaves it.
    "Router .": ("", "taken"),
    "Mesh .": ("", r"router_\d_\d\.taken"),
    "usb": ("", "vbus_valid"),
    "usb pins": ("", "term_select"),
    "SdramCrossing .": ("", r"(requests|words|writes)\.[rw]_(level|rst)"),
    "WeightMemory .": ("", _PLANE),
    # Without a phase that can be stepped.
    "Retest 0": ("phase|phase_step", "steps"),
    "(usb|ulpi) line|EthernetLine 0": ("", r"vbus_valid|(received|sent)\.[rw]_(level|rdy|rst)"),
    "((usb|ulpi) )?top": (
        rf"fabric\.bridge\.(program|too_large|encoder\.(turn|drop)|readout\.(bank|following|{_READOUT_TOKENS}))",
        rf"fabric\.tiles\.(steps_done|core_1\.({_PLANE}|engine\.(rule|waiting)|{_MESH_ONLY}))"
        rf"|fabric\.bridge\.({_PLANE}|sources|step_parity|readout\.tokens\.allowed"
        r"|registers\.(sinks|(spike|tick|ack)_destinations))|line\..*|bus_resets",
    ),
    # The routers at the border have fewer links, and only cores send delayed tokens.
    "mesh": (
        r"tiles\.(aer_\d\.running\.tokens\.delayed_.*|counters_\d\.registers\.(north|east|south|west)_(packets|waits)"
        rf"|configuration_3\.after__read_data)|bridge\.(program|readout\.{_READOUT_TOKENS})",
        r"tiles\.(steps_done|.*\.configuration__(plane|write_data|write_enable)|core_5\.engine\.rule"
        r"|mesh\.router_\d_\d\.taken|configuration_3\.after__(tile|index|memory|plane|write_enable|write_data)"
        r"|aer_3\.registers\.(spike_destinations|step_cycles)|attention_4\.running\.engine\.(feature|key)_release)"
        rf"|bridge\.({_PLANE}|readout\.tokens\.allowed)",
    ),
    "axi": (r"core\.(reset|clear)", rf"core\.({_PLANE}|step_done|engine\.(rule|waiting)|{_MESH_ONLY})"),
}
"""By a pattern of designs, patterns of the signals that are read and not driven, and of those that are not read."""


def of_design(name, table, otherwise):
    return next((found for key, found in table.items() if re.fullmatch(key, name)), otherwise)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_signal_is_driven_and_read_and_every_bit_is_set(name):
    undriven, unread, unset = use_of(DESIGNS[name]())
    for found, pattern in zip((undriven, unread), of_design(name, LEFT_OUT, ("", "")), strict=True):
        assert [signal for signal in found if not re.fullmatch(pattern, signal)] == []
        if pattern:
            assert found, "nothing is left out any more"
    pattern = of_design(name, UNUSED_BITS, "")
    assert [signal for signal in unset if not re.fullmatch(pattern, signal[0])] == []


_STATUS = r"(.*\.)?status"
_FABRIC = rf"{_STATUS}|.*configuration__(index|plane)|(fabric\.)?tiles\.steps_done"
UNUSED_BITS = {
    # The last place of a word that all features share, words whose weights come with them, and the upper half of a
    # buffer, which holds the identity.
    "SpikeScanner [13]": "word_place",
    "StreamSequencer .": "word",
    "FrameSender .|Link 0": r"(sender\.)?write_address",
    # Bytes with which those of a frame are compared.
    "Ethernet(Receiver|Line) 0": r"(receiver\.)?\w+_(value|mask)",
    # CS# is low in every command.
    "SdramController .": "pins__command",
    "SdramCrossing .": r"controller\.pins__command",
    # Requests of a weight memory read or write only, few bursts, and no words beyond those of the core.
    "Gearbox .|SelfTest .": "(requests|writes)__payload",
    "Retest 0": "left",
    "WeightMemory .": (
        r"((gearbox|test)\.)?(requests|writes)__payload|address|burst|larger|of_host|wrong|phases|step_ps"
    ),
    "(tiles|mesh) of SDRAM": (
        rf"{_FABRIC}|steps_done|weight_stage\.here__index"
        r"|weight_memory\.(.*__payload|address|burst|of_host|wrong|phases|step_ps)"
    ),
    # Registers have whole bytes, and ports of fabrics the usual widths.
    "core.*|axi": _STATUS,
    "((usb|ulpi) )?top": rf"{_FABRIC}|fabric\.bridge\.spikes\.event|link\.sender\.write_address",
    "mesh": rf"{_FABRIC}|tiles\.(aer_3\.running\.o__payload|mesh\.(moved|waiting)__\d)",
}
"""By a pattern of designs, a pattern of the signals of which some bits are never set."""


class Wires(wiring.Component):
    """Planted: a component in which one of two wires is not connected."""

    def __init__(self, *, forgotten):
        self.forgotten = forgotten
        super().__init__({"a": In(4), "b": In(4), "x": Out(4), "y": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = BlockMemory(4, 8)
        kept = Signal(4)
        connections = {
            "input": inner.write_data.eq(self.a),
            "enable": inner.enable.eq(1),
            "register": kept.eq(self.b),
            "output": self.y.eq(kept),
        }
        m.d.comb += [statement for name, statement in connections.items() if name != self.forgotten]
        m.d.comb += [
            inner.write_address.eq(0),
            inner.write_enable.eq(1),
            inner.output_enable.eq(1),
            inner.address.eq(1),
            self.x.eq(inner.data),
        ]
        return m


@pytest.mark.parametrize(
    ("forgotten", "found"),
    [
        ("nothing", ([], [])),
        ("input", (["inner.write_data"], ["a"])),
        ("enable", (["inner.enable"], [])),
        ("register", (["kept"], ["b"])),
        ("output", (["y"], ["kept"])),
    ],
)
def test_a_forgotten_connection_is_found(forgotten, found):
    assert use_of(Wires(forgotten=forgotten))[:2] == found


class Registers(wiring.Component):
    """Planted: registers of 8 bits for values of ``width`` bits, of every kind of assignment."""

    def __init__(self, width):
        self.width = width
        super().__init__({"i": In(width), "o": Out(8), "sum": Out(8), "parts": Out(8), "signed": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [
            self.o.eq(self.i),
            self.sum.eq(self.sum + 1),
            self.parts[:2].eq(self.i),
            Cat(self.parts[2:4], self.parts[4:]).eq(self.i[: self.width - 2]),
            self.signed.eq(self.i.as_signed()),
        ]
        return m


def test_a_register_that_is_too_wide_is_found():
    assert use_of(Registers(8))[2] == []
    assert use_of(Registers(7))[2] == [("o", 0b1000_0000), ("parts", 0b1000_0000)]
    assert use_of(Registers(5))[2] == [("o", 0b1110_0000), ("parts", 0b1110_0000)]
