"""Protocols of the link and of the program as the driver needs them, and the driver's exception."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.host.identity import Identity
from spikeloom.sim.lib.contents import MemoryWords

__all__ = ["ByteLink", "DriverError", "LoadableProgram", "Progress"]


Progress = Callable[[int, int], None]
"""Called with the amount done and the total."""


class DriverError(RuntimeError):
    """The board does not match, or does not follow the protocol. The message is one sentence."""


class ByteLink(Protocol):
    """Two reliable byte streams, as :class:`spikeloom.host.endpoint.Endpoint` provides them."""

    def open(self) -> Identity:
        """Begin a session: the board keeps only its program, and identifies itself."""
        ...

    def send(self, data: bytes) -> None:
        """Send ``data`` while receiving; raise `LinkError` if the board accepts nothing within the timeout."""
        ...

    def receive(self, minimum: int = 1, *, timeout_s: float | None = None) -> bytes:
        """Return all received bytes, once there are ``minimum``; raise `LinkError` on a timeout."""
        ...

    def poll(self) -> bytes:
        """Return all received bytes, without waiting."""
        ...


class LoadableProgram(Protocol):
    """The part of :class:`spikeloom.compiler.program.Program` that the driver uses."""

    # `Program` documents these members.

    @property
    def memories(self) -> Sequence[MemoryWords]: ...
    @property
    def registers(self) -> Sequence[tuple[int, str, int]]: ...
    @property
    def input_axons(self) -> NDArray[np.int64]: ...
    @property
    def input_value_width(self) -> int: ...
    @property
    def observed(self) -> Sequence[tuple[str, int]]: ...
    @property
    def output_axons(self) -> NDArray[np.int64]: ...
    @property
    def membranes(self) -> bool: ...
    @property
    def graded(self) -> Sequence[str]: ...
    @property
    def counted(self) -> Sequence[str]: ...
