"""cloche.linux.netlink: interfaces and addresses of new network namespaces, and from one to another."""

from __future__ import annotations

import errno
import os
import socket

from cloche.linux import namespaces, netlink, network, process

from .forked import clone, ended, enter_namespaces, fails, in_child

LOOPBACK = socket.inet_pton(socket.AF_INET, "127.0.0.1")


def own_namespace() -> int:
    """The caller's network namespace, as a descriptor."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def address(text: str, flags: int = netlink.IFA_F_PERMANENT) -> netlink.Address:
    """An address with the longest prefix."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    raw = socket.inet_pton(family, text)
    attributes = ((netlink.IFA_LOCAL, raw), (netlink.IFA_ADDRESS, raw))
    return netlink.Address(int(family), len(raw) * 8, flags, netlink.RT_SCOPE_UNIVERSE, attributes)


def test_links_are_found_and_brought_up() -> None:
    def child() -> tuple[int, int, int]:
        enter_namespaces(process.CLONE_NEWNET)
        with netlink.Route() as route:
            before = route.link("lo")
            route.bring_up(before.index)
            with fails(errno.ENODEV, "rtnetlink(7) RTM_GETLINK"):
                route.link("nosuch0")
            return before.index, before.flags & netlink.IFF_UP, route.link("lo").flags & netlink.IFF_UP

    assert in_child(child) == (1, 0, 1)


def test_addresses_are_read_and_given() -> None:
    def child() -> list[tuple[int, int, int, int, bytes]]:
        enter_namespaces(process.CLONE_NEWNET)
        network.bring_up("lo")
        with netlink.Route() as route:
            for text in ("10.1.2.3", "fd00::1"):
                route.add_address(1, address(text, netlink.IFA_F_PERMANENT | 0x200))  # IFA_F_NOPREFIXROUTE
            with fails(errno.EEXIST, "rtnetlink(7) RTM_NEWADDR"):
                route.add_address(1, address("10.1.2.3"))
            assert route.addresses(99) == []
            return [
                (a.family, a.prefix, a.scope, a.flags, dict(a.attributes)[netlink.IFA_ADDRESS])
                for a in route.addresses(1)
            ]

    found = in_child(child)
    assert (socket.AF_INET, 8, 254, 0x80, LOOPBACK) in found
    assert (socket.AF_INET, 32, 0, 0x280, socket.inet_pton(socket.AF_INET, "10.1.2.3")) in found
    assert any(a[0] == socket.AF_INET6 and a[3] & 0x280 == 0x280 for a in found)


def test_what_the_kernel_has_to_say_is_told() -> None:
    def child() -> str:
        enter_namespaces(process.CLONE_NEWNET)
        network.bring_up("lo")
        with netlink.Route() as route:
            route.add_address(1, address("10.1.2.3"))
            try:
                route.add_address(1, address("10.1.2.3"))
            except OSError as error:
                return error.strerror or ""
        return ""

    # Linux 6.3 and later have words for this one
    assert in_child(child) in {"File exists", "File exists (ipv4: Address already assigned)"}


def test_a_socket_of_another_namespace_leaves_the_caller_where_it_is() -> None:
    def child() -> tuple[bool, int, int, int]:
        enter_namespaces(process.CLONE_NEWNET)
        other = own_namespace()
        namespaces.unshare(process.CLONE_NEWNET)
        here = os.stat("/proc/self/ns/net").st_ino
        with netlink.open_in(other) as route:
            route.bring_up(1)
            there = route.link("lo").flags & netlink.IFF_UP
        own = network.flags("lo") & netlink.IFF_UP
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            children = 0
        else:
            children = 1
        return os.stat("/proc/self/ns/net").st_ino == here, there, own, children

    assert in_child(child) == (True, 1, 0, 0)


def test_a_namespace_of_another_kind_is_refused() -> None:
    def child() -> None:
        fd = os.open("/proc/self/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
        with fails(errno.EINVAL, "setns(2)"):
            netlink.open_in(fd)

    in_child(child)


def test_an_interface_that_cannot_move_stays() -> None:
    def child() -> list[str]:
        enter_namespaces(process.CLONE_NEWNET)
        here = own_namespace()
        hold, release = os.pipe()
        pid, pidfd = clone(process.CLONE_NEWNET, lambda: len(os.read(hold, 1)))
        other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with netlink.Route() as route, fails(errno.EINVAL, "rtnetlink(7) RTM_NEWLINK"):
            route.move(1, other, "lo1")
        os.write(release, b".")
        ended(pidfd)
        os.close(here)
        return network.interfaces()

    assert in_child(child) == ["lo"]
