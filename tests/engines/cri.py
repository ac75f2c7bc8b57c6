"""A client of the Container Runtime Interface, as small as tests need: what a kubelet would ask containerd for.

    Kubelet ── message (protobuf, by hand) ── gRPC frame ── HTTP/2 over a unix socket, one connection a call

Field numbers are those of api.proto in k8s.io/cri-api, runtime.v1. Of HTTP/2 (RFC 9113) only what one unary call with
small messages needs is here: headers are sent literally, headers that come back are not decoded. An error is so told
only by the absence of an answer; containerd's own log has its text.
Used by the tests here and in a machine of software. What does not belong here: what is expected of pods.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
Field = int | str | bytes
# of ContainerState
RUNNING, EXITED = 1, 2
# of LinuxContainerResources
CPU_PERIOD, CPU_QUOTA, CPU_SHARES, MEMORY, UNIFIED = 1, 2, 3, 4, 9
# of NamespaceMode: the pod is in the network of the machine, as there are no CNI plugins
NODE = 2


class CriError(Exception):
    """The service gave no answer, but an error."""


class Kubelet:
    """What a kubelet would do: calls of the CRI service at a socket. `said` is the end of its log."""

    def __init__(self, path: Path, said: Callable[[], str]) -> None:
        self.path, self.said = path, said

    def ask(self, method: str, *fields: tuple[int, Field]) -> dict[int, list[int | bytes]]:
        """One call; an error shows the end of the log."""
        try:
            return call(self.path, "RuntimeService", method, encode(*fields))
        except (CriError, OSError) as error:
            raise AssertionError(f"{method}: {error}; containerd's log ends in:\n{self.said()}") from error

    def text(self, method: str, *fields: tuple[int, Field]) -> str:
        """The first field of an answer, which is text."""
        (value,) = self.ask(method, *fields)[1]
        assert isinstance(value, bytes)
        return value.decode()

    def state(self, identity: str) -> tuple[int, int]:
        """The state and the exit code of a container."""
        (status,) = self.ask("ContainerStatus", (1, identity))[1]
        assert isinstance(status, bytes)
        fields = decode(status)
        return int(fields.get(3, [0])[0]), int(fields.get(7, [0])[0])


def pod(name: str, parent: str = "") -> bytes:
    """A PodSandboxConfig in the machine's network, with its control groups below `parent`."""
    metadata = encode((1, name), (2, f"uid-{name}"), (3, "default"))
    linux = encode((1, parent), (2, encode((1, encode((1, NODE))))))
    return encode((1, metadata), (8, linux))


def container(name: str, image: str, *command: str, limits: tuple[tuple[int, Field], ...]) -> bytes:
    """A ContainerConfig with limits: the fields of LinuxContainerResources."""
    linux = encode((1, encode(*limits)), (2, encode((3, encode((1, NODE))))))
    words = [(3, word) for word in command]
    return encode((1, encode((1, name))), (2, encode((1, image))), *words, (15, linux))


def call(path: Path, service: str, method: str, message: bytes, timeout: float = 60.0) -> dict[int, list[int | bytes]]:
    """One call of runtime.v1.SERVICE/METHOD; the fields of the answer. Raises CriError, OSError."""
    headers = b"".join(
        _header(name, value)
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/runtime.v1.{service}/{method}"),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        )
    )
    body = struct.pack(">BI", 0, len(message)) + message
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(timeout)
        link.connect(str(path))
        start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, b"")
        link.sendall(start + _frame(HEADERS, END_HEADERS, 1, headers) + _frame(DATA, END_STREAM, 1, body))
        answer = _answer(link)
    if len(answer) < 5:
        raise CriError(f"{method} failed")
    return decode(answer[5:])


def _answer(link: socket.socket) -> bytes:
    """The data of the one stream, to its end."""
    data = b""
    with link.makefile("rb") as stream:
        while True:
            head = stream.read(9)
            if len(head) < 9:
                raise CriError("the connection ended")
            kind, flags = head[3], head[4]
            payload = stream.read(int.from_bytes(head[:3], "big"))
            if kind in {RST_STREAM, GOAWAY}:
                raise CriError(f"frame {kind}: {payload!r}")
            if kind in {SETTINGS, PING} and not flags & ACK:
                link.sendall(_frame(kind, ACK, 0, payload if kind == PING else b""))
            if kind == DATA:
                data += payload
            if kind in {DATA, HEADERS} and flags & END_STREAM:
                return data


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _header(name: str, value: str) -> bytes:
    """A literal field without indexing and with a new name (RFC 7541, 6.2.2); both under 127 letters."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def encode(*fields: tuple[int, Field]) -> bytes:
    """A protobuf message: numbers as varints, text and messages with their length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def decode(data: bytes) -> dict[int, list[int | bytes]]:
    """The fields of a protobuf message, in the order they came in; messages in it stay bytes."""
    found: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(data):
        key, at = _read(data, at)
        value: int | bytes
        if key & 7 == 0:
            value, at = _read(data, at)
        elif key & 7 == 2:
            size, at = _read(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise CriError(f"a field of sort {key & 7} is not expected")
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            return value, at
