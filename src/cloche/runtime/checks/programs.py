"""Programs and devices: the sealed interpreter, and what later networking may use."""

from __future__ import annotations

import errno
import os
import sys

from cloche.linux import process
from cloche.runtime.checks.attempt import attempt
from cloche.runtime.checks.finding import MISSING, OK, Finding, judge
from cloche.runtime.checks.making import in_new, output_of
from cloche.stage.seal import sealed_interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.runtime.checks.place import Place

FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/local/sbin")
CODE = 42

# linux/netfilter/nfnetlink.h and nf_tables.h
NETLINK_NETFILTER = 12
BATCH_BEGIN, BATCH_END = 0x10, 0x11
SUBSYSTEM = 10
NEWTABLE = SUBSYSTEM << 8
REQUEST, ACK, CREATE = 0x1, 0x4, 0x400
FAMILY_INET = 1


def _execute_sealed() -> str:
    copy = sealed_interpreter()
    try:
        os.pwrite(copy, b"\x7f", 0)
    except PermissionError:
        pass
    else:
        raise OSError(errno.EPROTO, "the sealed copy could be written")
    argv = [sys.executable or "python3", "-I", "-S", "-c", f"raise SystemExit({CODE})"]
    pid = os.posix_spawn(f"/proc/self/fd/{copy}", argv, {})
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != CODE:
        raise OSError(errno.ENOEXEC, "the sealed copy did not run")
    return f"a copy of {sys.executable} ran, and could not be written"


def sealed_program(place: Place) -> Finding:
    """A memory file can be sealed, and executed."""
    outcome = attempt(_execute_sealed)
    return judge(
        "sealed-memory",
        outcome,
        "sealed a copy of this Python in memory and executed it",
        good="even a container with root's own users cannot change the Python that starts containers",
        bad="containers whose users may write this Python (--userns=host and the like) cannot be started",
        fix=place.fix(outcome, place.as_root("sysctl -w vm.memfd_noexec=0") if outcome.code == errno.EACCES else ""),
        needed=_owns_interpreter(place),
    )


def _owns_interpreter(place: Place) -> bool:
    """Whether a user of an ordinary container is the one who may write this Python (CVE-2019-5736)."""
    ids = place.ids
    if ids is None or not sys.executable:
        return False
    owner = os.stat(os.path.realpath(sys.executable)).st_uid
    return ids.kind == "host" or any(first <= owner < first + count for _, first, count in ids.uids)


def _find(name: str) -> str:
    return next((path for path in (f"{f}/{name}" for f in FOLDERS) if os.access(path, os.X_OK)), "")


def user_network(place: Place) -> Finding:
    """A program that connects a network namespace without privilege: pasta, or slirp4netns."""
    said = []
    for name in ("pasta", "slirp4netns"):
        path = _find(name)
        if not path:
            said.append(f"{name} is not installed")
            continue
        outcome = attempt(lambda path=path: output_of([path, "--version"])[1])  # type: ignore[misc]
        if outcome.ok:
            meaning = "it can connect containers of ordinary users; not needed yet"
            return Finding("user-network", OK, f"ran {path} --version: {outcome.says}", meaning)
        said.append(f"ran {path}: {outcome.says}")
    meaning = "not needed yet: containers have no network, or the host's"
    return Finding(
        "user-network", MISSING, f"looked for both: {'; '.join(said)}", meaning, place.as_root("apt install passt")
    )


def _message(kind: int, flags: int, sequence: int, family: int, resource: int, attributes: bytes = b"") -> bytes:
    """One message of nfnetlink.

    struct nlmsghdr { u32 len; u16 type, flags; u32 seq, pid; }
    struct nfgenmsg { u8 family, version; be16 res_id; }
    """
    body = bytes((family, 0)) + resource.to_bytes(2, "big") + attributes
    head = (16 + len(body)).to_bytes(4, "little") + kind.to_bytes(2, "little") + flags.to_bytes(2, "little")
    return head + sequence.to_bytes(4, "little") + bytes(4) + body


def _make_table() -> str:
    """A table in the caller's network namespace; what is left of it ends with that."""
    import _socket

    name = b"doctor\0"
    attribute = (4 + len(name)).to_bytes(2, "little") + (1).to_bytes(2, "little") + name.ljust(8, b"\0")
    batch = _message(BATCH_BEGIN, REQUEST, 1, 0, SUBSYSTEM)
    batch += _message(NEWTABLE, REQUEST | ACK | CREATE, 2, FAMILY_INET, 0, attribute)
    batch += _message(BATCH_END, REQUEST, 3, 0, SUBSYSTEM)
    sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        sock.bind((0, 0))
        sock.send(batch)
        answer = sock.recv(8192)
    finally:
        sock.close()
    code = -int.from_bytes(answer[16:20], "little", signed=True)
    if code:
        error = OSError(code, os.strerror(code))
        error.add_note("NFT_MSG_NEWTABLE")
        raise error
    return "made" + ("" if _find("nft") else ", though the program nft is not installed")


def packet_filter(place: Place) -> Finding:
    """A table of nftables can be made in a new network namespace."""
    flags = process.CLONE_NEWNET | place.flags
    outcome = attempt(lambda: in_new(flags, _make_table))
    return judge(
        "nftables",
        outcome,
        "made a table in a new network namespace",
        good="ports of containers can be published; not needed yet",
        bad="not needed yet; publishing ports will want it",
        fix=(place.fix if place.privileged else place.fix_inside)(outcome, place.as_root("modprobe nf_tables")),
    )


def fuse(place: Place) -> Finding:
    """/dev/fuse can be opened."""
    outcome = attempt(lambda: os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)))
    return judge(
        "fuse",
        outcome,
        "opened /dev/fuse",
        good="file systems can be made by programs; not needed by cloche",
        bad="not needed by cloche: overlays are the kernel's own",
        fix=place.as_root("modprobe fuse") if outcome.code in {errno.ENOENT, errno.ENODEV, errno.ENXIO} else "",
    )
