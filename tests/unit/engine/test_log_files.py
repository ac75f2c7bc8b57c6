"""Writing log files: rotation by any limits, a full disk, and what a writer that was killed leaves."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import SOURCE

from cloche.engine.logs import compressing
from cloche.engine.logs.drivers import open_writer
from cloche.engine.logs.files import FileWriter, move_on
from cloche.engine.logs.options import check_options
from cloche.engine.logs.reading import Log
from cloche.engine.logs.records import Record, decode
from cloche.engine.logs.writers import Facts, Writer
from cloche.errors import SpecError
from cloche.images.store.locks import lock_folder

ID = "ab" * 32
CHUNKS = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.lists(st.sampled_from([b"line\n", b"\n", b"no end", b"\xff", b"\0", b'"\\']), max_size=8).map(b"".join)
        | st.integers(1, 40000).map(lambda n: b"y" * n)
        | st.binary(max_size=30),
    ),
    max_size=12,
)


def files_of(folder: Path) -> list[Path]:
    """A log's files, the oldest first."""

    def age(path: Path) -> int:
        return int(path.name.removesuffix(".gz").partition(".log")[2].lstrip(".") or 0)

    return sorted((path for path in folder.iterdir() if not path.name.endswith(".new")), key=age, reverse=True)


def records_of(folder: Path) -> list[Record]:
    found = []
    for path in files_of(folder):
        data = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
        assert data.endswith(b"\n") or not data
        for line in data.splitlines():
            record = decode(line)
            assert record is not None, line
            found.append(record)
    return found


def said(folder: Path, stream: str) -> bytes:
    return b"".join(record.text for record in records_of(folder) if record.stream == stream)


def await_compression(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while is_compressed(folder):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_compressed(folder: Path) -> bool:
    """Whether that is going on: between one file and the next the lock is held."""
    with lock_folder(str(folder)):
        return any(path.name.endswith(compressing.NEW) for path in folder.iterdir())


def write_all(writer: Writer, chunks: list[tuple[str, bytes]]) -> None:
    for index, (stream, data) in enumerate(chunks):
        writer.write(stream, data, index)
    writer.flush(len(chunks))


def writer_in(folder: Path, **options: str) -> FileWriter:
    writer = open_writer(
        "json-file", {name.replace("_", "-"): value for name, value in options.items()}, str(folder), Facts(id=ID)
    )
    assert isinstance(writer, FileWriter)
    return writer


@settings(deadline=None)
@given(CHUNKS)
def test_all_of_each_stream_arrives_in_order(chunks: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        write_all(writer_in(folder), chunks)
        for stream in ("stdout", "stderr"):
            assert said(folder, stream) == b"".join(data for name, data in chunks if name == stream)
        times = [record.time_ns for record in records_of(folder)]
        assert times == sorted(times)


@settings(deadline=None)
@given(CHUNKS, st.integers(1, 50000), st.integers(1, 5))
def test_of_what_was_rotated_the_end_is_there(chunks: list[tuple[str, bytes]], size: int, files: int) -> None:
    with tempfile.TemporaryDirectory() as top:
        folder, whole = Path(top, "some"), Path(top, "whole")
        write_all(writer_in(whole), chunks)
        write_all(writer_in(folder, max_size=str(size), max_file=str(files)), chunks)
        if not whole.exists():
            return
        full = b"".join(path.read_bytes() for path in files_of(whole))
        kept = [path.read_bytes() for path in files_of(folder)]
        assert full.endswith(b"".join(kept))
        assert len(kept) <= files
        assert len(b"".join(kept)) == len(full) or len(kept) == files
        for data in kept:
            assert len(data) - len(data.splitlines()[-1] if data else b"") <= size
        assert all(len(data) >= size for data in kept[:-1])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=5, max_size=30))
