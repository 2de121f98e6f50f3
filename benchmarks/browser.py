"""A headless Chromium that is told what to do over its DevTools protocol, with the network away.

Needs Chromium and the small websocket-client; nothing else of a browser's automation is used.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

from edgekit.errors import MissingError

NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S = 30.0
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")


def executable() -> str:
    """Chromium's path; MissingError where there is none."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        raise MissingError("no Chromium is installed; on Debian: apt install chromium")
    return found


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """A browser with one empty page; it and its profile are gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [executable(), *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            with contextlib.closing(_connect(process)) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            process.wait(10)


def _connect(process: subprocess.Popen[str]) -> Any:
    """The socket of the first page, whose port the browser tells on stderr."""
    assert process.stderr is not None
    line = next((line for line in process.stderr if "DevTools listening" in line), "")
    if not line:
        raise MissingError("Chromium did not start")
    port = line.rsplit(":", 1)[1].split("/")[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=_PATIENCE_S) as answer:
        targets = json.load(answer)
    url = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
    return websocket.create_connection(url, timeout=_PATIENCE_S, suppress_origin=True)


class Browser:
    """One page. `complaints` has what the page logged or threw, `requests` the addresses that it asked for."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._last = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        away = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.call("Network.emulateNetworkConditions", **away)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; what else the browser says meanwhile is kept."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"])[:500])
        elif method == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(item.get("value")) for item in told["args"]))

    def look(self, width: int = 1280, height: int = 900, dark: bool = False, paper: bool = False) -> None:
        """Sets the window, the colours and whether it is paper."""
        mobile = width < 500
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if mobile else 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])

    def open(self, path: Path) -> float:
        """Opens a file and waits until its chart is drawn; milliseconds from the first byte to that, by the page."""
        self.complaints.clear()
        self.requests.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait(
            "document.readyState === 'complete' && window.edgekitPage && (window.edgekitDrawn || !window.vegaEmbed)"
        )
        return float(self.run("window.edgekitDrawn || performance.now()"))

    def wait(self, condition: str) -> None:
        """Until a condition holds; TimeoutError says which one did not."""
        until = time.monotonic() + _PATIENCE_S
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > until:
                raise TimeoutError(f"the page never came to {condition}; it said {self.complaints}")
            time.sleep(0.02)

    def run(self, expression: str) -> Any:
        """The value of an expression in the page; RuntimeError if it throws."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {json.dumps(answer['exceptionDetails'])[:500]}")
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """A key, down and up."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> None:
        """What the window shows, as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def pdf(self) -> bytes:
        """The page as it would be printed."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])
