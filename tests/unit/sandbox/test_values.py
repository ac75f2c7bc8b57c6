"""What people write on a command line: what it means, and that nothing else than a SpecError comes of it."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine import signals
from cloche.errors import ClocheError, ConflictError, NotFoundError, SpecError
from cloche.sandbox import values

if TYPE_CHECKING:
    from collections.abc import Callable

K, M, G = 1 << 10, 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512", 512),
        (512, 512),
        ("0", 0),
        ("64m", 64 * M),
        ("64M", 64 * M),
        ("64mb", 64 * M),
        ("64MiB", 64 * M),
        (" 2g ", 2 * G),
        ("1.5g", 3 * G // 2),
        ("1k", K),
        ("10b", 10),
        ("1t", 1 << 40),
        ("1p", 1 << 50),
        ("-1", -1),
        (-1, -1),
        (2**53 + 1, 2**53 + 1),
    ],
)
def test_sizes(text: str | int, expected: int) -> None:
    assert values.size(text, "--memory") == expected


@pytest.mark.parametrize(
    "text", ["", "m", "12x", "1 g", "1_000", "g1", "nan", "inf", "-inf", "1e400", "9e18k", "0x10", True, 1.5, None, [1]]
)
def test_no_sizes(text: Any) -> None:
    with pytest.raises(SpecError, match="--memory") as caught:
        values.size(text, "--memory")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", 10),
        (10, 10),
        (1.5, 1.5),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("1d", 86400),
        ("0", 0),
    ],
)
def test_durations(text: str | float, expected: float) -> None:
    assert values.duration(text, "--timeout") == expected


@pytest.mark.parametrize(
    "text", ["", " ", "-1", -1, "s", "1.2.3s", "1x", "5m3", "1e3", "nan", float("nan"), float("inf"), "1" * 400, "."]
)
def test_no_durations(text: str | float) -> None:
    with pytest.raises(SpecError, match="--timeout"):
        values.duration(text, "--timeout")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("0-3", True),
        ("0,2", True),
        ("1", True),
        ("3-1", False),
        ("", False),
        ("a", False),
        ("1-", False),
        ("0,,1", False),
    ],
)
def test_lists_of_processors(text: str, good: bool) -> None:
    if good:
        assert values.cpu_list(text, "--cpuset-cpus") == text
    else:
        with pytest.raises(SpecError):
            values.cpu_list(text, "--cpuset-cpus")


def test_volumes() -> None:
    volume = values.volume("./data/../y:/in:ro,rslave,bind", "/base")
    assert volume == values.Volume("/base/y", "/in", True, False, "rslave")
    assert values.volume("/a:/b", "/base") == values.Volume("/a", "/b")
    assert values.volume("..:/b:rw,z", "/base/here").source == "/base"


@pytest.mark.parametrize(
    "text",
    [
        *["", ":", "a", "/a:", ":/b", "/a:b", "/a:/../b", "/a:/", "/a:/.", "/a:/b:ro:x", "/a:/b:loud"],
        *["/a://", "/a:/b:U"],
    ],
)
def test_no_volumes(text: str) -> None:
    with pytest.raises(SpecError):
        values.volume(text, "/")


@pytest.mark.parametrize("options", ["ro,rw", "rw,z,ro", "bind,rbind", "rslave,rprivate", "z,Z"])
def test_volumes_that_contradict_themselves(options: str) -> None:
    with pytest.raises(ConflictError, match="contradicts"):
        values.volume(f"/a:/b:{options}", "/")


def test_a_deleted_directory_is_missed_only_by_relative_paths() -> None:
    assert values.volume("/a:/b", "").source == "/a"
    with pytest.raises(NotFoundError, match=r"'\./a' starts at the current directory"):
        values.volume("./a:/b", "")


def test_mount_words() -> None:
    words = values.mount_words("type=bind,src=/a,dst=/b,ro")
    assert words == {"type": "bind", "source": "/a", "target": "/b", "readonly": "true"}


@pytest.mark.parametrize("text", ["", "type=bind", "dst=/a,loud=1", "dst=a", "target=/", "dst=/a/../.."])
def test_no_mount_words(text: str) -> None:
    with pytest.raises(SpecError):
        values.mount_words(text)


@pytest.mark.parametrize(
    "text",
    [
        "type=tmpfs,dst=/a,src=/b",
        "type=tmpfs,dst=/a,bind-propagation=rslave",
        "type=bind,src=/a,dst=/b,tmpfs-size=1m",
        "type=bind,src=/a,dst=/b,ro,readonly=false",
    ],
)
def test_mount_words_that_contradict_each_other(text: str) -> None:
    with pytest.raises(ConflictError):
        values.mount_words(text)


@pytest.mark.parametrize("text", ["", "8", "rwx", "0o700", "77777", "-1", "²"])
def test_no_modes(text: str) -> None:
    assert values.octal_mode("01777", "mode") == "01777"
    with pytest.raises(SpecError):
        values.octal_mode(text, "mode")


def test_rlimits() -> None:
    assert values.rlimit("nofile=10:20") == {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}
    assert values.rlimit("core=0") == {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    assert values.rlimit("cpu=-1") == values.rlimit("cpu=unlimited:-1")


@pytest.mark.parametrize(
    "text", ["", "nofile", "nofile=", "nope=1", "nofile=2:1", "nofile=unlimited:5", "nofile=x", "nofile=1:2:3"]
)
def test_no_rlimits(text: str) -> None:
    with pytest.raises(SpecError, match="--ulimit"):
        values.rlimit(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("15", 15), (15, 15), ("CLD", 17), ("SIGIOT", 6)],
        *[("RTMIN", 34), ("RTMIN+3", 37), ("SIGRTMIN+30", 64), ("RTMAX", 64), ("SIGRTMAX-14", 50)],
    ],
)
def test_signals(text: str | int, number: int) -> None:
    assert signals.signal_number(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", 0, "SIG0", "65", True, "NOPE", "RTMIN+31", "RTMIN+", "RTMIN-1", "RTMAX+1", "RTMAX-31", "-9", "SIG", "²"],
)
def test_no_signals(text: str | int) -> None:
    with pytest.raises(SpecError):
        signals.signal_number(text)


def test_every_name_of_a_signal_is_the_kernels() -> None:
    import signal

    known = {s.name: int(s) for s in signal.Signals if int(s) < 32 and s.name not in {"SIGCLD", "SIGPOLL"}}
    assert {signals.signal_name(number): number for number in range(1, 32)} == {**known, "SIGSTKFLT": 16}


PARSERS: dict[str, Callable[[Any], object]] = {
    "size": lambda text: values.size(text, "x"),
    "positive_size": lambda text: values.positive_size(text, "x"),
    "duration": lambda text: values.duration(text, "x"),
    "whole": lambda text: values.whole(text, "x", 0, 100),
    "processors": values.processors,
    "cpu_list": lambda text: values.cpu_list(text, "x"),
    "volume": lambda text: values.volume(text, os.sep),
    "mount_words": values.mount_words,
    "rlimit": values.rlimit,
    "key_value": lambda text: values.key_value(text, "x"),
    "signal_number": signals.signal_number,
}
written = (
    st.text()
    | st.text("0123456789.,:-+kmgbie/=_ ²٣\0", max_size=12)
    | st.sampled_from(
        ["nan", "inf", "-inf", "1e999", "0" * 5000, "9" * 5000, "٣", "²", "1_0", "RTMIN+²", "RTMIN+" + "9" * 5000]
    )
)


@pytest.mark.parametrize("name", PARSERS)
@given(text=written)
def test_whatever_is_written_it_is_a_value_or_an_error_of_ours(name: str, text: str) -> None:
    try:
        PARSERS[name](text)
    except ClocheError:
        return


@given(st.integers(0, 2**62))
def test_a_number_of_bytes_is_itself(number: int) -> None:
    assert values.size(number, "x") == number


@given(st.integers(0, 2**53))
def test_a_number_of_bytes_as_text_is_the_same(number: int) -> None:
    assert values.size(str(number), "x") == values.size(number, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/in", values.Volume("", "/in")),
        ("data:/in", values.Volume("", "/in", name="data")),
        ("data:/in:ro,nocopy", values.Volume("", "/in", True, name="data", copy=False)),
        ("data.x:/in:z", values.Volume("", "/in", name="data.x")),
        (".data:/in", values.Volume("/base/.data", "/in")),
        ("~/data:/in", values.Volume("/base/~/data", "/in")),
        ("a/b:/in", values.Volume("", "/in", name="a/b")),  # no name, as is said when it is looked for
    ],
)
def test_what_is_a_path_and_what_a_name(text: str, expected: values.Volume) -> None:
    assert values.volume(text, "/base") == expected


@pytest.mark.parametrize("option", ["rslave", "private", "bind"])
def test_what_means_nothing_for_a_volume(option: str) -> None:
    with pytest.raises(ConflictError):
        values.volume(f"data:/in:{option}", "/")


@given(st.lists(st.text(), min_size=1))
def test_fields_are_read_as_they_are_written(fields: list[str]) -> None:
    assert values.fields(",".join(map(values.quoted, fields))) == fields


@given(st.text('a",', min_size=1, max_size=12))
def test_fields_are_those_of_csv(text: str) -> None:
    try:
        found = values.fields(text)
    except SpecError:
        return
    assert found == next(csv.reader([text], strict=True))


def test_what_is_given_repeatedly() -> None:
    words = values.mount_words('type=volume,dst=/a,volume-label=a=b,"volume-label=c,d",volume-opt=type=tmpfs')
    assert values.repeated(words, "volume-label") == ["a=b", "c,d"]
    assert values.repeated(words, "volume-opt") == ["type=tmpfs"]
    assert values.repeated(words, "source") == []
