"""Global options, usage, and what is told of errors: to a person, to the log file, by the exit code."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import stat
import struct
import subprocess
import termios
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.runtime.conftest import SLEEP
from tests.runtime.looking import only_cloche

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import MakeBundle, Runtime

VERBS = "create start run state kill delete exec ps list pause resume update spec".split()


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_the_version(runtime: Runtime, flag: str) -> None:
    text = runtime.ok(flag)
    first, *more = text.splitlines()
    # docker, containerd and podman read it like this: the name, "version" and a number, and a line with the spec's
    name, word, number = first.split()[:3]
    assert (name.removeprefix("cloche-"), word) == (runtime.name.removeprefix("cloche-"), "version")
    assert number[0].isdecimal()
    assert any(line.startswith("spec: 1.") for line in more)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["h"], ["-?"]])
def test_help(runtime: Runtime, words: list[str]) -> None:
    if words == ["-?"]:
        runtime.not_like("runc", because="-? is crun's")
    elif runtime.name == "crun" and words != ["--help"]:
        runtime.not_like("crun", because="has --help and -? only")
    done = runtime(*words)
    assert done.returncode == 0
    assert [verb for verb in VERBS if verb not in done.stdout] == []


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_command(runtime: Runtime, verb: str) -> None:
    done = runtime(verb, "--help")
    assert done.returncode == 0
    assert verb in done.stdout
    if runtime.name != "crun":
        assert runtime.ok("help", verb) == done.stdout
    if runtime.name != "runc":
        assert runtime.ok(verb, "-?") == done.stdout
        assert verb in runtime.ok(verb, "--usage")


@pytest.mark.parametrize(
    "verb", ["create", "start", "run", "state", "kill", "delete", "exec", "ps", "pause", "resume", "update"]
)
def test_no_id(runtime: Runtime, verb: str) -> None:
    # runtime.md: every operation "MUST generate an error if it is not provided the container ID"
    done = runtime(verb)
    assert done.returncode != 0
    assert done.stderr or done.stdout


def test_what_is_missing_is_said_in_one_line(runtime: Runtime) -> None:
    runtime.not_like("runc", "crun", because="prints its help as well, or starts with a time")
    assert runtime("state").stderr == (
        "cloche-runtime: state needs ID (cloche-runtime state --help shows how it is written)\n"
    )
    assert runtime("stat").stderr == (
        "cloche-runtime: unknown verb 'stat', did you mean state? (cloche-runtime --help lists what there is)\n"
    )


@pytest.mark.parametrize("verb", ["create", "start", "run", "state", "delete", "pause", "resume"])
def test_too_many_words(runtime: Runtime, bundle: MakeBundle, verb: str) -> None:
    if verb in {"delete", "pause", "resume"}:
        runtime.not_like("crun", because="takes them one after the other, or the first")
    id = runtime.create(bundle("true"))
    done = runtime(verb, id, "another", cwd=bundle("true").write().path)
    assert done.returncode != 0
    assert runtime.status(id) == "created"


@pytest.mark.parametrize(
    "words", [["nosuchverb"], ["--nosuchflag"], ["state", "--nosuchflag", "id"], ["create", "--bundle"]]
)
def test_words_that_nobody_knows(runtime: Runtime, words: list[str]) -> None:
    done = runtime(*words)
    assert done.returncode != 0
    assert done.stderr


def entries(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_error_goes_to_the_log_file_as_json(runtime: Runtime, place: Path) -> None:
    log = place / "log.json"
    done = runtime("--log", str(log), "--log-format", "json", "state", "nobody")
    assert done.returncode != 0
    # containerd and podman take the last entry of level error for the message
    entry = entries(log)[-1]
    assert entry["level"] == "error"
    assert entry["msg"]
    assert datetime.fromisoformat(entry["time"][:19])
    if runtime.name != "crun":
        assert "does not exist" in entry["msg"]
        assert "does not exist" in done.stderr  # to the person, too


def test_an_error_goes_to_the_log_file_as_text(runtime: Runtime, place: Path) -> None:
    log = place / "log"
    assert runtime("--log", str(log), "state", "nobody").returncode != 0
    assert log.read_text().strip()


def test_the_log_file_is_added_to(runtime: Runtime, place: Path) -> None:
    log = place / "log.json"
    for _ in range(2):
        runtime("--log", str(log), "--log-format=json", "state", "nobody")
    assert len([entry for entry in entries(log) if entry["level"] == "error"]) == 2


def test_an_error_of_create_is_in_the_log_file(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    made, log, id = bundle("nosuchprogram").write(), place / "log.json", runtime.new_id()
    words = ("--log", str(log), "--log-format", "json", "create", "-b", str(made.path), id)
    done = runtime.detached(*words, name=id)
    assert done.returncode != 0
    errors = [entry["msg"] for entry in entries(log) if entry["level"] == "error"]
    assert "nosuchprogram" in errors[-1]
    # what docker looks for to make it exit code 127
    assert "executable file" in errors[-1]
    assert "not found" in errors[-1]


def test_a_log_file_as_crun_names_it(runtime: Runtime, place: Path) -> None:
    runtime.not_like("runc", because="file: is crun's")
    assert runtime("--log", f"file:{place / 'log'}", "state", "nobody").returncode == 1
    assert "nobody" in (place / "log").read_text()


@pytest.mark.parametrize("name", ["journald:demo", "syslog:demo"])
def test_a_log_that_is_no_file(runtime: Runtime, place: Path, name: str) -> None:
    runtime.not_like("runc", because="the words are crun's")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(place / "socket"))
        listener.settimeout(10)
        there = "/run/systemd/journal/socket" if name.startswith("journald") else "/dev/log"
        words = f"mount -t tmpfs none /{there.split('/')[1]}; mkdir -p $(dirname {there}); touch {there}"
        if runtime.name == "crun":
            words = words.replace("/run;", "/run/systemd;")
        script = f'{words}; mount --bind {place}/socket {there}; exec "$@"'
        runtime.prefix = ["unshare", "-m", "sh", "-ec", script, "sh"]
        done = runtime("--log", name, "state", "nobody", cwd=place)
        assert done.returncode == 1
        assert "nobody" in done.stderr or runtime.name == "crun"
        entry = listener.recv(4096).decode()
    if name.startswith("journald"):
        fields = dict(line.split("=", 1) for line in entry.splitlines())
        assert fields["PRIORITY"] == "3"
        assert fields["ID"] == ("(null)" if runtime.name == "crun" else "demo")  # 1.8 forgets it
        assert "nobody" in fields["MESSAGE"]
    else:
        assert re.fullmatch(r"<11>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d demo: .*nobody.*", entry)
    assert not (place / name).exists()


def test_a_journal_that_does_not_keep_up(runtime: Runtime, place: Path) -> None:
    only_cloche(runtime, "crun leaves that to libsystemd")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others,
    ):
        listener.bind(str(place / "socket"))
        others.connect(str(place / "socket"))
        others.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                others.send(b"x")
        there = "/run/systemd/journal/socket"
        words = f"mount -t tmpfs none /run; mkdir -p {os.path.dirname(there)}; touch {there}"
        runtime.prefix = [
            "unshare",
            "-m",
            "sh",
            "-ec",
            f'{words}; mount --bind socket {there}; exec "$@"',
            "sh",
        ]
        done = runtime("--log", "journald:demo", "state", "nobody", cwd=place)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "cloche-runtime: --log journald:demo: timed out"


@pytest.mark.parametrize("name", ["journald:demo", "syslog:demo"])
def test_a_log_where_nobody_listens(runtime: Runtime, name: str) -> None:
    only_cloche(runtime, "crun goes on, and nobody is told")
    runtime.prefix = [
        "unshare",
        "-m",
        "sh",
        "-ec",
        'mount -t tmpfs none /run; mount -t tmpfs none /dev; exec "$@"',
        "sh",
    ]
    done = runtime("--log", name, "list")
    assert done.returncode == 1
    assert f"--log {name}: " in done.stderr


def test_errors_only(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    runtime.not_like("runc", "crun", because="--log-level is of later versions of crun")
    made, log = bundle("true"), place / "log"
    made.process["capabilities"]["bounding"].append("CAP_OF_ANOTHER_KERNEL")
    for level, said in (("warning", True), ("error", False)):
        id = runtime.new_id()
        runtime.ok("--log", str(log), "--log-level", level, "run", "-b", str(made.write().path), id)
        assert bool(log.read_text()) is said
        log.unlink()


def test_success_logs_nothing(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    made, log, id = bundle("true").write(), place / "log.json", runtime.new_id()
    words = ("--log", str(log), "--log-format", "json")
    assert runtime.detached(*words, "create", "-b", str(made.path), id, name=id).stderr == ""
    runtime.ok(*words, "start", id)
    runtime.wait(id)
    runtime.ok(*words, "delete", id)
    assert not log.exists() or [entry for entry in entries(log) if entry["level"] not in ("debug", "info")] == []


def test_debugging_says_more(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    runtime.not_like("crun", because="1.8 writes nothing for --debug")
    made, log, id = bundle("true").write(), place / "log.json", runtime.new_id()
    words = ("--debug", "--log", str(log), "--log-format", "json", "create", "-b", str(made.path), id)
    done = runtime.detached(*words, name=id)
    assert done.returncode == 0, done.stderr
    assert any(entry["level"] == "debug" for entry in entries(log))
    assert {"level", "msg", "time"} <= set(entries(log)[0])


def test_a_log_file_that_cannot_be_opened(runtime: Runtime) -> None:
    done = runtime("--log", "/nowhere/log", "list")
    assert done.returncode != 0
    assert "/nowhere/log" in done.stderr


def test_a_log_file_that_cannot_be_opened_fails_before_anything_is_done(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.new_id()
    made = bundle("true").write()
    done = runtime.detached("--log", "/nowhere/log", "create", "-b", str(made.path), id, name=id)
    assert done.returncode != 0
    assert runtime.status(id) == ""
    runtime.not_like("runc", "crun", because="exit 1 here, too")
    assert runtime("--log", "/nowhere/log", "exec", id, "true").returncode == 255


def test_an_unknown_log_format(runtime: Runtime) -> None:
    runtime.not_like("crun", because="takes any")
    done = runtime("--log-format", "xml", "list")
    assert done.returncode != 0
    assert "xml" in done.stderr


def test_systemd_without_systemd(runtime: Runtime, bundle: MakeBundle) -> None:
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("needs a host without systemd")
    made, id = bundle("true").write(), runtime.new_id()
    made.linux["cgroupsPath"] = f"system.slice:cloche:{id}"
    made.write()
    for option in (["--systemd-cgroup"], ["--cgroup-manager", "systemd"]):
        if runtime.name == "runc" and len(option) > 1:
            continue
        done = runtime.detached(*option, "create", "-b", str(made.path), id, name=f"{id}{option[0]}")
        assert done.returncode == 1 or runtime.name == "crun"
        if runtime.name != "crun":
            assert "systemd" in done.stderr
        if runtime.name == "cloche-runtime":
            (line,) = done.stderr.splitlines()
            assert "systemd does not run (there is no /run/systemd/system)" in line
            assert "leave the option out" in line
        assert runtime.status(id) == ""
        assert not [place for place, _, _ in os.walk("/sys/fs/cgroup") if id in place]
    # engines give it with every command, also those that make no cgroup
    runtime.ok("--systemd-cgroup", "list")


@pytest.mark.parametrize("word", ["true", "false", "auto"])
def test_the_rootless_option(runtime: Runtime, bundle: MakeBundle, word: str) -> None:
    runtime.not_like("crun", because="forgets --root with it")
    made, id = bundle("true").write(), runtime.new_id()
    done = runtime.detached(f"--rootless={word}", "create", "-b", str(made.path), id, name=id)
    assert done.returncode == 0, done.stderr
    assert runtime.ok(f"--rootless={word}", "list", "-q").split() == [id]


def test_the_cgroup_manager_option(runtime: Runtime) -> None:
    # crun(1): "--cgroup-manager=MANAGER Specify what cgroup manager must be used"; podman gives it to crun
    runtime.not_like("runc", because="has --systemd-cgroup only")
    runtime.ok("--cgroup-manager", "cgroupfs", "list")
    runtime.ok("--cgroup-manager=disabled", "list")


def test_a_limit_and_no_cgroups_by_option(runtime: Runtime, bundle: MakeBundle) -> None:
    only_cloche(runtime, "a limit that cannot be enforced is an error, and it names what is in its way")
    made, id = bundle("true"), runtime.new_id()
    made.linux["resources"]["memory"] = {"limit": 64 << 20}
    done = runtime("--cgroup-manager", "disabled", "run", "-b", str(made.write().path), id)
    assert done.returncode == 1
    assert "/linux/resources: memory" in done.stderr
    assert "--cgroup-manager disabled" in done.stderr
    assert runtime.status(id) == ""


def test_a_state_directory_is_made_and_is_the_owners(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    runtime.root = place / "deep/in/side"
    runtime.create(bundle("true"))
    assert stat.S_IMODE(runtime.root.stat().st_mode) == 0o700


def test_a_relative_state_directory(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    runtime.not_like("crun", because="1.8 goes to the bundle first")
    made, id = bundle(*SLEEP).write(), runtime.new_id()
    words = [*runtime.prefix, *runtime.command, "--root", "state", "create", "-b", str(made.path), id]
    with (place / "out").open("w") as out:
        subprocess.run(words, cwd=place, check=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=runtime.env)
    assert runtime.status(id) == "created"


def test_a_state_directory_with_a_blank(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    runtime.root = place / "a directory"
    id = runtime.running(bundle("echo", "fine"))
    assert runtime.finish(id) == "fine\n"


def test_a_state_directory_that_cannot_be(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("true").write()
    good, runtime.root = runtime.root, made.path / "config.json"
    id = runtime.new_id()
    done = runtime.detached("create", "-b", str(made.path), id, name=id)
    runtime.root = good
    assert done.returncode != 0
    assert done.stderr


ONE_LINE = [
    ([], ["--nosuch", "list"], "unknown option --nosuch (cloche-runtime --help lists every option)"),
    ([], ["strt"], "unknown verb 'strt', did you mean start? (cloche-runtime --help lists what there is)"),
    ([], ["help", "nosuch"], "unknown verb 'nosuch'"),
    ([], ["create"], "create needs ID (cloche-runtime create --help shows how it is written)"),
    ([], ["create", "a", "b"], "does not know what to do with 'b'"),
    ([], ["create", "--bundle"], "--bundle needs a value: DIR"),
    ([], ["create", "--bundel", "x", "a"], "unknown option --bundel, did you mean --bundle?"),
    ([], ["create", "--bundle", "/nowhere", "a"], "/nowhere/config.json cannot be read: No such file or directory"),
    ([], ["create", "a/b"], "'a/b' is not a container id"),
    ([], ["state", "--root", "/x", "a"], "--root stands before state: cloche-runtime --root … state"),
    ([], ["state", "nobody"], "container does not exist: nobody"),
    ([], ["exec", "nobody", "true"], "container does not exist: nobody"),
    (["web"], ["start", "web", "now"], "does not know what to do with 'now'"),
    (["web"], ["kill", "web", "NOW"], "unknown signal 'NOW' (TERM, SIGTERM or 15)"),
    (["web"], ["exec", "web"], "there is no command to execute"),
    (["web"], ["create", "web"], "container with given ID already exists: web"),
    (["web"], ["resume", "web"], "container not paused: web is created"),
    (["web"], ["update", "--memory", "much", "web"], "--memory much: a number is needed"),
    (["web"], ["events", "--interval", "often", "web"], "--interval often: a time above 0 is needed"),
    ([], ["completion", "tcsh"], "SHELL is bash or zsh or fish, not 'tcsh'"),
    ([], ["checkpoint", "--image-path", "/x", "web"], "checkpoint is not possible here"),
]


@pytest.mark.parametrize(("containers", "words", "said"), ONE_LINE, ids=lambda value: " ".join(value)[:40])
def test_what_is_wrong_is_said_in_one_line(
    runtime: Runtime, bundle: MakeBundle, containers: list[str], words: list[str], said: str
) -> None:
    runtime.not_like("runc", "crun", because="in words of their own")
    made = bundle(*SLEEP)
    for id in containers:
        runtime.create(made, id=runtime.keep(id))
    done = runtime(*words, cwd=made.write().path)
    assert done.returncode == (255 if words[0] == "exec" else 1)
    assert done.stdout == ""
    assert done.stderr.startswith("cloche-runtime: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")


@pytest.mark.parametrize("words", [["list"], ["features"], ["--version"], ["help"], ["state", "ID"], ["ps", "ID"]])
@pytest.mark.parametrize(("output", "why"), [(">&-", "is closed"), (">/dev/full", "No space left on device")])
def test_an_output_that_takes_nothing_is_an_error(
    runtime: Runtime, bundle: MakeBundle, words: list[str], output: str, why: str
) -> None:
    runtime.not_like("runc", "crun", because="say nothing, or that all is well")
    id = runtime.create(bundle(*SLEEP))
    line = runtime.argv(*(word.replace("ID", id) for word in words))
    argv = ["sh", "-c", f'exec "$@" {output}', "sh", *line]
    done = subprocess.run(argv, env=runtime.env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"cloche-runtime: standard output: {why}\n"


def test_a_reader_that_goes_is_no_error(runtime: Runtime) -> None:
    runtime.not_like("runc", "crun", because="die of SIGPIPE")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        runtime.argv("features"), env=runtime.env, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_is_as_wide_as_the_terminal(runtime: Runtime) -> None:
    runtime.not_like("runc", "crun", because="in words of their own")
    master, slave = os.openpty()
    for columns in (60, 110):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        subprocess.run(runtime.argv("exec", "--help"), env=runtime.env, stdin=slave, stdout=slave, check=True)
        shown = os.read(master, 65536).decode().splitlines()
        prose = [line for line in shown if "cloche-runtime exec" not in line]
        assert columns - 20 < max(map(len, prose)) <= columns
    os.close(master)
    os.close(slave)


def test_an_error_of_runtime_is_no_traceback(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle("true"))
    calls = [
        ["state", "nobody"],
        ["start", "nobody"],
        ["kill", id, "BOGUS"],
        ["exec", "nobody", "x"],
        ["create", "x", "-b"],
    ]
    for words in calls:
        assert "Traceback" not in runtime(*words).stderr, words


@pytest.mark.parametrize("change", [{"pid": "x"}, {"groups": [1]}, {"pid": None}])
def test_a_state_file_of_wrong_types_is_an_error_and_can_be_deleted(
    runtime: Runtime, bundle: MakeBundle, change: dict[str, object]
) -> None:
    only_cloche(runtime, "the state files of others are their own")
    id, other = runtime.create(bundle("true")), runtime.create(bundle("true"))
    path = runtime.root / id / "state.json"
    os.kill(runtime.pid(id), 9)
    runtime.wait(id)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    done = runtime("state", id)
    assert done.returncode == 1
    assert "state.json" in done.stderr
    assert runtime.ok("list", "-q") == f"{other}\n"
    runtime.delete(id, "--force")
    assert runtime("state", id).returncode == 1
    assert not (runtime.root / id).exists()


def test_a_state_file_that_was_cut_off_is_an_error_and_can_be_deleted(runtime: Runtime, bundle: MakeBundle) -> None:
    # a machine that stopped in the middle of writing: whatever is told, nothing crashes and force clears it
    runtime.not_like("runc", "crun", because="cannot delete it")
    id = runtime.create(bundle(*SLEEP))
    pid = runtime.pid(id)
    os.kill(pid, 9)
    for path in (runtime.root / id).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:20])
    done = runtime("state", id)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    runtime.ok("list")
    runtime.delete(id, "--force")
    assert not (runtime.root / id).exists()
