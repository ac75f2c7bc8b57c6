"""`cloche explain`, `run --explain`, `--step` and the receipt: they say what is done, and it is done."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.terminal import Emulator

if TYPE_CHECKING:
    from tests.conftest import Cli

RICH = (
    *("-t", "--init", "--read-only", "--time-offset", "monotonic=5", "--ulimit", "nofile=99", "--hostname", "bell"),
    *("--tmpfs", "/scratch", "-v", "/usr/share:/shared:ro", "--sysctl", "net.ipv4.ip_forward=1", "-w", "/work"),
    *("--add-host", "a:10.0.0.1", "--dns", "10.0.0.2", "--env", "A=b", "-u", "0:0", "--oom-score-adj", "500"),
)
LAYERS = {
    *("user", "mount", "pid", "network", "ipc", "uts", "cgroup view", "time", "pids", "keyring", "root", "session"),
    *("seccomp", "capabilities", "no_new_privs", "landlock", "descriptors", "masked paths", "read-only paths"),
    *("host files", "stage"),
}
CHANGES = (
    "mount,umount2,unshare,setns,clone,clone3,fork,vfork,mkdir,mkdirat,mknod,mknodat,rmdir,unlink,unlinkat,rename,"
    "renameat,renameat2,link,linkat,symlink,symlinkat,pivot_root,move_mount,open_tree,mount_setattr,fsopen,fsmount,"
    "sethostname,setdomainname,chmod,fchmod,fchmodat,chown,fchown,fchownat,lchown,truncate,ftruncate,kill,"
    "pidfd_send_signal,setuid,setresuid,capset,seccomp,keyctl,fcntl,flock,creat,utimensat,prlimit64,socket,socketpair"
)
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON documents in `text`, one after the other."""
    found, decoder, position = [], json.JSONDecoder(), 0
    while position < len(text):
        document, position = decoder.raw_decode(text, position)
        found.append(document)
        while position < len(text) and text[position].isspace():
            position += 1
    return found


