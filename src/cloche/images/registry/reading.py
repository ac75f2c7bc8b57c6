"""Answers that are read whole: documents, tokens, errors. They are small, or they are none."""

from __future__ import annotations

from cloche.errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

PART = 1 << 16


def read_whole(answer: BaseHTTPResponse, limit: int, what: str) -> bytes:
    """The body of an answer. Raises RegistryError for one that breaks off, or has more than `limit` bytes."""
    from urllib3.exceptions import HTTPError

    try:
        content = _read(answer, limit)
    except HTTPError as error:
        answer.close()
        raise RegistryError(f"{what} broke off: {error}") from None
    if len(content) > limit:
        answer.close()
        raise RegistryError(f"{what} is longer than {limit} bytes")
    answer.release_conn()
    return content


def read_start(answer: BaseHTTPResponse, limit: int) -> bytes:
    """The first bytes of an answer, `limit` at most; nothing of one that breaks off."""
    from urllib3.exceptions import HTTPError

    try:
        return _read(answer, limit)[:limit]
    except HTTPError:
        return b""
    finally:
        answer.close()


def _read(answer: BaseHTTPResponse, limit: int) -> bytes:
    """The body, or more than `limit` bytes of it."""
    content = b""
    while len(content) <= limit and (part := answer.read(PART)):
        content += part
    return content
