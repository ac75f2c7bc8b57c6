"""Landlock: a process gives up rights to files, ports and signals, for good and without privilege.

    create_ruleset(what is handled) ─ add_path_rule… ─ add_port_rule… ─ restrict_self

What is handled and allowed by no rule is refused. A kernel's abilities are one number, its ABI.

What does not belong here: which paths a container may reach.
"""

from __future__ import annotations

import errno

from cloche.linux import kernel

# linux/landlock.h; the first ABI is Linux 5.13
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1
LANDLOCK_RULE_NET_PORT = 2
FS_EXECUTE = 1 << 0
FS_WRITE_FILE = 1 << 1
FS_READ_FILE = 1 << 2
FS_READ_DIR = 1 << 3
FS_REMOVE_DIR = 1 << 4
FS_REMOVE_FILE = 1 << 5
FS_MAKE_CHAR = 1 << 6
FS_MAKE_DIR = 1 << 7
FS_MAKE_REG = 1 << 8
FS_MAKE_SOCK = 1 << 9
FS_MAKE_FIFO = 1 << 10
FS_MAKE_BLOCK = 1 << 11
FS_MAKE_SYM = 1 << 12
FS_REFER = 1 << 13  # ABI 2, Linux 5.19: rename and link between directories
FS_TRUNCATE = 1 << 14  # ABI 3, Linux 6.2
FS_IOCTL_DEV = 1 << 15  # ABI 5, Linux 6.10
NET_BIND_TCP = 1 << 0  # ABI 4, Linux 6.7
NET_CONNECT_TCP = 1 << 1
SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0  # ABI 6, Linux 6.12
SCOPE_SIGNAL = 1 << 1

# the rights that a rule on something other than a directory may have; others are EINVAL there
FS_OF_A_FILE = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV


def abi() -> int:
    """landlock_create_ruleset(2), Linux 5.13: the kernel's ABI; 0 when absent or switched off."""
    try:
        return kernel.call("landlock_create_ruleset", 444, 0, 0, LANDLOCK_CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return 0


def handled(abi: int) -> int:
    """All FS_* rights that exist at this ABI."""
    newest = {0: 0, 1: FS_MAKE_SYM, 2: FS_REFER, 3: FS_TRUNCATE, 4: FS_TRUNCATE}.get(abi, FS_IOCTL_DEV)
    return newest * 2 - 1 if newest else 0


def handled_net(abi: int) -> int:
    """All NET_* rights that exist at this ABI."""
    return NET_BIND_TCP | NET_CONNECT_TCP if abi >= 4 else 0


def handled_scopes(abi: int) -> int:
    """All SCOPE_* that exist at this ABI."""
    return SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= 6 else 0


def create_ruleset(handled_fs: int, handled_net: int = 0, scoped: int = 0, *, abi: int) -> int:
    """landlock_create_ruleset(2): a rule set that handles these rights; closed on exec.

    `abi` says how much of the struct the kernel reads; what does not fit in must be 0.
    struct landlock_ruleset_attr { u64 handled_access_fs, handled_access_net (4), scoped (6); }
    """
    fields = (handled_fs, handled_net, scoped)
    size = 1 if abi < 4 else 2 if abi < 6 else 3
    if any(fields[size:]):
        raise ValueError(f"landlock ABI {abi} cannot handle ports before 4, scopes before 6")
    attr = b"".join(field.to_bytes(8, "little") for field in fields[:size])
    return kernel.call("landlock_create_ruleset", 444, attr, len(attr), 0)


def add_path_rule(ruleset: int, access: int, path_fd: int) -> None:
    """landlock_add_rule(2): allow FS_* `access` to what `path_fd` (O_PATH does) is, and all beneath.

    struct landlock_path_beneath_attr { u64 allowed_access; s32 parent_fd; } packed
    """
    attr = access.to_bytes(8, "little") + path_fd.to_bytes(4, "little", signed=True)
    kernel.call("landlock_add_rule", 445, ruleset, LANDLOCK_RULE_PATH_BENEATH, attr, 0)


def add_port_rule(ruleset: int, access: int, port: int) -> None:
    """landlock_add_rule(2), ABI 4: allow NET_* `access` to a TCP port; 0 to bind is any ephemeral one.

    struct landlock_net_port_attr { u64 allowed_access, port; }
    """
    attr = access.to_bytes(8, "little") + port.to_bytes(8, "little")
    kernel.call("landlock_add_rule", 445, ruleset, LANDLOCK_RULE_NET_PORT, attr, 0)


def restrict_self(ruleset: int) -> None:
    """landlock_restrict_self(2): put the rule set into force for the caller and its children.

    EPERM without no_new_privs or CAP_SYS_ADMIN, E2BIG past 16 rule sets.
    """
    kernel.call("landlock_restrict_self", 446, ruleset, 0)
