"""Blocks whose size and speed are kept in ``qor/``, with their bounds."""

from dataclasses import replace
from functools import partial

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from spikeloom.boards.qor.measure import ICE40_UP5K, Block
from spikeloom.boards.sizing.choose import lane_banks
from spikeloom.boards.targets.registry import find_board
from spikeloom.hdl.attention.unit import AttentionUnit
from spikeloom.hdl.core.engine import LifEngine
from spikeloom.hdl.noc.mesh import Mesh
from spikeloom.hdl.noc.router import Router
from spikeloom.hdl.sdram.controller import SdramController, SdramPinSignature
from spikeloom.hdl.sdram.crossing import SdramCrossing
from spikeloom.hdl.sdram.weight_memory import WeightMemory
from spikeloom.hdl.top.fabric import Tiles
from spikeloom.sim.attention.attention import PIPELINE_CYCLES, AttentionParameters
from spikeloom.sim.core.features import WITHOUT_FEATURES
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.noc.mesh import MeshParameters
from spikeloom.sim.sdram.parameters import SdramParameters
from spikeloom.sim.sdram.weights import WeightMemoryParameters

__all__ = ["ATTENTION_SHAPES", "ATTENTION_STEPS", "BLOCKS", "attention_block", "plain_lif_core", "small_mesh"]


def plain_lif_core(lanes: int) -> CoreParameters:
    """Return a core of 256 neurons with 256 axons each, 8-bit weights, a shift leak, and no more expensive features.

    Thresholds and leaks are per population, the reset is to zero or by subtraction, and there is no bias. The lanes are
    divided into banks as by `spikeloom.explore.choose.choose_core`. From 64 lanes on, accumulators and states are in
    LUT RAM, because a block RAM would be nearly empty.
    """
    few_words = "distributed" if lanes >= 64 else "block"
    return CoreParameters(
        lanes=lanes,
        lane_banks=lane_banks(lanes),
        neurons=256,
        axons=256,
        weight_words=256 * 256 // lanes,
        populations=4,
        weight_width=8,
        v_width=16,
        accumulator_width=16,
        multiplier=False,
        shifts=(4,),
        per_neuron=frozenset(),
        accumulator_memory=few_words,
        state_memory=few_words,
        **WITHOUT_FEATURES,
    )


def small_mesh() -> FabricConfig:
    """Return 15 cores as large as those of the fabric ``small`` on a 4 x 4 mesh, with the features of
    `plain_lif_core`."""
    plain = plain_lif_core(1)
    core = replace(
        FABRICS["small"].core,
        multiplier=plain.multiplier,
        shifts=plain.shifts,
        per_neuron=plain.per_neuron,
        **WITHOUT_FEATURES,
    )
    return FabricConfig(tiles=(None, *[core] * 15), mesh=MeshParameters(columns=4, rows=4))


def _small_tiles() -> Tiles:
    return Tiles(small_mesh())


def _plain_engine(lanes: int) -> LifEngine:
    return LifEngine(plain_lif_core(lanes))


def _core_of_bits(bits: int) -> LifEngine:
    """Return the core of 8 lanes with weights of ``bits`` bits, and sums of 256 of them without overflow."""
    return LifEngine(replace(plain_lif_core(8), weight_width=bits, accumulator_width=bits + 8))


ATTENTION_SHAPES = {
    (16, 1): None,
    (16, 8): None,
    (16, 16): 1850,
    (32, 1): None,
    (32, 8): None,
    (32, 32): 5500,
    (64, 1): None,
    (64, 8): 3000,
    (64, 64): 18500,
}
"""Maximum number of lookup tables, if any, by tokens (which equal the features) and rows of the attention units."""

ATTENTION_STEPS = 10
"""Number of time steps for which cycles and times of the attention units are given."""


def attention_block(tokens: int, rows: int) -> Block:
    """Return the block of an attention unit with one head and as many features as tokens."""
    parameters = AttentionParameters(tokens=tokens, features=tokens, rows=rows)
    return Block(
        name="attention",
        variant=f"{tokens}-tokens-{rows}-row{'s' * (rows > 1)}",
        make=lambda: AttentionUnit(parameters),
        maximum_lut=ATTENTION_SHAPES[tokens, rows],
        minimum_fmax_mhz=150,
        cycles=parameters.cycles(ATTENTION_STEPS) + PIPELINE_CYCLES,
    )


