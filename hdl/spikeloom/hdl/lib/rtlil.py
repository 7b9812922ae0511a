"""Convert a design to RTLIL, with a text that depends on the design alone.

Clock domains that a design uses without defining them become inputs. Amaranth 0.5 iterates over a set of their names,
so that the order of these inputs depends on ``PYTHONHASHSEED`` as soon as there are two of them. Hashes of netlists and
names of cached simulations would then differ from one process to the next.
"""

from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Fragment, Value

# Not public, but the version of Amaranth is pinned.
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

__all__ = ["to_rtlil"]


def to_rtlil(design: wiring.Component, *, name: str = "top", platform: Any = None) -> str:
    """Return ``design`` as the module ``name`` in RTLIL, without source positions.

    Its ports are the members of the design, then clock and reset of each domain that it does not define, in the order
    of the names of the domains.
    """
    ports = []
    for path, member, value in design.signature.flatten(design):
        direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
        ports.append(("__".join(map(str, path)), Value.cast(value), direction))
    domains: list[ClockDomain] = []

    def missing_domain(name: str) -> ClockDomain:
        domains.append(ClockDomain(name))
        return domains[-1]

    fragment = Fragment.get(design, platform)
    prepared = fragment.prepare(ports, hierarchy=(name,), missing_domain=missing_domain)
    if len(domains) > 1:
        # The fragment defines all of them now, so they can be listed as ports like any other.
        domains.sort(key=lambda domain: domain.name)
        clocks = [(None, signal, PortDirection.Input) for domain in domains for signal in (domain.clk, domain.rst)]
        prepared = fragment.prepare([*ports, *clocks], hierarchy=(name,), propagate_domains=False)
    # Source positions contain paths, and change whenever a line is inserted above.
    text, _ = rtlil.convert_fragment(prepared, name=name, emit_src=False)
    return str(text)
