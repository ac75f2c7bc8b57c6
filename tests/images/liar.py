"""A registry that tells the truth unless it is told to lie: an image of one layer, and ways to answer differently."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    Reply = Callable[["Handler"], None]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def tar_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Handler(BaseHTTPRequestHandler):
    """One request; what it is answered is decided by the liar."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        liar: Liar = self.server.liar  # type: ignore[attr-defined]
        liar.asked.append((self.path, dict(self.headers)))
        reply = liar.replies.get(self.path.partition("?")[0]) or liar.replies.get("*")
        if reply is not None:
            reply(self)
        else:
            liar.answer(self)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def body(self) -> bytes:
        """What was sent."""
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def give(self, status: int, content: bytes = b"", **headers: str) -> None:
        """An answer as it should be."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silence."""


class Liar:
    """The server; a context manager. `replies` are answers by path, `asked` what it was asked."""

    def __init__(self, *, layer: bytes | None = None, config: dict[str, Any] | None = None) -> None:
        tar = tar_of(file=b"content" * 5000)
        self.layer = gzip.compress(tar, mtime=0) if layer is None else layer
        made = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]},
            "config": {"Cmd": ["/file"]},
        }
        self.config = json.dumps({**made, **(config or {})}).encode()
        self.document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(self.config), "size": len(self.config)},
            "layers": [{"mediaType": LAYER, "digest": digest_of(self.layer), "size": len(self.layer)}],
        }
        self.replies: dict[str, Reply] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.liar = self  # type: ignore[attr-defined]
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.name = f"{self.host}/app:1"

    @property
    def manifest(self) -> bytes:
        return json.dumps(self.document).encode()

    @property
    def layer_path(self) -> str:
        return f"/v2/app/blobs/{self.document['layers'][0]['digest']}"

    def answer(self, request: Handler) -> None:
        """Answer honestly."""
        request.give(*self.truth(request.path))

    def truth(self, path: str) -> tuple[int, bytes]:
        """The honest answer."""
        kinds = {digest_of(self.layer): self.layer, digest_of(self.config): self.config}
        if path.startswith("/v2/app/manifests/"):
            return 200, self.manifest
        content = kinds.get(path.rpartition("/")[2])
        return (200, content) if content is not None else (404, b"{}")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
