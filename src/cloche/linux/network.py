"""Network interfaces of the caller's network namespace, by ioctl: which there are, and up.

That is all a namespace with nothing but loopback needs, and needs it fast. `_socket` is used without
the `socket` package around it, which costs several milliseconds of start-up.

What does not belong here: addresses, routes and making interfaces, which are netlink's business.
"""

from __future__ import annotations

import _socket

from cloche.linux import kernel

# linux/sockios.h and linux/if.h
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFNAMSIZ = 16


def interfaces() -> list[str]:
    """if_nameindex(3): the names of all interfaces, up or down; neither sysfs nor proc needed."""
    try:
        return [name for _, name in _socket.if_nameindex()]
    except OSError as error:
        error.add_note("if_nameindex(3)")
        raise


def flags(name: str) -> int:
    """netdevice(7) SIOCGIFFLAGS: the IFF_* flags of an interface; ENODEV when there is none."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        return _flags(sock.fileno(), _request(name))
    finally:
        sock.close()


def bring_up(name: str) -> None:
    """netdevice(7) SIOCSIFFLAGS: set an interface up; needs CAP_NET_ADMIN over its namespace."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        request = _request(name)
        value = _flags(sock.fileno(), request) | IFF_UP
        request = request[:IFNAMSIZ] + value.to_bytes(2, "little") + request[IFNAMSIZ + 2 :]
        kernel.ioctl("SIOCSIFFLAGS", sock.fileno(), SIOCSIFFLAGS, request)
    finally:
        sock.close()


def _request(name: str) -> bytes:
    """struct ifreq { char ifr_name[16]; union { short ifr_flags; char pad[24]; }; }"""
    raw = kernel.path_bytes(name)
    if len(raw) > IFNAMSIZ:  # the kernel would cut it, and find another interface
        raise ValueError(f"interface name {name!r} is longer than {IFNAMSIZ - 1} bytes")
    return raw.ljust(40, b"\0")


def _flags(sock: int, request: bytes) -> int:
    out = bytearray(request)
    kernel.ioctl("SIOCGIFFLAGS", sock, SIOCGIFFLAGS, kernel.buffer(out))
    return int.from_bytes(out[IFNAMSIZ : IFNAMSIZ + 2], "little")
