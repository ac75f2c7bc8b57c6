"""Tokens, manifests and errors of a registry that breaks off in the middle of them, or never gets to their end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cloche.errors import ForbiddenError, RegistryError
from cloche.images.registry.client import Repository
from cloche.images.registry.transport import Transport, Trust
from tests.images.liar import Liar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.images.liar import Handler

HTTP = "http:" + "//"


def at(liar: Liar) -> Repository:
    return Repository(Transport(Trust(verify=False)), f"{HTTP}{liar.host}", "app")


def short(request: Handler, status: int = 200) -> None:
    """Fewer bytes than were promised."""
    request.send_response(status)
    request.send_header("Content-Length", "500")
    request.end_headers()
    request.wfile.write(b'{"tok')
    request.close_connection = True


def torn(request: Handler) -> None:
    """In parts, of which one has no length."""
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b'5\r\n{"tok\r\nzz\r\n')
    request.close_connection = True


@pytest.mark.parametrize("reply", [short, torn])
def test_a_token_that_breaks_off(reply: Callable[[Handler], None]) -> None:
    with Liar() as liar:
        challenge = f'Bearer realm="{HTTP}{liar.host}/token",service="x"'
        liar.replies["*"] = lambda request: request.give(401, WWW_Authenticate=challenge)
        liar.replies["/token"] = reply
        with pytest.raises(RegistryError, match=f"the token of {liar.host} broke off"):
            at(liar).manifest("1")


def test_an_error_that_breaks_off() -> None:
    with Liar() as liar:
        liar.replies["*"] = lambda request: short(request, 403)
        with pytest.raises(ForbiddenError, match=r"does not let us have [^:]*:\d+/app:1$"):
            at(liar).manifest("1")


class Trickle:
    """An answer a byte at a time, in good time for each; how much of it was sent."""

    def __init__(self, content: bytes, status: int = 200) -> None:
        self.content, self.status, self.sent = content + b" " * 100, status, 0

    def __call__(self, request: Handler) -> None:
        request.send_response(self.status)
        request.send_header("Content-Length", str(len(self.content)))
        request.end_headers()
        try:
            for byte in self.content:
                self.sent += 1
                request.wfile.write(bytes([byte]))
                time.sleep(0.01)
        except OSError:
            request.close_connection = True


@pytest.mark.parametrize("what", ["the manifest", "the token", "the error"])
def test_one_that_never_ends(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.images.registry.reading.PATIENCE", 0.2)
    with Liar() as liar:
        expected: type[Exception] = RegistryError
        if what == "the manifest":
            liar.replies["*"] = trickle = Trickle(b"{}")
            late = f"{liar.name} has not arrived in 0.2 seconds"
        elif what == "the token":
            challenge = f'Bearer realm="{HTTP}{liar.host}/token",service="x"'
            liar.replies["*"] = lambda request: request.give(401, WWW_Authenticate=challenge)
            liar.replies["/token"] = trickle = Trickle(b'{"token": "x"}')
            late = f"the token of {liar.host} has not arrived in 0.2 seconds"
        else:
            liar.replies["*"] = trickle = Trickle(b'{"errors": [{"message": "slowly"}]}', 403)
            expected, late = ForbiddenError, f"does not let us have {liar.name}$"
        with pytest.raises(expected, match=late):
            at(liar).manifest("1")
        assert trickle.sent < len(trickle.content)
