"""The code of ``docs/programming.md``, run unchanged: two neurons programmed by hand, on the RTL."""

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "programming.md"


def run(text):
    """Run the code of the page; return its variables and its output."""
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    variables, printed = {"__name__": "programming"}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), variables)
    return variables, printed.getvalue()


def test_the_page_runs_and_prints_what_it_says():
    text = PAGE.read_text()
    variables, printed = run(text)
    expected = "".join(re.findall(r"^```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert printed == expected
    fired = [axon for _, axon in variables["spikes"]]
    assert {2, 3} == set(fired)
    assert len(fired) < 2 * len(variables["inputs"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0x12]", "0x02]"),  # a's row without its delay
        ("0xEC00]", "0x1400]"),  # its weight positive
        ("[0x64]", "[0x60]"),  # no leak
        ("0x001E0032]", "0x00320032]"),  # the other threshold
    ],
)
def test_a_wrong_word_is_seen(old, new):
    text = PAGE.read_text()
    assert text.count(old) == 1
    with pytest.raises(AssertionError):
        run(text.replace(old, new))


def test_the_words_are_those_of_the_layouts():
    variables, _ = run(PAGE.read_text().split("## Loading")[0])
    core, words = variables["core"], variables["words"]

    def packed(layout, lanes=1, **values):
        bits = layout.bits(values, lanes).reshape(-1)
        return int(sum(int(bit) << place for place, bit in enumerate(bits)))

    assert words[2][1] == [packed(core.row_layout, weight_address=w, delay=w == 2) for w in range(3)]
    assert words[3][1] == [packed(core.neuron_layout, 2, threshold=[50, 30])]
    assert words[4][1] == [
        packed(core.route_layout, send=1, local=local, axon=axon) for local, axon in ((1, 2), (0, 3))
    ]
    assert words[5][1] == [packed(core.population_layout, leak_factor=1, reset=2, spiking=1)]
    assert {memory.number: memory.planes for memory in core.memories.values()} == {
        number: planes for number, (planes, _) in words.items()
    }
