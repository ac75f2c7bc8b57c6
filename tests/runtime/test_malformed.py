"""A config.json that is wrong is refused in one line that says where, and was never there; any config.json at all.

The reader and the checks are called here as well, thousands of times; the command a hundred and fifty times, on
documents of the same kinds: what the one refuses with a pointer, the other has to print.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.cli.output import message
from cloche.errors import SpecError
from cloche.spec.config import Config
from cloche.spec.reader import read_json
from cloche.spec.validate import validate
from tests.amounts import some
from tests.runtime.conftest import (
    SLEEP,
    Bundle,
    MakeBundle,
    Runtime,
    alive,
    default_config,
    groups_of,
    processes_of,
    wait_until,
)
from tests.runtime.looking import only_cloche
from tests.unit.spec.examples import DELETE, change, full, pointers, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

WHERE = re.compile(r"(?:^|[\s:])(/[A-Za-z][\w~-]*(?:/[\w.~-]*)*)|line \d+ column \d+")
NUMBERS = [-1, -(1 << 31), 1 << 31, 1 << 32, -(1 << 63) - 1, 1 << 64, 10**50, 0.5, 1e300, -0.0]
TEXTS = [
    "",
    "a\0b",
    "\ud800",
    "x" * 100_000,
    "..",
    "relative/path",
    "../../etc",
    "é" * 5000,
    "\n",
    "\x1b[2J",
    "0" * 400,
]
BYTES = [b"\xff", b"\0", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"//", b",", b"NaN"]
OTHERS: list[Any] = [True, 7, "text", [], {}, [[]], {"": {}}, None, ["", None], {"a": [1]}, [{}]]


def base() -> dict[str, Any]:
    """A config that is good, with many sections and nothing that touches the host if one value is another."""
    config = default_config()
    config["process"] |= {
        "args": ["true"],
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}],
        "oomScoreAdj": 500,
        "user": {"uid": 0, "gid": 0, "additionalGids": [5], "umask": 18},
    }
    config["process"]["capabilities"].pop("ambient", None)
    config["annotations"] = {"key": "value"}
    config["linux"] |= {
        "sysctl": {"net.core.somaxconn": "100"},
        "resources": {
            "memory": {"limit": 64 << 20},
            "pids": {"limit": 50},
            "cpu": {"shares": 512},
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
            ],
        },
        "seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {
                    "names": ["getpriority"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 1,
                    "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
    }
    return config


def many() -> dict[str, Any]:
    """The same with what is rarer; it has namespaces of users and of time, and hooks of every kind."""
    config = base()
    config["domainname"] = "inside"
    config["process"] |= {
        "consoleSize": {"height": 5, "width": 5},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "scheduler": {"policy": "SCHED_OTHER", "nice": 0, "flags": []},
        "execCPUAffinity": {"initial": "0", "final": "0"},
    }
    hook = {"path": "/bin/true", "args": ["true"], "env": ["A=1"], "timeout": 5}
    config["hooks"] = {
        kind: [copy.deepcopy(hook)]
        for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    }
    config["mounts"].append({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "ro"]})
    config["mounts"].append({"destination": "/tmp", "type": "bind", "source": "rootfs/etc", "options": ["rbind", "ro"]})
    one = [{"containerID": 0, "hostID": 300000, "size": 65536}]
    config["linux"] |= {
        "uidMappings": copy.deepcopy(one),
        "gidMappings": copy.deepcopy(one),
        "timeOffsets": {"monotonic": {"secs": 5, "nanosecs": 5}},
        "personality": {"domain": "LINUX", "flags": []},
        "rootfsPropagation": "private",
        "devices": [{"path": "/dev/fine", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
    }
    config["linux"]["namespaces"] += [{"type": "user"}, {"type": "time"}, {"type": "cgroup"}]
    config["linux"]["resources"] |= {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1 << 21}],
        "blockIO": {"weight": 100},
        "unified": {"hugetlb.2MB.max": "2097152"},
    }
    return config


def encoded(document: object) -> bytes:
    """A document as bytes, lone surrogates included."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", errors="surrogatepass")


def changed(document: dict[str, Any], pointer: str, value: object) -> bytes:
    return encoded(change(document, pointer, value))


