"""Simulation models of the ECP5 cells at double data rate, as `spikeloom.hdl.host.rgmii` uses them."""

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Mux, Signal, Value

from spikeloom.hdl.host import rgmii

__all__ = ["simulated_cells"]


def simulated_cells(monkeypatch) -> dict[str, int]:
    """Let `Rgmii` be simulated from now on; the result has the steps of each DELAYG, by the name of its output."""
    steps: dict[str, int] = {}

    def cell(kind: str, **given: Any) -> Elaboratable:
        if kind == "DELAYG":
            assert given["p_DEL_MODE"] == "USER_DEFINED"
            steps[given["o_Z"].name if isinstance(given["o_Z"], Signal) else "bit"] = given["p_DEL_VALUE"]
        return _Cell(kind, given)

    monkeypatch.setattr(rgmii, "Instance", cell)
    return steps


class _Cell(Elaboratable):
    """An instance with its ports as Amaranth's ``Instance`` takes them. All are in the domain ``ethernet``."""

    def __init__(self, kind: str, given: dict[str, Any]) -> None:
        self._kind, self._given = kind, given

    def elaborate(self, platform: object) -> Module:
        m = Module()
        given = self._given
        if self._kind == "DELAYG":
            m.d.comb += given["o_Z"].eq(given["i_A"])
            return m
        assert isinstance(given["i_SCLK"], ClockSignal)
        assert Value.cast(given["i_RST"]).value == 0
        if self._kind == "ODDRX1F":
            # Both bits are taken at the rising edge; the second one follows half a cycle later.
            first, second = Signal(), Signal()
            m.d.ethernet += [first.eq(given["i_D0"]), second.eq(given["i_D1"])]
            m.d.comb += given["o_Q"].eq(Mux(ClockSignal("ethernet"), first, second))
            return m
        assert self._kind == "IDDRX1F"
        # The bits of both edges appear together, at the next rising edge.
        falling = ClockDomain("falling", clk_edge="neg", local=True, reset_less=True)
        m.domains += falling
        first, second = Signal(), Signal()
        m.d.comb += falling.clk.eq(ClockSignal("ethernet"))
        m.d.ethernet += [first.eq(given["i_D"]), given["o_Q0"].eq(first), given["o_Q1"].eq(second)]
        m.d.falling += second.eq(given["i_D"])
        return m
