"""Arguments with which the components of the hardware are built to compare their signals with what their docstrings
say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.compiled import CORES
from harness.cores import LEAN, MESHED
from spikeloom.hdl.noc.packet import packet_layout
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.ethernet import Station
from spikeloom.sim.host.link import LinkParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.lib.lfsr import Lfsr
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.sim.sdram.arbiter import ArbiterParameters
from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.weights import WeightMemoryParameters

__all__ = ["ATTENTION", "EXAMPLES", "GRADED", "MAPS", "PACKETS"]

ATTENTION = [
    {"parameters": AttentionParameters(tokens=4, features=16, heads=3, rows=2)},
    {"parameters": AttentionParameters(tokens=32, features=4, heads=1, rows=8)},
]
GRADED = CORES["two lanes, every model"]
MAPS = CORES["two lanes, maps and lists"]
CORE = [{"parameters": core} for core in (LEAN, MESHED, GRADED, MAPS)]
MESH = [
    {"parameters": MeshParameters(columns=columns, rows=2, payload_width=width)} for columns, width in ((2, 5), (3, 16))
]
PACKETS = [{"axon_width": 9, "value_width": 12}, {"axon_width": 16, "value_width": 5}]
SDRAM = [
    {"parameters": SdramParameters(chip=BOARDS[board], clock_hz=60_000_000, phases=104)}
    for board in ("ulx3s", "colorlight-5a75b")
]
WEIGHTS = [
    {
        "parameters": WeightMemoryParameters(
            sdram=replace(of["parameters"], more_row_bits=1), word_bits=bits, words=5000, row_words=20
        )
    }
    for of in SDRAM
    for bits in (12, 100)
]
STATION = Station(bytes.fromhex("a0b1c2d3e4f5"), bytes((10, 0, 7, 1)), 50_000)
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "AerReceiver": [{"address_width": 1}, {"address_width": 12}],
    "AerSender": [{"address_width": 1}, {"address_width": 12}],
    "EventQueue": [{"axon_width": 5, "depth": 8}, {"axon_width": 14, "depth": 16}],
    "AttentionEngine": ATTENTION,
    "PassPhase": [{**of, "length": 8, "lfsr": Lfsr(width=width)} for of in ATTENTION for width in (31, 32)],
    "SpikeBlocks": [{"width": 5, "words": 8}, {"width": 16, "words": 2}],
    "EventMatrix": [{"width": 5, "words": 8}, {"width": 16, "words": 2}],
    "AndSampler": [{"bits": 1}, {"bits": 6}],
    "SpikeScanner": [{**of, "index_bits": bits} for of in ATTENTION for bits in (4, 9)],
    "AttentionUnit": ATTENTION,
    "UartReceiver": [{"divisor": 8}],
    "UartTransmitter": [{"divisor": 8}],
    "Accumulator": CORE,
    "AdderBank": [{**of, "number": 0} for of in CORE],
    "SpikeEmitter": CORE,
    "LifEngine": CORE,
    "GeometrySequencer": [{"parameters": MAPS}],
    "NeuronLane": CORE,
    "NeuronBank": [{**of, "number": 0} for of in CORE],
    "RowReader": CORE,
    "StreamSequencer": [{"parameters": replace(core, weight_memory="sdram")} for core in (LEAN, MESHED, GRADED)],
    "NeuronSweep": [{**of, "read_latency": 3} for of in CORE],
    "TargetReader": [{"parameters": MAPS}],
    "AnswerEncoder": PACKETS,
    "HostBridge": [{**of, "tiles": tiles} for of in PACKETS for tiles in (0, 4)],
    "SpikeEncoder": [
        {"parameters": EncoderParameters(pixels=32, bits=3, steps=16, lfsr_width=7), **of} for of in PACKETS
    ],
    "PayloadRing": [{"depth": 16}, {"depth": 64}],
    "EthernetReceiver": [{"station": STATION, "idle_cycles": 1000}],
    "EthernetSender": [{"station": STATION}],
    "EthernetLine": [{"station": STATION, "buffer": 256, "idle_cycles": 1000}],
    "FrameReceiver": [{"maximum_payload": size, "low_bytes": low} for size, low in ((64, 2), (200, 3), (255, 2))],
    "FrameSender": [{"identity": bytes(40), "offset_width": width} for width in (9, 16)],
    "Link": [{"parameters": LinkParameters(), "identity": bytes(40)}],
    "SpikeReadout": [{"parameters": ReadoutParameters(outputs=16, width=8), **of} for of in PACKETS],
    "RequestDecoder": [
        {"axon_width": 9, "tile_width": 2, "index_width": 11, "plane_width": 4},
        {"axon_width": 16, "value_width": 7},
    ],
    "RoundRobinArbiter": [{"requesters": 2}, {"requesters": 5}],
    "ReadAhead": [{"width": 3}, {"width": 17}],
    "BlockQueue": [{"width": 3, "depth": 16}, {"width": 17, "depth": 64}],
    "ByteMemory": [{"depth": 9}, {"depth": 64}],
    "Fifo": [{"shape": 3, "depth": 2}, {"shape": packet_layout(5, 4), "depth": 4}],
    "ShiftRegister": [{"lfsr": Lfsr(width=width)} for width in (7, 16)],
    "SharedWords": [{"width": 8, "used": 5, "count": 4, "groups": 4}, {"width": 6, "used": 6, "count": 2}],
    "LoadedMemory": [
        {"memory": MESHED.memories["weights"]},
        {"memory": MESHED.memories["weights"], "parts": 2},
        {"memory": MESHED.memories["rows"], "single_port": True},
    ],
    "ConfigurationPort": [
        {"tile": True, "index_width": 20, "plane_width": 4, "read_back": True},
        {"index_width": 7},
    ],
    "LoadPort": [{"read_back": True}, {}],
    "TileSignature": [{"parameters": core} for core in (MESHED, GRADED)],
    "SdramPinSignature": SDRAM,
    "Mesh": MESH,
    "Router": [{**of, "tile": 3} for of in MESH],
    "Tokens": [{"tiles": 2}, {"tiles": 7}],
    "HostTokens": [{"tiles": 2}, {"tiles": 7}],
    "SdramController": SDRAM,
    "SdramCrossing": SDRAM,
    "ByteGatherer": SDRAM,
    "Gearbox": WEIGHTS,
    "Retest": [{"phases": 0}, {"phases": 40}],
    "SelfTest": WEIGHTS,
    "WeightMemory": [{**of, "number": 1} for of in WEIGHTS],
    "RowArbiter": [
        {
            "parameters": ArbiterParameters(cores=cores, address_bits=6, row_words=9),
            "weights": replace(WEIGHTS[1]["parameters"], words=cores << 6, row_words=9),
        }
        for cores in (2, 5)
    ],
    "BlockMemory": [{"width": 21, "depth": 300, "part": 8}, {"width": 7, "depth": 40}],
    "SinglePortMemory": [{"width": 8, "depth": 300}, {"width": 20, "depth": 20_000}],
    "DistributedMemory": [{"width": 7, "depth": 16}, {"width": 4, "depth": 30}],
}
"""Arguments of the components whose members are as wide as their parameters say."""
