"""`start`: the program of a created container begins (runtime.md, Start)."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from tests.runtime.conftest import SLEEP, alive, wait_until

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime


def test_the_command_begins_with_start_and_not_before(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle("sh", "-c", "echo begun"))
    assert runtime.status(id) == "created"
    assert runtime.output(id) == ""
    runtime.start(id)
    assert runtime.finish(id) == "begun\n"
    runtime.delete(id)
    assert runtime.status(id) == ""


def test_the_process_is_the_one_that_was_created(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle("sh", "-c", "echo $$; exec sleep 1000"))
    pid = runtime.pid(id)
    runtime.start(id)
    assert runtime.pid(id) == pid
    wait_until(lambda: runtime.output(id), "nothing is said")
    assert runtime.output(id) == "1\n"


def test_it_says_nothing_and_returns_at_once(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle(*SLEEP))
    done = runtime("start", id)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert runtime.status(id) == "running"


def test_a_running_container_is_not_started_again(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("sh", "-c", "echo once; exec sleep 1000"))
    pid = runtime.pid(id)
    done = runtime("start", id)
    assert done.returncode != 0
    assert done.stderr
    assert (runtime.pid(id), runtime.status(id), alive(pid)) == (pid, "running", True)
    wait_until(lambda: runtime.output(id), "nothing is said")
    assert runtime.output(id) == "once\n"


def test_a_stopped_container_is_not_started_again(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.running(bundle("echo", "once"))
    assert runtime.finish(id) == "once\n"
    done = runtime("start", id)
    assert done.returncode != 0
    assert done.stderr
    assert (runtime.status(id), runtime.output(id)) == ("stopped", "once\n")


def test_a_container_that_is_not_there_is_not_started(runtime: Runtime) -> None:
    done = runtime("start", "nobody")
    assert done.returncode != 0
    assert done.stderr


def test_a_container_killed_before_it_was_started_cannot_be(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle("echo", "never"))
    runtime.stop(id)
    assert runtime("start", id).returncode != 0
    assert runtime.output(id) == ""


def test_a_script_without_an_interpreter_is_an_error_that_is_told(runtime: Runtime, bundle: MakeBundle) -> None:
    # execve(2): ENOENT when the interpreter is missing; known only once the program is executed
    made = bundle("/script")
    (made.rootfs / "script").write_text("#!/nowhere/interpreter\n")
    (made.rootfs / "script").chmod(0o755)
    id = runtime.new_id()
    done = runtime.try_create(made, id=id)
    if done.returncode == 0:
        started = runtime("start", id)
        wait_until(lambda: started.stderr or runtime.errors(id), "nothing tells that it failed")
        assert "script" in started.stderr + runtime.errors(id)
        runtime.wait(id)


def test_the_state_is_right_as_soon_as_start_returns(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle(*SLEEP)
    for _ in range(10):
        id = runtime.create(made)
        runtime.start(id)
        assert runtime.status(id) == "running"
        runtime.delete(id, "--force")


def test_a_file_is_made_with_the_owner_and_mask_of_the_process(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle("touch", "/tmp/made").writable()
    made.process["user"] = {"uid": 1000, "gid": 1001, "umask": 0o077}
    id = runtime.running(made)
    runtime.wait(id)
    found = (made.rootfs / "tmp/made").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1000, 1001, 0o600)


def test_nothing_of_the_runtime_stays_while_it_runs(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.create(bundle(*SLEEP))
    runtime.start(id)
    ours = str(runtime.root).encode()
    command_lines = {}
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command_lines[place.parent.name] = place.read_bytes()
    assert str(runtime.pid(id)) in command_lines
    assert [words for words in command_lines.values() if ours in words] == []
