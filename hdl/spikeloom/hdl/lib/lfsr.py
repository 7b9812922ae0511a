"""Linear feedback shift registers, equal to `spikeloom.sim.lib.lfsr` in every state, and many words from one register.

Several steps per cycle are computed by unrolling the recurrence. Up to the smallest tap each new bit is one XOR of old
bits; beyond it some inputs are new bits themselves, and the path grows by one XOR per length of that tap.

`SharedWords` implements `spikeloom.sim.lib.lfsr.shared_words`: pairwise independent words for many comparators. Each
bit of the product of ``a`` and a constant is a parity of bits of ``a``, and all constants together use only
``2**m - 1`` different parities. These are computed once; then each bit of each word takes one XOR.
"""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.tech.ecp5_carry import register_copies
from spikeloom.sim.lib.lfsr import FIELDS, Lfsr, field_product

__all__ = ["SharedWords", "ShiftRegister", "advanced"]


def advanced(m: Module, state: Value, taps: tuple[int, ...], steps: int) -> Value:
    """The state of a shift register ``steps`` steps after ``state``, at most its width. Adds the new bits to ``m``."""
    bits = [state[bit] for bit in reversed(range(len(state)))]  # oldest first, new ones are appended
    for step in range(steps):
        new = Signal(name=f"new_{step}")
        # Counted from the end: tap t is the bit that was new t steps ago.
        parity = bits[-taps[0]]
        for tap in taps[1:]:
            parity = parity ^ bits[-tap]
        m.d.comb += new.eq(parity)
        bits.append(new)
    return Cat(reversed(bits[-len(state) :]))


class ShiftRegister(wiring.Component):
    """A shift register that starts at its seed, advances with ``enable`` and returns to the seed with ``restart``.

    Parameters
    ----------
    lfsr
        Width, taps and seed.
    steps
        Steps of the recurrence per cycle, from 1 to the width. A design that uses a word of ``w`` bits per cycle takes
        the low ``w`` bits of ``state`` and ``steps = w``.

    Members
    -------
    enable : Signal, in
        Advance at the end of this cycle.
    restart : Signal, in
        Return to the seed; overrides ``enable``.
    seed : Signal(lfsr.width), in
        The seed, by default that of ``lfsr``. It must not be 0.
    state : Signal(lfsr.width), out
        The register; equal to the seed of ``lfsr`` after a reset.
    """

    def __init__(self, lfsr: Lfsr, *, steps: int = 1) -> None:
        if not isinstance(lfsr, Lfsr):
            raise TypeError(f"lfsr must be an Lfsr, not {lfsr!r}")
        if not isinstance(steps, int) or not 1 <= steps <= lfsr.width:
            raise ValueError(f"steps must be an integer from 1 to {lfsr.width}, not {steps!r}")
        self.lfsr = lfsr
        self.steps = steps
        super().__init__(
            {
                "enable": In(1),
                "restart": In(1),
                "seed": In(lfsr.width, init=lfsr.seed),
                "state": Out(lfsr.width, init=lfsr.seed),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        with m.If(self.restart):
            m.d.sync += self.state.eq(self.seed)
        with m.Elif(self.enable):
            m.d.sync += self.state.eq(advanced(m, self.state, self.lfsr.taps, self.steps))
        return m


class SharedWords(wiring.Component):
    """Derives the words of ``count`` streams from one word, equal to `spikeloom.sim.lib.lfsr.shared_words`.

    Parameters
    ----------
    width
        Bits ``m`` of the field: the input has ``2 * width`` bits, and there are at most ``2**width`` streams.
    used
        Number of low bits of each stream's word that are output.
    count
        Streams computed in parallel, a power of two.
    groups
        Number of groups of ``count`` streams, a power of two. ``group`` selects the streams ``group * count`` to
        ``group * count + count - 1``.

    Members
    -------
    word : Signal(2 * width), in
    group : Signal(range(groups)), in
        Sampled in each cycle.
    words : Signal(used * count), out
        ``count`` words of ``used`` bits, that of the first stream in the lowest bits, two cycles later.
    """

    latency = 2

    def __init__(self, *, width: int, used: int, count: int, groups: int = 1) -> None:
        if width not in FIELDS:
            raise ValueError(f"width must be an integer from {min(FIELDS)} to {max(FIELDS)}, not {width!r}")
        if not isinstance(used, int) or not 1 <= used <= width:
            raise ValueError(f"used must be an integer from 1 to {width}, not {used!r}")
        for name, value in (("count", count), ("groups", groups)):
            if not isinstance(value, int) or value < 1 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value!r}")
        if count * groups > 1 << width:
            raise ValueError(f"count * groups must be at most {1 << width}, not {count * groups}")
        self.width, self.used, self.count, self.groups = width, used, count, groups
        super().__init__({"word": In(2 * width), "group": In(range(groups)), "words": Out(used * count)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low, high = self.word[: self.width], self.word[self.width :]

        def of_high(stream: int, bit: int) -> int:
            """The bits of ``high`` whose parity is the ``bit`` of its product with ``stream``."""
            products = field_product([1 << place for place in range(self.width)], stream, self.width)
            return sum((int(product) >> bit & 1) << place for place, product in enumerate(products))

        def parity(mask: int) -> Value:
            return Cat(high[place] for place in range(self.width) if mask >> place & 1).xor()

        # The product is linear over GF(2), and a stream's number is the sum of its group (high bits) and its position
        # in the group (low bits). The group's part is common to all streams and is computed once, as `base`.
        base = Signal(self.used)
        parts = []
        for bit in range(self.used):
            part: Value = low[bit]
            for place in range(len(self.group)):
                part = part ^ (self.group[place] & parity(of_high(self.count << place, bit)))
            parts.append(part)
        m.d.comb += base.eq(Cat(parts))
        # All streams use the base, so a register per eight of them limits its fan-out.
        bases = register_copies(m, platform, base, max(1, self.count // 8))
        parities = {
            mask: Signal(name=f"parity_{mask}", reset_less=True)
            for mask in sorted({of_high(stream, bit) for stream in range(1, self.count) for bit in range(self.used)})
        }
        m.d.sync += [register.eq(parity(mask)) for mask, register in parities.items()]
        words = Signal(self.used * self.count, reset_less=True)
        for stream in range(self.count):
            for bit in range(self.used):
                # Stream 0 of a group is the base itself, since its position contributes nothing.
                own = bases[stream * len(bases) // self.count][bit]
                if stream:
                    own = own ^ parities[of_high(stream, bit)]
                m.d.sync += words[stream * self.used + bit].eq(own)
        m.d.comb += self.words.eq(words)
        return m
