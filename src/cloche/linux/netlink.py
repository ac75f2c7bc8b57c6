"""rtnetlink(7): interfaces and their addresses, read and changed, also in another network namespace.

    request  nlmsghdr | ifinfomsg or ifaddrmsg | rtattr…        one ACK, or a dump that ends with DONE
    answer   nlmsghdr | -errno | the request's nlmsghdr | what the kernel has to say (NETLINK_EXT_ACK)

What does not belong here: which interface goes where. Loopback needs none of this, see `network`.
"""

from __future__ import annotations

import _socket
import os
import sys

from cloche.linux import kernel, namespaces
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

# linux/netlink.h
NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
NLM_F_ACK_TLVS = 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1

# linux/rtnetlink.h
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
RT_SCOPE_UNIVERSE = 0

# linux/if_link.h, linux/if_addr.h
IFLA_IFNAME = 3
IFLA_NET_NS_FD = 28
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO = 1, 2, 4, 8, 9, 11
IFA_F_PERMANENT = 0x80
# what an address was given, apart from what the kernel found out about it
IFA_F_GIVEN = 0x02 | 0x10 | 0x80 | 0x100 | 0x200 | 0x400  # nodad, home, permanent, temporaries, no route, multicast
IFF_UP = 0x1

CLONE_NEWNET = 0x40000000
SCM_RIGHTS = 1


@record
class Link:
    """An interface: its number and IFF_* flags."""

    index: int
    flags: int


@record
class Address:
    """An address of an interface, as RTM_NEWADDR takes it; `attributes` are (IFA_*, value)."""

    family: int
    prefix: int
    flags: int
    scope: int
    attributes: tuple[tuple[int, bytes], ...]


