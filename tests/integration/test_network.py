"""A network of its own, shared with the host, or with another container; the files by which names are found."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import refused, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli

CONNECT = "/usr/bin/python3", "-c", "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"
# serves connections on a port; the client tries until it is answered, as one that was made too early may not be
TALK = (
    "(while :; do echo served | nc -l -p 7777; done &) ; i=0; "
    "while [ $i -lt 100 ]; do o=$(nc 127.0.0.1 7777 </dev/null 2>/dev/null); "
    '[ "$o" ] && echo "$o" && break; i=$((i+1)); sleep 0.05; done'
)


@pytest.fixture
def port() -> Iterator[int]:
    """A port of the host's loopback on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def other_net() -> Iterator[tuple[str, int]]:
    """A network namespace that a process of the test's holds: (path, inode)."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    words = ["unshare", "-n", "sh", "-c", "echo there; exec cat"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"there\n"
        path = f"/proc/{process.pid}/ns/net"
        yield path, os.stat(path).st_ino
        process.stdin.close()


def host_net() -> int:
    """The host's own."""
    return os.stat("/proc/self/ns/net").st_ino


@pytest.mark.parametrize("option", [(), ("--network", "none"), ("--net=none",)])
def test_the_network_is_its_own(anyone: Cli, rootfs: Path, option: tuple[str, ...]) -> None:
    script = "ls /sys/class/net; cat /proc/net/route"
    with running(anyone, *option, "--rootfs", str(rootfs), script=script) as inside:
        assert "lo" in inside.said
        assert not {"eth0", "docker0"} & set(inside.said)
        assert inside.said[-1].startswith("Iface")  # the heading of an empty table
        assert inside.namespace("net") != host_net()


def test_loopback_works(anyone: Cli, rootfs: Path) -> None:
    done = anyone("run", "--rootfs", str(rootfs), "sh", "-c", f"ifconfig lo; {TALK}")
    assert "UP LOOPBACK RUNNING" in done.stdout
    assert "inet addr:127.0.0.1" in done.stdout
    assert done.stdout.endswith("served\n"), done.stderr


def test_any_user_may_listen_on_port_80(root: Cli, rootfs: Path) -> None:
    script = TALK.replace("7777", "80")
    done = root("run", "--user", "1000", "--rootfs", str(rootfs), "sh", "-c", script)
    assert done.stdout == "served\n", done.stderr


def test_ports_of_the_host_are_out_of_reach_unless_shared(anyone: Cli, port: int) -> None:
    done = anyone("run", "host", *CONNECT, str(port))
    assert done.returncode == 1
    assert "ConnectionRefusedError" in done.stderr
    done = anyone("run", "--network", "host", "host", *CONNECT, str(port))
    assert (done.returncode, done.stderr) == (0, "")


def test_abstract_sockets_of_the_host_are_out_of_reach(anyone: Cli) -> None:
    name = f"cloche-{os.urandom(4).hex()}"
    program = f"import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + {name!r})"
    connect = ("host", "/usr/bin/python3", "-c", program)
    off = ("--security-opt", "landlock=off")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        done = anyone("run", *off, *connect)
        assert "ConnectionRefusedError" in done.stderr
        assert anyone("run", *off, "--network", "host", *connect).returncode == 0
        # Landlock keeps them out even where the network is shared
        assert "PermissionError" in anyone("run", "--network", "host", *connect).stderr


def test_the_hosts_network_can_be_shared(anyone: Cli, rootfs: Path) -> None:
    script = "ls /sys/class/net; echo; cat /etc/resolv.conf"
    with running(anyone, "--network", "host", "--rootfs", str(rootfs), script=script) as inside:
        assert inside.namespace("net") == host_net()
        gap = inside.said.index("")
        assert set(inside.said[:gap]) == set(os.listdir("/sys/class/net"))
        assert inside.said[gap + 1 :] == Path("/etc/resolv.conf").read_text().splitlines()


def test_a_network_can_be_given_by_its_file(root: Cli, rootfs: Path, other_net: tuple[str, int]) -> None:
    path, inode = other_net
    with running(root, "--network", f"ns:{path}", "--rootfs", str(rootfs), script="cat /proc/net/dev") as inside:
        assert inside.namespace("net") == inode
        assert any(line.strip().startswith("lo:") for line in inside.said)