def twice(document: dict[str, Any], pointer: str) -> bytes:
    """With the last key of a pointer there twice."""
    *_, last = pointer.split("/")
    key = json.dumps(last)
    text = json.dumps(document)
    at = text.find(f"{key}: ")
    return text.encode() if at < 0 else f"{text[:at]}{key}: 0, {text[at:]}".encode()


class Text(bytes):
    """A text that a failure shows by what was done to it."""

    how = ""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {self.how}>"


@st.composite
def wrong(draw: st.DrawFn, document: dict[str, Any]) -> bytes:
    """The text of a document with one thing wrong, most of the time."""
    steps: list[object] = []

    def pick(strategy: st.SearchStrategy[Any]) -> Any:
        steps.append(draw(strategy))
        return steps[-1]

    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        document = _changed(pick, document)
    text = Text(_wrong(pick, document))
    text.how = ", ".join(f"{step!r:.60}" for step in steps)
    return text


def _changed(draw: Callable[[st.SearchStrategy[Any]], Any], document: dict[str, Any]) -> dict[str, Any]:
    """One value is another, and what is wrong next may be in the same document."""
    pointer = draw(st.sampled_from([place for place in pointers(document) if place]))
    made: dict[str, Any] = change(document, pointer, draw(st.sampled_from([*NUMBERS, *TEXTS, *OTHERS, DELETE])))
    return made


def _wrong(draw: Callable[[st.SearchStrategy[Any]], Any], document: dict[str, Any]) -> bytes:
    places = [place for place in pointers(document) if place]
    pointer = draw(st.sampled_from(places))
    value = resolve(document, pointer)
    kind = draw(st.sampled_from(["type", "number", "text", "delete", "twice", "deep", "cut", "bytes", "flip"]))
    if kind == "number":
        return changed(document, pointer, draw(st.sampled_from(NUMBERS)))
    if kind == "text":
        return changed(document, pointer, draw(st.sampled_from(TEXTS)))
    if kind == "delete":
        return changed(document, pointer, DELETE)
    if kind == "twice":
        return twice(document, pointer)
    if kind == "deep":
        levels = draw(st.sampled_from([10, 150, 201, 5000, 100_000]))
        text = json.dumps(change(document, pointer, "@deep@"))
        opening, closing = draw(st.sampled_from([("[", "]"), ('{"a":', "}")]))
        return text.replace('"@deep@"', opening * levels + "1" + closing * levels).encode()
    if kind in ("cut", "bytes", "flip"):
        whole = encoded(document)
        at: int = draw(st.integers(0, len(whole) - 1))
        if kind == "cut":
            return whole[:at]
        if kind == "bytes":
            extra: bytes = draw(st.sampled_from(BYTES))
            return whole[:at] + extra + whole[at:]
        bit: int = draw(st.integers(0, 7))
        return whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
    others = [other for other in OTHERS if type(other) is not type(value)]
    return changed(document, pointer, draw(st.sampled_from(others)))


def refusal(text: bytes) -> SpecError | None:
    """What the reader and the checks say."""
    try:
        validate(Config.parse(read_json(text)))
    except SpecError as error:
        return error
    return None


