"""The keeper of a room: a program that makes a small world for engines and ends it, whatever becomes of who asked.

    test run ── stdin (a pipe) ─▶ keeper ── fork ─▶ unshare ─▶ init of the room (reaps) ◀─ nsenter ─ engines
             ◀─ stdout "ready PID"      waits for the end of stdin, then kills, waits, removes the groups and the folder

The room has its own mount, network, pid and cgroup namespaces, and throwaway layers over /etc, /var, /run,
/dev/shm and, for what may be missing there, /dev. So an engine's bridges, firewall rules, shims, locks and caches are
the room's alone, and when the room's init dies, the kernel kills everything that was ever started in it. The end of
the pipe cannot be missed: it comes when the test run is killed, too.

Needs root and util-linux. Imports nothing of the project, as it runs as a plain script: keeper.py FOLDER NAME.
What does not belong here: anything about an engine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
PATIENCE = 20.0
# $1 folder, $2 this interpreter, $3 this file, $4… the hierarchies as path=options
ENTER = r"""
set -e
folder=$1; python=$2; self=$3; shift 3
mount --make-rprivate /
umount -l /sys/fs/cgroup
umount -l /sys
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
if [ "$1" = "=v2" ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for each in "$@"; do
        mkdir "/sys/fs/cgroup/${each%%=*}"
        case ${each#*=} in
            v2) mount -t cgroup2 cgroup2 "/sys/fs/cgroup/${each%%=*}";;
            *) mount -t cgroup -o "${each#*=}" cgroup "/sys/fs/cgroup/${each%%=*}";;
        esac
    done
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/lock /run/layers
if [ ! -e /dev/mqueue ]; then  # which podman binds for an ordinary user who stays in the host's ipc namespace
    mkdir -p /run/layers/pts /run/layers/dev/upper/mqueue /run/layers/dev/work
    mount --rbind /dev/pts /run/layers/pts
    mount -t overlay -o lowerdir=/dev,upperdir=/run/layers/dev/upper,workdir=/run/layers/dev/work overlay /dev
    mount --move /run/layers/pts /dev/pts
    mount -t mqueue mqueue /dev/mqueue
fi
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
for top in etc var; do
    mkdir -p /run/layers/$top/upper /run/layers/$top/work
    mount -t overlay -o "lowerdir=/$top,upperdir=/run/layers/$top/upper,workdir=/run/layers/$top/work" overlay /$top
done
printf 'keeper:x:1500:1500::%s/home:/bin/sh\n' "$folder" >>/etc/passwd
printf 'keeper:x:1500:\n' >>/etc/group
for each in subuid subgid; do printf 'keeper:300000:65536\ncontainers:400000:262144\n' >/etc/$each; done
ip link set lo up
mount --make-rshared /
exec "$python" -I "$self" --init
"""


def main() -> None:
    """Make the room, say "ready PID" (the init's pid for us), wait for the end of stdin, end the room."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the end of the pipe is a reason to end
    groups = hierarchies()
    room: subprocess.Popen[bytes] | None = None
    try:
        make_groups(groups, name)
        room = subprocess.Popen(
            words(folder, groups, name), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd="/", process_group=0
        )
        assert room.stdout is not None
        if room.stdout.readline() != b"init\n":
            raise SystemExit(f"the room was not made: exit status {room.wait()}")
        children = Path(f"/proc/{room.pid}/task/{room.pid}/children").read_text().split()
        print("ready", children[0], flush=True)
        sys.stdin.buffer.read()
    finally:
        if room is not None:
            thaw(groups, name)
            room.kill()  # unshare was told to take the init along
            room.wait()
        try:
            remove_groups(groups, name)
        finally:
            remove_folder(folder)


def hierarchies() -> dict[str, str]:
    """Where each cgroup hierarchy of this machine is mounted below /sys/fs/cgroup, and by which mount options.

    A pure v2 machine has one, at "", with "v2".
    """
    found: dict[str, str] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        place, end = Path(fields[4]), fields.index("-")
        kind, options = fields[end + 1], fields[end + 3].split(",")
        if kind == "cgroup2" and place == CGROUP:
            return {"": "v2"}
        if place.parent != CGROUP:
            continue
        if kind == "cgroup2":
            found[place.name] = "v2"
        elif kind == "cgroup":
            named = [word for word in options if word.startswith("name=")]
            kept = [word for word in options if word not in {"rw", "ro", "xattr", "clone_children"}]
            found[place.name] = ",".join(["none", *named] if named else kept)
    return found


def make_groups(groups: dict[str, str], name: str) -> None:
    """A group of the room in each hierarchy, and one below it for its first processes.

    The processes are not in the room's own group, as no process of a machine without a room would be: on v2 a group
    with processes gives no controllers to those below.
    """
    for place, options in groups.items():
        top = CGROUP / place / name
        (top / "first").mkdir(parents=True)
        if options == "v2":
            if place == "":
                controllers = (CGROUP / "cgroup.controllers").read_text().split()
                for parent in (CGROUP, top):
                    (parent / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in controllers))
            continue
        for each in (top, top / "first"):
            for file in ("cpuset.cpus", "cpuset.mems"):  # v1 starts a group with none, and then takes no process
                if (each / file).exists():
                    (each / file).write_text((each.parent / file).read_text())


def words(folder: Path, groups: dict[str, str], name: str) -> list[str]:
    """The command that enters the groups, makes the namespaces, mounts and becomes the init.

    The cgroup namespace is made in the room's group, and left for the group below it afterwards.
    """
    tops = [f"{CGROUP}/{place}/{name}" for place in groups]
    join = " && ".join(f"echo $$ >'{top}/cgroup.procs'" for top in tops)
    move = " && ".join(f"echo $$ >'{top}/first/cgroup.procs'" for top in tops)
    inner = 'exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -c "$0" room "$@"'
    script = f"{join} && exec unshare --cgroup sh -c '{move.replace(chr(39), '')} && {inner}' \"$@\""
    places = [f"{place}={options}" for place, options in groups.items()]
    return ["sh", "-c", script, "enter", ENTER, str(folder), sys.executable, os.path.abspath(__file__), *places]


def thaw(groups: dict[str, str], name: str) -> None:
    """Let what an engine has paused run on: on v1 a frozen process does not even take its SIGKILL."""
    for place in groups:
        for top, _, files in os.walk(CGROUP / place / name):
            if "freezer.state" in files:
                Path(top, "freezer.state").write_text("THAWED")


def remove_groups(groups: dict[str, str], name: str) -> None:
    """Remove the room's groups, deepest first, as soon as the kernel has let go of the last process."""
    deadline = time.monotonic() + PATIENCE
    for place in groups:
        for path, _, _ in os.walk(CGROUP / place / name, topdown=False):
            while True:
                try:
                    os.rmdir(path)
                except FileNotFoundError:
                    pass
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                    continue
                break


def remove_folder(folder: Path) -> None:
    """Remove the room's folder, once the mounts that were in the room are gone with its last process."""
    deadline = time.monotonic() + PATIENCE
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def init() -> None:
    """Be process 1 of the room: say so, then reap whatever is left to us, for ever."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    os.write(1, b"init\n")
    os.dup2(0, 1)
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


if __name__ == "__main__":
    init() if sys.argv[1] == "--init" else main()
