"""Real assets where EDGEKIT_ASSETS names them, and a real HTTP server that can be told to misbehave."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@pytest.fixture
def assets() -> Path:
    folder = os.environ.get("EDGEKIT_ASSETS")
    if not folder:
        pytest.skip("needs the real weights and images: set EDGEKIT_ASSETS to the folder that has them")
    return Path(folder)


@dataclass
class Server:
    """What to serve, how to fail, and what was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)  # one for each request, 200 when used up
    cuts: list[int] = field(default_factory=list)  # bytes after which each answer breaks off
    stall_after: int | None = None  # bytes after which answers wait for `go_on`
    go_on: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str]] = field(default_factory=list)  # path and Range header
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        state, wanted = self.state, self.headers.get("Range", "")
        state.requests.append((self.path, wanted))
        status = state.statuses.pop(0) if state.statuses else 200
        content = state.files.get(self.path)
        if status != 200 or content is None:
            self.send_error(status if status != 200 else 404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.send_body(content[start:])

    def send_body(self, body: bytes) -> None:
        state = self.state
        if state.cuts:
            self.wfile.write(body[: state.cuts.pop(0)])
            self.close_connection = True
        elif state.stall_after is not None:
            self.wfile.write(body[: state.stall_after])
            self.wfile.flush()
            state.go_on.wait(20)
            self.close_connection = True
        else:
            self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()
    handler = type("Bound", (Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.address = f"http://127.0.0.1:{http.server_port}"
        yield state
        state.go_on.set()
        http.shutdown()
        thread.join()
