"""The first thing anybody tries."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Cli


def test_a_command_runs_and_its_exit_code_is_passed_on(anyone: Cli, rootfs: Path) -> None:
    done = anyone("run", "--rootfs", str(rootfs), "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_this_machine_is_the_image(anyone: Cli) -> None:
    done = anyone("run", "host", "sh", "-c", "hostname; id -u; ls /home /root")
    assert done.returncode == 0, done.stderr
    name, uid, *_ = done.stdout.split()
    assert name != socket.gethostname()
    assert uid == "0"
