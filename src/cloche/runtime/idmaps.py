"""Which users outside stand behind the users inside.

    root                       a range of 65,536 of its own, leased while the container runs
    ordinary user, subuid      root inside is the caller, 1 and up come from /etc/subuid
    ordinary user, no subuid   root inside is the caller, and there is nobody else

The files /etc/subuid and /etc/subgid are subuid(5); newuidmap(1) is the set-uid helper that writes a
map of them for an ordinary user.
"""

from __future__ import annotations

import fcntl
import posix as os

from cloche.errors import ConflictError, ForbiddenError, SpecError, UnsupportedError
from cloche.linux.places import dirname, makedirs
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.runtime.host import Host

    Map = tuple[tuple[int, int, int], ...]

SIZE = 65536
FOLDERS = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin")  # that newuidmap and newgidmap are looked for in
# the range systemd sets aside for containers (systemd.io/UIDS-GIDS), where /etc/subuid has none for us
FIRST, LAST = 524288, 1879048191
F_OFD_SETLK = 37
FILES = 256  # in which locks stand for the ranges
JOINED = "the users of the container it joined"


@record
class IdMaps:
    """A decision: the maps, how they get written, and one sentence for people.

    `kind` is "host" (no user namespace), "range", "subuid", "single", "given" or "same".
    """

    kind: str
    uids: Map
    gids: Map
    says: str
    uid_helper: str = ""
    gid_helper: str = ""
    deny_setgroups: bool = False

    def outside(self, uid: int) -> int | None:
        """The host's uid for a uid inside, None when it has none."""
        return _outside(self.uids, uid)

    def first(self) -> tuple[int, int]:
        """The uid and gid inside that set the container up."""
        return first_of(self.uids), first_of(self.gids)

    def outside_gid(self, gid: int) -> int | None:
        """The host's gid for a gid inside, None when it has none."""
        return _outside(self.gids, gid)


def first_of(entries: Map) -> int:
    """The id inside that sets a container up: 0, or the lowest where the map has no 0."""
    return min((inside for inside, _, _ in entries), default=0)


def _outside(entries: Map, number: int) -> int | None:
    for inside, outside, count in entries:
        if inside <= number < inside + count:
            return outside + number - inside
    return None


HOST = IdMaps(kind="host", uids=(), gids=(), says="no user namespace: root inside is root outside")


def without(host: Host) -> IdMaps:
    """No user namespace but the one that this process is in, where setgroups may be denied (podman without a range)."""
    return HOST if not host.groups_frozen else IdMaps("host", (), (), HOST.says, deny_setgroups=True)


def joined(pid: int) -> IdMaps:
    """Those of a running process whose user namespace is joined."""
    uids, gids = read_map(f"/proc/{pid}/uid_map"), read_map(f"/proc/{pid}/gid_map")
    with open(f"/proc/{pid}/setgroups", "rb", buffering=0) as file:
        deny = file.read().strip() == b"deny"
    return IdMaps("joined", uids, gids, JOINED, deny_setgroups=deny)


def choose(host: Host, mode: str, given_uids: Map, given_gids: Map, lease: Lease | None) -> IdMaps:
    """Decide the maps for a user namespace mode: "" or "auto", "keep-id", "host"; or maps as given.

    `lease` is where a range comes from when root asks for one of its own; None for a dry run.
    """
    if given_uids or given_gids:
        uids, gids = given_uids or given_gids, given_gids or given_uids
        return given(host, uids, gids, "as given with --uidmap and --gidmap")
    if mode == "host":
        return without(host)
    if mode not in {"", "auto", "keep-id", "private"}:
        raise SpecError(f"--userns={mode} is not a mode", hint="auto, keep-id, host or container:NAME")
    if host.privileged or host.nested_root:
        if mode == "keep-id":
            needs, hint = "an ordinary user, whose id is kept", "as root say which ids: --uidmap, --gidmap, --user"
            raise UnsupportedError("--userns=keep-id", needs=needs, hint=hint)
        return _for_root(host, lease)
    return _for_user(host, keep=mode == "keep-id")


