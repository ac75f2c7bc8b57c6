"""--time-offset: the clocks that count from boot are the container's own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import refused, running

if TYPE_CHECKING:
    from tests.conftest import Cli

DAY = 86400
AN_HOUR = 3600


def uptime(text: str) -> float:
    """The first number of /proc/uptime."""
    return float(text.split(maxsplit=1)[0])


def test_the_boot_clock_is_shifted(anyone: Cli, rootfs: Path) -> None:
    offset = f"boottime={1000 * DAY},monotonic={2000 * DAY}"
    with running(
        anyone, "--time-offset", offset, "--rootfs", str(rootfs), script="cat /proc/uptime; date +%s"
    ) as inside:
        here = uptime(Path("/proc/uptime").read_text())
        assert 0 <= here + 1000 * DAY - uptime(inside.said[0]) < AN_HOUR
        assert abs(int(inside.said[1]) - time.time()) < AN_HOUR  # the date is the host's
        assert inside.namespace("time") != os.stat("/proc/self/ns/time").st_ino
        offsets = Path(f"/proc/{inside.pid}/timens_offsets").read_text().split()
    assert offsets == ["monotonic", str(2000 * DAY), "0", "boottime", str(1000 * DAY), "0"]
    assert Path("/proc/self/timens_offsets").read_text().split() == ["monotonic", "0", "0", "boottime", "0", "0"]


def test_the_monotonic_clock_is_shifted(anyone: Cli) -> None:
    before = time.monotonic()
    program = "import time; print(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))"
    done = anyone("run", "--time-offset", f"monotonic={1000 * DAY}", "host", "/usr/bin/python3", "-c", program)
    monotonic, boottime = map(float, done.stdout.split())
    assert 0 <= monotonic - before - 1000 * DAY < AN_HOUR
    assert boottime < uptime(Path("/proc/uptime").read_text()) + 1


def test_clocks_can_be_put_back(anyone: Cli, rootfs: Path) -> None:
    half = int(uptime(Path("/proc/uptime").read_text()) / 2)
    words = ("--time-offset", f"boottime=-{half}.5", "--rootfs", str(rootfs), "cat", "/proc/uptime")
    done = anyone("run", *words)
    assert uptime(done.stdout) <= uptime(Path("/proc/uptime").read_text()) - half


def test_without_the_option_clocks_are_the_hosts(cli: Cli, rootfs: Path) -> None:
    with running(cli, "--rootfs", str(rootfs)) as inside:
        assert inside.namespace("time") == os.stat("/proc/self/ns/time").st_ino


@pytest.mark.parametrize("text", ["monotonic", "realtime=5", "monotonic=soon", "monotonic=", "=5", "boottime=1,x=2"])
def test_nonsense_is_refused(cli: Cli, rootfs: Path, text: str) -> None:
    assert refused(cli("run", "--time-offset", text, "--rootfs", str(rootfs), "true"), "--time-offset")


def test_a_clock_before_its_beginning_is_refused(cli: Cli, rootfs: Path) -> None:
    assert refused(cli("run", "--time-offset", "monotonic=-900000000", "--rootfs", str(rootfs), "true"), "offset")