def test_what_is_compressed_is_whole(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        writer = writer_in(folder, max_size="2k", max_file="1000", compress="true")
        chunks = [("stdout", b"z" * size + b"\n") for size in sizes]
        for chunk in chunks:
            write_all(writer, [chunk])
        await_compression(folder)
        assert said(folder, "stdout") == b"".join(data for _, data in chunks)
        assert len(files_of(folder)) < 3 or any(path.name.endswith(".gz") for path in files_of(folder))


def test_a_writer_that_comes_back_goes_on(tmp_path: Path) -> None:
    for text in (b"one\n", b"two", b" and a half\n"):
        write_all(writer_in(tmp_path), [("stdout", text)])
    assert [record.text for record in records_of(tmp_path)] == [b"one\n", b"two", b" and a half\n"]


@pytest.mark.parametrize("whole", [b"", b'{"log":"a\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n'])
@pytest.mark.parametrize("half", [b"{", b'{"log":"' + b"x" * 200000])
def test_half_a_record_of_one_that_was_killed_goes(whole: bytes, half: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"{ID}-json.log"
    path.write_bytes(whole + half)
    write_all(writer_in(tmp_path), [("stdout", b"b\n")])
    assert path.read_bytes().startswith(whole + b'{"log":"b\\n"')
    records_of(tmp_path)


def test_a_number_that_is_missing_is_filled_and_nothing_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for name in ("log", "log.1", "log.3", "log.4.gz"):
        (tmp_path / name).write_text(name)
    move_on(str(path), 5)
    assert {item.name: item.read_text() for item in tmp_path.iterdir()} == {
        "log.1": "log",
        "log.2": "log.1",
        "log.3": "log.3",
        "log.4.gz": "log.4.gz",
    }
    path.write_text("new")
    move_on(str(path), 5)
    names = {item.name: item.read_text() for item in tmp_path.iterdir()}
    assert names == {"log.1": "new", "log.2": "log", "log.3": "log.1", "log.4": "log.3"}


def test_it_holds_one_descriptor_while_something_is_said_and_none_when_not(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    writer = writer_in(tmp_path, max_size="1k", max_file="3")
    assert len(os.listdir("/proc/self/fd")) == before
    for _ in range(50):
        writer.write("stdout", b"x" * 100 + b"\n", 0)
        assert len(os.listdir("/proc/self/fd")) == before + 1
    writer.flush(0)
    assert len(os.listdir("/proc/self/fd")) == before
    assert not any(path.stat().st_mode & 0o77 for path in tmp_path.iterdir())


FULL = """
import resource, sys
sys.path.insert(0, {src!r})
from cloche.engine.logs.drivers import open_writer
from cloche.engine.logs.writers import Facts
writer = open_writer("json-file", {options}, {folder!r}, Facts(id={id!r}))
lines = [b"%05d %s\\n" % (i, b"x" * 60) for i in range(400)]
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for i, line in enumerate(lines):
    if i == 100:
        limit(15000)
    if i == 250:
        limit(resource.RLIM_INFINITY)
    writer.write("stdout", line, i)
writer.flush(400)
"""


@contextlib.contextmanager
def small_disk(tmp_path: Path) -> Iterator[Path]:
    top = tmp_path / "disk"
    top.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=20", "tmpfs", top], check=True)
    try:
        yield top
    finally:
        subprocess.run(["umount", top], check=True)


def test_what_there_is_no_room_for_is_counted_and_told(tmp_path: Path) -> None:
    program = FULL.format(src=str(SOURCE), folder=str(tmp_path / "log"), id=ID, options={})
    subprocess.run([sys.executable, "-c", program], check=True)
    lines = [record.text for record in records_of(tmp_path / "log")]
    notes = [line for line in lines if line.startswith(b"cloche: ")]
    assert len(notes) == 1
    lost = 400 * 67 - sum(len(line) for line in lines if line not in notes)
    assert notes[0] == b"cloche: %d bytes lost: file too large\n" % lost
    assert lost > 67 * 100
    at = lines.index(notes[0])
    assert lines[at + 1].startswith(b"00250 ")
    assert [int(line[:5]) for line in lines[:at]] == list(range(at))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("options", [{}, {"max_size": "9k", "max_file": "20"}])
def test_a_full_disk(options: dict[str, str], tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        (disk / "other").write_bytes(b"o" * 30000)
        writer = writer_in(disk / "log", **options)
        for index in range(20):
            writer.write("stdout", b"".join(b"%d %s\n" % (index, b"x" * 90) for _ in range(50)), index)
        (disk / "other").unlink()
        writer.write("stdout", b"room again\n", 21)
        writer.flush(22)
        lines = [record.text for record in records_of(disk / "log")]
        missing, why = writer.losses(), writer.cause()
    total = sum(50 * len(b"%d %s\n" % (index, b"x" * 90)) for index in range(20))
    lost = total + len(b"room again\n") - sum(len(line) for line in lines if not line.startswith(b"cloche"))
    assert lines[-2:] == [b"cloche: %d bytes lost: no space left on device\n" % lost, b"room again\n"]
    assert (missing, why) == (lost, "no space left on device")
    assert lost > 50000


def test_a_folder_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = writer_in(tmp_path / "file" / "log")
    write_all(writer, [("stdout", b"nobody hears this\n")])
    assert (writer.lost, writer.why) == (18, os.strerror(errno.ENOTDIR).lower())


KILLED = """
import sys
sys.path.insert(0, {src!r})
from cloche.engine.logs.drivers import open_writer
from cloche.engine.logs.writers import Facts
writer = open_writer("json-file", {options}, {folder!r}, Facts(id={id!r}))
number = {first}
while True:
    lines = []
    for _ in range(10):
        lines.append(b"%08d\\n" % number)
        number += 1
    writer.write("stdout", b"".join(lines), number)
    sys.stdout.write(f"{{number}}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("compress", ["false", "true"])
def test_killed_at_any_moment_of_a_rotation_nothing_is_lost_or_twice(compress: str, tmp_path: Path) -> None:
    options = {"max-size": "2k", "max-file": "3000", "compress": compress}
    first = 0
    for round in range(12):
        program = KILLED.format(src=str(SOURCE), folder=str(tmp_path), id=ID, options=options, first=first)
        with subprocess.Popen([sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            told = int(writer.stdout.readline())
            time.sleep(0.003 * round)
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read()
            complete = rest[: rest.rfind("\n") + 1].split()
            told = int(complete[-1]) if complete else told
        log = Log(str(tmp_path), ID)  # as some are perhaps being compressed
        numbers = [int(word) for record in log.records() for word in record.text.split()]
        log.close()
        # what was told is there; of what was being written when it was killed there is perhaps more
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= told
        first = len(numbers)
    if compress == "true":
        deadline = time.monotonic() + 60
        while any(path.suffix not in {".gz", ".log"} for path in tmp_path.iterdir()):
            assert time.monotonic() < deadline
            with lock_folder(str(tmp_path)):
                compressing.begin(str(tmp_path / f"{ID}-json.log"), 3000)
            time.sleep(0.05)
    await_compression(tmp_path)
    assert [int(record.text) for record in records_of(tmp_path)] == list(range(first))


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        ("splunk", {}, "logger: no log driver named 'splunk' is registered"),
        ("json-file", {"max-sise": "1"}, "unknown log opt 'max-sise' for json-file log driver"),
        ("none", {"tag": "x"}, "unknown log opt 'tag' for none log driver"),
        ("json-file", {"max-size": "big"}, "max-size 'big' is not a size"),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-size": "1" * 30}, "max-size '1.*' is not a size"),
        ("json-file", {"max-size": "\u0661m"}, "max-size '.*' is not a size"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "-1"}, "max-file '-1' is not a whole number"),
        ("json-file", {"compress": "true"}, "compress cannot be true when"),
        ("json-file", {"compress": "yes", "max-size": "1m", "max-file": "2"}, "compress is true or false, not 'yes'"),
        ("json-file", {"mode": "eager"}, "logger: logging mode not supported: eager"),
        ("json-file", {"labels-regex": "("}, "labels-regex '\\(' is no regular expression"),
        ("syslog", {"syslog-facility": "nose"}, "invalid syslog facility: nose"),
        ("journald", {"tag": "{{.Nose}}"}, "tag '{{.Nose}}' names nothing that a log knows"),
        ("journald", {"tag": "{{.Name"}, "tag '{{.Name' names nothing that a log knows"),
        ("journald", {"max-size": "1m"}, "unknown log opt 'max-size' for journald log driver"),
        ("journald", {"cache-disabled": "no"}, "invalid value for option cache-disabled: no"),
        ("json-file", {"cache-disabled": "no"}, "invalid value for option cache-disabled: no"),
        ("syslog", {"cache-max-size": "big"}, "cache-max-size 'big' is not a size"),
        ("syslog", {"cache-max-file": "0"}, "cache-max-file cannot be less than 1"),
        ("syslog", {"cache-compress": "yes"}, "cache-compress is true or false, not 'yes'"),
        ("syslog", {"cache-compress": "true", "cache-max-file": "1"}, "cache-compress cannot be true when cache-max-f"),
        ("syslog", {"cache-nose": "1"}, "unknown log opt 'cache-nose' for syslog log driver"),
    ],
)
def test_wrong_options_are_refused(driver: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        check_options(driver, options)


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("json-file", {"max-size": "10m", "max-file": "3", "compress": "true", "labels": "a,b", "tag": "x{{.Name}}"}),
        ("local", {"max-size": "-1", "compress": "false", "mode": "non-blocking", "max-buffer-size": "4m"}),
        ("journald", {"tag": "{{ .ImageName }}", "env-regex": "^A"}),
        ("syslog", {"syslog-facility": "local3"}),
        ("none", {}),
        ("syslog", {"cache-max-size": "-1", "cache-max-file": "2", "cache-compress": "false", "cache-disabled": ""}),
        ("local", {"cache-disabled": "true", "cache-max-size": "1m", "max-size": "2m"}),
    ],
)
def test_right_options_are_taken(driver: str, options: dict[str, str]) -> None:
    check_options(driver, options)


def test_labels_and_variables_come_with_each_record(tmp_path: Path) -> None:
    facts = Facts(
        id=ID, name="box", image="box:1", labels={"a": "1", "b": "2", "other": "3"}, env=("WHO=me", "WAY=x=y", "NO")
    )
    options = {"labels": "a,missing", "labels-regex": "^b", "env-regex": "^W", "tag": "{{.Name}}/{{.ID}}"}
    write_all(open_writer("json-file", options, str(tmp_path), facts), [("stdout", b"x\n")])
    (record,) = records_of(tmp_path)
    assert record.attributes == {"a": "1", "b": "2", "WHO": "me", "WAY": "x=y", "tag": f"box/{ID[:12]}"}


def test_the_driver_none_keeps_nothing(tmp_path: Path) -> None:
    writer = open_writer("none", {}, str(tmp_path / "log"), Facts(id=ID))
    writer.write("stdout", b"x\n", 0)
    writer.flush(0)
    writer.close()
    assert not (tmp_path / "log").exists()


def test_writers_load_next_to_nothing() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import cloche.engine.logs.datagrams;"
        "from cloche.engine.logs.drivers import *; from cloche.engine.logs.writers import Facts;"
        "open_writer('local', {}, '/nowhere', Facts(id='x')); print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-I", "-S", "-c", code], text=True).split()
    assert not set(loaded) & {"re", "json", "logging", "datetime", "threading", "subprocess", "typing", "enum", "zlib"}


def test_limits_of_this_process_are_as_they_were() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