def _for_root(host: Host, lease: Lease | None) -> IdMaps:
    whole = sum(count for _, _, count in host.id_map)
    ranges = subordinate("/etc/subuid", ("cloche", "containers"), -1) or [(FIRST, LAST - FIRST + 1)]
    start, count = ranges[0]
    if whole < start + SIZE:
        # root of a user namespace that is itself small, as inside another container
        size = min(whole, SIZE)
        entry = ((0, 0, size),)
        says = f"the {size} ids this process has itself: no others exist here"
        return IdMaps("same", entry, entry, says, deny_setgroups=host.groups_frozen)
    if count < SIZE:
        raise UnsupportedError(
            f"a range of {count} ids for containers of root", needs=f"{SIZE} in a row", hint="widen it in /etc/subuid"
        )
    foreign = others_ranges((start, count))

    def usable(slot: int) -> bool:
        first = start + slot * SIZE
        return not any(first < theirs + size and theirs < first + SIZE for theirs, size in foreign)

    slots = count // SIZE
    slot = lease.take(slots, usable) if lease is not None else next(filter(usable, range(slots)), 0)
    entry = ((0, start + slot * SIZE, SIZE),)
    says = f"a range of its own: 0…{SIZE - 1} inside is {entry[0][1]}…{entry[0][1] + SIZE - 1} outside"
    return IdMaps("range", entry, entry, says)


def others_ranges(own: tuple[int, int]) -> list[tuple[int, int]]:
    """What /etc/subuid and /etc/subgid give to others within our own range, as (start, count)."""
    found = []
    for path in ("/etc/subuid", "/etc/subgid"):
        for start, count in subordinate(path, None, -1):
            if (start, count) != own and start < sum(own) and own[0] < start + count:
                found.append((start, count))
    return found


def _for_user(host: Host, *, keep: bool) -> IdMaps:
    name = own_name(host.uid)
    uids = subordinate("/etc/subuid", (name,), host.uid)
    gids = subordinate("/etc/subgid", (name,), host.uid)
    helpers = _helper("newuidmap"), _helper("newgidmap")
    if uids and gids and all(helpers):
        uid_map = _with_range(host.uid, uids, host.uid if keep else 0)
        gid_map = _with_range(host.gid, gids, host.gid if keep else 0)
        count = sum(n for _, _, n in uid_map) - 1
        says = f"root inside is you ({host.uid}) outside, and {count} further ids come from /etc/subuid"
        return IdMaps("subuid", uid_map, gid_map, says, helpers[0], helpers[1])
    inside = (host.uid, host.gid) if keep else (0, 0)
    if uids and gids:
        why = "newuidmap is not installed (Debian: apt install uidmap)"
    else:
        why = f"/etc/subuid and /etc/subgid give no range to {name or host.uid}"
    says = f"one id: {inside[0]} inside is you ({host.uid}) outside, nobody else exists; {why}"
    single = ((inside[0], host.uid, 1),), ((inside[1], host.gid, 1),)
    return IdMaps("single", single[0], single[1], says, deny_setgroups=True)


def _with_range(own: int, ranges: list[tuple[int, int]], inside: int) -> Map:
    """Map `inside` to the caller, and the other ids, in order, to the subordinate ranges."""
    entries = []
    position = 0
    for start, length in ranges:
        remaining = length
        while remaining:
            if position == inside:
                entries.append((inside, own, 1))
                position += 1
            count = min(remaining, inside - position) if position < inside else remaining
            entries.append((position, start + length - remaining, count))
            position += count
            remaining -= count
    if position <= inside:
        entries.append((inside, own, 1))
    return tuple(entries)


def given(host: Host, uids: Map, gids: Map, says: str) -> IdMaps:
    """Maps that somebody else decided, and what this process needs to write them (user_namespaces(7)).

    Raises ForbiddenError where it cannot.
    """
    helpers = ("", "")
    deny = host.groups_frozen  # then it is in all namespaces below as well
    if not (host.privileged or host.nested_root):
        deny = _only(uids, host.uid) and _only(gids, host.gid)
        if not deny:
            helpers = _helper("newuidmap"), _helper("newgidmap")
            if not all(helpers):
                raise ForbiddenError(
                    "an ordinary user cannot map these ids without newuidmap",
                    hint="apt install uidmap, and a range in /etc/subuid; or map only your own id",
                )
    return IdMaps("given", uids, gids, says, helpers[0], helpers[1], deny)


