"""Which columns the options of ps(1), and podman's descriptors, ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.cli.containers.top import columns_of, table
from cloche.engine.processes import clock, elapsed, number_inside, started, terminal_name
from cloche.errors import SpecError

OTHERS = ((0x401, "tty1"), (0x440, "ttyS0"), (0x501, "console"))
FULL = "UID PID PPID C STIME TTY TIME CMD".split()


def headings(*words: str) -> list[str]:
    return [heading for heading, _ in columns_of(list(words))]


# as `docker top` of docker 28 has them
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), FULL),
        (("-ef",), FULL),
        (("-e", "-f"), FULL),
        (("aux",), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND".split()),
        (("-aux",), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND".split()),
        (("ax",), "PID TTY STAT TIME COMMAND".split()),
        (("-x",), "PID TTY STAT TIME COMMAND".split()),
        (("-e",), "PID TTY TIME CMD".split()),
        (("-A",), "PID TTY TIME CMD".split()),
        (("-o", "pid,cmd"), ["PID", "CMD"]),
        (("-opid,cmd",), ["PID", "CMD"]),
        (("-eo", "pid,user,args"), ["PID", "USER", "COMMAND"]),
        (("-o", "pid", "-o", "comm"), ["PID", "COMMAND"]),
        (("-o", "pid comm"), ["PID", "COMMAND"]),
        (("-o", "pid=Number"), ["Number"]),
        (("-o", "pid,user=Who, and what"), ["PID", "Who, and what"]),
        (("-o", "pid="), [""]),
        (("--format", "pid,%cpu"), ["PID", "%CPU"]),
        (("--format=pid",), ["PID"]),
        (("pid", "hpid", "user"), ["PID", "HPID", "USER"]),
        (("pid,capeff", "seccomp"), ["PID", "EFFECTIVE CAPS", "SECCOMP"]),
    ],
)
def test_columns(words: tuple[str, ...], expected: list[str]) -> None:
    assert headings(*words) == expected


@pytest.mark.parametrize(
    "words",
    [("-l",), ("-Z",), ("--sort", "rss"), ("-",), ("--",), ("-o",), ("-o", "nothing"), ("-O", "pid"), ("pid x",)],
)
def test_what_is_not_known_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="top: "):
        columns_of(list(words))


@given(st.lists(st.text(max_size=12), max_size=4))
def test_any_words_are_columns_or_refused(words: list[str]) -> None:
    try:
        assert columns_of(words)
    except SpecError:
        pass


def test_inside_and_outside_are_not_the_same() -> None:
    assert columns_of(["pid", "hpid"]) == [("PID", "nspid"), ("HPID", "pid")]
    assert columns_of(["user", "huser"]) == [("USER", "nsuser"), ("HUSER", "user")]


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "?"), (0x8800, "pts/0"), (0x8805, "pts/5"), (0x8900, "pts/256"), (0x108800, "pts/256"), *OTHERS],
)
def test_terminals(number: int, name: str) -> None:
    assert terminal_name(number) == name


def test_times() -> None:
    assert [clock(0), clock(3661), clock(90061)] == ["00:00:00", "01:01:01", "1-01:01:01"]
    assert [elapsed(5), elapsed(65), elapsed(3600)] == ["00:05", "01:05", "01:00:00"]
    noon = 1_700_000_000.0
    assert started(noon, noon).count(":") == 1
    assert started(noon - 3 * 86400, noon).isalnum()
    assert started(noon - 400 * 86400, noon).isdecimal()


def test_users_inside() -> None:
    maps = ((0, 100000, 1000), (1000, 5, 1))
    assert [number_inside(number, maps) for number in ("100000", "100007", "5", "6")] == ["root", "7", "1000", "?"]


def test_a_hostile_name_stays_in_its_cell() -> None:
    assert table([["PID", "CMD"], ["1", "a\nb\x1b[2J"]]) == f"PID{' ' * 17}CMD\n1{' ' * 19}a\\nb\\x1b[2J\n"
