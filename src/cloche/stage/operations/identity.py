"""Who the command will be and what it may do: user, capabilities, no_new_privs, Landlock, seccomp."""

from __future__ import annotations

import posix as os

from cloche.linux import capabilities, files, keyring, landlock, process, seccomp
from cloche.records import record
from cloche.stage import passwd, paths, seccomp_agent, wire
from cloche.stage.operation import InsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside


@record
class FindUser(InsideOperation):
    """Look the user up in the container's own files, as descriptors, never through the C library."""

    user: str  # name|uid[:group|gid]
    groups: tuple[str, ...] = ()

    def execute(self, scene: Inside) -> None:
        users = passwd.parse(_read(scene.root, "/etc/passwd"))
        groups = passwd.parse(_read(scene.root, "/etc/group"))
        scene.user = passwd.find(self.user, self.groups, users, groups)

    def calls(self) -> list[str]:
        return [
            'openat2(root, "/etc/passwd", RESOLVE_IN_ROOT)',
            'openat2(root, "/etc/group", RESOLVE_IN_ROOT)',
        ]

    def meaning(self) -> str:
        return f"user {self.user or '0'} means what the container's own files say"

    def hint(self, code: int) -> str:
        if code == 34:
            return "numbers of users and groups go from 0 to 4294967294"
        return "give a number, or a name that /etc/passwd or /etc/group in the container has" if code == 2 else ""


@record
class TakeUser(InsideOperation):
    """Take a user that is given by numbers; its home is looked up in the container's own file."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # supplementary: these, and no other

    def execute(self, scene: Inside) -> None:
        users = passwd.parse(_read(scene.root, "/etc/passwd"))
        scene.user = self.uid, self.gid, self.groups, passwd.home(passwd.by_id(self.uid, users))

    def calls(self) -> list[str]:
        return ['openat2(root, "/etc/passwd", RESOLVE_IN_ROOT)']

    def meaning(self) -> str:
        groups = f", with the groups {' '.join(map(str, self.groups))}" if self.groups else ""
        return (
            f"it will be user {self.uid} of group {self.gid}{groups}; the container's own file says where its home is"
        )


@record
class SessionKeyring(InsideOperation):
    """Leave the caller's session keyring for an empty one."""

    name: str = ""  # of the keyring, which others of the same name share; "" for one that nobody can share

    def execute(self, scene: Inside) -> None:
        try:
            try:
                keyring.join_session_keyring(self.name or None)
            except PermissionError:  # one of that name is somebody else's
                keyring.join_session_keyring()
        except OSError as error:
            if error.errno not in {122, 38, 1}:  # EDQUOT, ENOSYS, EPERM by an outer filter
                raise
            scene.note("keyring", f"{error.strerror}: the caller's stays, out of reach as keyctl is refused")

    def calls(self) -> list[str]:
        name = f'"{self.name}"' if self.name else "NULL"
        return [f"keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name})"]

    def meaning(self) -> str:
        return "keys that the caller's session holds (Kerberos, disk encryption) are not within reach"


@record
class GiveStreams(InsideOperation):
    """Make stdin, stdout and stderr the user's, so that /dev/stdout can be opened again."""

    def execute(self, scene: Inside) -> None:
        uid = scene.user[0]
        for fd in (0, 1, 2):
            status = os.fstat(fd)
            if status.st_uid == uid or status.st_rdev == os.makedev(1, 3):
                continue
            if status.st_mode & 0o170000 == 0o100000 and files.access_mode(fd) == os.O_RDONLY:
                continue  # a file given to be read: its owner could open it again to write
            try:
                os.fchown(fd, uid, -1)
            except OSError as error:
                if error.errno not in {1, 22, 30}:  # EPERM, EINVAL, EROFS: of a user or place that cannot change
                    raise

    def calls(self) -> list[str]:
        return ["fchown(0, uid, -1)", "fchown(1, uid, -1)", "fchown(2, uid, -1)"]

    def meaning(self) -> str:
        return "the user may open its own standard streams again"


@record
class DropBounding(InsideOperation):
    """Limit what any program started in here can ever gain."""

    drop: int

    def execute(self, scene: Inside) -> None:
        del scene
        capabilities.drop_from_bounding(self.drop)

    def calls(self) -> list[str]:
        return [f"prctl(PR_CAPBSET_DROP, {name})" for name in capabilities.names(self.drop)]

    def meaning(self) -> str:
        return "no program in here, set-uid or not, can ever have more than these capabilities"


@record
class SetUser(InsideOperation):
    """Become the user, with its groups."""

    umask: int
    keep_groups: bool

    def execute(self, scene: Inside) -> None:
        uid, gid, groups, _ = scene.user
        os.umask(self.umask)
        capabilities.keep_on_setuid(True)
        if not self.keep_groups:
            os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        capabilities.keep_on_setuid(False)

    def calls(self) -> list[str]:
        first = [] if self.keep_groups else ["setgroups(groups)"]
        return [f"umask({self.umask:#o})", *first, "setresgid(gid)", "setresuid(uid)"]

    def meaning(self) -> str:
        stays = "; supplementary groups cannot be changed without a gid range" if self.keep_groups else ""
        return f"the command runs as that user{stays}"

    def hint(self, code: int) -> str:
        if code == 1:
            return "setgroups may be denied in its user namespace, or the caller may not become somebody else"
        if code == 22:
            return "that user or group has no number in the container's id map (--uidmap, or uidMappings)"
        return ""


