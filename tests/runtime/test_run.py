"""`run`: create, start, wait and delete in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.runtime.conftest import MakeBundle, Runtime


def test_the_command_runs_and_its_exit_code_is_passed_on(runtime: Runtime, bundle: MakeBundle) -> None:
    done = runtime.run(bundle("sh", "-c", "echo out; echo err >&2; exit 7"))
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_nothing_is_kept_after_it(runtime: Runtime, bundle: MakeBundle) -> None:
    id = runtime.new_id()
    assert runtime.run(bundle("true"), id=id).returncode == 0
    assert runtime.status(id) == ""
    assert not (runtime.root / id).exists()
