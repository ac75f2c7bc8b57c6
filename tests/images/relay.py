"""A proxy as companies have them: requests with whole addresses, and tunnels (RFC 9110, "CONNECT")."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        relay: Relay = self.server.relay  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        if not relay.admits(self):
            return
        relay.seen.append((self.command, parts.netloc))
        host, _, port = relay.target.partition(":")
        there = HTTPConnection(host, int(port), timeout=20)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        place = parts.path + (f"?{parts.query}" if parts.query else "")
        there.request(self.command, place, body, dict(self.headers))
        answer = there.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding", "content-length", "date", "server"}:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length", "") if self.command == "HEAD" else str(len(content))
        if length:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)
        there.close()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET

    def do_CONNECT(self) -> None:
        relay: Relay = self.server.relay  # type: ignore[attr-defined]
        if not relay.admits(self):
            return
        relay.seen.append((self.command, self.path))
        host, _, port = relay.target.partition(":")
        self.close_connection = True
        with socket.create_connection((host, int(port)), 20) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(there, self.connection), daemon=True)
            back.start()
            _pour(self.connection, there)
            back.join(5)

    def log_message(self, *_: object) -> None:
        """Silence."""


def _pour(source: socket.socket, sink: socket.socket) -> None:
    try:
        while part := source.recv(1 << 16):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them is gone, and so are we


class Relay:
    """The proxy; a context manager. It knows one `target`, whatever host is asked for; `seen` is what was.

    With a `password` (USER:PASSWORD) it admits nobody without.
    """

    def __init__(self, target: str, password: str = "") -> None:
        self.target = target
        self._wanted = f"Basic {b64encode(password.encode()).decode()}" if password else ""
        self.seen: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.relay = self  # type: ignore[attr-defined]
        self.host = f"127.0.0.1:{self._server.server_port}"

    def admits(self, request: BaseHTTPRequestHandler) -> bool:
        """Whether somebody may; says so if not."""
        if not self._wanted or request.headers.get("Proxy-Authorization") == self._wanted:
            return True
        request.send_response(407)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return False

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
