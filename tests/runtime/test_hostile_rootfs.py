"""A root file system made by somebody who wants out: what is done while a container is made never reaches the host.

Beside each bundle lies a canary, which is what links and names aim at; whatever happens, it stays as it is: the names,
what they are, their owners, modes, times and contents. The runtime may refuse or go on, as long as it ends in time.
The classes are those of the project's table of threats; the numbers are of the advisories they were learnt from.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.amounts import some
from tests.conftest import system_python
from tests.integration.trees import look
from tests.runtime.conftest import wait_until
from tests.runtime.looking import any_device, capable, mount, mounts, only_cloche, python, sh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.conftest import Bundle, MakeBundle, Runtime

SECRET = "the canary's secret"
AIMS = ("absolute", "relative", "dangling", "proc")
# attacks from inside on what a mount or device may have given access to
ATTACK = (
    "for d in {paths}; do (echo pwned >$d) 2>/dev/null; (echo pwned >$d/pwned) 2>/dev/null;"
    " head -c 4096 $d 2>/dev/null; done"
)


@pytest.fixture
def canary(place: Path) -> Iterator[Path]:
    """A directory outside that anybody may write to; the same afterwards, or the test fails."""
    top = place / "canary"
    (top / "sub").mkdir(parents=True)
    (top / "secret").write_text(f"{SECRET}\n")
    (top / "sub/program").write_text("#!/bin/sh\necho the host's\n")
    for path in (top, top / "sub", top / "secret"):
        path.chmod(0o777)
    before = look(top)
    yield top
    assert look(top) == before


def aim(link: Path, canary: Path, how: str, below: str = "") -> None:
    """Put a link at `link` that leads to the canary as seen from the host."""
    if link.is_dir() and not link.is_symlink():
        link.rename(link.with_name(f"was-{link.name}"))
    elif link.is_symlink() or link.exists():
        link.unlink()
    link.parent.mkdir(parents=True, exist_ok=True)
    goal = f"{canary}/absent" if how == "dangling" else f"{canary}{below}"
    if how == "relative":
        goal = "../" * 30 + goal.lstrip("/")
    if how == "proc":
        goal = f"/proc/1/root{goal}"
    link.symlink_to(goal)


def ends_well(runtime: Runtime, made: Bundle, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it: it succeeds or is refused, in time and in words; nothing of the canary is seen."""
    if words:
        made.command(*words)
    done = runtime.run(made, timeout=20)
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    if done.returncode != 0:
        assert done.stderr.strip()
    return done


def bare(made: Bundle) -> Bundle:
    """Without a mount at /dev: nodes and links are made in the root file system itself."""
    made.config["mounts"] = [m for m in made.config["mounts"] if not m["destination"].startswith("/dev")]
    return any_device(capable(made)).writable()


@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_are_directories(runtime: Runtime, bundle: MakeBundle, canary: Path, name: str, how: str) -> None:
    """CVE-2019-16884, CVE-2023-27561: what is written to /proc would go elsewhere."""
    made = capable(bundle()).writable()
    made.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    aim(made.rootfs / name, canary, how)
    done = ends_well(runtime, made, "true")
    assert done.returncode != 0
    if runtime.name == "cloche-runtime":
        assert f"/{name}" in done.stderr


@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("name", ["dev", "dev/pts", "dev/shm", "dev/mqueue", "mnt", "var/deep/dir", "sys/fs/cgroup"])
def test_links_at_mount_targets(runtime: Runtime, bundle: MakeBundle, canary: Path, name: str, how: str) -> None:
    """CVE-2021-30465."""
    made = capable(bundle()).writable()
    if name.startswith("dev/"):
        bare(made)
    if name == "sys/fs/cgroup":
        made.config["mounts"] = [m for m in made.config["mounts"] if m["destination"] != "/sys"]
    if not any(m["destination"] == f"/{name}" for m in made.config["mounts"]):
        mount(made, f"/{name}", "tmpfs", "mode=777")
    aim(made.rootfs / name, canary, how)
    ends_well(runtime, made, "sh", "-c", ATTACK.format(paths=f"/{name} /{name}/secret /{name}/sub/program") + "; true")


