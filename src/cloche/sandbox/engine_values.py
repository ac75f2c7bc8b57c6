"""What programs write times and filters as, and what the engine takes; and the record of a command that has ended."""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from cloche.engine.reason import Reason
    from cloche.runtime.receipt import Receipt

    Moment = float | datetime  # seconds since 1970, or a time with its zone
    Filters = Mapping[str, str | Sequence[str]]

SECOND = 10**9


@record
class Finished:
    """What came of a command in a container of an engine.

    exit_code   its own; 124 timed out, 126 not executable, 127 not found, 128+n killed by signal n; None where nobody
                has seen it, as when the supervisor and the stage were killed
    stdout      what it wrote, str or bytes as asked
    stderr      the same
    reason      what ended it (Reason); None for what `exec` has run
    receipt     every layer of isolation, enforced or not (Receipt); None for what `exec` has run
    """

    exit_code: int | None
    stdout: Any
    stderr: Any
    reason: Reason | None = None
    receipt: Receipt | None = None

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0


def finished(code: int | None, stdout: bytes, stderr: bytes, *, text: bool, **more: Any) -> Finished:
    """The record of it, with text where that was asked for: UTF-8, whose stray bytes are kept by surrogateescape."""
    if text:
        return Finished(code, _text(stdout), _text(stderr), **more)
    return Finished(code, stdout, stderr, **more)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def nanoseconds(moment: Moment | None) -> int | None:
    """A time in nanoseconds since 1970. Raises SpecError for one that has no zone, or is none."""
    if moment is None:
        return None
    if isinstance(moment, bool) or not (isinstance(moment, int | float) or hasattr(moment, "utcoffset")):
        raise SpecError(f"{moment!r} is no time", hint="seconds since 1970, or a datetime")
    if isinstance(moment, int | float):
        return moment * SECOND if isinstance(moment, int) else round(moment * SECOND)
    if moment.utcoffset() is None:
        raise SpecError(f"{moment!r} does not say in which zone it is", hint="datetime.now(timezone.utc)")
    return int(moment.replace(microsecond=0).timestamp()) * SECOND + moment.microsecond * 1000


def filter_texts(filters: Filters | None) -> list[str]:
    """{"label": ["a", "b=c"]} as label=a and label=b=c. Raises SpecError for a value that is neither str nor list."""
    found = []
    for key, value in (filters or {}).items():
        values = [value] if isinstance(value, str) else list(value)
        for text in values:
            if not isinstance(text, str):
                raise SpecError(f"the filter {key!r} has a value that is no str: {text!r}")
            found.append(f"{key}={text}")
    return found
