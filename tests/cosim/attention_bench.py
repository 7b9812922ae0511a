"""cocotb bench of the attention unit in Verilog: streams with pauses, and every word of A compared with the model."""

import json
import os
import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly
from harness.attention import expected_words, input_words, random_attention

from spikeloom.sim.attention.attention import AttentionParameters, register_seeds

PARAMETERS = AttentionParameters(**json.loads(os.environ["SHAPE"]))


async def offer(unit, name: str, words: list[int], idle: float, rng: random.Random) -> None:
    """Offer each word until it is taken, with a pause before some."""
    valid, payload, ready = (getattr(unit, f"{name}__{part}") for part in ("valid", "payload", "ready"))
    for word in words:
        while rng.random() < idle:
            await FallingEdge(unit.clk)
        payload.value = word
        valid.value = 1
        taken = False
        while not taken:
            await ReadOnly()
            taken = bool(ready.value)
            await FallingEdge(unit.clk)
        valid.value = 0


async def take(unit, count: int, stall: float, rng: random.Random) -> list[int]:
    """Take the given number of words of A."""
    words: list[int] = []
    while len(words) < count:
        unit.o__ready.value = rng.random() >= stall
        await ReadOnly()
        if unit.o__valid.value and unit.o__ready.value:
            words.append(int(unit.o__payload.value))
        await FallingEdge(unit.clk)
    unit.o__ready.value = 0
    return words


@cocotb.test()
@cocotb.parametrize(causal=[False, True], pauses=[(0.0, 0.0), (0.4, 0.2), (0.1, 0.7)])
async def test_every_sample(unit, causal: bool, pauses: tuple[float, float]) -> None:
    """Two samples of three steps: all words are equal, and none follow."""
    seed = int(causal) * 10 + int(10 * pauses[0])
    rng = np.random.default_rng(seed)
    q, k, v = random_attention(rng, PARAMETERS, 6)
    words, outputs = expected_words(PARAMETERS, q, k, v, samples=2, seed=seed, causal=causal)
    assert 0 < outputs.sum() < outputs.size
    for name in "qkv":
        getattr(unit, f"{name}__valid").value = 0
    unit.o__ready.value = 0
    unit.steps.value = 3
    unit.causal.value = causal
    unit.score_seed.value, unit.output_seed.value = register_seeds(seed)
    unit.rst.value = 1
    Clock(unit.clk, 10, "ns").start()
    await ClockCycles(unit.clk, 3)
    await FallingEdge(unit.clk)
    unit.rst.value = 0
    for name, some in zip("qkv", input_words(q, k, v), strict=True):
        cocotb.start_soon(offer(unit, name, some, pauses[0], random.Random(f"{seed}{name}")))
    assert await take(unit, len(words), pauses[1], random.Random(seed)) == words
    for _ in range(100):
        await FallingEdge(unit.clk)
        assert not unit.o__valid.value
