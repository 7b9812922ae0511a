"""All register maps together, and the page generated from them."""

from pathlib import Path

from spikeloom.sim.core.registers import CORE
from spikeloom.sim.fabric.register_maps import REGISTER_MAPS, register_map, to_markdown
from spikeloom.sim.host.registers import BRIDGE

PAGE = Path(__file__).parents[3] / "docs" / "registers.md"


def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == to_markdown(), (
        "python -m spikeloom.sim.fabric.register_maps > docs/registers.md"
    )


def test_page_names_everything():
    for of_kind in REGISTER_MAPS:
        for item in (*of_kind.registers, *of_kind.memories):
            assert f"| `{item.name}` |" in of_kind.to_markdown()


def test_the_maps_of_tiles():
    assert [register_map(tile) for tile in (0, 1, 2, 63)] == [BRIDGE, CORE, CORE, CORE]
