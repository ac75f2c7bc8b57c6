"""`start`: the program of a created container begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