@record
class SetCapabilities(InsideOperation):
    """Set the capability sets of the process."""

    effective: int
    permitted: int
    inheritable: int
    ambient: int

    def execute(self, scene: Inside) -> None:
        del scene
        capabilities.ambient_clear()
        capabilities.set_(self.effective, self.permitted, self.inheritable)
        if self.ambient:
            capabilities.ambient_raise(self.ambient)

    def calls(self) -> list[str]:
        sets = (self.effective, self.permitted, self.inheritable)
        return [f"capset({', '.join(f'{value:#x}' for value in sets)})"]

    def meaning(self) -> str:
        return f"root's power is split up, and these parts are left: {names(self.effective)}"

    def hint(self, code: int) -> str:
        if code != 1:
            return ""
        if self.effective & ~self.permitted:
            return "what is in effective has to be in permitted"
        return "what is in inheritable has to be in bounding"


@record
class NoNewPrivileges(InsideOperation):
    """Make set-uid programs and file capabilities powerless."""

    def execute(self, scene: Inside) -> None:
        del scene
        process.set_no_new_privs()

    def calls(self) -> list[str]:
        return ["prctl(PR_SET_NO_NEW_PRIVS, 1)"]

    def meaning(self) -> str:
        return "sudo, su and other set-uid programs give nothing in here"


@record
class Landlock(InsideOperation):
    """Restrict file access once more, by a layer that does not depend on mounts or ids."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    abi: int
    scopes: bool

    def execute(self, scene: Inside) -> None:
        del scene
        every = landlock.handled(self.abi)
        read = landlock.FS_EXECUTE | landlock.FS_READ_FILE | landlock.FS_READ_DIR
        scopes = landlock.handled_scopes(self.abi) if self.scopes else 0
        with files.Fd(landlock.create_ruleset(every, 0, scopes, abi=self.abi)) as rules:
            for path in self.readable:
                _allow(rules.number, read, path)
            for path in self.writable:
                _allow(rules.number, every, path)
            landlock.restrict_self(rules.number)

    def calls(self) -> list[str]:
        rules = [f'landlock_add_rule("{path}", read)' for path in self.readable]
        rules += [f'landlock_add_rule("{path}", all)' for path in self.writable]
        return [f"landlock_create_ruleset(abi {self.abi})", *rules, "landlock_restrict_self()"]

    def meaning(self) -> str:
        return "even where mounts and modes would allow it, writing works only below: " + ", ".join(self.writable)


@record
class LoadSeccomp(InsideOperation):
    """Refuse system calls."""

    program: bytes
    flags: int
    listen: bool  # let the stage see what is refused, and answer
    says: tuple[str, ...] = ()
    agent: str = ""  # how the listener gets out to one that answers instead, a way of `seccomp_agent`

    def execute(self, scene: Inside) -> None:
        listening = self.listen or bool(self.agent)
        flags = self.flags | (seccomp.FLAG_NEW_LISTENER if listening else 0)
        try:
            listener = seccomp.load(self.program, flags)
        except OSError as error:
            if not (listening and error.errno == 16):
                raise
            raise OSError(16, "a seccomp listener is there already: this is inside another container") from error
        if self.agent:
            seccomp_agent.hand_over(scene.channel, listener, self.agent)
        elif self.listen:
            wire.send(scene.channel, ("listener",), [listener])
            os.close(listener)

    def calls(self) -> list[str]:
        flag = ", SECCOMP_FILTER_FLAG_NEW_LISTENER" if self.listen or self.agent else ""
        return [f"seccomp(SECCOMP_SET_MODE_FILTER{flag}, {len(self.program) // 8} instructions)"]

    def meaning(self) -> str:
        return "; ".join(self.says) or "system calls that containers have no use for are refused"

    def hint(self, code: int) -> str:
        if code == 16 and self.agent:
            return "an outer filter has a listener, and a process can have one only"
        if code == 16:
            return "nested in another container that watches refusals: use --security-opt seccomp-log=off"
        if code == 22:
            return "this kernel does not take the program, or one of the profile's flags"
        return ""


def names(mask: int) -> str:
    """A capability mask in words."""
    return ", ".join(name[4:].lower() for name in capabilities.names(mask)) or "none"


def _allow(rules: int, access: int, path: str) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with files.Fd(fd):
        if os.fstat(fd).st_mode & 0o170000 != 0o040000:
            access &= landlock.FS_OF_A_FILE
        landlock.add_path_rule(rules, access, fd)


def _read(root: int, path: str) -> str:
    try:
        return paths.read_file(root, path).decode(errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