def test_a_file_that_is_no_network_is_refused(root: Cli, user: Cli, rootfs: Path, other_net: tuple[str, int]) -> None:
    words = ("--rootfs", str(rootfs), "true")
    assert refused(root("run", "--network", "ns:/proc/self/ns/uts", *words), "is not a net namespace")
    assert refused(root("run", "--network", "ns:/etc/passwd", *words))
    assert refused(root("run", "--network", "ns:/run/netns/absent", *words), "/run/netns/absent is not there")
    assert refused(root("run", "--network", "ns:", *words), "is not there")
    assert refused(user("run", "--network", f"ns:{other_net[0]}", *words))


def test_the_network_of_another_container_can_be_shared(anyone: Cli, rootfs: Path) -> None:
    serve = "(while :; do echo served | nc -l -p 7777; done) </dev/null >/dev/null 2>&1 &"
    ask = TALK.partition(" ; ")[2]
    with running(anyone, "--rootfs", str(rootfs), script=serve) as first:
        words = ("--network", f"container:{first.name}", "--rootfs", str(rootfs))
        with running(anyone, *words, script=ask) as second:
            assert second.said == ["served"]
            assert second.namespace("net") == first.namespace("net") != host_net()
            assert second.namespace("pid") != first.namespace("pid")
        assert first.answers()


@pytest.mark.parametrize(
    ("mode", "says"),
    [("container:nobody-here", "nobody-here"), ("bridge", "is not here yet"), ("sometimes", "is not a mode")],
)
def test_networks_that_are_not_there_are_refused(cli: Cli, rootfs: Path, mode: str, says: str) -> None:
    assert refused(cli("run", "--network", mode, "--rootfs", str(rootfs), "true"), says)


def test_names_can_be_added(anyone: Cli) -> None:
    options = ("--add-host", "db:10.0.0.5", "--add-host", "six:fd00::1", "--add-host", "eq=10.0.0.6")
    script = "for n in db six eq localhost walnut; do getent ahosts $n | sed 1q; done; hostname"
    done = anyone("run", "--hostname", "walnut", *options, "host", "sh", "-c", script)
    lines = [line.split()[0] for line in done.stdout.splitlines()]
    assert lines == ["10.0.0.5", "fd00::1", "10.0.0.6", "::1", "127.0.1.1", "walnut"], done.stdout


def test_hosts_is_written_for_the_container_alone(anyone: Cli, own_rootfs: Path) -> None:
    (own_rootfs / "etc/hosts").write_text("10.9.9.9 original\n")
    before = Path("/etc/hosts").read_bytes()
    done = anyone("run", "--add-host", "db:10.0.0.5", "--rootfs", str(own_rootfs), "cat", "/etc/hosts")
    assert "10.0.0.5\tdb\n" in done.stdout
    assert "127.0.0.1\tlocalhost\n" in done.stdout
    assert "original" not in done.stdout
    assert (own_rootfs / "etc/hosts").read_text() == "10.9.9.9 original\n"
    assert Path("/etc/hosts").read_bytes() == before


def test_names_are_added_to_the_hosts_own_where_its_network_is_shared(anyone: Cli, rootfs: Path) -> None:
    words = ("--network", "host", "--add-host", "db:10.0.0.5", "--rootfs", str(rootfs))
    done = anyone("run", *words, "cat", "/etc/hosts")
    lines = Path("/etc/hosts").read_text().splitlines()
    assert done.stdout.splitlines()[: len(lines)] == lines, done.stderr
    assert done.stdout.splitlines()[-1] == "10.0.0.5\tdb"


@pytest.mark.parametrize("text", ["db", "db:", ":10.0.0.5", "db:here", "db:10.0.0", "a b:10.0.0.5", "a\nb:10.0.0.5"])
def test_hosts_that_are_no_hosts_are_refused(cli: Cli, rootfs: Path, text: str) -> None:
    assert refused(cli("run", "--add-host", text, "--rootfs", str(rootfs), "true"))


@pytest.mark.parametrize("image", ["host", "rootfs"])
def test_name_servers_can_be_given(anyone: Cli, rootfs: Path, image: str) -> None:
    words = ("host",) if image == "host" else ("--rootfs", str(rootfs))
    options = ("--dns", "10.0.0.53", "--dns", "fd00::53", "--dns-search", "a.example", "--dns-search", "b.example")
    done = anyone("run", *options, "--dns-option", "ndots:2", *words, "cat", "/etc/resolv.conf")
    assert done.stdout.splitlines() == [
        "nameserver 10.0.0.53",
        "nameserver fd00::53",
        "search a.example b.example",
        "options ndots:2",
    ], done.stderr
    assert refused(anyone("run", "--dns", "one.example", *words, "true"), "one.example")
