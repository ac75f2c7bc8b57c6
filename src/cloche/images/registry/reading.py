"""Answers that are read whole: documents, tokens, errors. They are small, or they are none."""

from __future__ import annotations

import time

from cloche.errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

PART = 1 << 16
PATIENCE = 300.0  # seconds for one of them as a whole, which may come byte by byte


def read_whole(answer: BaseHTTPResponse, limit: int, what: str) -> bytes:
    """The body of an answer.

    Raises RegistryError for one that breaks off, has more than `limit` bytes, or takes longer than PATIENCE.
    """
    from urllib3.exceptions import HTTPError

    try:
        content = _read(answer, limit)
    except HTTPError as error:
        answer.close()
        raise RegistryError(f"{what} broke off: {error}") from None
    except TimeoutError:
        answer.close()
        raise RegistryError(f"{what} has not arrived in {PATIENCE:g} seconds", hint="try again later") from None
    if len(content) > limit:
        answer.close()
        raise RegistryError(f"{what} is longer than {limit} bytes")
    answer.release_conn()
    return content


def read_start(answer: BaseHTTPResponse, limit: int) -> bytes:
    """The first bytes of an answer, `limit` at most; nothing of one that breaks off, or never ends."""
    from urllib3.exceptions import HTTPError

    try:
        return _read(answer, limit)[:limit]
    except (HTTPError, TimeoutError):
        return b""
    finally:
        answer.close()


def _read(answer: BaseHTTPResponse, limit: int) -> bytes:
    """The body, or more than `limit` bytes of it. Raises TimeoutError, HTTPError."""
    end = time.monotonic() + PATIENCE
    content = bytearray()
    while len(content) <= limit and (part := answer.read1(PART)):
        content += part
        if time.monotonic() > end:
            raise TimeoutError
    return bytes(content)
