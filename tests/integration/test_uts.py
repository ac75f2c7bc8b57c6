"""A host name and a domain name of its own; the host's stay as they are."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import refused, running

if TYPE_CHECKING:
    from tests.conftest import Cli

NAMES = "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname"


def names() -> tuple[str, str]:
    """The host's."""
    return socket.gethostname(), Path("/proc/sys/kernel/domainname").read_text().strip()


def test_names_are_its_own(anyone: Cli, rootfs: Path) -> None:
    before = names()
    options = ("--hostname", "walnut", "--domainname", "orchard.example")
    with running(anyone, *options, "--rootfs", str(rootfs), script=f"{NAMES}; hostname; cat /etc/hostname") as inside:
        assert inside.said == ["walnut", "orchard.example", "walnut", "walnut"]
        assert inside.namespace("uts") != os.stat("/proc/self/ns/uts").st_ino
        assert names() == before


def test_without_an_option_it_is_called_by_its_id(anyone: Cli, rootfs: Path, place: Path) -> None:
    done = anyone(
        "run", "--cidfile", str(place / "id"), "--rootfs", str(rootfs), "sh", "-c", "hostname; cat /etc/hosts"
    )
    name, *hosts = done.stdout.splitlines()
    assert name == (place / "id").read_text()[:12]
    assert f"127.0.1.1\t{name}" in hosts


def test_a_new_name_from_inside_stays_inside(anyone: Cli, rootfs: Path) -> None:
    before = names()
    done = anyone("run", "--cap-add", "SYS_ADMIN", "--rootfs", str(rootfs), "sh", "-c", "hostname hazel && hostname")
    assert (done.stdout, done.stderr) == ("hazel\n", "")
    assert names() == before


def test_without_the_capability_the_name_cannot_be_changed(anyone: Cli, rootfs: Path) -> None:
    done = anyone("run", "--hostname", "walnut", "--rootfs", str(rootfs), "sh", "-c", "hostname hazel; hostname")
    assert done.stdout == "walnut\n"


def test_the_name_can_be_shared_with_the_host(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--uts", "host", "--rootfs", str(rootfs), script="hostname") as inside:
        assert inside.said == [socket.gethostname()]
        assert inside.namespace("uts") == os.stat("/proc/self/ns/uts").st_ino


@pytest.mark.parametrize("name", ["two words", "x" * 65, "größe", "a/b", "new\nline"])
def test_what_is_no_host_name_is_refused(cli: Cli, rootfs: Path, name: str) -> None:
    assert refused(cli("run", "--hostname", name, "--rootfs", str(rootfs), "true"), "is not a host name")


@pytest.mark.parametrize("option", ["--hostname", "--domainname"])
def test_a_name_for_the_host_is_refused(cli: Cli, rootfs: Path, option: str) -> None:
    """With the host's UTS namespace there is no name of its own to set."""
    assert refused(cli("run", "--uts", "host", option, "walnut", "--rootfs", str(rootfs), "true"), option, "--uts")