@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("target", ["/var/a/b", "/var/sub", "/var/../var/x"])
def test_links_among_the_parents_of_a_target(
    runtime: Runtime, bundle: MakeBundle, canary: Path, target: str, how: str
) -> None:
    """CVE-2024-45310: missing directories are made inside."""
    made = mount(capable(bundle()).writable(), target, "tmpfs", "mode=777")
    aim(made.rootfs / "var", canary, how)
    ends_well(runtime, made, "sh", "-c", f"touch {target}/x; true")


@pytest.mark.parametrize("how", AIMS)
def test_a_link_at_the_target_of_a_file(
    runtime: Runtime, bundle: MakeBundle, place: Path, canary: Path, how: str
) -> None:
    (place / "hosts").write_text("127.0.0.1 localhost\n")
    made = capable(bundle()).writable().bind(place / "hosts", "/etc/hosts").bind(place / "hosts", "/var/new/file")
    aim(made.rootfs / "etc/hosts", canary, how, "/secret")
    aim(made.rootfs / "var/new", canary, how)
    ends_well(runtime, made, "sh", "-c", ATTACK.format(paths="/etc/hosts /var/new/file /var/new/secret") + "; true")


@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("name", ["null", "zero", "console", "ptmx", "fd", "stdin", "tty", "random", "core"])
def test_links_in_dev(runtime: Runtime, bundle: MakeBundle, canary: Path, name: str, how: str) -> None:
    """CVE-2025-31133: what is made in /dev, where the root file system's own is taken."""
    made = bare(bundle())
    aim(made.rootfs / "dev" / name, canary, how, "/secret")
    ends_well(runtime, made, "sh", "-c", ATTACK.format(paths=f"/dev/{name}") + "; true")


@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("where", ["dev", "dev/deep", "opt"])
def test_devices_below_a_link(runtime: Runtime, bundle: MakeBundle, canary: Path, where: str, how: str) -> None:
    made = bare(bundle())
    for path in (f"/{where}/node", f"/{where}/new/node", f"/{where}/secret"):
        made.linux.setdefault("devices", []).append({"path": path, "type": "c", "major": 1, "minor": 3, "uid": 7})
    aim(made.rootfs / where, canary, how)
    ends_well(runtime, made, "true")


@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
def test_masked_paths_that_are_links(runtime: Runtime, bundle: MakeBundle, canary: Path, name: str, how: str) -> None:
    """CVE-2025-52565 and before: neither the host's file is masked, nor another one put in its place."""
    made = capable(bundle()).writable()
    aim(made.rootfs / "etc/masked", canary, how, "/secret")
    aim(made.rootfs / "var/masked", canary, how, "/sub")
    made.linux[name] = ["/etc/masked", "/var/masked", "/var/masked/program"]
    ends_well(runtime, made, "sh", "-c", ATTACK.format(paths="/etc/masked /var/masked /var/masked/program") + "; true")
    assert (canary / "secret").read_text() == f"{SECRET}\n"