def explained(cli: Cli, *words: str) -> dict[str, Any]:
    """`cloche explain --format json`."""
    done = cli("explain", "--format", "json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def watched(cli: Cli, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """`cloche run --explain --format json`: the steps, the last document, and what the command printed."""
    done = cli("run", "--explain", "--format", "json", *words)
    *steps, last = documents(done.stderr)
    assert last["exit_code"] == done.returncode
    return steps, last, done.stdout


def plain(value: object) -> str:
    """Text without what differs from one container to the next."""
    return re.sub(r"cloche-[0-9.]+-|\b[0-9a-f]{12,64}|\b\d{6,10}\b", "*", json.dumps(value, ensure_ascii=False))


@needs_strace
def test_explain_changes_nothing(anyone: Cli, rootfs: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    words = ["-B", "explain", *RICH, "-m", "64m", "--allow-unenforced", "--name", "never", "--rootfs", str(rootfs)]
    before = sorted(os.listdir(anyone.state))
    argv = anyone.argv
    python = argv.index(anyone.python)  # what stands before makes an ordinary user
    tmp_path.chmod(0o777)
    for folder in list(tmp_path.parents)[:3]:
        if folder.stat().st_mode & 0o011 != 0o011:
            folder.chmod(folder.stat().st_mode | 0o011)
    tracer = [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(trace),
        "-e",
        f"trace={CHANGES},write,writev,pwrite64,openat,open,openat2",
    ]

    class Traced(type(anyone)):  # type: ignore[misc]
        @property
        def argv(self) -> list[str]:
            return [*argv[:python], *tracer, *argv[python:]]

    done = Traced(anyone.kind, anyone.source, anyone.python)(*words[1:])
    assert done.returncode == 0, done.stderr
    calls = trace.read_text().splitlines()
    assert any("write(1" in call for call in calls)
    for call in calls:
        name = re.sub(r"^\d+ +", "", call).partition("(")[0]
        if name in {"write", "writev"}:
            assert re.search(r"write\(1,", call), call
        elif name in {"open", "openat", "openat2"}:
            assert not re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", call), call
        elif name == "fcntl":
            assert not re.search("SETLK|SETFL", call), call
        elif name == "prlimit64":
            assert "NULL, {" in call, call
        elif "exited with" not in call:
            assert name in {"socket", "seccomp"}, call
    assert sorted(os.listdir(anyone.state)) == before


def test_explain_takes_what_run_takes(anyone: Cli, rootfs: Path) -> None:
    words = [*RICH, "--rootfs", str(rootfs), "echo", "fine"]
    assert explained(anyone, *words)["steps"]
    done = anyone("run", *words)
    assert (done.returncode, done.stdout) == (0, "fine\r\n"), done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--memory", "nonsense", "host"),
        ("--rootfs", "/no/such/directory"),
        ("--pull=never", "nothing-like-it", "true"),
        ("--userns", "host", "--uidmap", "0:0:1", "host"),
        ("--no-such-option", "host"),
        ("--cap-add", "CAP_FLY", "host"),
        ("--network", "container:nobody", "host"),
    ],
)
def test_explain_refuses_what_run_refuses(anyone: Cli, words: tuple[str, ...]) -> None:
    said, ran = anyone("explain", *words), anyone("run", *words)
    assert (said.returncode, said.stdout) == (ran.returncode, ran.stdout) == (125, "")
    assert said.stderr.replace("explain", "run") == ran.stderr.replace("explain", "run")


@pytest.mark.parametrize("options", [(), RICH, ("--privileged",), ("--network", "host", "--pid", "host")])
def test_every_step_says_what_it_calls_and_what_it_means(anyone: Cli, rootfs: Path, options: tuple[str, ...]) -> None:
    for image in (("host",), ("--rootfs", str(rootfs))):
        steps = explained(anyone, *options, *image)["steps"]
        assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
        for step in steps:
            assert step["side"] in {"outside", "inside"}
            assert step["calls"], step
            assert all(re.match(r"^[a-z_0-9]+\(|^[a-z_0-9]+ ", call) for call in step["calls"]), step
            assert step["meaning"].strip(), step
            assert not re.search(r"[{}\n]|None|object at", step["meaning"]), step
            assert not re.search(r"None|object at|\{\w+!r\}", " ".join(step["calls"])), step


def test_explain_for_people(anyone: Cli, rootfs: Path) -> None:
    done = anyone("explain", "--hostname", "bell", "--rootfs", str(rootfs), "true")
    steps = explained(anyone, "--hostname", "bell", "--rootfs", str(rootfs), "true")["steps"]
    lines = done.stdout.splitlines()
    assert 'sethostname("bell")' in done.stdout
    assert "the stage, outside:" in lines
    assert "the new process, inside:" in lines
    for step in steps:
        assert any(line.startswith(f"{step['step']:>3}  ") for line in lines), step
    receipt = lines[lines.index("receipt, if every step succeeds:") + 1 :]
    assert {line[2:].split("  ")[0] for line in receipt} >= LAYERS - {"pids"}


@pytest.mark.parametrize("options", [(), RICH])
def test_what_is_done_is_what_was_explained(anyone: Cli, rootfs: Path, options: tuple[str, ...]) -> None:
    for image in (("host",), ("--rootfs", str(rootfs))):
        words = [*options, *image, "true"]
        planned = explained(anyone, *words)["steps"]
        steps, last, _ = watched(anyone, *words)
        assert last["exit_code"] == 0
        for side in ("outside", "inside"):
            done = [step for step in steps if step["side"] == side]
            timed = [step.pop("microseconds", None) for step in done]
            assert all(time is None or time >= 0 for time in timed)
            assert timed.count(None) == (1 if side == "inside" else 0)  # the command does not come back to tell
            assert [plain(step) for step in done] == [plain(step) for step in planned if step["side"] == side]


@needs_strace
def test_the_calls_that_are_claimed_are_made(root: Cli, rootfs: Path, tmp_path: Path) -> None:
    steps = explained(root, "--rootfs", str(rootfs), "true")["steps"]
    trace = tmp_path / "trace"
    names = "clone3,pivot_root,move_mount,umount2,seccomp,sethostname,capset,mount_setattr,fsopen"
    tracer = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={names}"]

    class Traced(type(root)):  # type: ignore[misc]
        @property
        def argv(self) -> list[str]:
            return [*tracer, *root.argv]

    # a tracer and a listener for refusals get in each other's way
    done = Traced(root.kind, root.source, root.python)("run", "--rootfs", str(rootfs), "true")
    assert done.returncode == 0, done.stderr
    made = [line for line in trace.read_text().splitlines() if "resumed>" not in line]

    def count(name: str) -> int:
        return sum(1 for line in made if re.search(rf"^\d+ +{name}\(", line))

    def claimed(name: str, *, certain: bool) -> int:
        unsure = {"Mask", "ReadOnly"}  # what this kernel does not have is left out
        chosen = [step for step in steps if not (certain and step["operation"] in unsure)]
        return sum(len(re.findall(rf"\b{name}\b", call)) for step in chosen for call in step["calls"])

    clone = next(call for step in steps for call in step["calls"] if call.startswith("clone3("))
    line = next(line for line in made if "clone3(" in line)
    for flag in re.findall(r"CLONE_\w+", clone):
        assert flag in line
    assert set(re.findall(r"CLONE_NEW\w+", line)) == set(re.findall(r"CLONE_NEW\w+", clone))
    assert count("pivot_root") == claimed("pivot_root", certain=True) == 1
    assert count("sethostname") == claimed("sethostname", certain=True) == 1
    assert sum("SECCOMP_SET_MODE_FILTER" in line for line in made) == 1
    for name in ("move_mount", "fsopen"):
        assert claimed(name, certain=True) <= count(name) <= claimed(name, certain=False)
        assert count(name) >= 3


def test_the_receipt_has_every_layer(anyone: Cli, rootfs: Path) -> None:
    planned = explained(anyone, "--rootfs", str(rootfs), "true")["receipt"]
    _, last, _ = watched(anyone, "--rootfs", str(rootfs), "true")
    assert set(planned) == set(last["receipt"])
    assert set(planned) >= LAYERS - (set() if anyone.kind == "root" else {"pids"})
    for name, layer in last["receipt"].items():
        assert isinstance(layer["enforced"], bool)
        assert layer["detail"].strip(), name
    assert last["usage"]["wall"] > 0
    assert last["reason"]["kind"] == "exited"


def outer(kind: str) -> str:
    return os.readlink(f"/proc/self/ns/{kind}")


STATUS = "grep -E '^(CapBnd|Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t' | tr '\\n' ' '"
SWITCHES = [
    (("--userns", "host"), ["user"], "cat /proc/self/uid_map", lambda text: "4294967295" in text),
    (("--network", "host"), ["network"], "readlink /proc/self/ns/net", lambda text: outer("net") in text),
    (("--pid", "host"), ["pid"], "readlink /proc/self/ns/pid", lambda text: outer("pid") in text),
    (("--ipc", "host"), ["ipc"], "readlink /proc/self/ns/ipc", lambda text: outer("ipc") in text),
    (("--uts", "host"), ["uts"], "readlink /proc/self/ns/uts", lambda text: outer("uts") in text),
    (
        ("--cgroupns", "host"),
        ["cgroup view"],
        "readlink /proc/self/ns/cgroup",
        lambda t: outer("cgroup") in t,
    ),
    (("--cap-add", "ALL"), ["capabilities"], STATUS, lambda text: f"CapBnd:{every_capability()}" in text),
    (("--security-opt", "seccomp=unconfined"), ["seccomp"], STATUS, lambda text: "Seccomp:0" in text),
    (("--security-opt", "no-new-privileges=false"), ["no_new_privs"], STATUS, lambda text: "NoNewPrivs:0" in text),
    (("--security-opt", "landlock=off"), ["landlock"], "mkdir /new 2>&1 && echo made", lambda text: "made" in text),
    (
        ("--security-opt", "systempaths=unconfined"),
        ["masked paths", "read-only paths"],
        "grep -E ' /proc/(bus|kcore) ' /proc/self/mountinfo; echo end",
        lambda text: text == "end\n",
    ),
]


def every_capability() -> str:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return f"{(1 << (last + 1)) - 1:016x}"


@pytest.mark.parametrize(("options", "layers", "script", "is_off"), SWITCHES, ids=[" ".join(s[0]) for s in SWITCHES])
def test_what_is_switched_off_is_said_to_be_and_is(
    root: Cli, options: tuple[str, ...], layers: list[str], script: str, is_off: Any
) -> None:
    command = ("host", "sh", "-c", script)
    _, with_it, on = watched(root, *command)
    _, without, off = watched(root, *options, *command)
    receipt = explained(root, *options, *command)["receipt"]
    known = [layer for layer in layers if layer in receipt][:2]
    assert known
    for layer in known:
        assert with_it["receipt"][layer]["enforced"], layer
        assert not without["receipt"][layer]["enforced"], layer
        assert not receipt[layer]["enforced"], layer
        assert without["receipt"][layer]["detail"] == receipt[layer]["detail"] != with_it["receipt"][layer]["detail"]
    others = [name for name in with_it["receipt"] if name not in {*layers, "stage", "landlock", "read-only paths"}]
    for name in others:
        assert without["receipt"][name]["enforced"] == with_it["receipt"][name]["enforced"], name
    assert is_off(off), off
    assert not is_off(on), on


def test_privileged_switches_off_what_it_says(root: Cli) -> None:
    _, last, text = watched(root, "--privileged", "host", "sh", "-c", STATUS)
    layers = {"capabilities", "seccomp", "no_new_privs", "landlock", "masked paths", "read-only paths"}
    assert not [name for name in layers if last["receipt"][name]["enforced"]]
    assert set(text.split()) == {f"CapBnd:{every_capability()}", "NoNewPrivs:0", "Seccomp:0"}
    assert last["receipt"]["user"]["enforced"]


@pytest.mark.parametrize(("mode", "enforced"), [("", True), (":ro", True), (":rw", False)])
def test_a_root_that_can_be_written_is_said_to_be(
    root: Cli, rootfs: Path, tmp_path: Path, mode: str, enforced: bool
) -> None:
    own = tmp_path / "root"
    shutil.copytree(rootfs, own, symlinks=True)
    for folder in (own, *list(own.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    _, last, _ = watched(root, "--rootfs", f"{own}{mode}", "sh", "-c", "(echo changed >/etc/new) 2>/dev/null; true")
    assert last["receipt"]["host files"]["enforced"] is enforced
    assert (own / "etc/new").exists() is not enforced


def test_the_kernel_confirms_what_the_receipt_says(anyone: Cli, rootfs: Path) -> None:
    _, last, _ = watched(anyone, "--rootfs", str(rootfs), "sleep", "0.2")
    for name in ("seccomp", "no_new_privs"):
        assert last["receipt"][name]["enforced"]
        assert "the kernel confirms it" in last["receipt"][name]["detail"]


KEYS = "[enter] take it"
SHELL = "(as it stands) # "


@pytest.mark.parametrize("kind", ["root", "user"])
def test_step_by_step(request: pytest.FixtureRequest, kind: str, rootfs: Path) -> None:
    cli: Cli = request.getfixturevalue(kind)
    words = ("--hostname", "bell", "--rootfs", str(rootfs), "echo", "done", "and", "dusted")
    steps = explained(cli, *words)["steps"]
    first = next(i for i, step in enumerate(steps) if step["operation"] == "SetHostName")
    with Emulator.of(cli, "run", "--step", *words) as window:
        for index, step in enumerate(steps):
            seen = window.until(KEYS).decode()
            assert step["calls"][0][:10] in seen
            if index in {first, first + 1}:
                window.until("> ")
                window.type("s\r")
                window.until(SHELL)
                window.type("echo name=$(uname -n)\r")
                expected = "bell" if index > first else os.uname().nodename
                window.until(f"\r\nname={expected}\r\n")
                window.until(SHELL)
                window.type("exit\r")
                window.until(KEYS)
            window.until("> ")
            window.type("\r")
        window.until("done and dusted")
        assert window.ended() == 0


@pytest.mark.parametrize("operation", ["Clone", "Release", "MakePrivate", "PivotRoot", "Execute"])
@pytest.mark.parametrize("key", ["q\r", "\x03"])
def test_stopping_between_steps_leaves_nothing(anyone: Cli, rootfs: Path, operation: str, key: str) -> None:
    words = ("--name", "stepper", "--rootfs", str(rootfs), "echo", "never")
    steps = explained(anyone, *words)["steps"]
    where = next(i for i, step in enumerate(steps) if step["operation"] == operation)
    cid = Path(anyone.state) / "step.cid"
    cid.unlink(missing_ok=True)
    with Emulator.of(anyone, "run", "--step", "--cidfile", str(cid), *words) as window:
        for _ in range(where):
            window.until(KEYS)
            window.until("> ")
            window.type("\r")
        window.until(KEYS)
        window.until("> ")
        name = cid.read_text()[:24]
        if anyone.kind == "root" and operation != "CreateGroup":
            assert [path for path in groups() if name in path]
        window.type(key)
        if key == "\x03":
            window.type("\r")  # the question is asked to the end of its line
        assert window.ended() == 125
        assert b"stopped" in window.seen
        assert b"\nnever" not in window.seen
    cid.unlink()
    assert not [path for path in groups() if name in path]
    assert not list((Path(anyone.state) / "containers").glob(f"{name}*"))


def groups() -> list[str]:
    return [f"{top}/{d}" for top, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if d.startswith("cloche-")]


def test_steps_need_a_keyboard(anyone: Cli, rootfs: Path) -> None:
    done = anyone("run", "--step", "--rootfs", str(rootfs), "echo", "never")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("cloche: --step waits for a key")
