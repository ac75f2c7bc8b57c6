"""Reading logs back: all of it, the end of it, and what is said while somebody reads."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.engine.logs import reading
from cloche.engine.logs.drivers import open_writer
from cloche.engine.logs.following import follow
from cloche.engine.logs.reading import NEVER, Log, merged
from cloche.engine.logs.writers import Facts

from .test_log_files import CHUNKS, ID, await_compression, records_of, write_all, writer_in

SECOND = 10**9


def read(folder: Path, tail: int | None = None, since_ns: int = 0, until_ns: int = NEVER) -> list[tuple[str, bytes]]:
    log = Log(str(folder), ID, since_ns=since_ns, until_ns=until_ns)
    if tail is not None:
        log.skip_to_tail(tail)
    found = [(record.stream, line) for record in log.records() for line in lines_of(record.text)]
    log.close()
    return found


def lines_of(text: bytes) -> list[bytes]:
    """The lines of what was said, each with its newline."""
    return [line for line in re.split(b"(?<=\n)", text) if line]


def tail_of(records: list[tuple[str, bytes]], lines: int) -> list[tuple[str, bytes]]:
    """What the last lines are, without looking from behind."""
    starts = [0] + [index + 1 for index, (_, text) in enumerate(records) if text.endswith(b"\n")]
    starts = [start for start in starts if start < len(records)]
    return records[starts[-lines] if len(starts) >= lines else 0 :] if lines else []


@settings(deadline=None)
@given(CHUNKS, st.integers(1, 50000), st.integers(1, 6), st.integers(0, 40))
def test_all_is_read_and_a_tail_is_the_end_of_it(
    chunks: list[tuple[str, bytes]], size: int, files: int, lines: int
) -> None:
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        write_all(writer_in(folder, max_size=str(size), max_file=str(files)), chunks)
        expected = [(record.stream, record.text) for record in records_of(folder)]
        assert read(folder) == expected
        assert read(folder, lines) == tail_of(expected, lines)


@pytest.mark.parametrize("lines", [0, 1, 2, 5, 59, 60, 61, 1000])
def test_a_tail_across_compressed_files(lines: int, tmp_path: Path) -> None:
    writer = writer_in(tmp_path, max_size="1k", max_file="100", compress="true")
    for index in range(60):
        write_all(writer, [("stdout", b"%d\n" % index), ("stderr", b"%d " % index), ("stdout", b"")])
        await_compression(tmp_path)
    write_all(writer, [("stderr", b"end")])
    expected = [(record.stream, record.text) for record in records_of(tmp_path)]
    assert len([path for path in tmp_path.iterdir() if path.suffix == ".gz"]) > 3
    assert read(tmp_path) == expected
    assert read(tmp_path, lines) == tail_of(expected, lines)


def test_a_tail_of_lines_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    for letter in (b"a", b"b", b"c"):
        write_all(writer, [("stdout", letter * 700000 + b"\n")])
    assert b"".join(text for _, text in read(tmp_path, 1)) == b"c" * 700000 + b"\n"
    assert b"".join(text for _, text in read(tmp_path, 2)) == b"b" * 700000 + b"\n" + b"c" * 700000 + b"\n"


def test_since_and_until(tmp_path: Path) -> None:
    writer = writer_in(tmp_path, max_size="300", max_file="100", compress="true")
    for second in range(20):
        writer.write("stdout", b"%d\n" % second, second * SECOND + 5)
    writer.flush(0)
    await_compression(tmp_path)
    for first, last in ((0, 5), (3, 3), (7, 19), (19, 30), (20, 30), (5, 4)):
        numbers = [int(text) for _, text in read(tmp_path, None, first * SECOND + 5, last * SECOND + 5)]
        assert numbers == [number for number in range(20) if first <= number <= last]
    assert read(tmp_path, 3, 18 * SECOND) == [("stdout", b"18\n"), ("stdout", b"19\n")]


def test_files_before_since_are_not_even_read(tmp_path: Path) -> None:
    writer = writer_in(tmp_path, max_size="200", max_file="100")
    now = time.time_ns()
    for index in range(30):
        writer.write("stdout", b"%d\n" % index, now)
    writer.flush(now)
    log = Log(str(tmp_path), ID, since_ns=now + 100 * SECOND)
    assert list(log.records()) == []
    assert all(file.at == 0 for file in log.files)
    log.close()


def test_there_is_nothing_where_nothing_was_said(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []
    assert read(tmp_path / "none", 5) == []
    (tmp_path / f"{ID}-json.log").touch()
    assert read(tmp_path, 5) == []


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}-json.log"
    good = b'{"log":"a\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n'
    path.write_bytes(b"nonsense\n" + good + b"\n{}\n\xff\xff\n" + good + b'{"log":"half')
    assert [text for _, text in read(tmp_path) if text] == [b"a\n", b"a\n"]
    assert [text for _, text in read(tmp_path, 1) if text] == [b"a\n"]


def test_a_compressed_file_that_is_cut_short_is_read_as_far_as_it_is_there(tmp_path: Path) -> None:
    good = b'{"log":"a\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n'
    packed = gzip.compress(good * 50000)
    (tmp_path / f"{ID}-json.log.2.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / f"{ID}-json.log.1.gz").write_bytes(b"")
    (tmp_path / f"{ID}-json.log").write_bytes(good)
    assert 10000 < len(read(tmp_path)) < 50000
    assert read(tmp_path, 2) == [("stdout", b"a\n")] * 2


def test_several_in_the_order_of_their_times(tmp_path: Path) -> None:
    logs = []
    for name in ("one", "two"):
        writer = writer_in(tmp_path / name)
        for second in range(0, 10, 2):
            writer.write("stdout", name.encode() + b"\n", (second + (name == "two")) * SECOND)
        writer.flush(0)
        logs.append(Log(str(tmp_path / name), ID))
    assert [index for index, _ in merged(log.records() for log in logs)] == [0, 1] * 5
    for log in logs:
        log.close()


@pytest.mark.parametrize(
    "options", [{}, {"max-size": "3k", "max-file": "2000"}, {"max-size": "1k", "max-file": "3000", "compress": "true"}]
)
def test_following_gives_everything_once_over_rotations(options: dict[str, str], tmp_path: Path) -> None:
    over = threading.Event()

    def write() -> None:
        writer = open_writer("json-file", options, str(tmp_path / "log"), Facts(id=ID))
        for index in range(3000):
            writer.write("stdout", b"%06d\n" % index, time.time_ns())
            if index % 100 == 0:
                writer.flush(time.time_ns())
                time.sleep(0.002)
        writer.flush(time.time_ns())
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    log = Log(str(tmp_path / "log"), ID)
    numbers = [
        int(line)
        for _, record in follow([log], [str(tmp_path), str(tmp_path / "log")], lambda _: over.is_set())
        if record is not None
        for line in lines_of(record.text)
    ]
    thread.join()
    assert numbers == list(range(3000))
    log.close()
    await_compression(tmp_path / "log")


def test_a_reader_who_is_slow_reads_what_has_lost_its_name(tmp_path: Path) -> None:
    writer = writer_in(tmp_path, max_size="1k", max_file="3")
    writer.write("stdout", b"first\n", 1)
    log = Log(str(tmp_path), ID)
    assert [record.text for record in log.records()] == [b"first\n"]
    for index in range(20):
        writer.write("stdout", b"%d\n" % index, 2)
    writer.write("stdout", b"last\n", 3)
    writer.flush(4)
    texts = [line for record in log.records() for line in lines_of(record.text)]
    assert texts[0] == b"0\n"
    assert texts[-1] == b"last\n"
    log.close()


def test_following_ends_at_a_time(tmp_path: Path) -> None:
    log = Log(str(tmp_path), ID)
    before = time.monotonic()
    assert [
        record for _, record in follow([log], [], lambda _: False, until_ns=time.time_ns() + SECOND // 4) if record
    ] == []
    assert 0.2 < time.monotonic() - before < 5


def test_following_does_not_hang_on_a_half_written_record(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}-json.log"
    path.write_bytes(b'{"log":"ha')
    log = Log(str(tmp_path), ID)
    assert list(log.records()) == []
    path.write_bytes(b"")  # taken back: there was no room
    assert list(log.records()) == []
    path.write_bytes(b'{"log":"whole\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n')
    assert [record.text for record in log.records()] == [b"whole\n"]
    log.close()


@pytest.mark.parametrize("rest", [0, 1, 2, 3])
def test_names_that_are_just_being_moved(rest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer gets no farther for a while, between any two of its renames."""
    write_all(writer_in(tmp_path, max_size="2", max_file="9"), [("stdout", b"%d\n" % number) for number in range(4)])
    path = str(tmp_path / f"{ID}-json.log")
    moves = [(f"{path}.3", f"{path}.4"), (f"{path}.2", f"{path}.3"), (f"{path}.1", f"{path}.2"), (path, f"{path}.1")]
    begun = reading._open

    def move_first(name: str, *, packed: bool) -> object:
        while name != path and len(moves) > rest:
            os.rename(*moves.pop(0))
        return begun(name, packed=packed)

    monkeypatch.setattr(reading, "_open", move_first)
    assert read(tmp_path) == [("stdout", b"%d\n" % number) for number in range(4)]
