"""General fabrics: each fits its device, and a larger device never gets a smaller fabric."""

import dataclasses

import pytest

from spikeloom.boards.families.device import DEVICES
from spikeloom.boards.sizing import choose as choose_module
from spikeloom.boards.sizing import estimate as estimate_module
from spikeloom.boards.sizing.choose import FILLED, WEIGHTS_PER_CYCLE, choose_fabric, room, shortages
from spikeloom.boards.sizing.estimate import estimate, measured_cores
from spikeloom.boards.targets.registry import BOARDS
from spikeloom.sim.aer.parameters import AerDirection, AerTileParameters
from spikeloom.sim.attention.attention import AttentionParameters
from spikeloom.sim.attention.parameters import AttentionTileParameters
from spikeloom.sim.core.features import WITHOUT_FEATURES
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.fabric.fabric_file import fabric_from_json, fabric_to_json
from spikeloom.sim.fabric.presets import FABRICS
from spikeloom.sim.host.encoder import EncoderParameters
from spikeloom.sim.host.identity import LinkKind
from spikeloom.sim.host.link import LinkParameters
from spikeloom.sim.host.readout import ReadoutParameters
from spikeloom.sim.noc.mesh import MeshParameters

BUILT = sorted({board.device_name for board in BOARDS.values() if not board.obstacle})

AT_LEAST = {
    "GW1NR-9C": ("medium", 1, 128, 24_576),
    "GW2A-18C": ("medium", 1, 256, 65_536),
    "LFE5U-12F": ("medium", 2, 256, 65_536),
    "LFE5U-25F": ("medium", 2, 256, 65_536),
    "LFE5U-45F": ("large", 2, 256, 98_304),
    "LFE5UM-45F": ("large", 2, 256, 98_304),
    "LFE5UM5G-45F": ("large", 2, 256, 98_304),
    "LFE5U-85F": ("large", 8, 512, 262_144),
    "LFE5UM5G-85F": ("large", 8, 512, 262_144),
    "iCE40HX4K": ("plain", 1, 64, 8_192),
    "iCE40HX8K": ("plain", 1, 64, 8_192),
    "iCE40LP8K": ("plain", 1, 64, 8_192),
    "iCE40UP5K": ("basic", 2, 256, 131_072),
}
"""Level, lanes, neurons and synapses of each general fabric that adds one word per cycle."""


@pytest.mark.parametrize("name", BUILT)
def test_every_device_of_a_board_holds_its_fabric(name):
    device = DEVICES[name]
    fabric = choose_fabric(device, filled=True)
    assert not shortages(fabric.core, device)
    assert fabric.synapses >= 8192
    level, lanes, neurons, synapses = AT_LEAST[name]
    # With one word per cycle these sizes fit; whatever is added, a network that fits them fits the fabric.
    assert neurons**2 <= synapses == fabric.synapses
    assert (fabric.name, fabric.core.lanes) == (level, lanes)
    assert fabric.core.neurons >= neurons
    assert fabric.core.axons >= 4 * neurons
    assert choose_fabric(device, filled=True) is fabric
    narrow = choose_fabric(device)
    assert (narrow.core, narrow.name) == (one_word_per_cycle(name), level)
    assert fabric_from_json(fabric_to_json(fabric)) == fabric


@pytest.mark.parametrize("name", BUILT)
def test_what_is_left_of_a_device_adds_words(name):
    """At most half of the lookup tables are filled, and twice as many words, or neurons, would not fit."""
    device = DEVICES[name]
    core = choose_fabric(device, filled=True).core
    filled = core != one_word_per_cycle(name)
    assert filled == (device.flow.pll == "ecp5")
    if not filled:
        return

    def fits(core):
        return not shortages(core, device) and estimate(core, device).lut <= FILLED * device.lut

    assert fits(core)
    assert core.lanes * core.words_per_cycle <= WEIGHTS_PER_CYCLE
    wider = dataclasses.replace(core, words_per_cycle=2 * core.words_per_cycle, accumulator_memory="distributed")
    assert 2 * core.lanes * core.words_per_cycle > WEIGHTS_PER_CYCLE or not fits(
        dataclasses.replace(wider, neurons=AT_LEAST[name][2], axons=4 * AT_LEAST[name][2])
    )
    assert not fits(dataclasses.replace(core, neurons=2 * core.neurons, axons=2 * core.axons))


def one_word_per_cycle(name):
    """The general fabric of a device as it is before the rest of the device is filled."""
    core = choose_fabric(DEVICES[name], filled=True).core
    neurons = AT_LEAST[name][2]
    is_narrow = core.words_per_cycle == 1
    memory = core.accumulator_memory if is_narrow else "block"
    return dataclasses.replace(core, words_per_cycle=1, neurons=neurons, axons=4 * neurons, accumulator_memory=memory)


def test_an_85f_adds_64_weights_per_cycle():
    core = choose_fabric(DEVICES["LFE5U-85F"], filled=True).core
    assert core.capacity.operations_per_cycle == 64
    assert BOARDS["ulx3s-85f"].buildable_fabric().core == core
    for kind in (LinkKind.USB, LinkKind.UDP):
        core = choose_fabric(DEVICES["LFE5U-85F"], link=kind, filled=True).core
        assert core.capacity.operations_per_cycle == 64


def test_larger_devices_hold_more():
    sizes = [choose_fabric(DEVICES[name]).synapses for name in ("LFE5U-12F", "LFE5U-45F", "LFE5U-85F")]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_an_icebreaker_has_its_weights_in_single_port_ram():
    core = choose_fabric(DEVICES["iCE40UP5K"]).core
    assert core.weight_memory == "single-port"
    assert core.weight_words * core.lanes * core.weight_width == 4 * 16384 * 16
    assert core.neurons >= 138  # of 784-128-10
    assert core.axons >= 912


