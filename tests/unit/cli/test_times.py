"""Times as docker's own client reads them: what it makes of each is asked of a daemon that only listens."""

from __future__ import annotations

import os
import shutil
import socketserver
import subprocess
import threading
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.cli.times import SECOND, parse_time, time_of
from cloche.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = 1_700_000_000 * SECOND + 5
HOUR = 3600 * SECOND
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1), timezones=ZONES)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(TIMES)
def test_a_time_with_its_zone(moment: datetime) -> None:
    wanted = (moment - EPOCH) // timedelta(microseconds=1) * 1000
    assert parse_time(moment.isoformat(), NOW, 12345) == wanted


@given(TIMES)
def test_a_time_without_one_is_of_here(moment: datetime) -> None:
    zone = moment.utcoffset()
    assert zone is not None
    wanted = (moment - EPOCH) // timedelta(microseconds=1) * 1000
    assert parse_time(moment.replace(tzinfo=None).isoformat(), NOW, zone // timedelta(seconds=1)) == wanted


@given(st.text() | st.text("0123456789.-+:TZhmsnu"))
def test_anything_else_is_refused(text: str) -> None:
    try:
        found = parse_time(text, NOW, 0)
    except SpecError:
        return
    assert abs(found) < 1 << 63


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", 0),
        ("-0", 0),
        ("1.5", SECOND + SECOND // 2),
        ("1.000000001", SECOND + 1),
        ("1h30m", NOW - HOUR - HOUR // 2),
        ("1.5h", NOW - HOUR - HOUR // 2),
        ("-1h", NOW + HOUR),
        ("+1h", NOW - HOUR),
        ("1µs1us1μs1ns", NOW - 3001),
        (".5s", NOW - SECOND // 2),
        ("1.s", NOW - SECOND),
        ("2024-02-29", 1709164800 * SECOND - 2 * HOUR),
        ("2024-02-29T12", (1709164800 + 12 * 3600) * SECOND - 2 * HOUR),
        ("2024-02-29T12:30", (1709164800 + 12 * 3600 + 1800) * SECOND - 2 * HOUR),
        ("2024-02-29T12:30:07.25", (1709164800 + 12 * 3600 + 1807) * SECOND + SECOND // 4 - 2 * HOUR),
        ("2024-02-29T12Z", (1709164800 + 12 * 3600) * SECOND),
        ("2024-02-29Z", 1709164800 * SECOND),
        ("2024-02-29+01:00", 1709164800 * SECOND - HOUR),
        ("2024-02-29T12:30-01:30", (1709164800 + 14 * 3600) * SECOND),
    ],
)
def test_forms(text: str, wanted: int) -> None:
    assert parse_time(text, NOW, 7200) == wanted


BAD = (
    "yesterday|2023-02-29|2024-13-01|2024-1-1|2024-02-29 12:00:00|2024-02-29T|2024-02-29T24:00:00|2024-02-29T12:60|"
    "2024-02-29T12:30:07.|2024-02-29T12:30.5|2024-02-29T12:30:07+1|2024-02-29T12:30:07+01:60|1h30|h|1d|1w|1.1.1s|--1h|"
    "1h-1m|.|-|+|.s|1,5|1e3|٣|9223372036854775808|2024-02-29T12:30:61|2024-02-29X"
).split("|")


@pytest.mark.parametrize("text", ["", *BAD, "9" * 5000, "9" * 5000 + "h"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(SpecError, match="is no time"):
        parse_time(text, NOW, 0)


def test_from_now_on() -> None:
    assert abs(time_of("0s") - time_of("-1ms")) < SECOND


class Daemon(socketserver.ThreadingUnixStreamServer):
    """Answers `docker events`, and remembers since when it was asked for them."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, Handler)
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Daemon

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.endswith("/events"):
            self.server.asked += parse_qs(url.query).get("since", [])
        self.send_response(200)
        self.send_header("Api-Version", "1.48")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def dockers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], int | None]]:
    """What docker's client makes of a time, in nanoseconds; None where it refuses it."""
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("needs docker")
    path: Path = tmp_path_factory.mktemp("d") / "s"
    with Daemon(str(path)) as daemon:
        threading.Thread(target=daemon.serve_forever, daemon=True).start()

        def ask(text: str) -> int | None:
            daemon.asked.clear()
            env = {**os.environ, "TZ": "Asia/Kolkata", "DOCKER_HOST": f"unix://{path}"}
            words = [docker, "events", f"--since={text}", "--until=1"]
            subprocess.run(words, env=env, capture_output=True, check=False, timeout=30)
            if not daemon.asked:
                return None
            seconds, _, part = daemon.asked[0].partition(".")
            return int(seconds) * SECOND + int(part.ljust(9, "0") or "0")

        yield ask
        daemon.shutdown()


@pytest.mark.parametrize(
    "text",
    "1700000000 1700000000.25 10m -10m 1h30m5s .5h 2024-02-29 2024-02-29T12 2024-02-29T12:30 2024-02-29T12:30:07"
    " 2024-02-29T12:30:07.123456789 2024-02-29T12:30:07Z 2024-02-29T12:30:07.5Z 2024-02-29T12:30:07+02:00 2024-02-29Z"
    " 2024-02-29T12Z 2024-02-29T12:30-01:30 2024-02-29T12:30:07.5-01:30 2023-02-29 1d yesterday 2024-1-1".split(),
)
def test_as_dockers_client_has_it(text: str, dockers: Callable[[str], int | None]) -> None:
    wanted = dockers(text)
    now = int(datetime.now(UTC).timestamp()) * SECOND
    try:
        found = parse_time(text, now, 5 * 3600 + 1800)
    except SpecError:
        assert wanted is None
        return
    assert wanted is not None
    near = 3 * SECOND if text[-1] in "hms" else 0  # docker leaves the part of a second out
    assert abs(found - wanted) <= near
