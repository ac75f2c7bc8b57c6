"""Logs that are no files: systemd's journal and syslog, which --log names as crun does (journald:ID, syslog:NAME).

An entry is one datagram: to the journal lines of FIELD=VALUE (systemd, "Native Journal Protocol"), to syslog
<priority>time name: text, as the C library's syslog(3) writes it.
"""

from __future__ import annotations

import _socket
import time

JOURNAL = "/run/systemd/journal/socket"
SYSLOG = "/dev/log"
PRIORITIES = {"error": 3, "warning": 4, "debug": 7}  # syslog.h
USER = 8  # LOG_USER
PATIENCE = 5.0  # seconds that a line waits for a reader who does not keep up


def check(log: str) -> None:
    """Raise OSError, with the log as its file name, where nobody listens."""
    try:
        _connect(log).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"--log {log}: {_place(log)}") from None


def send(log: str, level: str, line: str) -> None:
    """Send one line."""
    name, priority = log.partition(":")[2], PRIORITIES[level]
    if log.startswith("journald:"):
        entry = f"PRIORITY={priority}\nSYSLOG_IDENTIFIER=cloche-runtime\nID={name}\nMESSAGE={line}\n"
    else:
        entry = f"<{USER | priority}>{time.strftime('%b %e %H:%M:%S')} {name}: {line}"
    sock = _connect(log)
    try:
        sock.send(entry.encode(errors="replace"))
    finally:
        sock.close()


def _place(log: str) -> str:
    return JOURNAL if log.startswith("journald:") else SYSLOG


def _connect(log: str) -> _socket.socket:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    sock.settimeout(PATIENCE)
    try:
        sock.connect(_place(log))
    except OSError:
        sock.close()
        raise
    return sock