def test_what_is_short_is_named_with_how_much_there_is():
    device = DEVICES["LFE5U-12F"]
    core = CoreParameters(lanes=64, neurons=64, weight_words=16384)
    named = {shortage.resource: shortage for shortage in shortages(core, device)}
    assert set(named) >= {"block RAMs", "multipliers"}
    assert str(named["multipliers"]) == "64 multipliers (28 available)"
    assert named["block RAMs"].available == 56 == room(device).ram
    message = r"^iCE40HX1K cannot hold a fabric: the smallest needs \d,\d\d\d lookup tables \("
    with pytest.raises(ValueError, match=message):
        choose_fabric(DEVICES["iCE40HX1K"])


def test_a_fabric_file_must_be_one():
    core = CoreParameters(multiplier=False, shifts=(3, 1), per_neuron=frozenset({"bias"}))
    fabric = FabricConfig(name="x", core=core, encoder=EncoderParameters(), link=LinkParameters(idle_cycles=3))
    assert fabric_from_json(fabric_to_json(fabric)) == fabric
    tiles = ("", '[{"core": {"lanes": 3}}]', '[{"core": {"wheels": 3}}]', '[{"wheel": {}}]', "[{}]", "[]")
    for text in ("", "{}", *(f'{{"name": "x", "tiles": {each}}}' for each in tiles)):
        with pytest.raises(ValueError, match=r"^fabric.json must come from a build, with name and tiles \("):
            fabric_from_json(text)


@pytest.mark.parametrize("name", FABRICS)
def test_a_fabric_file_holds_all_of_a_fabric(name):
    assert fabric_from_json(fabric_to_json(FABRICS[name])) == FABRICS[name]


def test_a_fabric_file_holds_tiles_of_each_kind():
    core = CoreParameters(lanes=2, neurons=32, weight_words=512)
    fabric = FabricConfig(
        tiles=(
            None,
            core,
            dataclasses.replace(core, v_width=20),
            AttentionTileParameters(attention=AttentionParameters(tokens=8, heads=2)),
            AerTileParameters(direction=AerDirection.INPUT, depth=32),
        ),
        mesh=MeshParameters(columns=3, rows=2, queue_depth=4, counters=True),
        readout=ReadoutParameters(),
    )
    assert fabric_from_json(fabric_to_json(fabric)) == fabric


def test_a_board_can_be_given_another_fabric():
    board = dataclasses.replace(BOARDS["icebreaker"], fabric=FabricConfig())
    assert board.buildable_fabric() == FabricConfig()
    assert BOARDS["icebreaker"].buildable_fabric() is choose_fabric(DEVICES["iCE40UP5K"])


@pytest.fixture
def forget():
    """Clear the caches before and after estimates with other costs."""

    def clear():
        estimate_module._link.cache_clear()
        choose_module._general_fabric.cache_clear()

    clear()
    yield
    clear()


def test_a_link_that_takes_more_leaves_less(monkeypatch, forget):
    """The cost of the link counts, and so affects the general fabric of a board."""
    device = DEVICES["iCE40HX8K"]
    uart = choose_fabric(device)
    big = tuple(
        dataclasses.replace(m, link=LinkKind.USB, lut=m.lut + 1000, ram=m.ram + 40)
        for m in measured_cores()
        if m.link is LinkKind.UART
    )
    more = (*(m for m in measured_cores() if m.link is not LinkKind.USB), *big)
    monkeypatch.setattr(estimate_module, "measured_cores", lambda: more)
    estimated = [estimate(uart.core, device, link=link) for link in (LinkKind.UART, LinkKind.USB)]
    assert estimated[1].ram == estimated[0].ram + 40
    assert estimated[1].lut > estimated[0].lut + 900
    assert shortages(uart.core, device, link=LinkKind.USB)
    board = dataclasses.replace(BOARDS["ulx3s-85f"], link_kind=LinkKind.USB)
    usb = board.buildable_fabric()
    assert usb is choose_fabric(board.device, link=LinkKind.USB, filled=True)
    assert not shortages(usb.core, board.device, link=LinkKind.USB)
    assert usb.synapses < BOARDS["ulx3s-85f"].buildable_fabric().synapses
    with pytest.raises(ValueError, match=r"^link must be one of UART, UDP, USB, whose cost is known, not SIMULATION$"):
        choose_fabric(board.device, link=LinkKind.SIMULATION)


@pytest.mark.parametrize(
    ("device", "neurons", "rows", "block_rams"),
    [
        ("LFE5U-85F", 8192, 10_000, 143),
        # The most neurons, and the most rows, in powers of two.
        ("LFE5U-12F", 4096, 2048, 55),
        ("LFE5U-12F", 2048, 8192, 51),
    ],
)
def test_the_largest_cores_that_stream_their_weights(device, neurons, rows, block_rams):
    """Block RAM is the limit, with 16-bit membranes and a threshold, a bias and a leak of each neuron."""
    core = CoreParameters(
        **(WITHOUT_FEATURES | {"bias": True}),
        lanes=4,
        neurons=neurons,
        axons=rows,
        weight_words=1 << 23,
        weight_memory="sdram",
        per_neuron=frozenset({"threshold", "bias", "leak_factor"}),
        v_width=16,
        accumulator_width=24,
    )
    assert shortages(core, DEVICES[device], link=LinkKind.UART) == ()
    assert estimate(core, DEVICES[device]).ram == block_rams
    if device == "LFE5U-12F":
        for more in ({"neurons": 2 * neurons}, {"axons": 3 * rows // 2}):
            (lack,) = shortages(dataclasses.replace(core, **more), DEVICES[device], link=LinkKind.UART)
            assert lack.resource == "block RAMs"
