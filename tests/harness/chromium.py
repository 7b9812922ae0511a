"""A page in headless Chromium, controlled over a DevTools pipe: its requests, errors and output."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from spikeloom.simulators.debian import find_program

__all__ = ["Page", "find_chromium"]

_PATIENCE_S = 60
_MESSAGES = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def find_chromium() -> str | None:
    """The path of the browser, or None if there is none."""
    return find_program("chromium")


class Page:
    """``path`` opened in a browser of its own; ``requests`` are all requested addresses, ``errors`` the reported
    errors."""

    def __init__(self, path: Path, *, width: int = 1100, dark: bool = False) -> None:
        self.requests: list[str] = []
        self.errors: list[dict[str, Any]] = []
        self._events: list[str] = []
        self._number = 0
        self._session: str | None = None
        self._rest = b""
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        low_read, self._write = os.pipe()
        self._read, low_write = os.pipe()
        # Chromium expects its pipe at descriptors 3 and 4; the ends are first moved away from these, then there in one
        # step.
        read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (low_read, low_write))
        command = [str(find_chromium()), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += ["--remote-debugging-pipe", "--no-first-run", f"--user-data-dir={self._folder.name}", "about:blank"]
        move = f'exec 3<&{read} 4>&{write} {read}<&- {write}>&-; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", move, "bash", *command], pass_fds=(read, write), stderr=subprocess.DEVNULL
        )
        for end in (low_read, low_write, read, write):
            os.close(end)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Page.navigate", url=path.resolve().as_uri())
        self._wait_for("Page.loadEventFired")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._folder.cleanup()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page."""
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """A picture of the whole page, as PNG."""
        said = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(said["data"]))

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._take()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _wait_for(self, event: str) -> None:
        while event not in self._events:
            self._take()

    def _take(self) -> dict[str, Any]:
        """The next message; events before it are recorded."""
        end = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._read, 1 << 16) if ready else b""
            if not piece:
                raise TimeoutError(f"Chromium must answer within {_PATIENCE_S} s")
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        method = message.get("method", "")
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        elif method in _MESSAGES:
            self.errors.append(message["params"])
        return message
