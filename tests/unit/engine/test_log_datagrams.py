"""Logs that are sent on: entries as the journal and syslog read them, and readers who do not keep up."""

from __future__ import annotations

import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.engine.test_log_files import files_of, small_disk, write_all

from cloche.engine.logs import datagrams
from cloche.engine.logs.datagrams import Datagrams
from cloche.engine.logs.drivers import open_writer
from cloche.engine.logs.reading import Log
from cloche.engine.logs.writers import Facts, Writer

ID = "cd" * 32
FACTS = Facts(
    id=ID, name="box", image="app:1", image_id="sha256:" + "ef" * 32, labels={"9 tier-x": "a\nb"}, env=("WHO=me",)
)
OPTIONS = {"labels": "9 tier-x", "env": "WHO", "tag": "{{.Name}}/{{.ImageID}}"}
NOON = 1_706_702_400 * 10**9


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where the journal and syslog listen."""
    place = str(tmp_path / "socket")
    monkeypatch.setattr(datagrams, "PLACES", {"journald": place, "syslog": place})
    monkeypatch.setattr(datagrams, "_post", datagrams._Post())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(place)
        sock.setblocking(False)
        yield sock
    if datagrams._post.socket:
        datagrams._post.socket.close()


def received(sock: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(sock.recv(1 << 18))
        except BlockingIOError:
            return found


def fields_of(entry: bytes) -> dict[str, bytes]:
    """An entry as the journal reads it."""
    fields, at = {}, 0
    while at < len(entry):
        end = entry.index(b"\n", at)
        name, equals, value = entry[at:end].partition(b"=")
        at = end + 1
        if not equals:
            size = int.from_bytes(entry[at : at + 8], "little")
            value = entry[at + 8 : at + 8 + size]
            at += 8 + size + 1
            assert entry[at - 1 : at] == b"\n"
        fields[name.decode()] = value
    return fields


def test_entries_of_the_journal_have_dockers_fields(reader: socket.socket) -> None:
    writer = Datagrams("journald", OPTIONS, FACTS)
    writer.write("stdout", b"one\ntwo\xff\0\n", NOON)
    writer.write("stderr", b"no end", NOON)
    writer.flush(NOON)
    one, two, end = map(fields_of, received(reader))
    assert one == {
        "PRIORITY": b"6",
        "CONTAINER_ID": ID[:12].encode(),
        "CONTAINER_ID_FULL": ID.encode(),
        "CONTAINER_NAME": b"box",
        "IMAGE_NAME": b"app:1",
        "TIER_X": b"a\nb",
        "WHO": b"me",
        "CONTAINER_TAG": b"box/" + b"ef" * 6,
        "SYSLOG_IDENTIFIER": b"box/" + b"ef" * 6,
        "SYSLOG_TIMESTAMP": b"2024-01-31T12:00:00.000000000Z",
        "MESSAGE": b"one",
    }
    assert two["MESSAGE"] == b"two\xff\0"
    assert (end["MESSAGE"], end["PRIORITY"]) == (b"no end", b"3")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50) | st.integers(1, 40000).map(lambda n: b"z" * n), max_size=10))
def test_all_of_a_stream_arrives(chunks: list[bytes]) -> None:
    sent: list[bytes] = []
    writer = Datagrams("journald", {}, FACTS)
    with pytest.MonkeyPatch.context() as patch:

        def deliver(_post: object, _place: str, entry: bytes) -> bool:
            sent.append(entry)
            return True

        patch.setattr(datagrams._Post, "deliver", deliver)
        for chunk in chunks:
            writer.write("stdout", chunk, NOON)
        writer.flush(NOON)
    said = b""
    for entry in map(fields_of, sent):
        assert len(entry["MESSAGE"]) <= 16384
        goes_on = entry.get("CONTAINER_PARTIAL_LAST") == b"false"
        assert goes_on == ("CONTAINER_PARTIAL_MESSAGE" in entry)
        said += entry["MESSAGE"] + (b"" if goes_on else b"\n")
    assert said == b"".join(chunks)


def test_pieces_of_a_long_line_are_numbered(reader: socket.socket) -> None:
    writer = Datagrams("journald", {}, FACTS)
    writer.write("stdout", b"x" * 40000 + b"\nshort\n", NOON)
    entries = [fields_of(entry) for entry in received(reader)]
    numbers = [(entry.get("CONTAINER_PARTIAL_ORDINAL"), entry.get("CONTAINER_PARTIAL_LAST")) for entry in entries]
    assert numbers == [(b"1", b"false"), (b"2", b"false"), (b"3", b"true"), (None, None)]


def test_lines_of_syslog_are_as_docker_writes_them(reader: socket.socket) -> None:
    writer = Datagrams("syslog", {"syslog-facility": "local1", "tag": "app"}, FACTS)
    writer.write("stdout", b"one\n", time.time_ns())
    writer.write("stderr", b"two\n", time.time_ns())
    one, two = received(reader)
    pattern = rb"<%d>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d app\[%d\]: %s"
    assert re.fullmatch(pattern % (17 << 3 | 6, os.getpid(), b"one"), one)
    assert re.fullmatch(pattern % (17 << 3 | 3, os.getpid(), b"two"), two)


@pytest.mark.parametrize("driver", ["journald", "syslog"])
def test_who_does_not_keep_up_is_waited_for_once_and_told_what_is_lost(driver: str, reader: socket.socket) -> None:
    writer = Datagrams(driver, {}, FACTS)
    before = time.monotonic()
    for number in range(2000):
        writer.write("stdout", b"%04d\n" % number, NOON)
    assert time.monotonic() - before < 2
    taken = received(reader)
    assert 0 < len(taken) < 2000
    writer.write("stdout", b"again\n", NOON)
    note, again = received(reader)
    assert b"cloche: %d bytes lost" % (5 * (2000 - len(taken))) in note
    assert writer.losses() == 5 * (2000 - len(taken))
    assert "did not take them" in writer.cause()
    assert b"again" in again


def test_nobody_who_listens_is_no_trouble(reader: socket.socket) -> None:
    os.unlink(reader.getsockname())
    writer = Datagrams("journald", {}, FACTS)
    writer.write("stdout", b"unheard\n", NOON)
    writer.flush(NOON)
    writer.close()


def test_no_room_for_another_descriptor_is_no_trouble(reader: socket.socket) -> None:
    writer = Datagrams("journald", {}, FACTS)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        writer.write("stdout", b"unheard\n", NOON)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert writer.losses() == len("unheard\n")
    writer.write("stdout", b"heard\n", NOON)
    note, heard = map(fields_of, received(reader))
    assert b"8 bytes lost" in note["MESSAGE"]
    assert heard["MESSAGE"] == b"heard"


# the copy


def copied(folder: Path) -> list[tuple[str, bytes, dict[str, str]]]:
    log = Log(str(folder), ID)
    found = [(record.stream, record.text, record.attributes) for record in log.records()]
    log.close()
    return found


@pytest.mark.parametrize("driver", ["journald", "syslog"])
def test_what_is_sent_away_is_kept_too(driver: str, reader: socket.socket, tmp_path: Path) -> None:
    options = {**OPTIONS, "cache-max-size": "1k", "cache-max-file": "3", "cache-compress": "false"}
    writer = open_writer(driver, options, str(tmp_path / "log"), FACTS)
    chunks = [("stdout", b"one\ntw"), ("stderr", b"caf\xe9\n"), ("stdout", b"o\nno end")]
    write_all(writer, chunks)
    about = {"9 tier-x": "a\nb", "WHO": "me"}
    whole = [(*said, about) for said in (("stdout", b"one\n"), ("stderr", b"caf\xe9\n"), ("stdout", b"two\n"))]
    assert copied(tmp_path / "log") == [*whole, ("stdout", b"no end", about)]
    assert len(received(reader)) == 4
    for _ in range(20):
        write_all(writer, [("stdout", b"x" * 500 + b"\n")])
        assert len(received(reader)) == 1
    assert len(files_of(tmp_path / "log")) == 3
    assert not list((tmp_path / "log").glob("*.gz"))


@pytest.mark.parametrize("text", ["true", "1", "T"])
def test_there_is_no_copy_of_one_that_does_not_want_it(text: str, reader: socket.socket, tmp_path: Path) -> None:
    writer = open_writer("journald", {"cache-disabled": text}, str(tmp_path / "log"), FACTS)
    write_all(writer, [("stdout", b"sent\n")])
    assert len(received(reader)) == 1
    assert not (tmp_path / "log").exists()


def test_neither_is_held_up_by_what_becomes_of_the_other(reader: socket.socket, tmp_path: Path) -> None:
    place = reader.getsockname()
    (tmp_path / "file").touch()
    writer: Writer = open_writer("syslog", {}, str(tmp_path / "file" / "log"), FACTS)
    write_all(writer, [("stdout", b"heard, and not kept\n")])
    assert received(reader)[0].endswith(b"heard, and not kept")
    os.unlink(place)
    (tmp_path / "file").unlink()
    write_all(writer, [("stdout", b"kept, and not heard\n")])
    lost = b"cloche: 20 bytes lost: not a directory\n"
    assert [text for _, text, _ in copied(tmp_path / "file" / "log")] == [lost, b"kept, and not heard\n"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_with_a_full_disk_all_is_sent(reader: socket.socket, tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        (disk / "other").write_bytes(bytes(60000))
        writer = open_writer("journald", {}, str(disk / "log"), FACTS)
        sent = 0
        for number in range(200):
            writer.write("stdout", b"%d %s\n" % (number, b"x" * 90), NOON)
            sent += len(received(reader))
        (disk / "other").unlink()
        write_all(writer, [("stdout", b"room again\n")])
        texts = [text for _, text, _ in copied(disk / "log")]
    assert sent == 200
    assert b"bytes lost: no space left on device" in texts[-2]
    assert texts[-1] == b"room again\n"