@pytest.mark.parametrize("kind", ["file", "link", "directory", "fifo", "device"])
def test_masks_are_the_hosts_null_device(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    """CVE-2025-31133: a /dev/null of the root file system's own is not what masked paths show."""
    made = bare(bundle())
    null = made.rootfs / "dev/null"
    (made.rootfs / "etc/poison").write_text("poison\n")
    (made.rootfs / "etc/secret").write_text(f"{SECRET}\n")
    if kind == "file":
        null.write_text("poison\n")
    elif kind == "link":
        null.symlink_to("/etc/poison")
    elif kind == "directory":
        null.mkdir()
    elif kind == "fifo":
        os.mkfifo(null)
    else:
        os.mknod(null, 0o020666, os.makedev(1, 5))
    made.linux["maskedPaths"] = ["/etc/secret"]
    done = ends_well(
        runtime, made, "sh", "-c", "head -c 100 /etc/secret; echo pwned >/etc/secret; stat -c %t:%T /etc/secret"
    )
    if done.returncode == 0:
        assert done.stdout == "1:3\n"
    assert (made.rootfs / "etc/poison").read_text() == "poison\n"


@pytest.mark.parametrize("how", AIMS)
def test_a_missing_working_directory_below_a_link(runtime: Runtime, bundle: MakeBundle, canary: Path, how: str) -> None:
    made = capable(bundle()).writable()
    aim(made.rootfs / "var/link", canary, how)
    for cwd in ("/var/link/new/deep", "/var/link", "/var/link/../.."):
        made.process["cwd"] = cwd
        ends_well(runtime, made, "sh", "-c", "cat secret; echo pwned >pwned; true")


def special(path: Path, kind: str, canary: Path) -> None:
    """A node of a kind at `path`, in place of what is there."""
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path, 0o666)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            here = os.getcwd()
            os.chdir(path.parent)  # names of sockets are short
            try:
                bound.bind(path.name)
            finally:
                os.chdir(here)
    elif kind == "zero":
        os.mknod(path, 0o020666, os.makedev(1, 5))
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    elif kind == "long":
        path.write_text("root:" + "x" * (64 << 20))
    elif kind == "binary":
        path.write_bytes(bytes(range(256)) * 100)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(canary / "secret")
    elif kind == "hardlink":
        os.link(canary / "secret", path)


KINDS = ("fifo", "socket", "zero", "huge", "long", "binary", "directory", "link", "loop")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_files_of_accounts(runtime: Runtime, bundle: MakeBundle, canary: Path, name: str, kind: str) -> None:
    """Looked into for a home directory at most: with a cap, and never waited for."""
    if kind in ("fifo", "zero", "huge"):
        runtime.not_like("crun", "runc", because="wait for a fifo, or read on to the end")
    made = bundle("sh", "-c", "echo $HOME")
    special(made.rootfs / "etc" / name, kind, canary)
    if kind == "loop":
        (made.rootfs / "etc" / name).symlink_to(name)
    made.process["user"] = {"uid": 1000, "gid": 1000}
    begin = time.monotonic()
    ends_well(runtime, made)
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("kind", ["fifo", "socket", "zero"])
def test_nodes_at_mount_targets(runtime: Runtime, bundle: MakeBundle, place: Path, canary: Path, kind: str) -> None:
    """They are mounted over or refused, never opened."""
    (place / "file").write_text("bound\n")
    made = bundle().bind(place / "file", "/var/file")
    special(made.rootfs / "var/file", kind, canary)
    done = ends_well(runtime, made, "cat", "/var/file")
    assert done.returncode != 0 or done.stdout == "bound\n"
    made = mount(bundle("true"), "/var/dir", "tmpfs")
    special(made.rootfs / "var/dir", kind, canary)
    assert ends_well(runtime, made).returncode != 0


