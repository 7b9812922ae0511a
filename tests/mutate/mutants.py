"""Mutants: a source with one small change, such as a slip of the programmer would make."""

from __future__ import annotations

import ast
import functools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

__all__ = ["FOLDERS", "ROOT", "Mutant", "draw", "mutants_of", "sources"]

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("hdl", "sim")

_COMPARISONS = {ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_OPERATIONS = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.BitXor: "|",
    ast.LShift: ">>",
    ast.RShift: "<<",
}
_BOOLEAN = {ast.And: "or", ast.Or: "and"}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A change: the characters ``start`` to ``stop`` of the text of ``path``, a path from the root, become ``new``."""

    path: str
    start: int
    stop: int
    new: str
    line: int
    was: str  #: the whole line, or its first part
    now: str  #: what is changed, and into what
    nth: int = 0  #: number of this mutant, from 0, among those of the module with the same ``was`` and ``now``

    @property
    def key(self) -> tuple[str, str, str, int]:
        """A key that stays the same if the line of the mutant moves."""
        return self.path, self.was, self.now, self.nth

    def applied(self, text: str) -> str:
        """The source with the change applied."""
        return text[: self.start] + self.new + text[self.stop :]


def sources() -> list[str]:
    """The modules that are mutated, as paths from the root."""
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in files if path.name != "__init__.py")


@functools.cache
def mutants_of(path: str, text: str) -> list[Mutant]:
    """Every mutant of a module's ``text``, in the order of the text."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    octets = [line.encode() for line in lines]

    def place(row: int, column: int) -> int:
        """The offset of a position from `ast`, whose columns count bytes."""
        return starts[row - 1] + len(octets[row - 1][:column].decode())

    def span(node: ast.AST) -> tuple[int, int]:
        return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    found = []
    for start, stop, new in _changes(ast.parse(text), text, span):
        line = text.count("\n", 0, start) + 1
        was = lines[line - 1].strip()
        now = f"{text[start:stop].strip()!r} becomes {new.strip()!r}"
        found.append(Mutant(path=path, start=start, stop=stop, new=new, line=line, was=was, now=now))
    found.sort(key=lambda mutant: (mutant.start, mutant.stop, mutant.new))
    same: Counter[tuple[str, str]] = Counter()
    for place, mutant in enumerate(found):
        found[place] = replace(mutant, nth=same[mutant.was, mutant.now])
        same[mutant.was, mutant.now] += 1
    return found


def _changes(tree: ast.Module, text: str, span) -> Iterator[tuple[int, int, str]]:
    ignored = _ignored(tree)
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
            yield from _operator(
                text, span(node.left)[1], span(node.comparators[0])[0], _COMPARISONS[type(node.ops[0])]
            )
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS and not _is_text(node):
            yield from _operator(text, span(node.left)[1], span(node.right)[0], _OPERATIONS[type(node.op)])
        elif isinstance(node, ast.BoolOp):
            yield from _operator(text, span(node.values[0])[1], span(node.values[1])[0], _BOOLEAN[type(node.op)])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
            start = span(node)[0]
            yield start, start + (1 if isinstance(node.op, ast.Invert) else 3), " "
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield *span(node), str(not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            yield *span(node), str(node.value + 1)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Mux":
            (start, middle), (last, stop) = span(node.args[1]), span(node.args[2])
            yield start, stop, text[last:stop] + text[middle:last] + text[start:middle]
        elif isinstance(node, ast.AugAssign) and not isinstance(node.value, ast.List):
            yield *span(node), "pass"
        elif isinstance(node, ast.AugAssign):  # a list of Amaranth statements: one of them is dropped
            for element in node.value.elts:
                if not isinstance(element, ast.Starred):
                    yield *span(element), "*()"


def _operator(text: str, start: int, stop: int, new: str) -> Iterator[tuple[int, int, str]]:
    """The operator between two operands, which may be in parentheses."""
    between = text[start:stop]
    old = between.strip().strip("()").strip()
    if old and "#" not in between and between.count(old) == 1:
        first = start + between.index(old)
        yield first, first + len(old), new


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(part, ast.JoinedStr) or _is_string(part) for part in (node.left, node.right))


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _ignored(tree: ast.Module) -> set[int]:
    """Nodes without an effect on what runs, or only on messages: annotations, messages, assertions, tables of names."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        # ``strict`` of `zip` is an assertion, too.
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr) or getattr(node, "arg", None) == "strict":
            roots.append(node)
        elif isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            # The fields of Amaranth's structs are shapes, which do have an effect.
            if isinstance(node, ast.arg) or node.value is not None:
                roots.append(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            roots.append(node.returns)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            roots.append(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
            # NumPy infers the size for any negative number, -2 as well as -1.
            roots += [size for size in node.args if isinstance(size, ast.UnaryOp)]
    return {id(inner) for root in roots for inner in ast.walk(root)}


def draw(seed: int, count: int) -> list[Mutant]:
    """Draw ``count`` mutants of all sources, each equally likely."""
    texts = {path: (ROOT / path).read_text() for path in sources()}
    everything = [mutant for path, text in texts.items() for mutant in mutants_of(path, text)]
    random.Random(seed).shuffle(everything)
    return list(islice((mutant for mutant in everything if _compiles(mutant, texts[mutant.path])), count))


def _compiles(mutant: Mutant, text: str) -> bool:
    """Whether the text is Python: an element of a list may be in parentheses, where it cannot be dropped."""
    try:
        ast.parse(mutant.applied(text))
    except SyntaxError:
        return False
    return True