@settings(max_examples=some(1500), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(wrong(full()))
def test_any_text_is_read_or_refused_with_a_place(text: bytes) -> None:
    error = refusal(text)
    if error is not None:
        message = str(error)
        assert error.pointer or "line " in message
        assert "\n" not in message
        assert len(message) < 2000
        assert message.removeprefix(error.pointer).isprintable()  # a pointer is exact, and escaped where it is printed


@settings(max_examples=some(500), deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
def test_bytes_that_are_no_json_are_refused_with_a_place(text: bytes) -> None:
    error = refusal(text)
    assert error is not None
    assert error.pointer or "line " in str(error) or "object" in str(error)


class Host:
    """What a refused container may not change."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.mounts = Path("/proc/self/mountinfo").read_text()
        self.children = self.living()

    @staticmethod
    def living() -> set[int]:
        """Our children that live: with the fixture `reaper` every orphan becomes one."""
        mine = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return {int(pid) for pid in mine if alive(int(pid))}

    def assert_untouched(self, id: str) -> None:
        """No state, groups, processes or mounts of this container."""
        root = self.runtime.root
        assert not [path for path in root.rglob("*") if id in str(path)] if root.exists() else True
        assert groups_of(id) == []
        assert processes_of(id) == []
        wait_until(lambda: self.living() <= self.children, "a process goes on", patience=2)
        assert Path("/proc/self/mountinfo").read_text() == self.mounts or self.mounts_elsewhere()

    def mounts_elsewhere(self) -> bool:
        """Whether what is new belongs to somebody else: nothing of it is of this test's directory."""
        return str(self.runtime.top) not in Path("/proc/self/mountinfo").read_text()


# what engines look for is as runc has it
TOLD_OTHERWISE = ("exec: ", "console", " hook ")
PLACE = re.compile(r"(?:^|: )/(?:root|process|mounts|linux|hooks|hostname|domainname|annotations|ociVersion)\b")


def cut(text: str) -> str:
    """As much of a place as every message has."""
    return message(text).partition("…")[0]


def tried(runtime: Runtime, made: Bundle, text: bytes) -> None:
    """Call `create` with a text as config.json."""
    error = refusal(text)
    id = runtime.new_id()
    (made.path / "config.json").write_bytes(text)
    before = Host(runtime)
    done = runtime.detached("create", "--bundle", str(made.path), id, name=id, timeout=20)
    assert done.returncode in (0, 1), (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    if error is not None:
        assert done.returncode == 1, f"{error} was not refused"
    if done.returncode == 0:
        runtime.delete(id, "--force")
    else:
        lines = done.stderr.splitlines()
        assert lines, "nothing is said"
        assert len([line for line in lines if "warning" not in line]) == 1, done.stderr
        assert done.stderr.rstrip("\n").replace("\n", "").isprintable()
        assert len(done.stderr) < 4000
        if error is not None:
            named = (
                WHERE.search(done.stderr) or "config.json" in done.stderr
            )  # the pointer to a whole document is empty
            assert named, f"no place is named: {done.stderr}"
            assert cut(error.pointer) in done.stderr
        elif not any(words in done.stderr for words in TOLD_OTHERWISE):
            assert PLACE.search(done.stderr), f"no place is named: {done.stderr}"
    before.assert_untouched(id)
    runtime.ids.remove(id)
    for name in (f"{id}.out", f"{id}.err"):
        (runtime.top / name).unlink(missing_ok=True)


def harmless(text: bytes) -> bool:
    """Whether the root file system is the bundle's: no example may have the host's own."""
    try:
        config = json.loads(text)
        return bool(config["root"]["path"] == "rootfs")
    except (ValueError, KeyError, TypeError, RecursionError):
        return refusal(text) is not None


@settings(
    max_examples=some(150),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
@given(text=(wrong(base()) | wrong(many())).filter(harmless))
def _any_config(runtime: Runtime, made: Bundle, text: bytes) -> None:
    tried(runtime, made, text)


def test_any_config_is_carried_out_or_refused(runtime: Runtime, bundle: MakeBundle) -> None:
    only_cloche(runtime, "a place in every message, and a strict reader")
    _any_config(runtime, bundle())


@pytest.mark.parametrize("document", [base, many])
def test_the_config_the_others_are_made_from_is_good(
    runtime: Runtime, bundle: MakeBundle, document: Callable[[], dict[str, Any]]
) -> None:
    if document is many:
        only_cloche(runtime, "their versions that are common know fewer sections")
    done = runtime.run(bundle(config=document()))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


CASES: list[tuple[str, object, str]] = [
    ("/ociVersion", 1, "/ociVersion"),
    ("/ociVersion", DELETE, "/ociVersion"),
    ("/root", DELETE, "/root"),
    ("/root", "rootfs", "/root"),
    ("/root/path", DELETE, "/root/path"),
    ("/root/path", "", "/root/path"),
    ("/root/path", ["rootfs"], "/root/path"),
    ("/root/readonly", "yes", "/root/readonly"),
    ("/process/args", "true", "/process/args"),
    ("/process/args", ["true", 1], "/process/args/1"),
    ("/process/args", ["a\0b"], "/process/args/0"),
    ("/process/cwd", "tmp", "/process/cwd"),
    ("/process/cwd", "", "/process/cwd"),
    ("/process/cwd", "/a\0b", "/process/cwd"),
    ("/process/env", ["A=\0"], "/process/env/0"),
    ("/process/env", {"A": "1"}, "/process/env"),
    ("/process/user/uid", -1, "/process/user/uid"),
    ("/process/user/uid", 1 << 32, "/process/user/uid"),
    ("/process/user/uid", "root", "/process/user/uid"),
    ("/process/user/uid", 1.5, "/process/user/uid"),
    ("/process/user/umask", -1, "/process/user/umask"),
    ("/process/oomScoreAdj", 1001, "/process/oomScoreAdj"),
    ("/process/rlimits/0/soft", -1, "/process/rlimits/0/soft"),
    ("/process/terminal", 1, "/process/terminal"),
    ("/mounts/0/destination", DELETE, "/mounts/0/destination"),
    ("/mounts/0/destination", "/a\0b", "/mounts/0/destination"),
    ("/mounts/0/options", "ro", "/mounts/0/options"),
    ("/mounts/0", [], "/mounts/0"),
    ("/process/user/additionalGids", [1] * 65537, "/process/user/additionalGids"),
    ("/linux/cgroupsPath", "/deep" * 1000, "/linux/cgroupsPath"),
    ("/hostname", ["x"], "/hostname"),
    ("/hostname", "x" * 65, "/hostname"),
    ("/annotations/key", 5, "/annotations/key"),
    ("/linux", [], "/linux"),
    ("/linux/namespaces/0/type", "Pid", "/linux/namespaces/0/type"),
    ("/linux/namespaces/0", {"type": "pid", "path": "relative"}, "/linux/namespaces/0/path"),
    ("/linux/maskedPaths/0", 1, "/linux/maskedPaths/0"),
    ("/linux/resources/memory/limit", "64m", "/linux/resources/memory/limit"),
    ("/linux/resources/memory/limit", 1 << 63, "/linux/resources/memory/limit"),
    ("/linux/resources/devices/1/access", "rwx", "/linux/resources/devices/1/access"),
    ("/linux/resources/devices/1/allow", DELETE, "/linux/resources/devices/1/allow"),
    ("/linux/seccomp/defaultAction", DELETE, "/linux/seccomp/defaultAction"),
    ("/linux/seccomp/syscalls/0/names", [], "/linux/seccomp/syscalls/0/names"),
    ("/linux/seccomp/syscalls/0/args/0/value", -1, "/linux/seccomp/syscalls/0/args/0/value"),
]


@pytest.mark.parametrize(("pointer", "value", "where"), CASES)
def test_the_place_is_named(runtime: Runtime, bundle: MakeBundle, pointer: str, value: object, where: str) -> None:
    only_cloche(runtime, "a place in every message")
    made = bundle()
    text = changed(base(), pointer, value)
    error = refusal(text)
    assert error is not None
    assert error.pointer == where
    tried(runtime, made, text)


@pytest.mark.parametrize("key", ["net.\x1b[2Jx", "net.a\nb", "net.\ufeffx", "net.\u202ex", "net.\ud800"])
@pytest.mark.parametrize("section", ["sysctl", "timeOffsets"])
def test_what_a_key_may_do_to_a_terminal(runtime: Runtime, bundle: MakeBundle, section: str, key: str) -> None:
    """Names are printed escaped: one message is one line, and moves no cursor."""
    only_cloche(runtime, "one output function escapes metadata")
    made = bundle(config=base())
    made.linux[section] = {key: "1" if section == "sysctl" else {"secs": 1}}
    (made.path / "config.json").write_bytes(encoded(made.config))
    id = runtime.new_id()
    done = runtime.detached("create", "--bundle", str(made.path), id, name="refused")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b'{"ociVersion": "1.0.2",}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b"{'a': 1}",
        b"[" * 1_000_000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'{"ociVersion": "\xed\xa0\x80"}',
        b'{"a": 1} trailing',
        b'{"a": "' + b"x" * 4_000_000,
        b'{"a": 1' + b"0" * 5000 + b"}",
    ],
    ids=range(17),
)
def test_what_is_no_config_at_all(runtime: Runtime, bundle: MakeBundle, text: bytes) -> None:
    only_cloche(runtime, "a place in every message")
    tried(runtime, bundle(), text)


def test_a_long_name_does_not_hide_what_is_wrong(runtime: Runtime, bundle: MakeBundle) -> None:
    only_cloche(runtime, "names are cut in messages")
    made = bundle("true")
    made.config["mounts"].append({"destination": "/" + "x" * 100_000, "type": "tmpfs", "source": "tmpfs"})
    done = runtime.run(made)
    assert done.returncode == 1
    assert len(done.stderr) < 1000
    assert "/mounts" in done.stderr
    assert "name too long" in done.stderr


@pytest.mark.parametrize("kind", ["tmpfs", "bind", "cgroup"])
def test_a_mount_that_cannot_be_made_is_one_of_the_list(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    only_cloche(runtime, "a place in every message")
    made = bundle("true")
    where = "/bin/busybox/below"
    made.config["mounts"].append({"destination": where, "type": kind, "source": "/mnt", "options": ["ro"]})
    done = runtime.run(made)
    assert done.returncode == 1
    assert "/mounts" in done.stderr
    assert f"{where}: not a directory" in done.stderr


@pytest.mark.parametrize("kind", ["missing", "directory", "link to nothing", "unreadable", "pipe", "endless", "huge"])
def test_a_config_that_is_no_file(runtime: Runtime, bundle: MakeBundle, kind: str) -> None:
    made = bundle()
    path = made.path / "config.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "link to nothing":
        path.symlink_to("nothing")
    elif kind == "unreadable":
        path.symlink_to("/proc/self/mem")
    elif kind in {"pipe", "endless", "huge"}:
        only_cloche(runtime, "reads what is a file, and no longer than memory lasts")
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "endless":
            path.symlink_to("/dev/zero")
        else:
            with path.open("wb") as file:
                file.truncate(1 << 40)
    id = runtime.new_id()
    done = runtime.detached("create", "--bundle", str(made.path), id, name=id, timeout=10)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "config.json" in done.stderr
    assert groups_of(id) == []


@pytest.mark.parametrize("words", [("exec", "--process"), ("update", "--resources")])
def test_a_document_without_end(runtime: Runtime, bundle: MakeBundle, words: tuple[str, str]) -> None:
    only_cloche(runtime, "others read for as long as there is memory")
    made = bundle(*SLEEP)
    id = runtime.running(made)
    little = copy.copy(runtime)
    little.prefix = ["prlimit", f"--as={512 << 20}"]
    done = little(*words, "/dev/zero", id)
    assert done.returncode == (255 if words[0] == "exec" else 1)
    assert "/dev/zero: has more than 32 MiB" in done.stderr
    fifo = made.path / "fifo"  # which is a way to hand one over without a file
    os.mkfifo(fifo)
    child = runtime.popen(*words, str(fifo), id, stdout=subprocess.PIPE)
    fifo.write_text(
        json.dumps({"args": ["echo", "read"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}})
    )
    assert child.communicate(timeout=20)[0] == (b"read\n" if words[0] == "exec" else b"")
    assert child.wait() == 0


def test_an_empty_process_is_not_none(runtime: Runtime, bundle: MakeBundle) -> None:
    """The words after the id would be executed instead."""
    made = bundle(*SLEEP)
    id = runtime.running(made)
    done = runtime.exec(id, "echo", "executed", flags=["--process", "/dev/null"])
    assert (done.returncode != 0, done.stdout) == (True, "")
    only_cloche(runtime, "its own words")
    assert done.stderr == "cloche-runtime: --process /dev/null: is empty\n"


def test_a_bundle_that_is_not_there(runtime: Runtime, place: Path) -> None:
    done = runtime("create", "--bundle", str(place / "absent"), runtime.new_id())
    assert done.returncode == 1
    assert "absent" in done.stderr


def test_a_good_config_is_not_changed_by_reading_it(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(config=base())
    before = copy.deepcopy(made.config)
    assert runtime.run(made).returncode == 0
    assert json.loads((made.path / "config.json").read_text()) == before