def test_hard_links_to_the_host(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """A name in the root file system that is a file of the host: what is mounted over or masked leaves it alone."""
    (place / "file").write_text("bound\n")
    (place / "host").write_text("the host's\n")
    made = capable(bundle()).bind(place / "file", "/etc/hosts").bind(place / "file", "/etc/masked")
    names = ("etc/hosts", "etc/masked", "etc/ro")
    for name in names:
        os.link(place / "host", made.rootfs / name)
    made.linux["maskedPaths"], made.linux["readonlyPaths"] = ["/etc/masked"], ["/etc/ro"]
    before = (place / "host").stat()
    done = ends_well(runtime, made, "sh", "-c", "(echo pwned >/etc/ro) 2>/dev/null; cat /etc/hosts /etc/masked")
    assert done.stdout == "bound\n"
    after = (place / "host").stat()
    assert (place / "host").read_text() == "the host's\n"
    for name in ("st_mode", "st_uid", "st_gid", "st_nlink", "st_mtime_ns", "st_ctime_ns"):
        assert getattr(after, name) == getattr(before, name)


def test_copying_up_a_hostile_directory(runtime: Runtime, bundle: MakeBundle, canary: Path) -> None:
    """tmpcopyup copies links as links and opens no nodes."""
    made = capable(bundle())
    tree = made.rootfs / "var/data"
    tree.mkdir()
    (tree / "outside").symlink_to(canary / "secret")
    (tree / "tree").symlink_to(canary)
    (tree / "up").symlink_to("../../../../../../../../../..")
    for kind in ("fifo", "socket", "zero"):
        special(tree / kind, kind, canary)
    (tree / "plain").write_text("plain\n")
    mount(made, "/var/data", "tmpfs", "tmpcopyup")
    done = ends_well(runtime, made, "sh", "-c", "cd /var/data; cat plain outside tree/secret; ls -R tree/; true")
    assert "program" not in done.stdout


def test_copying_up_links(runtime: Runtime, bundle: MakeBundle, canary: Path) -> None:
    """They stay links, and lead to the container's own."""
    runtime.not_like("crun", because="copies nothing of this")
    made = mount(capable(bundle()), "/var/data", "tmpfs", "tmpcopyup")
    (made.rootfs / "var/data").mkdir()
    (made.rootfs / "var/data/outside").symlink_to(canary / "secret")
    done = ends_well(runtime, made, "sh", "-c", "readlink /var/data/outside; cat /var/data/outside; true")
    assert done.stdout == f"{canary}/secret\n", done.stderr


@pytest.mark.parametrize("how", AIMS)
def test_copying_up_from_a_link(runtime: Runtime, bundle: MakeBundle, canary: Path, how: str) -> None:
    made = mount(capable(bundle()), "/var/data", "tmpfs", "tmpcopyup")
    aim(made.rootfs / "var/data", canary, how)
    done = ends_well(runtime, made, "sh", "-c", "cat /var/data/secret; ls -R /var; true")
    assert "program" not in done.stdout


def test_the_console_stays_inside(runtime: Runtime, bundle: MakeBundle, canary: Path) -> None:
    """CVE-2025-52565: /dev/console and /dev/pts that lead elsewhere."""
    for name in ("console", "pts", "ptmx", "tty"):
        made = bare(bundle("sh", "-c", "echo pwned >/dev/console; echo the end"))
        aim(made.rootfs / "dev" / name, canary, "absolute", "/sub" if name == "pts" else "/secret")
        mount(made, "/dev/pts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620")
        made.process["terminal"] = True
        console = runtime.console()
        done = runtime.try_create(made, "--console-socket", str(console.path), timeout=20)
        if done.returncode == 0:
            console.receive()
            runtime.start(runtime.ids[-1])
            console.until("the end")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["sys/net/ipv4/ip_forward", "self/attr/exec", "self/oom_score_adj", "thread-self"])
def test_a_proc_of_the_images_own(runtime: Runtime, bundle: MakeBundle, canary: Path, name: str) -> None:
    """CVE-2025-52881: no proc is mounted, and the directory holds links to files of the host."""
    made = capable(bundle()).writable()
    made.config["mounts"] = [m for m in made.config["mounts"] if m["destination"] != "/proc"]
    made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []
    made.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    made.process["oomScoreAdj"] = 100
    target = made.rootfs / "proc" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    aim(target, canary, "absolute", "/secret")
    ends_well(runtime, made, "true")


def test_a_proc_that_another_mount_shadows(runtime: Runtime, bundle: MakeBundle, place: Path, canary: Path) -> None:
    """CVE-2019-19921 and CVE-2025-52881: /proc is a volume of somebody else's when a sysctl is written."""
    volume = place / "volume"
    for name in ("sys/net/ipv4", "self/attr", "thread-self/attr"):
        (volume / name).mkdir(parents=True)
    for name in ("sys/net/ipv4/ip_forward", "self/oom_score_adj", "self/attr/exec", "thread-self/attr/exec"):
        (volume / name).symlink_to(canary / "secret")
    made = capable(bundle()).writable().bind(volume, "/proc")
    made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []
    made.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    ends_well(runtime, made, "true")


EXCHANGE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
a, b = (os.fsencode(p) for p in sys.argv[1:])
while os.getppid() == int(os.environ["PARENT"]):
    for _ in range(2000):
        libc.renameat2(-100, a, -100, b, 2)
