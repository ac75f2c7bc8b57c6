"""Keyrings: giving a process a session keyring of its own, so that it cannot reach the host's keys.

What does not belong here: keys themselves.
"""

from __future__ import annotations

from cloche.linux import kernel

# linux/keyctl.h
KEYCTL_GET_KEYRING_ID = 0
KEYCTL_JOIN_SESSION_KEYRING = 1
KEYCTL_REVOKE = 3
KEYCTL_SETPERM = 5
KEYCTL_DESCRIBE = 6
KEY_SPEC_SESSION_KEYRING = -3


def keyctl(operation: int, *args: int | bytes) -> int:
    """keyctl(2): one KEYCTL_* operation; ENOSYS where the kernel was built without keys."""
    return kernel.call("keyctl", kernel.number(250, 219), operation, *args)


def join_session_keyring(name: str | None = None) -> int:
    """keyctl(2) KEYCTL_JOIN_SESSION_KEYRING: a new session keyring, or the one of this name.

    Returns its serial number. Without a name it is always a new one. EDQUOT when the user's quota
    of keys is used up (/proc/sys/kernel/keys/maxkeys).
    """
    serial = keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0 if name is None else kernel.path_bytes(name))
    return serial or session_keyring_id()  # the kernel says 0 when it is the caller's already


def session_keyring_id() -> int:
    """keyctl(2) KEYCTL_GET_KEYRING_ID: the serial number of the caller's session keyring."""
    return keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)


def set_permissions(serial: int, permissions: int) -> None:
    """keyctl(2) KEYCTL_SETPERM: what possessor, user, group and others may do, a byte each."""
    keyctl(KEYCTL_SETPERM, serial, permissions)


def describe(serial: int) -> str:
    """keyctl(2) KEYCTL_DESCRIBE: "type;uid;gid;permissions;description" of a key."""
    out = bytearray(4200)  # a description is a page at most
    length = kernel.call("keyctl", kernel.number(250, 219), KEYCTL_DESCRIBE, serial, kernel.buffer(out), len(out))
    return out[: length - 1].decode(errors="replace")


def revoke(serial: int) -> None:
    """keyctl(2) KEYCTL_REVOKE: make a key or keyring useless to all; EKEYREVOKED from then on."""
    keyctl(KEYCTL_REVOKE, serial)
