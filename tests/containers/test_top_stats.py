"""`cloche top` and `cloche stats`: the processes of a container, and what it uses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.containers.test_exec import processes, said, until
from tests.integration.background import running
from tests.integration.terminal import Emulator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli

KEYS = "BlockIO CPUPerc Container ID MemPerc MemUsage Name NetIO PIDs".split()
COLUMNS = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]


def cells(text: str) -> list[list[str]]:
    """A table by its columns, which are at least two spaces apart."""
    return [re.split(r"\s{2,}", line.rstrip()) for line in text.splitlines()]


def test_processes_are_shown_as_ps_has_them(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        assert anyone("exec", "-d", inside.name, "sh", "-c", "sleep 600; true").returncode == 0
        assert until(lambda: len(processes(inside)) == 2)
        heading, *rows = cells(anyone("top", inside.name).stdout)
        assert heading == "UID PID PPID C STIME TTY TIME CMD".split()
        assert sorted(row[7] for row in rows) == ["cat", "sh -c sleep 600; true", "sleep 600"]
        for row in rows:
            listed = ["ps", "-o", "uid,pid,ppid,stime,tty,time,cmd", "--no-headers", "-p", row[1]]
            shown = subprocess.check_output(listed, text=True).split(maxsplit=6)
            names = {"0": "root", "1500": row[0]}
            assert [names.get(shown[0], shown[0]), *shown[1:3]] == row[:3]
            assert [*shown[4:6], shown[6].strip()] == row[5:]
            # each rounds the time of the boot in its own way
            begun, theirs = (time.mktime(time.strptime(f"2000 {text}", "%Y %H:%M")) for text in (row[4], shown[3]))
            assert abs(begun - theirs) in {0, 60, 86400 - 60}


def test_columns_that_are_asked_for(cli: Cli, rootfs: Path) -> None:
    with running(cli, "--cap-drop", "ALL", "--rootfs", str(rootfs)) as inside:
        assert cells(cli("top", inside.name, "-o", "pid,args").stdout) == [["PID", "COMMAND"], [str(inside.pid), "cat"]]
        found = cells(cli("top", inside.name, "pid", "hpid", "user", "comm", "capeff", "seccomp").stdout)
        assert found[1] == ["1", str(inside.pid), "root", "cat", "none", "filter"]
        assert cells(cli("top", inside.name, "aux").stdout)[0][-1] == "COMMAND"
        assert said(cli("top", inside.name, "--sort", "rss"), 1, "--sort", "is not known here")
        assert said(cli("top", inside.name, "-o", "colour"), 1, "colour")


def test_what_a_process_calls_itself_stays_in_its_line(cli: Cli, rootfs: Path) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        assert cli("exec", "-d", inside.name, "sh", "-c", "sleep 600; : \x1b[2J\nroot 1").returncode == 0
        assert until(lambda: len(processes(inside)) == 2)
        shown = cli("top", inside.name, "-o", "args").stdout
        assert "sh -c sleep 600; : \\x1b[2J\\nroot 1\n" in shown
        assert shown.count("\n") == 4


def test_only_what_runs_has_processes(anyone: Cli, rootfs: Path) -> None:
    assert said(anyone("top", "nobody-here"), 1, "No such container: nobody-here")
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        assert anyone("top", inside.name).returncode == 0
    assert said(anyone("top", inside.name), 1, "No such container")


def test_use_as_a_table_and_as_json(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs)) as inside:
        done = anyone("stats", "--no-stream")
        heading, *rows = cells(done.stdout)
        assert heading == COLUMNS
        row = next(row for row in rows if row[1] == inside.name)
        assert (row[2], row[5], row[7]) == ("0.00%", "0B / 0B", "1")
        done = anyone("stats", "--no-stream", "--format", "json", inside.name)
        found = json.loads(done.stdout)
        assert sorted(found) == KEYS
        assert (found["Container"], found["Name"], len(found["ID"])) == (inside.name, inside.name, 12)
        done = anyone("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.PIDs}}", inside.name)
        assert re.fullmatch(r"[0-9a-f]{64} 1\n", done.stdout), done.stderr


def test_without_groups_it_says_so(user: Cli, rootfs: Path) -> None:
    with running(user, "--rootfs", str(rootfs)) as inside:
        done = user("stats", "--no-stream", "--format", "{{.MemUsage}},{{.MemPerc}},{{.BlockIO}}", inside.name)
        if "-- / --" not in done.stdout:
            pytest.skip("only as an ordinary user without a group of their own")
        assert done.stdout == "-- / --,--,--\n"
        assert done.stderr.count(f"{inside.name} has no control group that counts memory and disk") == 1


def test_limits_and_use(root: Cli, rootfs: Path) -> None:
    with running(root, "-m", "64m", "--rootfs", str(rootfs)) as inside:
        assert root("exec", "-d", inside.name, "sh", "-c", "while :; do :; done").returncode == 0
        done = root("stats", "--no-stream", "--format", "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}", inside.name)
        percent, _, _, limit, pids = done.stdout.split()
        assert (limit, pids) == ("64MiB", "2")
        assert 5 < float(percent.removesuffix("%")) <= 200, done.stdout


def test_what_is_not_there_has_no_use(cli: Cli) -> None:
    assert said(cli("stats", "--no-stream", "nobody-here"), 1, "No such container: nobody-here")
    assert said(cli("stats", "--format", "{{", "--no-stream"), 1, "template")


def test_containers_come_and_go(cli: Cli, rootfs: Path) -> None:
    watcher = cli.popen("stats", "--format", "{{.Name}}", stdout=subprocess.PIPE)
    assert watcher.stdout
    try:
        with running(cli, "--rootfs", str(rootfs)) as inside:
            name = f"{inside.name}\n".encode()
            assert name in iter(watcher.stdout.readline, b"")
        with running(cli, "--rootfs", str(rootfs)) as other:
            assert f"{other.name}\n".encode() in iter(watcher.stdout.readline, b"")
            time.sleep(1.5)
            assert watcher.stdout.readline() != name
            assert watcher.poll() is None
    finally:
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(20) == 130
        watcher.stdout.close()


def test_those_that_were_asked_for_end_it(cli: Cli, rootfs: Path) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        watcher = cli.popen("stats", "--format", "{{.Name}}", inside.name, stdout=subprocess.PIPE)
        assert watcher.stdout
        assert watcher.stdout.readline() == f"{inside.name}\n".encode()
    with watcher.stdout:
        watcher.stdout.read()
        assert watcher.wait(20) == 0


def test_a_table_that_lives(cli: Cli, rootfs: Path) -> None:
    with (
        running(cli, "--rootfs", str(rootfs)) as inside,
        Emulator.of(cli, "stats", size=(30, 140), CLOCHE_ROOT=cli.root) as screen,
    ):
        screen.until("MEM USAGE / LIMIT")
        screen.until(inside.name)
        screen.until("MEM USAGE / LIMIT")
        screen.resize(2, 20)
        screen.until("\x1b[H\x1b[2KCONTAINER ID   NAME \r\n\x1b[J")  # from the top, and cut to what there is room for
        os.kill(screen.pid, signal.SIGINT)
        assert screen.ended() == 130