"""


@pytest.mark.parametrize("what", ["target", "parent", "file", "masked"])
def test_what_is_swapped_while_a_container_is_made(
    runtime: Runtime, bundle: MakeBundle, place: Path, canary: Path, what: str
) -> None:
    """CVE-2021-30465, CVE-2024-45310: a directory and a link change places all the time while the runtime looks."""
    made = capable(bundle("true")).writable()
    (place / "file").write_text("bound\n")
    one, two = made.rootfs / "var/one", made.rootfs / "var/two"
    two.symlink_to(canary / "secret" if what == "file" else canary)
    if what == "file":
        one.touch()
        made.bind(place / "file", "/var/one")
    else:
        one.mkdir()
    if what == "target":
        mount(made, "/var/one", "tmpfs", "mode=700")
    elif what == "parent":
        mount(made, "/var/one/a/b", "tmpfs", "mode=700").bind(place / "file", "/var/one/c/file")
        made.linux["devices"] = [{"path": "/var/one/d/node", "type": "c", "major": 1, "minor": 3}]
        made.process["cwd"] = "/var/one/e/f"
    elif what == "masked":
        made.linux["maskedPaths"], made.linux["readonlyPaths"] = ["/var/one"], ["/var/one/sub"]
    env = {**os.environ, "PARENT": str(os.getpid())}
    held = os.open(one, os.O_RDONLY)  # the directory itself, wherever it is
    swapper = subprocess.Popen([system_python(), "-I", "-S", "-c", EXCHANGE, str(one), str(two)], env=env)
    try:
        end = time.monotonic() + some(6)
        for _ in range(some(60)):
            # what is there already need not be made
            for name in os.listdir(held) if what == "parent" else ():
                shutil.rmtree(name, dir_fd=held)
            shutil.rmtree(made.rootfs / canary.parts[1], ignore_errors=True)
            done = runtime.run(made, timeout=20)
            assert "Traceback" not in done.stderr
            assert sorted(os.listdir(canary)) == ["secret", "sub"]
            if time.monotonic() > end:
                break
        assert swapper.poll() is None
    finally:
        os.close(held)
        swapper.kill()
        swapper.wait()
    assert stat.S_ISDIR(canary.stat().st_mode)


def test_what_is_swapped_as_soon_as_it_is_made(runtime: Runtime, bundle: MakeBundle, place: Path, canary: Path) -> None:
    """CVE-2024-45310: a directory that the runtime has made this moment is a link when it goes on below it."""
    (place / "file").write_text("bound\n")
    made = mount(capable(bundle("true")).writable(), "/var/one/a/b", "tmpfs").bind(place / "file", "/var/one/a/c")
    top = made.rootfs / "var/one"
    top.mkdir()
    (top / "link").symlink_to(canary)
    env = {**os.environ, "PARENT": str(os.getpid())}
    words = (system_python(), "-I", "-S", "-c", EXCHANGE, str(top / "a"), str(top / "link"))
    swapper = subprocess.Popen(words, env=env)
    try:
        end = time.monotonic() + some(6)
        while time.monotonic() < end:
            done = runtime.run(made, timeout=20)
            assert "Traceback" not in done.stderr
            assert sorted(os.listdir(canary)) == ["secret", "sub"]
            while len(os.listdir(top)) > 1:
                for name in ("a", "link"):
                    shutil.rmtree(top / name, ignore_errors=True)  # which follows no link, nor removes one
            for name in os.listdir(top):  # the link alone, which nothing is exchanged with
                (top / name).unlink()
            (top / "link").symlink_to(canary)
        assert swapper.poll() is None
    finally:
        swapper.kill()
        swapper.wait()


def test_release_agents_cannot_be_written(runtime: Runtime, bundle: MakeBundle, canary: Path) -> None:
    """CVE-2022-0492, as root without capabilities for it: neither by the view that is there nor by a new one."""
    script = (
        "for f in $(find /sys/fs/cgroup -name release_agent 2>/dev/null); do"
        f" (echo {canary}/sub/program >$f) 2>/dev/null && echo WROTE $f; done;"
        "for c in memory pids rdma devices; do mount -t cgroup -o $c none /mnt 2>/dev/null && echo MOUNTED; done; true"
    )
    for apart in (False, True):
        made = bundle()
        (made.rootfs / "bin/find").symlink_to("busybox")
        if apart:
            made.linux["namespaces"].append({"type": "cgroup"})
        assert sh(runtime, made, script) == ""


WRITERS = """
import fcntl, os, sys, time
held = {}
end = time.monotonic() + float(sys.argv[1])
print('ready', flush=True)
while time.monotonic() < end:
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        for name in ('exe', 'cwd', 'root'):
            try:
                goal = os.stat(f'/proc/{pid}/{name}')
            except OSError:
                continue
            if name == 'exe' and (goal.st_dev, goal.st_ino) not in held:
                try:
                    held[goal.st_dev, goal.st_ino] = os.open(f'/proc/{pid}/exe', os.O_RDONLY)
                except OSError:
                    pass
