"""The drivers journald and syslog with a journal of systemd's that takes both, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Cli, system_python
from tests.containers.ground import Ground
from tests.engines.conftest import require

if TYPE_CHECKING:
    from collections.abc import Iterator

JOURNALD = "/lib/systemd/systemd-journald"
# a /run and a /dev whose files do not show elsewhere, and the journal's socket for syslog where programs look for it
SCRIPT = f"""
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal /run/dev /run/cloche || exit
for name in null zero full random urandom tty kmsg; do
    touch /run/dev/$name; mount --bind /dev/$name /run/dev/$name || exit
done
for name in pts shm mqueue; do
    [ ! -d /dev/$name ] || {{ mkdir /run/dev/$name && mount --rbind /dev/$name /run/dev/$name; }} || exit
done
for pair in ptmx:pts/ptmx fd:/proc/self/fd log:/run/systemd/journal/dev-log; do
    ln -s ${{pair#*:}} /run/dev/${{pair%%:*}}
done
mount --rbind /run/dev /dev
exec {JOURNALD}
"""
LINES = 200
# the end comes when a journal that did not keep up takes entries again
SAYS = f"""
echo one; printf 'caf\\303\\251 \\377\\n' >&2
for i in $(seq {LINES}); do echo line $i; done; sleep 1; printf end
"""
EXPECTED = ["one", *(f"line {number + 1}" for number in range(LINES)), "end"]


class Inside(Cli):
    """The command line of root where a process is."""

    def __init__(self, source: Path, pid: int) -> None:
        super().__init__("root", source, system_python())
        self.pid = pid

    @property
    def argv(self) -> list[str]:
        """The words before cloche's own."""
        return ["nsenter", "-t", str(self.pid), "-m", *super().argv]


@pytest.fixture(scope="module")
def ground(shared_dir: Path) -> Iterator[Ground]:
    require(JOURNALD, "journalctl")
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    journal = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT])
    try:
        deadline = time.monotonic() + 30
        while not Path(f"/proc/{journal.pid}/root/run/systemd/journal/dev-log").is_socket():
            assert journal.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        made = Ground(Inside(shared_dir / "src", journal.pid), top)
        yield made
        made.clear()
        assert "Traceback" not in made.log()
    finally:
        journal.terminate()
        journal.wait()
        shutil.rmtree(top)


def entries(ground: Ground, *fields: str) -> list[dict[str, Any]]:
    """The entries of the journal, once it has the last one."""
    assert isinstance(ground.cli, Inside)
    words = ["nsenter", "-t", str(ground.cli.pid), "-m", "journalctl", "--no-pager", "-o", "json", *fields]
    deadline = time.monotonic() + 30
    while True:
        found = [
            json.loads(line) for line in subprocess.run(words, capture_output=True, check=True).stdout.splitlines()
        ]
        if found and found[-1]["MESSAGE"] == "end":
            return found
        assert time.monotonic() < deadline, len(found)
        time.sleep(0.1)


def check_lines(found: list[dict[str, Any]], errors: list[object]) -> None:
    """Each line is there, in its order; or, where the journal did not keep up, so many bytes were said to be lost."""
    said = [entry["MESSAGE"] for entry in found if entry["PRIORITY"] == "6"]
    notes = [entry["MESSAGE"] for entry in found if entry["PRIORITY"] == "3"]
    lost = [int(match[1]) for note in notes if (match := re.match(r"cloche: (\d+) bytes lost", str(note)))]
    missing = [line for line in EXPECTED if line not in said]
    assert said == [line for line in EXPECTED if line in said]
    assert sum(lost) == sum(len(line) + 1 for line in missing)
    assert len(missing) < LINES * 9 // 10
    assert [note for note in notes if "bytes lost" not in str(note)] == errors


def test_the_journal_has_every_line(ground: Ground) -> None:
    options = (
        "--log-driver",
        "journald",
        "--log-opt",
        "tag={{.Name}}",
        "--log-opt",
        "labels=tier",
        "--label",
        "tier=web",
    )
    whole = ground.create("talker", *options, command=("sh", "-c", SAYS))
    ground.well("start", "-a", "talker")
    found = entries(ground, f"CONTAINER_ID_FULL={whole}")
    check_lines(found, [list(b"caf\xc3\xa9 \xff")])  # what is no text is a list of bytes there
    assert {entry["CONTAINER_NAME"] for entry in found} == {"talker"}
    assert {(entry["SYSLOG_IDENTIFIER"], entry["TIER"], entry["IMAGE_NAME"]) for entry in found} == {
        ("talker", "web", "box")
    }
    assert ground.well("logs", "-n", "1", "talker") == "end"
    ground.well("rm", "talker")


def test_syslog_has_every_line(ground: Ground) -> None:
    options = ("--log-driver", "syslog", "--log-opt", "tag={{.Name}}", "--log-opt", "syslog-facility=local3")
    ground.create("writer", *options, command=("sh", "-c", SAYS))
    ground.well("start", "-a", "writer")
    found = entries(ground, "SYSLOG_IDENTIFIER=writer")
    check_lines(found, [list(b"caf\xc3\xa9 \xff")])
    assert {entry["SYSLOG_FACILITY"] for entry in found} == {"19"}
    assert {entry["_TRANSPORT"] for entry in found} == {"syslog"}
    ground.well("rm", "writer")


def test_a_journal_that_does_not_read_holds_nobody_up(ground: Ground) -> None:
    """What it did not take is told it when it does again, and is in the copy."""
    assert isinstance(ground.cli, Inside)
    os.kill(ground.cli.pid, signal.SIGSTOP)
    try:
        ground.create("early", "--log-driver", "journald", command=("sh", "-c", SAYS))
        ground.well("start", "early")
        ground.until("early", "exited")
    finally:
        os.kill(ground.cli.pid, signal.SIGCONT)
    assert ground.well("logs", "early").splitlines()[-2:] == [f"line {LINES}", "end"]
    ground.well("rm", "early")
