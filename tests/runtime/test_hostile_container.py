"""A running container that is after whoever comes in, and what a rootfs does to commands that come later.

What does not belong here: attacks while a container is made (see test_hostile_rootfs).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.stage import kept
from tests.integration.trees import look
from tests.runtime.conftest import SLEEP, groups_of, wait_until
from tests.runtime.looking import capable, namespace, only_cloche, python, user_namespace

if TYPE_CHECKING:
    from tests.runtime.conftest import Bundle, MakeBundle, Runtime

EVIL = "import sys\nsys.stderr.write('IMPORTED ' + __name__ + '\\n')\n"


def poison(made: Bundle, runtime: Runtime) -> None:
    """Put modules where the runtime's own Python looks for its library, and for cloche, as seen from the root."""
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": "/usr"}))
    ours = Path(runtime.command[-1]).parents[2] / "src"
    for top, below in ((library, library), (ours, ours)):
        for path in [*below.glob("*.py"), *below.glob("encodings/*.py"), *below.glob("cloche/**/*.py")]:
            target = made.rootfs / str(path)[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(EVIL)
        assert (made.rootfs / str(top)[1:]).is_dir()


@pytest.mark.parametrize("flags", [(), ("--debug",)], ids=["bundle", "files"])
def test_nothing_is_imported_from_the_root(runtime: Runtime, bundle: MakeBundle, flags: tuple[str, ...]) -> None:
    """CVE-2019-14271."""
    only_cloche(runtime, "of interpreters and their libraries")
    made = bundle(*SLEEP)
    poison(made, runtime)
    (made.rootfs / "bin/odd").write_text("#!/absent\n")
    (made.rootfs / "bin/odd").chmod(0o755)
    said = []
    id = runtime.running(made)
    for more in (("true",), ("absent",), ("/bin/odd",), ("/etc",)):
        said.append(runtime(*flags, "exec", id, *more).stderr)
        said.append(runtime(*flags, "exec", "--user", "1000:7", "-g", "9", "--cwd", "/tmp", id, *more).stderr)
        said.append(runtime(*flags, "exec", "--tty", "--cwd", "/absent", id, *more).stderr)
        made.command(*more)
        made.config["hooks"] = {"startContainer": [{"path": "/bin/odd"}]} if more == ("true",) else {}
        made.write()
        said.append(runtime(*flags, "run", "--bundle", str(made.path), runtime.new_id()).stderr)
    print("\n".join(said))
    assert not [text for text in said if "IMPORTED" in text]


NESTED = """
import ctypes, fcntl, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
go, gone = os.pipe(), os.pipe()
me = os.getpid()
held = {}
if os.fork() == 0:  # somebody who stays in the container's own users: the host's root
    os.read(go[0], 1)
    for name in ('uid_map', 'gid_map'):
        with open(f'/proc/{me}/{name}', 'w') as f:
            f.write('0 100000 65536')
    os.write(gone[1], b'x')
    print('ready', flush=True)
    end = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        for pid in os.listdir('/proc'):
            if pid.isdigit() and int(pid) not in (os.getpid(), me):
                try:
                    goal = os.stat(f'/proc/{pid}/exe')
                    if (goal.st_dev, goal.st_ino) not in held:
                        held[goal.st_dev, goal.st_ino] = os.open(f'/proc/{pid}/exe', os.O_RDONLY)
                except OSError:
                    pass
    for (dev, ino), fd in held.items():
        try:
            if fcntl.fcntl(fd, 1034) & 8:  # F_GET_SEALS, F_SEAL_WRITE
                continue
        except OSError:
            pass
        try:
            os.close(os.open(f'/proc/self/fd/{fd}', os.O_WRONLY))
            print('WRITABLE', dev, ino, os.readlink(f'/proc/self/fd/{fd}'), flush=True)
        except OSError as error:
            # who is refused as somebody runs it (ETXTBSY) is not refused later
            word = 'WRITABLE' if error.errno == 26 else 'kept'
            print(word, dev, ino, os.readlink(f'/proc/self/fd/{fd}'), flush=True)
    os._exit(0)
if libc.unshare(0x10000000):
    print('no namespace', ctypes.get_errno(), flush=True)
os.write(go[1], b'x')
os.read(gone[0], 1)
os.wait()
"""


def test_a_first_process_that_has_gone_to_users_of_its_own(runtime: Runtime, bundle: MakeBundle) -> None:
    """CVE-2019-5736: the ids of the first process say nothing about who else is in the container."""
    only_cloche(runtime, "of the copy it starts from")
    made = python(capable(bundle(), "SETUID", "SETGID", "DAC_OVERRIDE", "CHOWN", "KILL"), NESTED)
    made.process["noNewPrivileges"] = False
    made.process["args"].append("4")
    evil = made.rootfs / "bin/evil"
    evil.write_text(
        "#!/proc/self/exe\nimport os, time\nprint(os.readlink('/proc/self/exe'), flush=True)\ntime.sleep(1)\n"
    )
    evil.chmod(0o755)
    hide = 'mount -t tmpfs none /run/cloche; exec "$@"'
    runtime.prefix = ["unshare", "-m", "sh", "-ec", hide, "sh", *runtime.prefix]
    id = runtime.running(made)
    wait_until(lambda: "ready" in runtime.output(id), runtime.errors(id))
    done = runtime.exec(id, "/bin/evil")
    out = runtime.finish(id)
    print(done.stdout, done.stderr, out)
    inside = {(p.stat().st_dev, p.stat().st_ino) for p in (made.rootfs / "bin").iterdir() if p.exists()}
    writable = [line.split() for line in out.splitlines() if line.startswith("WRITABLE")]
    assert [words for words in writable if (int(words[1]), int(words[2])) not in inside] == []
    assert done.stdout.startswith((f"{kept.KEPT}/.", "/memfd:"))


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("which", ["canary", "rootfs", "rootfs/etc"])
def test_descriptors_of_the_callers(runtime: Runtime, bundle: MakeBundle, place: Path, verb: str, which: str) -> None:
    """CVE-2024-21626, with a directory that whoever called the runtime has left open."""
    runtime.not_like("crun", because="goes there")
    canary = place / "canary"
    canary.mkdir()
    (canary / "secret").write_text("the secret\n")
    attack = "for d in . .. ../.. ../../.. ../../../..; do cat $d/secret $d/canary/secret; done 2>/dev/null; true"
    made = capable(bundle("sh", "-c", attack)).writable()
    fd = os.open(canary if which == "canary" else made.path / which, os.O_RDONLY)
    try:
        if verb == "exec":
            id = runtime.running(made.command(*SLEEP))
            done = runtime.exec(id, "sh", "-c", attack, flags=["--cwd", f"/proc/self/fd/{fd}"], pass_fds=[fd])
        else:
            made.process["cwd"] = f"/proc/self/fd/{fd}"
            done = runtime.run(made, pass_fds=[fd])
    finally:
        os.close(fd)
    print(done.stdout, done.stderr)
    assert "the secret" not in done.stdout
    assert done.returncode != 0


def test_a_program_that_the_caller_has_left_open(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """CVE-2024-21626, the other way: what is executed is a file of the host."""
    runtime.not_like("crun", because="executes it")
    (place / "program").write_bytes((bundle.busybox).read_bytes())
    (place / "program").chmod(0o755)
    fd = os.open(place / "program", os.O_RDONLY)
    try:
        id = runtime.running(bundle(*SLEEP))
        done = runtime.exec(id, f"/proc/self/fd/{fd}", "true", pass_fds=[fd])
        assert done.returncode != 0
        assert "applet" not in done.stderr
        done = runtime.run(bundle(f"/proc/self/fd/{fd}", "true"), pass_fds=[fd])
        assert done.returncode != 0
        assert "applet" not in done.stderr
    finally:
        os.close(fd)


def test_standard_input_that_can_only_be_read(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    """Who runs inside does not become its owner, who could open it again to write."""
    only_cloche(runtime, "others give away whatever is their standard input")
    given = place / "given"
    given.write_text("given\n")
    given.chmod(0o644)
    before = look(place / "given")
    made = bundle("sh", "-c", "cat; for f in /proc/self/fd/0 /dev/stdin; do (echo pwned >$f) 2>/dev/null; done; true")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    made.write()
    with given.open("rb") as stdin:
        done = subprocess.run(
            runtime.argv("run", "--bundle", str(made.path), runtime.new_id()),
            stdin=stdin,
            capture_output=True,
            check=False,
            timeout=20,
        )
    assert done.stdout == b"given\n", done.stderr
    assert look(place / "given") == before


def unread() -> int:
    """How much of the kernel's log nobody has taken yet (syslog(2) SYSLOG_ACTION_SIZE_UNREAD)."""
    import ctypes

    return int(ctypes.CDLL(None).klogctl(9, None, 0))


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_accounts_that_are_the_kernels_log(runtime: Runtime, bundle: MakeBundle, name: str, verb: str) -> None:
    """Reading takes it away from whoever collects it on the host."""
    only_cloche(runtime, "others read what is there")
    made = bundle("true")
    if verb == "exec":
        id = runtime.running(made.command(*SLEEP))
    (made.rootfs / "etc" / name).unlink()
    (made.rootfs / "etc" / name).symlink_to("/proc/kmsg")
    Path("/dev/kmsg").write_text("cloche: a line of a test\n")
    before = unread()
    assert before > 0
    if verb == "exec":
        runtime.exec(id, "true")
    else:
        runtime.run(made)
    assert unread() >= before


NEST = """
import contextlib
import json
import os
import select
import signal
os.chdir('/sys/fs/cgroup/pids')
for _ in range(24):
    os.mkdir('d' * 240)
    os.chdir('d' * 240)
print('made', flush=True)
"""


def writable_groups(made: Bundle) -> Bundle:
    """With a view of its cgroups in which its root may make others."""
    for entry in made.config["mounts"]:
        if entry["type"] == "cgroup":
            entry["options"].remove("ro")
    return made


def test_groups_too_deep_for_a_path(runtime: Runtime, bundle: MakeBundle) -> None:
    """A container that makes groups below its own cannot keep them from being removed."""
    only_cloche(runtime, "others cannot remove them")
    if not Path("/sys/fs/cgroup/pids").is_dir():
        pytest.skip("needs cgroup v1")
    id = runtime.create(writable_groups(python(capable(bundle()), NEST)))
    runtime.start(id)
    assert "made" in runtime.finish(id), runtime.errors(id)
    try:
        runtime.delete(id)
    finally:
        for group in groups_of(id):
            subprocess.run(["find", group, "-depth", "-type", "d", "-execdir", "rmdir", "{}", ";"], check=False)
    assert groups_of(id) == []


HIDE = """
if os.fork() == 0:
    for kind in os.listdir('/sys/fs/cgroup'):
        os.chdir(f'/sys/fs/cgroup/{kind}')
        for _ in range(24):
            os.makedirs('d' * 240, exist_ok=True)
            for file in ('cpuset.cpus', 'cpuset.mems'):  # needed before anybody can go there
                if os.path.exists(file):
                    with open(file) as have, open('d' * 240 + '/' + file, 'w') as given:
                        given.write(have.read())
            os.chdir('d' * 240)
        with open('cgroup.procs', 'w') as f:
            f.write('0')
    print('hidden', os.getpid(), flush=True)
    os.setsid()
    import time
    time.sleep(1000)
os.wait()
"""


@pytest.mark.parametrize("how", ["KILL", "TERM", "delete"])
def test_a_process_in_groups_too_deep_for_a_path(runtime: Runtime, bundle: MakeBundle, how: str) -> None:
    """It is found where its pid namespace does not end it: `kill --all` and `delete` leave nobody behind."""
    only_cloche(runtime, "others do not find it")
    if not Path("/sys/fs/cgroup/pids").is_dir():
        pytest.skip("needs cgroup v1")
    made = writable_groups(python(capable(bundle()), NEST + HIDE))
    made.linux["namespaces"] = [item for item in made.linux["namespaces"] if item["type"] != "pid"]
    id = runtime.running(made)
    wait_until(lambda: "hidden" in runtime.output(id), runtime.errors(id))
    pid = int(runtime.output(id).split("hidden ")[1])
    assert pid in json.loads(runtime.ok("ps", "--format", "json", id))
    hidden = os.pidfd_open(pid)
    try:
        if how == "delete":
            runtime.ok("delete", "--force", id)
        else:
            runtime.ok("kill", "--all", id, how)
        assert select.select([hidden], [], [], 10)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(hidden, signal.SIGKILL)
        os.close(hidden)
    if how != "delete":
        runtime.delete(id)
    assert groups_of(id) == []


FROZEN = """
import os, time
os.chdir('/sys/fs/cgroup/freezer')
os.mkdir('below')
with open('below/cgroup.procs', 'w') as f:
    f.write('0')
print('there', flush=True)
with open('below/freezer.state', 'w') as f:
    f.write('FROZEN')
time.sleep(1000)
"""


def test_a_first_process_that_froze_itself_below(runtime: Runtime, bundle: MakeBundle) -> None:
    """SIGKILL ends it all the same: on v1 nothing that is frozen does."""
    only_cloche(runtime, "others leave it as it is")
    if not Path("/sys/fs/cgroup/freezer").is_dir():
        pytest.skip("needs cgroup v1")
    id = runtime.running(writable_groups(python(capable(bundle()), FROZEN)))
    wait_until(lambda: "there" in runtime.output(id), runtime.errors(id))
    runtime.stop(id)
    runtime.delete(id)


LOOKER = """
import os, sys, time
seen, reached = set(), set()
print('ready', flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) in (1, os.getpid()):
            continue
        try:
            with open(f'/proc/{pid}/comm') as f:
                if f.read() != 'cloche set-up\\n':
                    continue
            seen.add(pid)
            # what ptrace(2) may do as well; until execve this is the runtime's own program
            exe = os.readlink(f'/proc/{pid}/exe')
            if 'python' in exe or 'cloche' in exe:
                reached.add((pid, exe, *os.listdir(f'/proc/{pid}/fd')))
        except OSError:
            pass
print('seen', len(seen), 'reached', *reached, flush=True)
"""


@pytest.mark.parametrize("how", ["exec", "join"])
@pytest.mark.parametrize("users", [True, False], ids=["users", "host"])
def test_who_comes_in_cannot_be_looked_into(runtime: Runtime, bundle: MakeBundle, how: str, users: bool) -> None:
    """CVE-2016-9962: by somebody inside with every capability there, while it still has descriptors of the host's."""
    only_cloche(runtime, "it is known by its name")
    made = python(capable(bundle()), LOOKER)
    (made.rootfs / "usr").mkdir()
    if users:
        made = user_namespace(made)
    else:  # with CAP_SYS_PTRACE over the host's users nothing is out of reach
        for names in made.process["capabilities"].values():
            names.remove("CAP_SYS_PTRACE")
    made.process["args"].append("5")
    id = runtime.running(made)
    wait_until(lambda: "ready" in runtime.output(id), runtime.errors(id))
    pid = runtime.pid(id)
    end = time.monotonic() + 3.5
    count = 0
    while time.monotonic() < end:
        if how == "exec":
            assert runtime.exec(id, "true").returncode == 0
        else:
            other = capable(bundle("true"))
            for kind in ("pid", "user") if users else ("pid",):
                namespace(other, kind, f"/proc/{pid}/ns/{kind}")
            done = runtime.run(other)
            assert done.returncode == 0, done.stderr
        count += 1
    words = runtime.finish(id).split()
    assert words[-1] == "reached", words
    assert int(words[2]) > 3, f"{count} came, and it saw too few: {words}"