def _only(entries: Map, own: int) -> bool:
    """Whether nothing but the caller's own id is mapped, which needs nobody's help."""
    return all(entry[1:] == (own, 1) for entry in entries)


def parse_map(text: str) -> tuple[int, int, int]:
    """INSIDE:OUTSIDE[:COUNT] as three numbers."""
    parts = text.split(":")
    if len(parts) not in {2, 3} or not all(p.isascii() and p.isdecimal() and len(p) < 11 for p in parts):
        raise SpecError(f"{text!r} is not an id map", hint="INSIDE:OUTSIDE:COUNT, such as 0:100000:65536")
    inside, outside, count = (*(int(part) for part in parts), 1)[:3]
    if count < 1 or max(inside, outside) + count > 2**32 - 1:
        raise SpecError(f"{text!r} goes beyond the ids there are", hint="ids are 0 to 4294967294")
    return inside, outside, count


def read_map(path: str) -> Map:
    """The entries of a /proc/PID/uid_map or gid_map, as seen from here."""
    with open(path, "rb", buffering=0) as file:  # bytes: no codec is loaded for them
        words = [int(word) for word in file.read().split()]
    return tuple(zip(words[::3], words[1::3], words[2::3], strict=True))


def subordinate(path: str, names: tuple[str, ...] | None, uid: int) -> list[tuple[int, int]]:
    """The (start, count) ranges that subuid(5) file `path` gives to any of `names` or to `uid`; None for all."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip().split(":") for line in file]
    except OSError:
        return []
    wanted = {*(names or ()), str(uid)} - {""}
    return [
        (int(f[1]), int(f[2]))
        for f in lines
        if len(f) == 3 and (names is None or f[0] in wanted) and (f[1] + f[2]).isdecimal()
    ]


def own_name(uid: int) -> str:
    """The name of a user, "" where there is none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _helper(name: str) -> str:
    for folder in FOLDERS:
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    return ""


class Lease:
    """A range of ids nobody else uses, held while this object (or a fork's copy) keeps its file open.

    One byte of a file stands for each range and is locked (F_OFD_SETLK): the kernel lets go of the
    lock when the last holder is gone, however it went, so that nothing is left to clean up.

    There are FILES of them in one directory: whoever closes a descriptor has the kernel walk through all locks on
    that file, and a stage that forks has one of each container to close.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.fd = -1
        self.slot: int | None = None

    def take(self, slots: int, usable: Callable[[int], bool] = lambda _: True) -> int:
        """Lock a free slot of `slots`, one that is `usable`, and return its number."""
        self.close()
        first = int.from_bytes(os.urandom(4), "little") % slots
        for step in range(slots):
            slot = (first + step) % slots
            if not usable(slot):
                continue
            if self._lock(slot):
                return slot
        raise ConflictError("every id range is in use", hint="end some containers, or give root more in /etc/subuid")

    def take_again(self, slot: int | None) -> None:
        """Lock a slot that was somebody's who is gone, and whose container is still there; None for none."""
        if slot is None:
            return
        try:
            self._lock(slot)  # where another container has it by now, the two share their ids
        except ForbiddenError:
            pass

    def _lock(self, slot: int) -> bool:
        fd = self._open(slot)
        try:
            fcntl.fcntl(fd, F_OFD_SETLK, _flock(slot))
        except (BlockingIOError, PermissionError):
            os.close(fd)
            return False
        self.fd, self.slot = fd, slot
        return True

    def _open(self, slot: int) -> int:
        path = f"{self.folder}/{slot % FILES}"
        try:
            try:
                return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                makedirs(self.folder, 0o700)
                return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            why = f"the state directory {dirname(self.folder)} cannot be used: {error.strerror}"
            raise ForbiddenError(why, hint="give another: --state-dir, or CLOCHE_STATE") from None

    def close(self) -> None:
        """Let go; a fork's copy may hold on."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _flock(offset: int) -> bytes:
    """struct flock { short l_type, l_whence; off_t l_start, l_len; pid_t l_pid; } for a write lock."""
    kind, whence = (1).to_bytes(2, "little"), (0).to_bytes(2, "little")
    return kind + whence + b"\0" * 4 + offset.to_bytes(8, "little") + (1).to_bytes(8, "little") + b"\0" * 8
