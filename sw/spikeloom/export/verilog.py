"""Verilog export: the core with AXI ports, a testbench and a FuseSoC core file; or the whole fabric.

The testbench needs only a Verilog simulator. It loads a network through the configuration port, sends random spikes,
and compares every output packet, in order, with those of the integer reference. The three hexadecimal files that it
reads hold everything that depends on the network.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.program import Program
from spikeloom.sim.host.ethernet import EthernetParameters, link_over_udp
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.usb import UsbParameters
from spikeloom.sim.lib.files import replaced, write_whole
from spikeloom.sim.network.network import QuantisedNetwork
from spikeloom.sim.network.reference import ReferenceResult, simulate

__all__ = ["MODULE", "axon_table", "export_core", "export_fabric"]

MODULE = "spikeloom_core"

STEPS, SAMPLES = 6, 2  # of the exported stimulus: more than one sample, so that the state is cleared in between
_SPIKE, _TICK, _ACK, _MEMBRANE = range(4)
# Addresses on the AXI4-Lite port, as in `spikeloom.hdl.top.axi`.
_MEMORY, _PLANE, _INDEX, _DATA = 0x40, 0x44, 0x48, 0x4C


def export_core(network: QuantisedNetwork, program: Program, folder: Path) -> list[Path]:
    """Write ``spikeloom_core.v``, ``testbench.v`` with its three data files, ``axons.json`` and ``spikeloom_core.core``
    into ``folder``.

    Return the paths of the files. The same network and fabric give the same files, byte for byte.
    """
    from spikeloom.hdl.top.axi import AxiLifCore
    from spikeloom.hdl.top.verilog import write_verilog

    verilog = write_verilog(AxiLifCore(program.fabric.core), MODULE, folder / "cache")
    spikes = np.random.default_rng(0).random((STEPS, SAMPLES, network.inputs)) < 0.25
    writes = list(_writes(program))
    events = list(_events(program, spikes))
    expected = list(_expected(network, program, simulate(network, spikes)))
    bench = Path(__file__).with_name("testbench_axi.v").read_text()
    for name, number in (("WRITES", len(writes)), ("EVENTS", len(events)), ("EXPECTED", len(expected))):
        bench = bench.replace(f"`{name}", str(number))
    contents = {
        f"{MODULE}.v": verilog.read_text(),
        "testbench.v": bench,
        "configuration.hex": "".join(f"{address:02x}{data:08x}\n" for address, data in writes),
        "events.hex": "".join(f"{packet:016x}\n" for packet in events),
        "expected.hex": "".join(f"{packet:016x}\n" for packet in expected),
        "axons.json": axon_table(program),
        f"{MODULE}.core": _CORE_FILE.format(module=MODULE),
    }
    for name, text in contents.items():
        write_whole(folder / name, text)
    return [folder / name for name in contents]


def export_fabric(
    program: Program,
    folder: Path,
    *,
    divisor: int,
    link: LinkKind = LinkKind.UART,
    usb: UsbParameters | None = None,
    ethernet: EthernetParameters | None = None,
) -> list[Path]:
    """Write ``top.v``, ``program.npz`` and ``axons.json`` into ``folder``, and return their paths.

    ``top.v`` is the whole fabric with its link at its pins: a UART of ``divisor`` clock cycles per bit; a USB device,
    which also needs clocks of 48 and 12 MHz; or an Ethernet device at GMII, with the clock of its PHY.
    ``program.npz`` holds the words of all memories of all tiles.
    """
    from spikeloom.hdl.top.ethernet_top import EthernetTop
    from spikeloom.hdl.top.top import Top
    from spikeloom.hdl.top.usb_top import UsbTop
    from spikeloom.hdl.top.verilog import write_verilog

    top: UsbTop | EthernetTop | Top
    if link is LinkKind.USB:
        top = UsbTop(program.fabric, usb or UsbParameters())
    elif link is LinkKind.UDP:
        fabric = dataclasses.replace(program.fabric, link=link_over_udp(program.fabric.link))
        top = EthernetTop(fabric, ethernet or EthernetParameters())
    else:
        top = Top(program.fabric, divisor)
    verilog = write_verilog(top, "top", folder / "cache")
    write_whole(folder / "top.v", verilog.read_bytes())
    with replaced(folder / "program.npz") as scratch:
        np.savez_compressed(
            scratch,
            allow_pickle=False,
            input_axons=program.input_axons,
            output_axons=program.output_axons,
            **{f"tile_{image.tile}_{image.name}": image.words for image in program.memories},
        )
    write_whole(folder / "axons.json", axon_table(program))
    return [folder / "top.v", folder / "program.npz", folder / "axons.json"]


def axon_table(program: Program) -> str:
    """Return the text of ``axons.json``: the axon of each input line, and of each neuron with output, by population.

    Element *i* of ``inputs`` is the axon with which a SPIKE reaches input line *i*. Element *n* of a population in
    ``outputs`` is the axon in the packets of its neuron *n*; ``sends`` tells whether these are SPIKEs or MEMBRANEs.
    """
    ends = np.cumsum([0, *(size for _, size in program.observed)])
    outputs = {
        name: {
            "sends": "MEMBRANE" if number == 0 and program.membranes else "SPIKE",
            "axons": program.output_axons[ends[number] : ends[number + 1]].tolist(),
        }
        for number, (name, _) in enumerate(program.observed)
    }
    table = {"network": program.network, "inputs": program.input_axons.tolist(), "outputs": outputs}
    text = json.dumps(table, indent=2)
    # Put each list of numbers on one line.
    return re.sub(r"\[\s+([\d,\s]*?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text) + "\n"


def _writes(program: Program) -> Iterator[tuple[int, int]]:
    """Yield addresses and words to write to the AXI4-Lite port."""
    for image in program.memories:
        yield _MEMORY, image.memory
        for plane in range(image.words.shape[1]):
            yield _PLANE, plane
            yield _INDEX, 0
            for byte in image.words[:, plane]:
                yield _DATA, int(byte)
    for tile, name, value in program.registers:
        register = program.fabric.register_map(tile).register(name)
        # Several registers can share a word of 4 bytes, so byte strobes select one. The digit above the address holds
        # the inverted strobes: 0 is a whole word, as for the memories.
        first = register.offset % 4
        strobe = (1 << register.size) - 1 << first
        yield (strobe ^ 0xF) << 8 | register.offset & ~3, value << 8 * first


def _packet(kind: int, step: int, *, last: bool = False, axon: int = 0, value: int = 0) -> int:
    """Return a packet as a word of the AXI4-Stream ports; ``step`` gives its parity."""
    return kind | (step & 1) << 2 | last << 3 | axon << 8 | (value & 0xFFFFFFFF) << 32


def _events(program: Program, spikes: NDArray[np.bool_]) -> Iterator[int]:
    """Yield the input packets for ``spikes`` ``(T, B, inputs)``: per step the SPIKEs, then a TICK."""
    steps, samples, _ = spikes.shape
    for step in range(steps * samples):
        sample, t = divmod(step, steps)
        for axon in program.input_axons[spikes[t, sample]]:
            yield _packet(_SPIKE, step, axon=int(axon), value=1)
        yield _packet(_TICK, step, last=t == steps - 1)


def _expected(network: QuantisedNetwork, program: Program, result: ReferenceResult) -> Iterator[int]:
    """Yield the output packets in the order of the core: by population and neuron, then TICK and ACK in each step."""
    sizes = dict(program.observed)
    ends = np.cumsum([0, *sizes.values()])
    axons = {name: program.output_axons[first:last] for name, first, last in zip(sizes, ends, ends[1:], strict=False)}
    steps, samples, _ = next(iter(result.spikes.values())).shape
    for step in range(steps * samples):
        sample, t = divmod(step, steps)
        last = t == steps - 1
        for population in network.populations:
            if population.name not in axons:
                continue
            here = axons[population.name]
            if population.parameters.spiking:
                for neuron in np.flatnonzero(result.spikes[population.name][t, sample]):
                    yield _packet(_SPIKE, step, last=last, axon=int(here[neuron]), value=1)
            elif population.name == network.output:
                membranes = result.states[population.name].v[t, sample]
                for axon, value in zip(here.tolist(), membranes.tolist(), strict=True):
                    yield _packet(_MEMBRANE, step, last=last, axon=axon, value=value)
        yield _packet(_TICK, step, last=last)
        yield _packet(_ACK, step)


_CORE_FILE = """CAPI=2:
name: spikeloom:ip:{module}:1.0.0
description: An event-driven LIF core with AXI4-Stream and AXI4-Lite ports

filesets:
  rtl:
    files:
      - {module}.v
    file_type: verilogSource
  bench:
    files:
      - testbench.v
      - configuration.hex: {{file_type: user, copyto: configuration.hex}}
      - events.hex: {{file_type: user, copyto: events.hex}}
      - expected.hex: {{file_type: user, copyto: expected.hex}}
      - axons.json: {{file_type: user}}
    file_type: verilogSource

targets:
  default:
    filesets: [rtl]
    toplevel: {module}
  sim:
    default_tool: icarus
    filesets: [rtl, bench]
    toplevel: testbench
    tools:
      verilator:
        mode: binary
        verilator_options: [--binary, --timing, -Wno-fatal]
"""