def _ulx3s_sdram() -> SdramParameters:
    """Return the controller of an ULX3S, at the clock at which its memory is to run."""
    found = find_board("ulx3s-85f").sdram_parameters
    assert found is not None
    return replace(found, clock_hz=120_000_000)


class _WeightMemoryWithChip(wiring.Component):
    """The weight memory of a core of four lanes, with the controller in its own clock domain: all that a fabric has
    between the core and the pins of the chip."""

    def __init__(self, parameters: WeightMemoryParameters) -> None:
        self._memory = WeightMemory(parameters, 0)
        self._crossing = SdramCrossing(parameters.sdram)
        members = dict(self._memory.signature.members)
        del members["memory"]
        super().__init__({**members, "pins": Out(SdramPinSignature(parameters.sdram))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = self._memory
        m.submodules.crossing = crossing = self._crossing
        wiring.connect(m, memory.memory, crossing.port)
        wiring.connect(m, crossing.pins, wiring.flipped(self.pins))
        for name in ("configuration", "rows", "words"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(memory, name))
        m.d.comb += [memory.clear.eq(self.clear), memory.reset.eq(self.reset)]
        return m


def _weight_memory() -> _WeightMemoryWithChip:
    return _WeightMemoryWithChip(
        WeightMemoryParameters(sdram=_ulx3s_sdram(), word_bits=32, words=1 << 23, row_words=256)
    )


BLOCKS = (
    *(
        Block(
            name="lif-core",
            variant=f"{lanes}-lane{'s' * (lanes > 1)}",
            make=partial(_plain_engine, lanes),
            maximum_lut=maximum_lut,
            minimum_fmax_mhz=minimum_fmax_mhz,
        )
        for lanes, maximum_lut, minimum_fmax_mhz in ((1, 650, 140), (8, 2400, 140), (64, 64 * 200, 110))
    ),
    # Cost of each bit of the weights, next to the core of 8 lanes with 8 bits. Sums are exact, so they grow with it.
    *(
        Block(
            name="lif-core",
            variant=f"8-lanes-{bits}-bit-weights",
            make=partial(_core_of_bits, bits),
            minimum_fmax_mhz=minimum_fmax_mhz,
        )
        for bits, minimum_fmax_mhz in ((4, 140), (16, 115))
    ),
    # A seed takes 15 to 25 minutes, and longer if the requested clock is out of reach.
    Block(
        name="lif-core",
        variant="256-lanes",
        make=partial(_plain_engine, 256),
        maximum_lut=256 * 200,
        minimum_fmax_mhz=110,
        asked_mhz=115.0,
        seeds=3,  # each takes 15 to 25 minutes
    ),
    # The same core with one lane. 64 kB of weights exceed the block RAM of a UP5K (15 kB), so they are in single-port
    # RAM.
    Block(
        name="lif-core",
        variant="1-lane",
        make=lambda: LifEngine(replace(plain_lif_core(1), weight_memory="single-port")),
        minimum_fmax_mhz=24,
        asked_mhz=40.0,
        device=ICE40_UP5K,
    ),
    # The cores of the MNIST benchmark.
    *(
        Block(name="lif-core", variant=name, make=partial(LifEngine, FABRICS[name].core), asked_mhz=140.0)
        for name in ("wide", "spatial")
    ),
    # 5 ports, 24 bits of payload, 16 bits of destination set.
    Block(
        name="router",
        variant="5-ports",
        make=lambda: Router(MeshParameters(columns=4, rows=4, payload_width=24), 5),
        maximum_lut=900,
        minimum_fmax_mhz=150,
    ),
    Block(
        name="mesh",
        variant="4x4",
        make=lambda: Mesh(MeshParameters(columns=4, rows=4, payload_width=24)),
        minimum_fmax_mhz=120,
    ),
    Block(name="fabric", variant="4x4", make=_small_tiles, minimum_fmax_mhz=100, asked_mhz=115.0),
    # The controller alone, and with all that is between it and a core, of which the slower of the two clocks counts.
    Block(
        name="sdram-controller",
        variant="ulx3s",
        make=lambda: SdramController(_ulx3s_sdram()),
        maximum_lut=1200,
        minimum_fmax_mhz=120,
    ),
    Block(
        name="sdram-weight-memory",
        variant="ulx3s",
        make=_weight_memory,
        maximum_lut=2500,
        minimum_fmax_mhz=110,
        asked_mhz=140.0,
    ),
    *(attention_block(tokens, rows) for tokens, rows in ATTENTION_SHAPES),
)
