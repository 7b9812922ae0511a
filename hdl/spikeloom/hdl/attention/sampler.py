"""Bernoulli sample of the number of common ones of two words: AND, count and comparison in one adder tree.

The sum of ``2**k - 1`` products consists of two sums of ``2**(k-1) - 1`` products and one further product, in ``k``
bits. Hence ``w - 1`` levels of adders count ``2**w - 1`` products, where each adder takes one product as its carry. The
last level adds the random word and the remaining product, and only its carry is used::

    level 2     p p p   p p p   p p p   p p p            AND and full adders; p is a product
                  \\__p__/         \\__p__/
    level 3        2 + 2 + 1       2 + 2 + 1             7 products each, 3 bits
                       \\_______p_______/
    level 4             3 + 3 bits + 1                   15 products, 4 bits
                               |
    last               4 bits + word + p  ──▶ carry      16 products: 1 if count + word >= 16

On ECP5 the carry cells absorb the AND, the carry input and the carry output
(`spikeloom.hdl.tech.ecp5_carry.ProductAdders`): 64 bits take 124 bits of carry cells, compared with about 190 lookup
tables for ANDs and 3:2 compressors. Two levels are computed per cycle.
"""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.tech.ecp5_carry import Product, ProductAdders

__all__ = ["AndSampler"]

REGISTERED_LEVELS = (3, 5, 7)
"""Levels that are followed by a register."""

CHAINED = 16
"""Maximum number of summands in one chain of carry cells."""


class AndSampler(wiring.Component):
    """Whether the number of common ones of two words plus a random word is at least ``2**w``; one result per cycle.

    Parameters
    ----------
    bits
        ``w``, the width of the random word; the words to count have ``2**w`` bits.

    Attributes
    ----------
    latency
        Cycles from ``left`` and ``right`` to ``sample``.

    Members
    -------
    left, right : Signal(1 << bits), in
        Words to count.
    word : Signal(bits), in
        The random word for the ``left`` and ``right`` of ``latency - 1`` cycles earlier.
    sample : Signal, out
        The sample.
    """

    def __init__(self, bits: int) -> None:
        if not isinstance(bits, int) or not 1 <= bits <= 8:
            raise ValueError(f"bits must be an integer from 1 to 8, not {bits!r}")
        self.bits = bits
        self.latency = 1 + sum(level <= bits for level in REGISTERED_LEVELS)
        super().__init__({"left": In(1 << bits), "right": In(1 << bits), "word": In(bits), "sample": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Summands and products are pairs of bits, whose AND is added.
        products: dict[int, Product] = {place: (self.left[place], self.right[place]) for place in range(1 << self.bits)}
        # Products at even places are the leaves of the tree. Those at odd places remain, one for the carry of each
        # adder, including that of the last level.
        numbers: list[list[Product]] = [[products.pop(place)] for place in range(0, 1 << self.bits, 2)]
        level = 1
        while level < self.bits:
            levels = range(level + 1, min([self.bits, *(end for end in REGISTERED_LEVELS if end > level)]) + 1)
            # One chain of carry cells can hold several adders, but long chains are slow and difficult to place.
            inputs = min(len(numbers), CHAINED)
            counted: list[Signal] = []
            for first in range(0, len(numbers), inputs):
                chain = ProductAdders(m, platform)
                found = numbers[first : first + inputs]
                sums: list[Signal] = []
                for number in levels:
                    scale = 1 << number - 1
                    start = first >> (number - 1 - level)
                    sums = [
                        chain.add(
                            list(zip(found[pair], found[pair + 1], strict=True)),
                            products.pop((start + pair + 1) * scale - 1),
                        )
                        for pair in range(0, len(found), 2)
                    ]
                    found = [[(bit, 1) for bit in total] for total in sums]
                chain.close()
                counted += sums
            level = levels[-1]
            if level in REGISTERED_LEVELS:
                counted = [_registered(m, total) for total in counted]
                for place, (left, right) in products.items():
                    # The products of later levels are delayed along with the sums. From here on the AND is one bit,
                    # times a constant 1.
                    products[place] = (_registered(m, Value.cast(left) & right), 1)
            numbers = [[(bit, 1) for bit in total] for total in counted]
        # The last level adds the count and the one product that no earlier level has used as its carry.
        (count,), (product,) = numbers, products.values()
        chain = ProductAdders(m, platform)
        total = chain.add([(bit, (word, 1)) for bit, word in zip(count, self.word, strict=True)], product)
        chain.close()
        m.d.sync += self.sample.eq(total[-1])
        return m


def _registered(m: Module, value: Value) -> Signal:
    register = Signal(len(value), reset_less=True)
    m.d.sync += register.eq(value)
    return register
