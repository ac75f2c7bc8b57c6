"""What tests of config.json share: changes to a bundle, looks at a container from inside and from outside, and the
proof that a refused container was never there.

What does not belong here: a runtime's command line (see conftest), or what a runtime should do.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import system_python
from tests.runtime.conftest import Runtime, groups_of, wait_until

if TYPE_CHECKING:
    from tests.runtime.conftest import Bundle

# capability numbers of linux/capability.h, in order
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
ESCAPES = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}

_versions: dict[str, tuple[int, ...]] = {}


# whom a test asks


def version(runtime: Runtime) -> tuple[int, ...]:
    """The first numbers that --version prints."""
    key = " ".join(runtime.command)
    if key not in _versions:
        found = re.search(r"version (\d+)\.(\d+)", runtime.ok("--version"))
        assert found, "no version"
        _versions[key] = (int(found[1]), int(found[2]))
    return _versions[key]


def since(runtime: Runtime, *, runc: str = "0", crun: str = "0") -> None:
    """Skip with a peer that is older than the version which brought what the test asks for; "never" is one too."""
    needed = {"runc": runc, "crun": crun}.get(runtime.name, "0")
    if needed == "0":
        return
    if needed == "never" or version(runtime) < tuple(int(part) for part in needed.split(".")):
        pytest.skip(f"{runtime.name} {'.'.join(map(str, version(runtime)))}: {needed} can do this")


def only_cloche(runtime: Runtime, because: str) -> None:
    """Skip with every peer: a promise of cloche's own, which `because` names."""
    if runtime.name != "cloche-runtime":
        pytest.skip(f"asked of cloche-runtime alone: {because}")


# changes to a bundle


def mount(bundle: Bundle, destination: str, kind: str, *options: str, source: str = "", **more: Any) -> Bundle:
    """One more mount at the end."""
    entry = {"destination": destination, "type": kind, "source": source or kind, "options": list(options), **more}
    bundle.config["mounts"].append(entry)
    return bundle


def namespace(bundle: Bundle, kind: str, path: str | None = None) -> Bundle:
    """A namespace of this kind, in place of the one that is there."""
    bundle.without_namespace(kind)
    bundle.linux["namespaces"].append({"type": kind} if path is None else {"type": kind, "path": path})
    return bundle


def user_namespace(bundle: Bundle, host: int = 300000, size: int = 65536) -> Bundle:
    """A user namespace whose ids 0… are the host's `host`…; the root file system stays root's."""
    namespace(bundle, "user")
    one = [{"containerID": 0, "hostID": host, "size": size}]
    bundle.linux["uidMappings"], bundle.linux["gidMappings"] = one, copy.deepcopy(one)
    return bundle


def capable(bundle: Bundle, *names: str) -> Bundle:
    """With these capabilities and no others; all that this process has without names. CAP_ is added."""
    ours = int(status("self")["CapBnd"], 16)
    whole = [f"CAP_{name}" for name in names or [c for i, c in enumerate(CAPABILITIES) if ours >> i & 1]]
    bundle.process["capabilities"] = {kind: list(whole) for kind in ("bounding", "effective", "permitted")}
    return bundle


def unmasked(bundle: Bundle) -> Bundle:
    """Without masked and read-only paths."""
    bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"] = [], []
    return bundle


def any_device(bundle: Bundle) -> Bundle:
    """Without rules about devices."""
    bundle.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    return bundle


def python(bundle: Bundle, code: str) -> Bundle:
    """Run Python inside, with the host's own /usr, as `ctypes` reaches system calls that no command does."""
    for name in ("lib", "lib64"):
        if not (bundle.rootfs / name).is_symlink():
            (bundle.rootfs / name).symlink_to(f"usr/{name}")
    if not any(entry["destination"] == "/usr" for entry in bundle.config["mounts"]):
        bundle.bind("/usr", "/usr", "ro")
    return bundle.command(system_python(), "-I", "-S", "-B", "-c", code)


