"""A second opinion on the timing of the SDRAM controller: LiteDRAM's checker at the pins, with LiteDRAM's own numbers.

The checker compares a command with the last explicit one of its bank: tRCD, tRAS and tWR before the precharge of a
refresh, tRP, tRFC, the distances of READs and WRITEs, and tRRD of all banks. Auto precharge, tRC with a READ between,
and the refresh interval are left to our model of the chip: the checker's test of the interval reports chips that are
refreshed more often than needed (LiteDRAM 2024.12).
"""

import contextlib
import dataclasses
import io
import warnings

import pytest
from harness.networks import rng_of
from harness.sdram import MICROSECOND, Request, SdramRun, quick, random_requests, run_controller

from spikeloom.sim.sdram.chips import BOARDS
from spikeloom.sim.sdram.commands import SdramCommand
from spikeloom.sim.sdram.parameters import SdramParameters

with warnings.catch_warnings():  # of Python, about the texts of these packages
    warnings.simplefilter("ignore")
    from litedram import modules
    from litedram.phy import model
    from litedram.phy.dfi import Interface
    from migen import Display, run_simulation

CLOCK_HZ = 110_000_000
CHIPS = {
    "AS4C16M16": "ulx3s",
    "IS42S16160": "ulx3s",
    "MT48LC16M16": "ulx3s",
    "W9825G6KH6": "icepi-zero",
    "M12L16161A": "colorlight-5a75b",
}
"""LiteDRAM's name of a chip, and a board whose chips are among those that the controller is built for."""


def display(text, *arguments):
    """Migen's simulator prints signals only, so the numbers of banks are put into the text."""
    numbers = [argument for argument in arguments if isinstance(argument, int)]
    for number in numbers:
        text = text.replace("%0d", str(number), 1)
    return Display(text, *(argument for argument in arguments if not isinstance(argument, int)))


def violations(run: SdramRun, name: str, parameters: SdramParameters, monkeypatch) -> set[str]:
    """The rules that the checker finds broken in the commands of ``run``, for LiteDRAM's chip ``name``."""
    monkeypatch.setattr(model, "Display", display)
    chip = getattr(modules, name)(CLOCK_HZ, "1:1")
    timings = {rule: chip.get(rule) for rule in modules._technology_timings + modules._speedgrade_timings}
    dfi = Interface(13, parameters.chip.bank_bits, 1, parameters.chip.width)
    checker = model.DFITimingsChecker(
        dfi,
        nbanks=1 << parameters.chip.bank_bits,
        nphases=1,
        timings={"tCK": 1e9 / CLOCK_HZ} | timings,
        refresh_mode=None,
        memtype="SDR",
    )
    commands, phase = dict(run.commands), dfi.p0

    def pins():
        for cycle in range(run.cycles):
            sent = commands.get(cycle)
            levels = int(SdramCommand.NOP if sent is None else sent.command)
            for bit, pin in enumerate((phase.we_n, phase.cas_n, phase.ras_n, phase.cs_n)):
                yield pin.eq(levels >> bit & 1)
            if sent is not None:
                yield phase.bank.eq(sent.bank)
                yield phase.address.eq(sent.address)
            yield

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        run_simulation(checker, pins())
    found = (line.split("] ")[1].split(" violation")[0] for line in shown.getvalue().splitlines())
    return set(found) - {"tREFI"}


def traffic(rng, parameters: SdramParameters) -> SdramRun:
    """Random requests with pauses, a refresh every microsecond."""
    requests: list[Request] = random_requests(rng, parameters, 40)
    run = run_controller(parameters, requests, rng, idle=0.1, stall=0.1)
    counts = run.device.counts
    assert counts[SdramCommand.REFRESH] > 10
    assert min(counts[SdramCommand.READ], counts[SdramCommand.WRITE]) > 50
    return run


@pytest.mark.parametrize("name", CHIPS)
def test_the_checker_of_litedram_finds_nothing(request, monkeypatch, name):
    board = CHIPS[name]
    chip = quick(BOARDS[board], refresh_interval=MICROSECOND)
    parameters = SdramParameters(chip=chip, clock_hz=CLOCK_HZ, masks=board != "colorlight-5a75b")
    assert violations(traffic(rng_of(request.node.name), parameters), name, parameters, monkeypatch) == set()


def test_the_checker_finds_a_controller_that_is_too_fast(request, monkeypatch):
    """For a chip with shorter times, the commands are too early for the real one."""
    fast = {"rcd": 1_000, "rp": 1_000, "ras": 10_000, "rc": 20_000, "rfc": 20_000, "rrd": 1_000, "wr": 1_000}
    chip = quick(BOARDS["ulx3s"], refresh_interval=MICROSECOND)
    parameters = SdramParameters(chip=dataclasses.replace(chip, **fast), clock_hz=CLOCK_HZ)
    found = violations(traffic(rng_of(request.node.name), parameters), "IS42S16160", parameters, monkeypatch)
    assert found >= {"ACT->RD", "ACT->WR", "PRE->REF", "REF->ACT"}
