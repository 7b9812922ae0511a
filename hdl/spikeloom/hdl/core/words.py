"""Words of weights on their way to the accumulators, and the target memory of sparse words.

::

    word ─┬───────────────▶ ┬──▶ listed
          └▶ target memory ─┘ if sparse

Every word is delayed by the latency of the target memory (two cycles, or three if it is deep), sparse or not, so
that one pipeline carries both kinds.
"""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.core.graded import value_shape
from spikeloom.hdl.lib.memory import LoadedMemory, LoadPort
from spikeloom.sim.core.parameters import CoreParameters
from spikeloom.sim.lib.words import bits_for

__all__ = ["TargetReader", "word_layout"]


def word_layout(parameters: CoreParameters) -> data.StructLayout:
    """A word to add: address of its weights, target accumulators and their ``bank``, value of the event.

    ``bank`` is the parity of the step to whose input the word is added, ``parity`` that of the step that waits for the
    word. If weights are streamed, the word contains them, and the address is not used; in a core with both kinds,
    ``streamed`` tells whether it does. If the core adds several words per cycle, ``others`` is the number of words that
    follow this one, at consecutive addresses, and are added with it.
    """
    return data.StructLayout(
        {
            "valid": 1,
            "weight_address": bits_for(parameters.weight_words),
            "target": bits_for(parameters.words),
            "bank": 1,
            "parity": 1,
            "value": value_shape(parameters),
            **({"others": range(parameters.words_per_cycle)} if parameters.words_per_cycle > 1 else {}),
            **({"weights": parameters.lanes * parameters.weight_width} if parameters.streamed else {}),
            **({"streamed": 1} if parameters.mixed else {}),
        }
    )


class TargetReader(wiring.Component):
    """Replaces the targets of sparse words by those of the target memory.

    Parameters
    ----------
    parameters
        Sizes and features of the core, which must be ``sparse``.

    Members
    -------
    word : word_layout(parameters), in
    sparse : Signal, in
        A word, and whether its row is sparse.
    listed : word_layout(parameters), out
        The word of ``latency`` cycles earlier, with its target.
    busy : Signal(2), out
        One bit per parity: a word of a step with this parity is in progress, ``listed`` included, ``word`` excluded.
    load : LoadPort, in
        Write port of the target memory for the host.
    """

    def __init__(self, parameters: CoreParameters) -> None:
        # Words never stall, so a deep memory may have a further register, which excludes an enable.
        self._targets = LoadedMemory(parameters.memories["targets"], pipelined=True, read_back=parameters.read_back)
        self.latency = self._targets.latency
        layout = word_layout(parameters)
        super().__init__(
            {
                "word": In(layout),
                "sparse": In(1),
                "listed": Out(layout),
                "busy": Out(2),
                "load": In(LoadPort(read_back=parameters.read_back)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.targets = targets = self._targets
        wiring.connect(m, wiring.flipped(self.load), targets.load)
        stages = [Signal(self.word.shape(), name=f"word_{number}") for number in range(self.latency)]
        sparse = Signal(self.latency)
        m.d.sync += [after.eq(before) for before, after in pairwise([self.word, *stages])]
        # One bit per stage, aligned with `stages`.
        m.d.sync += sparse.eq(Cat(self.sparse, sparse[:-1]))
        m.d.comb += [
            # The targets are stored at the addresses of their weights, so a sparse row needs no second pointer.
            targets.address.eq(self.word.weight_address),
            self.listed.eq(stages[-1]),
            self.listed.target.eq(Mux(sparse[-1], targets.data, stages[-1].target)),
        ]
        m.d.comb += [
            self.busy[number].eq(Cat(stage.valid & (stage.parity == number) for stage in stages).any())
            for number in range(2)
        ]
        return m