# looks from inside


def sh(runtime: Runtime, bundle: Bundle, script: str) -> str:
    """Run a script inside to its end, expecting success; what it printed."""
    return told(runtime, bundle.command("sh", "-c", script))


def told(runtime: Runtime, bundle: Bundle) -> str:
    """Run a bundle to its end, expecting success; what it printed."""
    done = runtime.run(bundle)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo."""

    root: str
    path: str
    options: frozenset[str]
    propagation: frozenset[str]  # shared, master, propagate_from, unbindable: without numbers
    type: str
    source: str
    data: frozenset[str]


def mounts(text: str) -> list[Mount]:
    """The lines of a mountinfo."""
    found = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        if not dash or not line[:1].isdigit():
            continue  # what else was printed
        words, rest = before.split(" "), after.split(" ")
        path = words[4]
        for escape, character in ESCAPES.items():
            path = path.replace(escape, character)
        tags = frozenset(word.partition(":")[0] for word in words[6:])
        options = frozenset(words[5].split(","))
        found.append(Mount(words[3], path, options, tags, rest[0], rest[1], frozenset(rest[2].split(","))))
    return found


def mount_at(text: str, path: str) -> Mount:
    """The topmost mount at `path`."""
    found = [mount for mount in mounts(text) if mount.path == path]
    assert found, f"nothing is mounted at {path}:\n{text}"
    return found[-1]


def mounted(runtime: Runtime, bundle: Bundle, path: str) -> Mount:
    """Run the bundle to look at what is mounted at `path` inside."""
    return mount_at(sh(runtime, bundle, "cat /proc/self/mountinfo"), path)


# looks from outside


def status(pid: int | str) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def ns(pid: int | str, kind: str) -> str:
    """What a process's namespace is called: `net:[4026531840]`."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def waiting(runtime: Runtime, bundle: Bundle, *flags: str) -> int:
    """Start `sleep` in the bundle's container; its process as the host sees it."""
    if bundle.process["args"] == ["sh"]:
        bundle.command("sleep", "600")
    return runtime.pid(runtime.running(bundle, *flags))


# refusals


def refused(runtime: Runtime, bundle: Bundle, *words: str) -> str:
    """`create` fails, says so, and leaves the host as if never attempted; returns the message.

    Our own message has every one of `words` in it, is of one line, hint aside, and the exit code is 1.
    """
    id = runtime.new_id()
    done = runtime.try_create(bundle, id=id)
    return was_refused(runtime, done, id, *words)


def was_refused(runtime: Runtime, done: subprocess.CompletedProcess[str], id: str, *words: str) -> str:
    """The same for a `create` or `run` that has ended."""
    assert done.returncode != 0, f"it was not refused: {done.stdout}{done.stderr}"
    assert done.stderr.strip(), "nothing is said about why"
    assert "Traceback" not in done.stderr
    assert done.returncode < 126, done.stderr  # neither a signal nor a command's own end
    assert runtime.status(id) == "", "the container is there"
    wait_until(lambda: not groups_of(id), f"cgroups are left: {groups_of(id)}", patience=3)
    if runtime.name == "cloche-runtime":
        assert done.returncode == 1, done.stderr
        for word in words:
            assert word in done.stderr, f"{word!r} is not in {done.stderr!r}"
    runtime.ids.remove(id)
    return done.stderr


def private(runtime: Runtime, script: str, *flags: str) -> Runtime:
    """The same runtime in a mount namespace of its own, where `script` is run before `create` and `run`: mounts for
    bundles to use. A `;` or newline ends each of its commands."""
    made = copy.copy(runtime)
    made.command = ["slave" if word == "private" else word for word in runtime.command]  # see CRUN_ON_HYBRID
    once = f'case " $* " in *" create "*|*" run "*) {script}\n;; esac\nexec "$@"'
    made.prefix = ["unshare", "-m", *flags, "sh", "-ec", once, "sh", *runtime.prefix]
    return made
