"""What the driver expects of a link and of a program, and the error that it raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikeloom.sim.host.link import Identity
from spikeloom.sim.lib.contents import MemoryWords

__all__ = ["ByteLink", "DriverError", "LoadableProgram", "Progress"]


Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""


class DriverError(RuntimeError):
    """The board is not the one that is needed, or does not do what it must. The message is one sentence."""


class ByteLink(Protocol):
    """Two reliable byte streams, as :class:`spikeloom.host.endpoint.Endpoint` provides them."""

    def open(self) -> Identity:
        """Begin a session: the board forgets all but its program, and identifies itself."""
        ...

    def send(self, data: bytes) -> None:
        """Send ``data``, taking in meanwhile what comes; `LinkError` when the board takes none of it for too long."""
        ...

    def receive(self, minimum: int = 1, *, timeout_s: float | None = None) -> bytes:
        """All that has come, when it is at least ``minimum`` bytes; `LinkError` if that takes too long."""
        ...

    def poll(self) -> bytes:
        """All that has come, without waiting."""
        ...


class LoadableProgram(Protocol):
    """What the driver needs of a :class:`spikeloom.compiler.program.Program`."""

    @property
    def memories(self) -> Sequence[MemoryWords]: ...
    @property
    def registers(self) -> Sequence[tuple[int, str, int]]: ...
    @property
    def input_axons(self) -> NDArray[np.int64]: ...
    @property
    def observed(self) -> Sequence[tuple[str, int]]: ...
    @property
    def output_axons(self) -> NDArray[np.int64]: ...
    @property
    def membranes(self) -> bool: ...
    @property
    def graded(self) -> Sequence[str]: ...
