"""The command line from a process that has loaded it already and forks for each call: a tenth of the time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.conftest import Cli

IMAGES = "images load pull rmi save tag".split()
LONGEST = 120  # seconds that a command may take, which ends with SIGALRM then
OF_IMAGES = ("urllib3", "cloche.images.fetching", *(f"cloche.cli.images.{verb}" for verb in IMAGES))
PROGRAM = """
import sys
sys.path.insert(0, {src!r})
import json, os, posix, signal
import cloche.cli.main
for module in {modules!r}:
    __import__(module)

def start(asked):
    out, err = os.memfd_create("out"), os.memfd_create("err")
    pid = os.fork()
    if not pid:
        signal.alarm({longest})
        for name, value in asked["env"].items():
            os.environ[name] = value
            posix.environ[name.encode()] = value.encode()
        for fd, to in ((os.open(asked["input"], os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(fd, to)
        sys.argv = ["cloche", *asked["argv"]]
        cloche.cli.main.entry()
    return pid, out, err

def finish(pid, *fds):
    _, status = os.waitpid(pid, 0)
    texts = []
    for fd in fds:
        texts.append(os.pread(fd, 1 << 20, 0).decode(errors="replace"))
        os.close(fd)
    return [os.waitstatus_to_exitcode(status), *texts]

for line in sys.stdin.buffer:
    print(json.dumps([finish(*child) for child in [start(asked) for asked in json.loads(line)]]), flush=True)
"""


class Forks:
    """A context manager; called with words it runs them, as `Cli` does.

    `before` is what starts the process, `modules` what it loads that its commands need.
    """

    def __init__(self, cli: Cli, before: tuple[str, ...] = (), modules: tuple[str, ...] = OF_IMAGES) -> None:
        self.root = cli.root
        *words, _ = cli.argv
        environment = cli._environment
        self._process = subprocess.Popen(
            [*before, *words, PROGRAM.format(src=str(cli.source), modules=modules, longest=LONGEST)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __call__(
        self, *args: str, input: str = os.devnull, env: Mapping[str, str] | None = None
    ) -> CompletedProcess[str]:
        """Run to the end; `input` is the path of a file."""
        return self._ask({"argv": args, "input": input, "env": dict(env or {})})[0]

    def together(self, *commands: tuple[str, ...]) -> list[CompletedProcess[str]]:
        """Run several at the same time, to the end of the last."""
        return self._ask(*({"argv": args, "input": os.devnull, "env": {}} for args in commands))

    def _ask(self, *asked: dict[str, Any]) -> list[CompletedProcess[str]]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        return [CompletedProcess(item["argv"], *done) for item, done in zip(asked, found, strict=True)]

    def fed(self, *args: str, input: bytes, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
        """Run to the end; `input` is what it reads."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(input)
            file.flush()
            return self(*args, input=file.name, env=env)

    @property
    def inside(self) -> str:
        """The store, as this process sees it from outside."""
        return f"/proc/{self._process.pid}/root{self.root}"

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
