"""`cloche stats`: what containers use, once or again every second."""

from __future__ import annotations

import os
import sys
import time

from cloche.cli.format import render
from cloche.cli.output import plain
from cloche.engine import containers
from cloche.engine.stats import NOTHING, Sample, sample, shown, uncounted, use
from cloche.errors import NotFoundError
from cloche.linux import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container

    Row = dict[str, str]

SHORT, PAUSE = 12, 1.0
# console_codes(4): ED and CUP, EL, CUP, ED
CLEAR, CLEAR_LINE, HOME, CLEAR_REST = "\x1b[2J\x1b[H", "\x1b[2K", "\x1b[H", "\x1b[J"
COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
HEADINGS = {
    "BlockIO": "BLOCK I/O",
    "CPUPerc": "CPU %",
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "MemPerc": "MEM %",
    "MemUsage": "MEM USAGE / LIMIT",
    "Name": "NAME",
    "NetIO": "NET I/O",
    "PIDs": "PIDS",
}


def stats(parsed: Parsed) -> int:
    """Carry out the verb."""
    watch = Watch(parsed.positionals, everything=parsed.flag("all"), full=parsed.flag("no_trunc"))
    form = parsed.text("format") or ""
    render([], COLUMNS, HEADINGS, form)  # one that is wrong is told before anything is waited for
    watch.look()
    if parsed.flag("no_stream"):
        time.sleep(PAUSE)  # the use of processors is seen over a time
        sys.stdout.write(render(watch.look(), COLUMNS, HEADINGS, form))
        watch.complain()
        return 0
    watch.complain()
    with _screen() as screen:
        while True:
            time.sleep(PAUSE)
            rows = watch.look()
            if not rows and parsed.positionals:
                return 0  # those that were asked for are gone
            screen.show(render(rows, COLUMNS, HEADINGS, form))


class Watch:
    """The containers that are looked at, and what they had used the last time."""

    def __init__(self, words: list[str], *, everything: bool, full: bool) -> None:
        self.words, self.everything, self.full = words, everything, full
        self.before: dict[str, Sample] = {}
        self.lacking: dict[str, tuple[str, ...]] = {}  # by name
        self.known = [(word, containers.find(word).id) for word in words]

    def look(self) -> list[Row]:
        """Sample each, and say what it has used since the last time."""
        rows, now = [], {}
        for word, container in self._there():
            taken = now[container.id] = sample(container)
            name = container.name or container.id[:SHORT]
            before = self.before.get(container.id)
            percent = use(taken, before) if container.running else 0.0
            shown_id = container.id if self.full else container.id[:SHORT]
            rows.append(shown(name, shown_id, word or shown_id, taken, percent))
            if lacking := uncounted(taken):
                self.lacking[name] = tuple(lacking)
        self.before = now
        return rows

    def _there(self) -> Iterator[tuple[str, Container]]:
        if not self.words:
            yield from (("", container) for container in containers.every(self.everything))
            return
        for word, container_id in self.known:
            try:
                yield word, containers.find(container_id)
            except NotFoundError:
                continue  # removed meanwhile

    def complain(self) -> None:
        """Say what cannot be counted."""
        for lacking in dict.fromkeys(self.lacking.values()):
            names = [plain(name) for name, its in self.lacking.items() if its == lacking]
            have = "has" if len(names) == 1 else "have"
            what = f"no control group that counts {' and '.join(lacking)}, which is shown as {NOTHING}"
            sys.stderr.write(f"cloche: {', '.join(names)} {have} {what}\n")


class _Plain:
    """Tables one after the other, for a file or another program."""

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, text: str) -> None:
        """One more."""
        sys.stdout.write(text)
        sys.stdout.flush()


class _Live:
    """One table that changes, on a terminal: from its top, as docker draws it, and no more than there is room for."""

    def __enter__(self) -> _Live:
        sys.stdout.write(CLEAR)
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, text: str) -> None:
        """Show this in place of the last."""
        rows, columns = terminal.new_size()
        lines = [f"{CLEAR_LINE}{line[:columns]}\n" for line in text.splitlines()[: rows - 1]]
        sys.stdout.write(f"{HOME}{''.join(lines)}{CLEAR_REST}")
        sys.stdout.flush()


def _screen() -> AbstractContextManager[_Plain | _Live]:
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    return _Plain() if dumb or not sys.stdout.isatty() else _Live()