# what was held is tried once those who ran it are gone: it is busy no longer
for (dev, ino), fd in held.items():
    try:
        if fcntl.fcntl(fd, 1034) & 8:  # F_GET_SEALS, F_SEAL_WRITE: a copy nobody can write to, open as it may
            continue
    except OSError:
        pass
    try:
        os.close(os.open(f'/proc/self/fd/{fd}', os.O_WRONLY))
        print('WRITABLE', dev, ino, os.readlink(f'/proc/self/fd/{fd}'), flush=True)
    except OSError as error:
        word = 'BUSY' if error.errno == 26 else 'kept'  # ETXTBSY: somebody else runs it, too, and will not for ever
        print(word, dev, ino, os.readlink(f'/proc/self/fd/{fd}'), flush=True)
"""


def test_the_runtimes_own_program_cannot_be_written(runtime: Runtime, bundle: MakeBundle) -> None:
    """CVE-2019-5736: somebody inside holds /proc/PID/exe of whoever joins, and opens it for writing later. Nothing is
    written here: a descriptor that could is proof enough. A program whose interpreter is /proc/self/exe makes the
    runtime execute itself."""
    made = python(capable(bundle()), WRITERS)
    made.process["args"].append("4")
    evil = made.rootfs / "bin/evil"
    evil.write_text("#!/proc/self/exe\n")
    evil.chmod(0o755)
    id = runtime.running(made)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        runtime.exec(id, "true", timeout=20)
        runtime.exec(id, "/bin/evil", timeout=20)
    out = runtime.finish(id)
    inside = {(p.stat().st_dev, p.stat().st_ino) for p in (made.rootfs / "bin").iterdir() if p.exists()}
    # of runc's program, which it binds read-only, the kernel says that it is busy before that it cannot be written
    words = ("WRITABLE", "BUSY") if runtime.name == "cloche-runtime" else ("WRITABLE",)
    writable = [line.split() for line in out.splitlines() if line.startswith(words)]
    assert [words for words in writable if (int(words[1]), int(words[2])) not in inside] == []


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_no_descriptor_leads_out(runtime: Runtime, bundle: MakeBundle, canary: Path, verb: str) -> None:
    """CVE-2024-21626: a working directory that is one of the runtime's descriptors."""
    attack = (
        f"pwd; cat {'../' * 20}{str(canary)[1:]}/secret; for d in . .. ../.. ../../..; do cat $d/canary/secret; done"
    )
    made = capable(bundle())
    id = runtime.running(bundle("sleep", "600")) if verb == "exec" else ""
    for number in range(3, 21):
        cwd = f"/proc/self/fd/{number}"
        if verb == "exec":
            done = runtime.exec(id, "sh", "-c", attack, flags=["--cwd", cwd])
            assert SECRET not in done.stdout
            assert "Traceback" not in done.stderr
        else:
            made.process["cwd"] = cwd
            ends_well(runtime, made, "sh", "-c", attack)


