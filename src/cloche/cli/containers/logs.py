"""`cloche logs`: what containers have said, to where they have said it."""

from __future__ import annotations

import sys

from cloche.cli.output import plain
from cloche.cli.times import time_of
from cloche.engine import saying
from cloche.engine.containers import find, settled
from cloche.engine.logs.records import Clock
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container
    from cloche.engine.logs.records import Record

MUCH = 1 << 16  # bytes that are written at once


def logs(parsed: Parsed) -> int:
    """Carry out `logs`."""
    containers = [settled(find(word)) for word in parsed.positionals]
    since, until = (time_of(text) if (text := parsed.text(name)) else None for name in ("since", "until"))
    if since is not None and until is not None and since > until:
        raise SpecError("--since is after --until", hint="--since is the earlier one")
    said = saying.said(
        containers, since_ns=since, until_ns=until, tail=_lines(parsed.text("tail")), follow=parsed.flag("follow")
    )
    _show(said, _Prefix(parsed, containers))
    return 0


def _lines(text: str | None) -> int | None:
    """How many lines --tail means, None for all of them."""
    if text is None or text == "all":
        return None
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise SpecError(f"--tail {text!r} is not a number of lines", hint="such as 10, or all")
    return None if text.startswith("-") else int(text)


class _Prefix:
    """What each line begins with."""

    def __init__(self, parsed: Parsed, containers: list[Container]) -> None:
        self._times, self._details = parsed.flag("timestamps"), parsed.flag("details")
        names = [plain(each.name) if parsed.flag("names") else each.id[:12] for each in containers]
        self._names = [f"{name} ".encode() for name in names] if len(names) > 1 or parsed.flag("names") else []
        self.needed = bool(self._times or self._details or self._names)
        self._clock = Clock()

    def of(self, index: int, record: Record) -> bytes:
        """The words before a line of a record."""
        words = self._names[index] if self._names else b""
        if self._times:
            words += self._clock.spell(record.time_ns) + b" "
        if self._details:
            from urllib.parse import quote_plus

            pairs = sorted(record.attributes.items())
            words += ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode() + b" "
        return words


def _show(records: Iterable[tuple[int, Record | None]], prefix: _Prefix) -> None:
    """Write records to where they were said, in their order."""
    out, stream, size = [b""], "", 0
    unfinished: set[tuple[int, str]] = set()
    for index, record in records:
        if record is None or size > MUCH or record.stream != stream:
            _write(stream, out)
            out, size = [], 0
            if record is None:
                continue
            stream = record.stream
        text = record.text
        if prefix.needed:
            key = index, stream
            text = _with_prefix(text, prefix.of(index, record), goes_on=key in unfinished)
            (unfinished.discard if text.endswith(b"\n") else unfinished.add)(key)
        out.append(text)
        size += len(text)
    _write(stream, out)


def _with_prefix(text: bytes, words: bytes, *, goes_on: bool) -> bytes:
    """A text whose lines begin with some words; where it goes on with a line, that has them already."""
    ends = text.endswith(b"\n")
    body = (text[:-1] if ends else text).replace(b"\n", b"\n" + words)
    return (b"" if goes_on else words) + body + (b"\n" if ends else b"")


def _write(stream: str, texts: list[bytes]) -> None:
    target = sys.stderr if stream == "stderr" else sys.stdout
    if any(texts):
        target.buffer.write(b"".join(texts))
        target.buffer.flush()
