"""What the end of a container is put down to, and what its receipt promises, in cases that are easily mixed up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche
from cloche.sandbox import api
from cloche.sandbox import running as running_module
from cloche.stage.operation import Plan
from cloche.stage.operations.groups import CreateGroup
from tests.integration.alive import until
from tests.integration.background import refused, running

if TYPE_CHECKING:
    from tests.conftest import Cli


def receipt(cli: Cli, *words: str) -> dict[str, Any]:
    done = cli("explain", "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["receipt"]
    return found


def test_a_timeout_during_a_stop_is_a_timeout(anyone: Cli, rootfs: Path) -> None:
    words = ("--timeout", "2", "--stop-timeout", "30", "--rootfs", str(rootfs))
    front = anyone.popen(
        "run", *words, "sh", "-c", "trap '' TERM; echo up; sleep 60 & wait; wait", stdout=subprocess.PIPE, stderr=-1
    )
    assert front.stdout is not None
    assert front.stdout.readline() == b"up\n"
    front.send_signal(signal.SIGTERM)
    _, err = front.communicate(timeout=25)
    assert (front.returncode, b"timeout" in err or b"timed out" in err) == (124, True), err


def test_a_missing_interpreter_is_named_where_path_led_there(anyone: Cli, writable_rootfs: Path) -> None:
    program = writable_rootfs / "bin/badint"
    program.write_text("#!/nope\n")
    program.chmod(0o755)
    for name in ("badint", "/bin/badint"):
        done = anyone("run", "--rootfs", str(writable_rootfs), name)
        assert done.returncode == 127
        assert "its interpreter /nope is missing" in done.stderr, done.stderr


@pytest.fixture
def writable_rootfs(rootfs: Path) -> Any:
    yield rootfs
    (rootfs / "bin/badint").unlink(missing_ok=True)


def test_a_defect_in_one_call_ends_no_other(rootfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    up = threading.Event()

    def long() -> None:
        command = ["sh", "-c", "echo up; sleep 1"]
        ended.append(cloche.run(command, rootfs=rootfs, stdout=lambda _: up.set()).exit_code)

    other = threading.Thread(target=long)
    other.start()
    assert up.wait(20)
    whole = running_module.prepare

    def spoiled(*args: Any, **named: Any) -> Any:
        prepared = whole(*args, **named)
        steps = (CreateGroup("/\ud800"), *prepared.plan.operations)  # UnicodeEncodeError, not OSError
        prepared.plan = Plan(steps, **{k: v for k, v in vars(prepared.plan).items() if k != "operations"})
        return prepared

    monkeypatch.setattr(api, "prepare", spoiled)
    with pytest.raises(cloche.StageError):
        cloche.run(["true"], rootfs=rootfs)
    other.join()
    api._end_stages()
    assert ended == [0]


def test_a_limit_too_small_to_start_in_is_named(root: Cli, rootfs: Path) -> None:
    done = root("run", "--memory", "512k", "--rootfs", str(rootfs), "true")
    assert done.returncode == 0 or refused(done, "memory limit", "--memory")


def test_a_writable_volume_is_in_the_receipt(anyone: Cli, rootfs: Path) -> None:
    words = ("--rootfs", str(rootfs))
    assert receipt(anyone, *words, "-v", "/tmp:/there:ro", "true")["host files"]["enforced"]
    layer = receipt(anyone, *words, "-v", "/tmp:/there", "true")["host files"]
    assert not layer["enforced"]
    assert "/there" in layer["detail" if "detail" in layer else next(k for k in layer if k != "enforced")]


def test_no_limit_is_no_protection(root: Cli, rootfs: Path) -> None:
    words = ("--rootfs", str(rootfs), "true")
    assert receipt(root, "--pids-limit", "5", *words)["pids"]["enforced"]
    assert not receipt(root, "--pids-limit", "-1", *words)["pids"]["enforced"]


def test_shared_memory_of_another_container_is_not_promised(root: Cli, rootfs: Path) -> None:
    words = ("--rootfs", str(rootfs))
    with running(root, *words) as first:
        assert "/dev/shm is its own" in str(receipt(root, "--ipc", f"container:{first.name}", *words, "true")["ipc"])


def test_a_bound_dev_is_left_as_it_is(root: Cli, rootfs: Path, tmp_path: Path) -> None:
    done = root("run", "-v", f"{tmp_path}:/dev", "--rootfs", str(rootfs), "true")
    assert set(os.listdir(tmp_path)) <= {"pts", "shm", "mqueue"}, done.stderr


def test_devices_deep_below_dev(root: Cli, rootfs: Path) -> None:
    words = ("run", "--rootfs", str(rootfs))
    for target in ("/dev/bus/usb/001/002", "/dev//bus/zero"):
        done = root(*words, "--device", f"/dev/zero:{target}", "sh", "-c", f"head -c 2 {target} | wc -c")
        assert done.stdout == "2\n", done.stderr
    for target in ("/dev/pts", "/dev/fd", "/dev/shm/x", "/dev/"):
        assert refused(root(*words, "--device", f"/dev/zero:{target}", "true"), "--device", target)


def test_a_device_is_made_nowhere_else(root: Cli, rootfs: Path, tmp_path: Path) -> None:
    words = ("--device", f"/dev/zero:/dev/{tmp_path}/new/node", "--rootfs", str(rootfs))
    done = root("run", *words, "sh", "-c", f"head -c 2 /dev{tmp_path}/new/node | wc -c")
    assert (done.stdout, list(tmp_path.iterdir())) == ("2\n", []), done.stderr


def test_a_limit_given_up_is_said(user: Cli, rootfs: Path) -> None:
    words = ("--allow-unenforced", "--cpuset-cpus", "0", "--rootfs", str(rootfs), "true")
    layer = receipt(user, *words)["cpuset"]
    done = user("run", *words)
    said = f"cloche: not enforced: cpuset: {layer['detail']}\n"
    assert (done.returncode, done.stderr) == (0, "" if layer["enforced"] else said)
    assert user("run", "-q", *words).stderr == ""


def test_processors_that_are_not_there(root: Cli, rootfs: Path) -> None:
    done = root("run", "--cpuset-cpus", "0,4095", "--rootfs", str(rootfs), "true")
    assert refused(done, "--cpuset-cpus 0,4095", "more than this machine has")


def test_mounting_works_for_who_is_given_the_capability(anyone: Cli) -> None:
    script = "mount -t tmpfs none /tmp && echo mounted"
    done = anyone("run", "--cap-add", "SYS_ADMIN", "host", "unshare", "--mount", "sh", "-c", script)
    assert done.stdout == "mounted\n", done.stderr
    assert "it forbids mounting" in receipt(anyone, "--cap-add", "SYS_ADMIN", "host", "true")["landlock"]["detail"]


def test_a_state_directory_that_is_none_is_said(root: Cli, rootfs: Path) -> None:
    words = ("run", "--rootfs", str(rootfs), "true")
    assert refused(root("--state-dir", "/etc/passwd", *words), "/etc/passwd cannot be used", "--state-dir")


def test_capabilities_that_are_not_there_to_give(root: Cli, rootfs: Path) -> None:
    words = ("--userns", "host", "--cap-add", "SYS_RESOURCE", "--rootfs", str(rootfs))
    done = root("run", *words, "true")
    assert done.returncode == 0, done.stderr
    permitted = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapPrm"))
    if not int(permitted.split()[1], 16) >> 24 & 1:
        assert "cloche does not have sys_resource itself" in str(receipt(root, *words, "true")["capabilities"])


def test_a_pidfile_that_cannot_be_written_stops_before_the_command(root: Cli, rootfs: Path, tmp_path: Path) -> None:
    words = ("-v", f"{tmp_path}:/mnt", "--rootfs", str(rootfs))
    done = root("run", "--pidfile", "/nonexistent/x", *words, "touch", "/mnt/started")
    assert refused(done, "--pidfile /nonexistent/x")
    assert list(tmp_path.iterdir()) == []
    done = root("run", "--pidfile", str(tmp_path / "pid"), *words, "sleep", "0")
    assert done.returncode == 0, done.stderr
    until(lambda: (tmp_path / "pid").read_text().isdecimal(), "the pid is there")