def test_arguments_cannot_be_descriptors(runtime: Runtime, bundle: MakeBundle) -> None:
    """CVE-2024-21626, the other way: the program itself is one."""
    for number in range(3, 14):
        done = ends_well(runtime, bundle(f"/proc/self/fd/{number}", "--version"))
        assert done.returncode != 0


def test_a_shadowed_library_is_not_loaded(runtime: Runtime, bundle: MakeBundle, canary: Path) -> None:
    """CVE-2019-14271: nothing is executed or imported from the root file system by the runtime itself."""
    only_cloche(runtime, "of interpreters and their libraries")
    made = capable(bundle("true")).writable()
    evil = f"open({str(canary / 'pwned')!r}, 'w').write('x')\n"
    for name in ("usr/lib/python3/encodings.py", "encodings/__init__.py", "sitecustomize.py", "linecache.py", "os.py"):
        (made.rootfs / name).parent.mkdir(parents=True, exist_ok=True)
        (made.rootfs / name).write_text(evil)
    for name in ("etc/ld.so.preload", "etc/ld.so.cache", "etc/nsswitch.conf"):
        (made.rootfs / name).write_text("/evil.so\n")
    made.process["env"] += ["PYTHONPATH=/", "PYTHONSTARTUP=/os.py", "LD_PRELOAD=/evil.so", "PYTHONHOME=/"]
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.command("/bin/absent")  # an error is what loads modules late
    done = ends_well(runtime, made)
    assert done.returncode != 0


def asleep(runtime: Runtime, id: str) -> int:
    """Wait until the first process of a container sleeps at a failpoint; its pid."""
    found = 0

    def sleeps() -> bool:
        nonlocal found
        try:
            found = json.loads((runtime.root / id / "state.json").read_text()).get("pid", 0)
            return bool(found) and "nanosleep" in Path(f"/proc/{found}/wchan").read_text()
        except (OSError, ValueError):
            return False

    wait_until(sleeps, "it never came there")
    return found


def test_a_terminal_whose_directory_is_swapped(runtime: Runtime, bundle: MakeBundle) -> None:
    """CVE-2025-52565: /dev/console is the terminal itself, whatever has its name by then."""
    only_cloche(runtime, "it is stopped at a point of its own")
    made = bare(bundle("sh", "-c", "stat -c %t /dev/console; echo the end"))
    mount(made, "/dev/pts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620")
    made.process["terminal"] = True
    made.write()
    console, id = runtime.console(), runtime.new_id()
    child = runtime.popen(
        *("create", "--console-socket", str(console.path), "-b", str(made.path), id),
        env={"CLOCHE_FAILPOINT": "BindConsole:sleep"},
    )
    console.receive()
    asleep(runtime, id)
    (made.rootfs / "dev/pts").rename(made.rootfs / "dev/was")
    (made.rootfs / "dev/pts").mkdir()
    (made.rootfs / "dev/pts/0").write_text("poison\n")
    assert child.wait(20) == 0
    runtime.start(id)
    assert "88\n" in console.until("the end")  # the major number of a pty's far end


@pytest.mark.parametrize("destination", ["/proc", "/proc/", "//proc/."])
def test_a_proc_that_is_moved(runtime: Runtime, bundle: MakeBundle, destination: str) -> None:
    """Somebody who has the root file system, too, renames the directory: the masks are on what was mounted there."""
    only_cloche(runtime, "it is stopped at a point of its own")
    made = bundle("cat", "/moved/self/mountinfo")
    made.config["mounts"][0]["destination"] = destination
    made.linux["maskedPaths"], made.linux["readonlyPaths"] = ["/proc/keys"], ["/proc/sys"]
    made.write()
    id = runtime.new_id()
    with (runtime.top / f"{id}.out").open("wb") as out:
        child = runtime.popen(*("create", "-b", str(made.path), id), env={"CLOCHE_FAILPOINT": "Mask:sleep"}, stdout=out)
        asleep(runtime, id)
        (made.rootfs / "proc").rename(made.rootfs / "moved")
        (made.rootfs / "proc").mkdir()
        assert child.wait(20) == 0
    runtime.start(id)
    found = [entry.path for entry in mounts(runtime.finish(id))]
    assert "/moved/keys" in found
    assert "/moved/sys" in found


