"""A room ends with whoever made it: nothing of it is left, also when that was killed, and also what was frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engines.conftest import require
from tests.engines.daemons import Room, succeed
from tests.engines.keeper import hierarchies

ROOT = Path(__file__).resolve().parents[2]
MAKER = """
import signal, sys
sys.path.insert(0, {root!r})
from tests.engines.daemons import Room
room = Room("killed")
daemon = room.start("log", "sh", "-c", "setsid sleep 4324 & sleep 4324")
print(room.name, room.folder, room.init, flush=True)
signal.pause()
"""


def left(name: str, folder: str) -> list[str]:
    """What is still there of a room."""
    groups = [str(path) for place in hierarchies() if (path := Path("/sys/fs/cgroup", place, name)).exists()]
    return groups + [path for path in [folder] if os.path.exists(path)]


def test_a_room_ends_with_its_maker() -> None:
    require()
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER.format(root=str(ROOT))], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert maker.stdout is not None
    name, folder, init = maker.stdout.readline().split()
    assert left(name, folder)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
    deadline = time.monotonic() + 30
    while found := left(name, folder):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert not Path(f"/proc/{init}").exists() or b") Z " in Path(f"/proc/{init}/stat").read_bytes()


def test_a_frozen_process_does_not_hold_a_room_open() -> None:
    require()
    with Room("frozen") as room:
        script = """
            sleep 4325 >/dev/null 2>&1 </dev/null &
            until grep -q sleep /proc/$!/comm; do :; done
            freezer=/sys/fs/cgroup/freezer
            [ -d $freezer ] || freezer=/sys/fs/cgroup
            mkdir $freezer/ice
            echo $! >$freezer/ice/cgroup.procs
            if [ -e $freezer/ice/freezer.state ]; then echo FROZEN >$freezer/ice/freezer.state
            else echo 1 >$freezer/ice/cgroup.freeze; fi"""
        succeed(room.run("sh", "-c", script))
        assert room.groups("ice")
    assert left(room.name, str(room.folder)) == []


def test_the_host_is_not_what_an_engine_changes() -> None:
    require()
    with Room("apart") as room:
        script = "touch /etc/made /var/made /run/made /dev/shm/made; ls /sys/class/net; ip link set lo down; hostname"
        assert succeed(room.run("sh", "-c", script)).split()[0] == "lo"
        for place in ("/etc", "/var", "/run", "/dev/shm"):
            assert not Path(place, "made").exists()
        assert Path("/sys/class/net/lo/operstate").read_text() == "unknown\n"


def test_an_empty_name_is_no_group() -> None:
    require()
    with Room("empty") as room, pytest.raises(ValueError, match="every group"):
        room.groups("")
