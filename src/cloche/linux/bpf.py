"""BPF programs that decide about devices for a cgroup: load, attach, replace, find, detach.

    load_device_program ─▶ descriptor ─▶ attach(group, program)   it lives as long as it is attached

A program attached to a group counts for all groups below it too; an access is allowed when every program
on the way up allows it. All of it needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, in the first user namespace.

What does not belong here: the program's instructions (`cloche.runtime.cgroups.devices`).
"""

from __future__ import annotations

from cloche.linux import kernel

# linux/bpf.h, enum bpf_cmd
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID = 5, 8, 9, 13
_OBJ_GET_INFO_BY_FD, _PROG_QUERY = 15, 16
_PROG_TYPE_CGROUP_DEVICE = 15  # Linux 4.15
_ATTACH_CGROUP_DEVICE = 6
_F_ALLOW_MULTI = 1 << 1
_F_REPLACE = 1 << 2  # Linux 5.6
_NAME = 16  # BPF_OBJ_NAME_LEN, with the NUL
_MOST = 64  # BPF_CGROUP_MAX_PROGS, of one group
_NR = kernel.number(321, 280)


def load_device_program(code: bytes, name: str) -> int:
    """bpf(2) BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE: have the kernel check `code`; returns a descriptor.

    `code` is struct bpf_insn after struct bpf_insn; `name` at most 15 letters, digits, `_` and `.`. The
    descriptor is closed on exec. Raises OSError: EPERM without the capabilities, EINVAL or EACCES for code
    that the kernel's verifier refuses.
    """
    code_buffer, license_buffer = _held(code), _held(b"Apache-2.0\0")
    attributes = _u32(_PROG_TYPE_CGROUP_DEVICE, len(code) // 8)
    attributes += _u64(kernel.address(code_buffer), kernel.address(license_buffer))
    attributes += _u32(0, 0) + _u64(0) + _u32(0, 0)  # log level and size, log, kernel version, flags
    attributes += name.encode().ljust(_NAME, b"\0")[:_NAME] + _u32(0, _ATTACH_CGROUP_DEVICE)
    return _bpf("BPF_PROG_LOAD", _PROG_LOAD, bytearray(attributes))


def attach(group: int, program: int, *, instead: int = -1) -> None:
    """bpf(2) BPF_PROG_ATTACH with BPF_F_ALLOW_MULTI: let `program` decide for the cgroup `group`.

    `instead` is a program attached to the group that this one takes the place of, in one step.
    """
    flags = _F_ALLOW_MULTI | (_F_REPLACE if instead >= 0 else 0)
    fields = (group, program, _ATTACH_CGROUP_DEVICE, flags, max(instead, 0))
    _bpf("BPF_PROG_ATTACH", _PROG_ATTACH, bytearray(_u32(*fields)))


def detach(group: int, program: int) -> None:
    """bpf(2) BPF_PROG_DETACH: the program no longer decides for the cgroup."""
    fields = (group, program, _ATTACH_CGROUP_DEVICE, 0)
    _bpf("BPF_PROG_DETACH", _PROG_DETACH, bytearray(_u32(*fields)))


def attached(group: int) -> list[int]:
    """bpf(2) BPF_PROG_QUERY: the ids of the device programs attached to this very cgroup, in their order."""
    ids = bytearray(4 * _MOST)
    ids_buffer = kernel.buffer(ids)
    attributes = bytearray(_u32(group, _ATTACH_CGROUP_DEVICE, 0, 0) + _u64(kernel.address(ids_buffer)) + _u32(_MOST, 0))
    _bpf("BPF_PROG_QUERY", _PROG_QUERY, attributes)
    count = int.from_bytes(attributes[24:28], "little")
    return [int.from_bytes(ids[4 * i : 4 * i + 4], "little") for i in range(count)]


def program_by_id(number: int) -> int:
    """bpf(2) BPF_PROG_GET_FD_BY_ID: a descriptor of a loaded program; ENOENT when it is gone."""
    return _bpf("BPF_PROG_GET_FD_BY_ID", _PROG_GET_FD_BY_ID, bytearray(_u32(number, 0, 0)))


def program_name(program: int) -> str:
    """bpf(2) BPF_OBJ_GET_INFO_BY_FD: the name a program was loaded with."""
    # struct bpf_prog_info { u32 type, id; u8 tag[8]; u32 jited_len, xlated_len; u64 jited, xlated, load_time;
    #     u32 created_by_uid, nr_map_ids; u64 map_ids; char name[16]; … }
    info = bytearray(80)
    info_buffer = kernel.buffer(info)
    attributes = bytearray(_u32(program, len(info)) + _u64(kernel.address(info_buffer)))
    _bpf("BPF_OBJ_GET_INFO_BY_FD", _OBJ_GET_INFO_BY_FD, attributes)
    return info[64:80].partition(b"\0")[0].decode()


def _bpf(command: str, number: int, attributes: bytearray) -> int:
    try:
        return kernel.call("bpf", _NR, number, kernel.buffer(attributes), len(attributes))
    except OSError as error:
        error.add_note(command)
        raise


def _held(data: bytes) -> object:
    return kernel.buffer(bytearray(data))


def _u32(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def _u64(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)