def test_a_mount_whose_directory_is_swapped(runtime: Runtime, bundle: MakeBundle) -> None:
    """What is said of it is not said of another: here that the root passes on mounts."""
    only_cloche(runtime, "it is stopped at a point of its own")
    made = mount(bundle("cat", "/proc/self/mountinfo"), "/mnt", "tmpfs", "shared")
    made.write()
    id = runtime.new_id()
    with (runtime.top / f"{id}.out").open("wb") as out:
        child = runtime.popen(
            *("create", "-b", str(made.path), id), env={"CLOCHE_FAILPOINT": "Propagate:sleep"}, stdout=out
        )
        asleep(runtime, id)
        (made.rootfs / "mnt").rename(made.rootfs / "moved")
        (made.rootfs / "mnt").symlink_to("/")
        assert child.wait(20) == 0
    runtime.start(id)
    found = {entry.path: entry.propagation for entry in mounts(runtime.finish(id))}
    assert "shared" in found["/moved"]
    assert "shared" not in found["/"]


def test_a_node_that_is_swapped(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """A device that is there already gets its owner, and not a file of the host that has its name a moment later."""
    only_cloche(runtime, "others make no node where one is")
    (place / "host").write_text("the host's\n")
    made = any_device(capable(bundle("true"))).writable()
    one, two = made.rootfs / "var/one", made.rootfs / "var/two"
    os.mknod(one, 0o020666, os.makedev(1, 3))
    os.link(place / "host", two)
    made.linux["devices"] = [{"path": "/var/one", "type": "c", "major": 1, "minor": 3, "uid": 7, "gid": 7}]
    env = {**os.environ, "PARENT": str(os.getpid())}
    swapper = subprocess.Popen([system_python(), "-I", "-S", "-c", EXCHANGE, str(one), str(two)], env=env)
    try:
        end = time.monotonic() + some(6)
        while time.monotonic() < end:
            runtime.run(made, timeout=20)
            status = (place / "host").stat()
            assert (status.st_uid, status.st_gid) == (0, 0)
        assert swapper.poll() is None
    finally:
        swapper.kill()
        swapper.wait()


def test_a_null_device_of_another_type(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """CVE-2025-31133: a block device may have the numbers of the null device."""
    (place / "dev").mkdir()
    os.mknod(place / "dev/null", 0o060666, os.makedev(1, 3))
    made = bare(bundle("stat", "-c", "%F", "/etc/secret")).bind(place / "dev", "/dev")
    (made.rootfs / "etc/secret").write_text(f"{SECRET}\n")
    made.linux["maskedPaths"] = ["/etc/secret"]
    assert "block" not in ends_well(runtime, made).stdout


def test_a_proc_whose_path_leads_upwards(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("ls", "/proc/self/ns")
    made.config["mounts"][0]["destination"] = "/../../proc"
    assert "mnt" in ends_well(runtime, made).stdout


@pytest.mark.parametrize("how", ["no proc", "trailing slash", "volume"])
def test_sysctls_are_set_in_proc(runtime: Runtime, bundle: MakeBundle, place: Path, canary: Path, how: str) -> None:
    """CVE-2019-16884, CVE-2025-52881: they are set, whatever is at /proc of the root file system."""
    only_cloche(runtime, "others need a /proc, or refuse what is there")
    made = capable(bundle("cat", "/mnt/sys/net/ipv4/ip_unprivileged_port_start"))
    made.linux["maskedPaths"] = made.linux["readonlyPaths"] = []
    made.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "77"}
    if how == "no proc":
        made.config["mounts"].pop(0)
    elif how == "trailing slash":
        made.config["mounts"][0]["destination"] = "/proc/"
    else:
        volume = place / "volume/sys/net/ipv4"
        volume.mkdir(parents=True)
        (volume / "ip_unprivileged_port_start").symlink_to(canary / "secret")
        made.bind(place / "volume", "/proc")
    mount(made, "/mnt", "proc")
    done = ends_well(runtime, made)
    assert done.stdout == "77\n", done.stderr
