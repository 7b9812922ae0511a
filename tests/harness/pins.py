"""Work at the pins of the simulated top. The process of the simulator imports it, so it cannot be in a test file."""

from __future__ import annotations

import time

from spikeloom.host.endpoint import Endpoint
from spikeloom.simulators.simulated_board import SimulatedTransport

SECONDS_PER_CYCLE = 10e-9
BITS = 10
"""Bits per byte on the line: start, eight data bits, stop."""


def timed(transport: SimulatedTransport, divisor: int, waits: list[float]) -> dict[str, list[float]]:
    """Cycles that pass while nothing is read for ``waits`` s, while the thread computes, and in blocking writes."""
    found: dict[str, list[float]] = {"waited": [], "read": [], "clock": []}
    for wait in waits:
        start, cycles = transport.now(), transport.cycles()
        found["read"].append(len(transport.read(wait)))
        found["waited"].append(transport.now() - start)
        found["clock"].append(transport.cycles() - cycles)
    start_cycles = transport.cycles()
    time.sleep(0.05)  # a computation of the host takes no simulated time
    found["computing"] = [transport.cycles() - start_cycles]
    found["writing"] = []
    for count in (1, 4096, 2000):
        start_cycles = transport.cycles()
        transport.write(bytes(count))
        found["writing"].append((transport.cycles() - start_cycles) / (divisor * BITS))
    return found


def opening(transport: SimulatedTransport, payload: int) -> tuple[float, int]:
    """Open a session; return the simulated seconds that it took and how often the board had to be queried again."""
    start = transport.now()
    with Endpoint(transport, maximum_payload=payload) as endpoint:
        endpoint.open()
        return transport.now() - start, endpoint.polls


def failing(transport: SimulatedTransport) -> None:
    """Raise inside the simulator."""
    raise ArithmeticError("the job has failed on purpose")
