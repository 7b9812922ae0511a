"""A program in the bitstream: the initial content of each tile, and the writes left to the host."""

from dataclasses import replace

from harness.aer_ports import network_of, placed
from harness.fabric import SMALL, mesh_of
from harness.networks import random_network, rng_of

from spikeloom.compiler.bake import bake
from spikeloom.compiler.place import place
from spikeloom.host.peripherals import with_units
from spikeloom.sim.aer.parameters import AerTileParameters
from spikeloom.sim.fabric.fabric import FabricConfig
from spikeloom.sim.lib.contents import NOTHING
from spikeloom.sim.lib.registers import BRIDGE_TILE


def test_ports_of_a_program_in_the_bitstream_wait_for_the_host(request):
    """A port takes events once its ``sources`` are written; it must not do so before a program is loaded."""
    program = placed(network_of(request.node.name))
    baked = bake(program)
    for tile in (2, 4):
        contents = baked.tiles_of(AerTileParameters)[tile].contents
        assert "sources" not in contents.registers
        assert "tick_destinations" in contents.registers
        (words,) = (image.words for image in program.memories if image.tile == tile)
        assert list(contents.memories[1]) == [int.from_bytes(word.tobytes(), "little") for word in words]
    assert all("sources" in core.contents.registers for core in baked.cores.values())


def test_every_word_and_register_is_held_once(request):
    rng = rng_of(request.node.name)
    program = place(random_network(rng, SMALL), mesh_of(2, 2), tiles=3)
    baked = bake(program)
    for image in program.memories:
        contents = baked.tile(image.tile).contents
        words = [int.from_bytes(word.tobytes(), "little") for word in image.words]
        assert list(contents.memories[image.memory]) == words
        assert baked.tile(image.tile).memories[image.name].words == tuple(words)
    held = [
        (tile, name, value)
        for tile in range(len(baked.tiles))
        for name, value in (baked if tile == BRIDGE_TILE else baked.tile(tile)).contents.registers.items()
    ]
    assert sorted(held) == sorted(program.registers)
    assert {tile for tile, _, _ in held} == {BRIDGE_TILE, *program.assignment.tiles}


def test_a_tile_without_a_part_holds_nothing(request):
    program = place(random_network(rng_of(request.node.name), SMALL), mesh_of(2, 2), tiles=1)
    baked = bake(program)
    (used,) = program.assignment.tiles
    for tile in {1, 2, 3} - {used}:
        assert (baked.tile(tile).contents.memories, baked.tile(tile).contents.registers) == ({}, {})


def test_the_fabric_stays_the_same_for_all_others(request):
    rng = rng_of(request.node.name)
    program = place(random_network(rng, SMALL), FabricConfig(core=SMALL))
    baked = bake(program)
    assert baked == program.fabric
    assert baked.core == program.fabric.core
    assert baked.program != 0
    assert program.fabric.program == 0
    assert place(random_network(rng, SMALL), FabricConfig(core=SMALL)).fabric.program == 0
    with_both = with_units(baked)
    assert (with_both.program, with_both.contents) == (baked.program, baked.contents)
    assert baked.on_mesh(2, 2).cores[1].contents is NOTHING


def test_programs_have_different_numbers(request):
    rng = rng_of(request.node.name)
    program, other = (place(random_network(rng, SMALL), FabricConfig(core=SMALL)) for _ in range(2))
    assert bake(program).program == bake(program).program != bake(other).program
    first = program.registers[0]
    changed = replace(program, registers=((*first[:2], first[2] + 1), *program.registers[1:]))
    assert bake(changed).program != bake(program).program
