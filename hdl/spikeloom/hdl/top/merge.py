"""Merge equal modules of a design in RTLIL, for simulation.

Amaranth writes one module per instance: a mesh of sixteen equal cores has sixteen copies of every module of a core.
Yosys and Verilator read and optimise each copy, which takes longer than compiling the resulting C++. Here the copies
become instances of one module, which gives the same C++, for sixteen small cores in a quarter of the time. Names of
instances, memories and signals do not change, nor does any path to a memory; only the names of modules and of unnamed
ports do.
"""

import re

__all__ = ["merge_modules"]

_START = re.compile(r"^(?=attribute |module )", re.MULTILINE)
_NAME = re.compile(r"^module (\S+)", re.MULTILINE)
# A port that stands for a part of a signal is named after a number of the whole netlist, different in each copy.
_UNNAMED = re.compile(r"\\port\$\d+\$\d+")
_DECLARATION = re.compile(r"^  wire width \d+ (?:input|output|inout) (\d+)  (\\port\$\d+\$\d+)$", re.MULTILINE)
_INSTANCE = re.compile(r"^  cell (\\\S+) (\S+)\n(.*?)^  end$", re.MULTILINE | re.DOTALL)
_CONNECTION = re.compile(r"^(    connect )(\S+)( .*)$", re.MULTILINE)


def merge_modules(text: str) -> str:
    """Return the RTLIL ``text`` of an Amaranth design with one module in place of each set of equal ones.

    Modules are equal if their texts are, after their unnamed ports are numbered in the order of their declaration and
    their instances refer to merged modules. The first of a set stays, under its own name.
    """
    modules: dict[str, str] = {}
    attributes = ""  # those of the next module, which they precede
    for part in _START.split(text):
        if found := _NAME.match(part):
            modules[found[1]] = attributes + part
            attributes = ""
        else:
            attributes += part
    ports = {
        name: {port: f"\\port${number}" for number, port in _DECLARATION.findall(module)}
        for name, module in modules.items()
    }
    merged: dict[str, str] = {}  # name of each module -> name of the one that stays
    kept: dict[str, str] = {}  # text without its name -> name of the module that stays
    written: dict[str, str] = {}

    def renamed(part: str, of: dict[str, str]) -> str:
        return _UNNAMED.sub(lambda found: of[found[0]], part)

    def merge(name: str) -> str:
        if name in merged:
            return merged[name]
        module, own, pieces, end = modules[name], ports[name], [], 0
        for instance in _INSTANCE.finditer(module):
            kind, label, body = instance.groups()
            if kind not in modules:  # a primitive, such as \$add
                continue
            pieces.append(renamed(module[end : instance.start()], own))
            end = instance.end()
            # The first name of a connection is a port of the instance, the rest signals of this module.
            theirs = ports[kind]
            connected = _CONNECTION.sub(
                lambda found, theirs=theirs: found[1] + theirs.get(found[2], found[2]) + renamed(found[3], own), body
            )
            pieces.append(f"  cell {merge(kind)} {label}\n{connected}  end")
        written[name] = "".join(pieces) + renamed(module[end:], own)
        merged[name] = kept.setdefault(_NAME.sub("module", written[name], count=1), name)
        return merged[name]

    for name in modules:
        merge(name)
    return "".join(written[name] for name in modules if merged[name] == name) + attributes
