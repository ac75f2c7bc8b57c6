"""cloche.linux.network: the interfaces of a new network namespace."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from cloche.linux import network, process

from .forked import enter_namespaces, fails, in_child


def test_interfaces_are_those_of_this_namespace() -> None:
    assert set(network.interfaces()) == {name for _, name in socket.if_nameindex()}

    def child() -> tuple[list[str], set[str]]:
        enter_namespaces(process.CLONE_NEWNET)
        with open("/proc/net/dev") as file:
            return network.interfaces(), {line.split(":")[0].strip() for line in file.readlines()[2:]}

    found, listed = in_child(child)
    assert set(found) == listed
    assert "lo" in found
    assert "eth0" not in found


def test_loopback_comes_up_and_carries() -> None:
    def carries() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            try:
                end.bind(("127.0.0.1", 0))
                end.connect(end.getsockname())
                end.send(b"ping")
            except OSError:
                return False
            return end.recv(10) == b"ping"

    def child() -> list[bool]:
        enter_namespaces(process.CLONE_NEWNET)
        found = [bool(network.flags("lo") & network.IFF_UP), carries()]
        network.bring_up("lo")
        network.bring_up("lo")
        return [*found, bool(network.flags("lo") & network.IFF_UP), carries()]

    assert in_child(child) == [False, False, True, True]


def test_refusals() -> None:
    with fails(errno.ENODEV, "ioctl(2) SIOCGIFFLAGS"):
        network.bring_up("nothing")
    with pytest.raises(ValueError, match="longer than 15"):
        network.bring_up("x" * 16)
    with pytest.raises(ValueError, match="null byte"):
        network.flags("lo\0")

    def child() -> int:
        enter_namespaces()  # root of a user namespace that does not own this network
        with fails(errno.EPERM, "ioctl(2) SIOCSIFFLAGS"):
            network.bring_up("lo")
        return len(os.listdir("/proc/self/fd"))

    assert in_child(child) == in_child(child)  # no descriptor is left behind
