"""Running `cloche doctor`, on this machine as it is or with something taken away, and looking at what it left."""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cloche.linux import process
from tests.conftest import Cli


class Diagnosis:
    """What one run of `cloche doctor --json` said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        assert "Traceback" not in out + err
        self.code, self.err = code, err
        self.document: dict[str, Any] = json.loads(out)
        self.findings: dict[str, dict[str, Any]] = {f["name"]: f for f in self.document["findings"]}

    def status(self, name: str) -> str:
        return str(self.findings[name]["status"])

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.findings[name]


def diagnose(cli: Cli, **more: object) -> Diagnosis:
    done = cli("doctor", "--json", **more)  # type: ignore[arg-type]
    return Diagnosis(done.returncode, done.stdout, done.stderr)


def lacking(cli: Cli, setup: Callable[[], None], *words: str) -> tuple[int, str, str]:
    """Run the command line in a process that `setup` has taken something from; (code, stdout, stderr)."""
    out, err = os.memfd_create("out"), os.memfd_create("err")
    argv = cli.argv
    path = shutil.which(argv[0])
    assert path is not None
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            setup()
            os.execve(path, [*argv, *words], {"PATH": os.environ["PATH"], "HOME": "/", "CLOCHE_STATE": cli.state})
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(98)
    _, status = os.waitpid(pid, 0)
    texts = []
    for fd in (out, err):
        texts.append(os.pread(fd, 1 << 20, 0).decode())
        os.close(fd)
    code = os.waitstatus_to_exitcode(status)
    assert code != 98, texts[1]
    return code, texts[0], texts[1]


def diagnose_lacking(cli: Cli, setup: Callable[[], None]) -> Diagnosis:
    return Diagnosis(*lacking(cli, setup, "doctor", "--json"))


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Fail when what runs in the block leaves a process, a mount or a group of its making."""
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)  # orphans become ours, and can be seen
    try:
        before, mounts = _children(), Path("/proc/self/mountinfo").read_text()
        yield
        deadline = time.monotonic() + 3
        while (left := _children() - before) and time.monotonic() < deadline:
            time.sleep(0.01)
            for pid in left:
                os.waitpid(pid, os.WNOHANG)
        assert not left
        assert Path("/proc/self/mountinfo").read_text() == mounts
        groups = [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names]
        assert not [name for name in groups if name.startswith("cloche-doctor-")]
    finally:
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 0)


def _children() -> set[int]:
    return {int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