class Route:
    """An rtnetlink socket of one network namespace: the caller's, or the one it was made in."""

    def __init__(self, sock: _socket.socket | None = None) -> None:
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._socket = sock or _socket.socket(_socket.AF_NETLINK, kind, NETLINK_ROUTE)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def link(self, name: str) -> Link:
        """RTM_GETLINK: an interface by its name; ENODEV when there is none."""
        body = _info() + _attribute(IFLA_IFNAME, kernel.path_bytes(name))
        (answer,) = self._request("RTM_GETLINK", RTM_GETLINK, 0, body)
        return Link(_int(answer[4:8], signed=True), _int(answer[8:12]))

    def move(self, index: int, namespace: int, name: str) -> None:
        """RTM_NEWLINK with IFLA_NET_NS_FD, Linux 2.6.39: put an interface into a network namespace, called `name`.

        It is down there, and without addresses. EEXIST where there is one of that name: then it may have been
        moved and not renamed.
        """
        body = _info(index) + _attribute(IFLA_NET_NS_FD, namespace.to_bytes(4, sys.byteorder))
        self._request("RTM_NEWLINK", RTM_NEWLINK, NLM_F_ACK, body + _attribute(IFLA_IFNAME, kernel.path_bytes(name)))

    def bring_up(self, index: int) -> None:
        """RTM_NEWLINK: set an interface up."""
        self._request("RTM_NEWLINK", RTM_NEWLINK, NLM_F_ACK, _info(index, IFF_UP, IFF_UP))

    def addresses(self, index: int) -> list[Address]:
        """RTM_GETADDR: the addresses of an interface, in the kernel's order."""
        found = []
        for answer in self._request("RTM_GETADDR", RTM_GETADDR, NLM_F_DUMP, bytes(8)):
            family, prefix, flags, scope = answer[:4]
            if _int(answer[4:8]) != index:
                continue
            attributes = _attributes(answer[8:])
            flags = _int(attributes.get(IFA_FLAGS, bytes((flags,))))
            found.append(Address(family, prefix, flags, scope, tuple(attributes.items())))
        return found

    def add_address(self, index: int, address: Address) -> None:
        """RTM_NEWADDR: give an interface an address that another one had; EEXIST when it is there."""
        flags = address.flags & IFA_F_GIVEN
        body = bytes((address.family, address.prefix, flags & 0xFF, address.scope)) + index.to_bytes(4, sys.byteorder)
        kept = {IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY, IFA_PROTO}
        body += b"".join(_attribute(kind, value) for kind, value in address.attributes if kind in kept)
        body += _attribute(IFA_FLAGS, flags.to_bytes(4, sys.byteorder))
        self._request("RTM_NEWADDR", RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body)

    def _request(self, name: str, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send a message and take the answers, without their headers. Raises OSError with a note `rtnetlink(7) NAME`.

        struct nlmsghdr { u32 len; u16 type, flags; u32 seq, pid; }
        """
        self._sequence += 1
        header = (16 + len(body)).to_bytes(4, sys.byteorder) + kind.to_bytes(2, sys.byteorder)
        header += (flags | NLM_F_REQUEST).to_bytes(2, sys.byteorder) + self._sequence.to_bytes(4, sys.byteorder)
        answers: list[bytes] = []
        try:
            self._socket.sendto(header + bytes(4) + body, (0, 0))
            while True:
                data = self._socket.recv(1 << 16)
                while len(data) >= 16:
                    size, got, number = _int(data[:4]), _int(data[4:6]), _int(data[8:12])
                    message, data = data[:size], data[_aligned(size) :]
                    if number != self._sequence:
                        continue
                    if got in {NLMSG_ERROR, NLMSG_DONE}:
                        _check(message, got)
                        return answers
                    answers.append(message[16:])
                    if not flags & (NLM_F_DUMP | NLM_F_ACK):
                        return answers
        except OSError as error:
            error.add_note(f"rtnetlink(7) {name}")
            raise


def open_in(namespace: int) -> Route:
    """An rtnetlink socket of another network namespace, by its descriptor.

    A child enters the namespace, makes the socket and hands it over, so that the caller need not go there and
    perhaps not come back:

        caller ── fork ──▶ setns, socket
          ◀─ SCM_RIGHTS ── _exit
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            namespaces.setns(namespace, CLONE_NEWNET)
            made = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_ROUTE)
            fds = made.fileno().to_bytes(4, sys.byteorder)
            theirs.sendmsg([b"\0\0"], [(_socket.SOL_SOCKET, SCM_RIGHTS, fds)])
        except OSError as error:
            theirs.send((error.errno or 5).to_bytes(2, sys.byteorder))
        finally:
            os._exit(0)
    theirs.close()
    try:
        answer, ancillary, _, _ = ours.recvmsg(2, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    finally:
        ours.close()
        os.waitpid(pid, 0)
    if not ancillary:
        code = _int(answer) or 5
        failure = OSError(code, os.strerror(code))
        failure.add_note("setns(2)")
        raise failure
    return Route(_socket.socket(fileno=_int(ancillary[0][2])))


def _check(message: bytes, kind: int) -> None:
    """Raise what an NLMSG_ERROR or NLMSG_DONE tells: struct nlmsgerr { s32 error; nlmsghdr msg; } and attributes."""
    code = -_int(message[16:20], signed=True)
    if code <= 0:
        return
    text = os.strerror(code)
    if kind == NLMSG_ERROR and _int(message[6:8]) & NLM_F_ACK_TLVS:
        says = _attributes(message[36:]).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
        text = f"{text} ({says})" if says else text
    raise OSError(code, text)


def _info(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg { u8 family, pad; u16 type; s32 index; u32 flags, change; }"""
    return bytes(4) + b"".join(value.to_bytes(4, sys.byteorder) for value in (index, flags, change))


def _attribute(kind: int, value: bytes) -> bytes:
    """struct rtattr { u16 len, type; }, the value, and padding to 4 bytes."""
    head = (4 + len(value)).to_bytes(2, sys.byteorder) + kind.to_bytes(2, sys.byteorder)
    return (head + value).ljust(_aligned(4 + len(value)), b"\0")


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        size = max(_int(data[:2]), 4)
        found[_int(data[2:4]) & 0x3FFF] = data[4:size]  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
        data = data[_aligned(size) :]
    return found


def _aligned(size: int) -> int:
    return size + 3 & ~3


def _int(data: bytes, *, signed: bool = False) -> int:
    return int.from_bytes(data, sys.byteorder, signed=signed)
