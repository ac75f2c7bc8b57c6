"""A store has one supervisor, whatever else the commands that use it have for a state directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ORDINARY, Cli

if TYPE_CHECKING:
    from collections.abc import Iterator

SLEEPER = ("host", "sh", "-c", "echo here; read line; echo $line; exec sleep 1000")


class Session:
    """An ordinary user's commands, with a runtime directory that others do not have."""

    def __init__(self, cli: Cli, top: Path, name: str) -> None:
        self.cli, self.runtime = cli, top / name
        self.runtime.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self.runtime, ORDINARY, ORDINARY)
        self.env = {"CLOCHE_ROOT": str(top / "store"), "CLOCHE_STATE": "", "XDG_RUNTIME_DIR": str(self.runtime)}

    def __call__(self, *words: str, code: int = 0, input: str = "", **env: str) -> str:
        done = self.cli(*words, input=input, env={**self.env, **env})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def has_supervisor(self) -> bool:
        return (self.runtime / "cloche/supervisor.sock").exists()


@pytest.fixture
def top() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="cloche-state-"))
    if os.geteuid() == 0:
        os.chown(made, ORDINARY, ORDINARY)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def login(user: Cli, top: Path) -> Iterator[Session]:
    made = Session(user, top, "login")
    yield made
    if ids := made("ps", "-aq").split():
        made("rm", "-f", *ids)


@pytest.fixture
def cron(user: Cli, top: Path) -> Session:
    return Session(user, top, "cron")


def test_the_first_ones_is_everybodys(login: Session, cron: Session) -> None:
    login("run", "-di", "--name", "one", *SLEEPER)
    login("volume", "create", "data")
    assert "Up" in cron("ps", "--format", "{{.Names}} {{.Status}}")
    assert cron("exec", "one", "echo", "there") == "there\n"
    cron("run", "-d", "--name", "two", *SLEEPER)
    assert login.has_supervisor
    assert not cron.has_supervisor
    assert cron("info", "--format", "{{.StateDir}}") == f"{login.runtime}/cloche\n"
    with cron.cli.popen("attach", "one", env=cron.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        assert command.stdin
        assert command.stdout
        command.stdin.write(b"typed\n")
        command.stdin.flush()
        assert command.stdout.readline() == b"typed\n"
        cron("rm", "-f", "one", "two")
    assert login("ps", "-aq") == ""


def test_another_when_it_is_gone(login: Session, cron: Session) -> None:
    login("run", "-d", "--name", "one", "host", "true")
    login("wait", "one")
    shutil.rmtree(login.runtime)
    cron("run", "-d", "--name", "two", *SLEEPER)
    assert cron.has_supervisor
    login.runtime.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(login.runtime, ORDINARY, ORDINARY)
    assert login("exec", "two", "echo", "there") == "there\n"
    login("rm", "-f", "one", "two")
    assert not login.has_supervisor


def test_another_that_is_asked_for(login: Session, cron: Session) -> None:
    login("run", "-d", "--name", "one", *SLEEPER)
    there = f"{cron.runtime}/asked"
    said = cron("run", "-d", "--name", "two", *SLEEPER, code=125, CLOCHE_STATE=there)
    assert f"run in another state directory, {login.runtime}/cloche" in said
    assert f"--state-dir {login.runtime}/cloche" in said
    assert "another state directory" in cron("rm", "-f", "one", code=1, CLOCHE_STATE=there)
    assert "Up" in cron("ps", "--format", "{{.Names}} {{.Status}}", CLOCHE_STATE=there)
    assert login("ps", "--format", "{{.Names}}") == "one\n"
    login("rm", "-f", "one")


def test_one_that_somebody_else_has_put_there(login: Session, cron: Session, top: Path) -> None:
    """What others can write to is not believed."""
    login("run", "-d", "--name", "one", "host", "true")
    login("wait", "one")
    login("rm", "one")
    (login.runtime / "cloche").chmod(0o777)
    (login.runtime / "cloche/supervisor.sock").touch()
    cron("run", "-d", "--name", "two", *SLEEPER)
    assert cron.has_supervisor
    cron("rm", "-f", "two")
    assert os.readlink(top / "store/state") == f"{cron.runtime}/cloche"
