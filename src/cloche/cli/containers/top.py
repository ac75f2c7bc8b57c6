"""`cloche top`: the processes of a container, as `docker top` shows them, and by podman's descriptors.

No ps(1) is run: what it would be asked is read from the same words, and what it would know from /proc.
"""

from __future__ import annotations

import sys

from cloche.cli.output import plain, width
from cloche.engine import containers
from cloche.engine.events import tell
from cloche.engine.processes import COLUMNS, SAME, machine, pids_in, read_process
from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed

    Wanted = list[tuple[str, str]]  # (heading, key in COLUMNS)

LEAST, APART = 20, 3  # docker's columns
FULL = "user pid ppid c stime tty time cmd"
PLAIN = "pid tty time comm"
BSD = "pid tty stat bsdtime args"
BSD_USER = "user pid pcpu pmem vsz rss tty stat start bsdtime args"
# podman's descriptors that mean something else than ps(1)'s words: within, and h… without
PODMAN = {"pid": "nspid", "hpid": "pid", "huser": "user", "hgroup": "group", "args": "args", "etime": "etime"}
PODMAN |= {name: name for name in "capamb capbnd capeff capinh capprm comm nice pcpu pgid ppid rss seccomp".split()}
PODMAN |= {name: name for name in "stime time tty vsz state".split()}
PODMAN |= {name: f"ns{name}" for name in "user group ruser rgroup".split()}
HINT = "-ef, aux, ax, -o LIST, -eo LIST, or descriptors such as: pid hpid user comm args capeff seccomp"


def top(parsed: Parsed) -> int:
    """Carry out the verb."""
    word, *words = parsed.positionals
    wanted = columns_of(words)
    container = containers.running(word)
    on = machine(container)
    found = (read_process(pid) for pid in pids_in(container))
    rows = [[COLUMNS[key][1](process, on) for _, key in wanted] for process in found if process is not None]
    tell(container, "top")
    sys.stdout.write(table([[heading for heading, _ in wanted], *rows]))
    return 0


def columns_of(words: list[str]) -> Wanted:
    """Which columns these options of ps(1), or podman's descriptors, ask for. Raises SpecError."""
    if not words:
        return _of_full()
    descriptors = [part for word in words for part in word.split(",")]
    if all(part in PODMAN for part in descriptors):
        return [(_heading(part), SAME.get(PODMAN[part], PODMAN[part])) for part in descriptors]
    letters, listed = _read(words)
    if listed:
        return listed
    if "f" in letters:
        return _of_full()
    if "u" in letters:
        return _of(BSD_USER)
    return _of(BSD if "x" in letters else PLAIN)


def _of_full() -> Wanted:
    heading, *rest = _of(FULL)
    return [("UID", heading[1]), *rest]


def _of(keys: str) -> Wanted:
    return [("CMD" if keys == PLAIN and key == "comm" else COLUMNS[key][0], key) for key in keys.split()]


def _heading(descriptor: str) -> str:
    if descriptor in {"hpid", "huser", "hgroup"}:
        return descriptor.upper()
    return "PID" if descriptor == "pid" else COLUMNS[SAME.get(descriptor, descriptor)][0]


def _read(words: list[str]) -> tuple[set[str], Wanted]:
    """The letters of the options, and the columns listed."""
    letters: set[str] = set()
    listed: Wanted = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word.partition("=")[0] == "--format" and word != "--format":
            listed += _listed(word.partition("=")[2])
            continue
        if word == "--format":
            word = "-o"
        bare = word.removeprefix("-")
        if not bare or bare.startswith("-"):
            raise _unknown(word)
        for at, letter in enumerate(bare):
            if letter in {"o", "O"}:
                if letter == "O":
                    raise _unknown(word)
                text = bare[at + 1 :] or (waiting.pop(0) if waiting else "")
                if not text:
                    raise SpecError(f"top: {word} needs a list", hint="such as -o pid,user,args")
                listed += _listed(text)
                break
            if letter not in "efAaxuw":
                raise _unknown(word)
            letters.add(letter)
    return letters, listed


def _listed(text: str) -> Wanted:
    """KEY,KEY=HEADING: a heading takes the rest, as ps(1) has it."""
    found: Wanted = []
    items = text.replace(" ", ",").split(",") if "=" not in text else _with_headings(text)
    for item in filter(None, items):
        name, equals, heading = item.partition("=")
        key = SAME.get(name, name)
        if key not in COLUMNS:
            raise SpecError(f"top: {name!r} is not a column", hint=", ".join(COLUMNS))
        shown = "CMD" if name in {"cmd", "ucmd"} else COLUMNS[key][0]
        found.append((heading if equals else "S" if name == "state" else shown, key))
    return found


def _with_headings(text: str) -> list[str]:
    head, equals, heading = text.partition("=")
    *before, last = head.split(",")
    return [*before, f"{last}{equals}{heading}"]


def _unknown(word: str) -> SpecError:
    return SpecError(f"top: {word!r} is not known here", hint=HINT)


def table(rows: list[list[str]]) -> str:
    """The cells as docker lays them out: each column at least as wide as 20 letters, and 3 apart."""
    shown = [[plain(cell) for cell in row] for row in rows]
    widths = [max(LEAST, APART + max(width(row[at]) for row in shown)) for at in range(len(rows[0]))]
    lines = []
    for row in shown:
        cells = [cell + " " * (size - width(cell)) for cell, size in zip(row[:-1], widths, strict=False)]
        lines.append("".join(cells) + row[-1] + "\n")
    return "".join(lines)
