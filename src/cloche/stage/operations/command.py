"""Name and parameters of the container; the last steps: session, working directory, descriptors, the command itself."""

from __future__ import annotations

import posix as os
import select

from cloche.linux import capabilities, files, mount, namespaces, network, process, terminal
from cloche.records import record
from cloche.stage import paths, reaper, wire
from cloche.stage.diagnosis import why_not_executed
from cloche.stage.operation import InsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Inside


@record
class SetHostName(InsideOperation):
    """Name the container."""

    name: str
    domain: str = ""

    def execute(self, scene: Inside) -> None:
        del scene
        if self.name:
            namespaces.sethostname(self.name)
        if self.domain:
            namespaces.setdomainname(self.domain)

    def calls(self) -> list[str]:
        pairs = (("sethostname", self.name), ("setdomainname", self.domain))
        return [f'{call}("{value}")' for call, value in pairs if value]

    def meaning(self) -> str:
        return f"the host is called {self.name or 'as before'} in here, and keeps its own name outside"


@record
class BringUp(InsideOperation):
    """Bring a network interface up."""

    interface: str

    def execute(self, scene: Inside) -> None:
        del scene
        network.bring_up(self.interface)

    def calls(self) -> list[str]:
        return [f'ioctl(SIOCSIFFLAGS, "{self.interface}", IFF_UP)']

    def meaning(self) -> str:
        return "programs in here can talk to each other on 127.0.0.1, and to nobody else"


def _open_proc(scene: Inside) -> int:
    """The proc made for the container; where there is none, or something is over it, one nobody has (CVE-2025-52881).

    Where that may not be made, in the pid namespace of the host, the host's is bound; it is taken for what it is.
    """
    if (made := scene.trees.get("/proc", -1)) >= 0:
        return os.dup(made)
    try:
        return mount.new_filesystem("proc", {"source": "proc"})
    except PermissionError:
        return paths.check_proc(paths.open_path(scene.root, "/proc"))


@record
class Sysctl(InsideOperation):
    """Set a kernel parameter of the container's own namespaces, through its own /proc."""

    key: str
    value: str

    def execute(self, scene: Inside) -> None:
        name = "sys/" + self.key.replace(".", "/")
        resolve = files.RESOLVE_BENEATH | files.RESOLVE_NO_XDEV | files.RESOLVE_NO_MAGICLINKS
        with (
            files.Fd(_open_proc(scene)) as proc,
            files.Fd(files.openat2(proc.number, name, os.O_WRONLY, resolve=resolve)) as fd,
        ):
            if files.filesystem_type(fd.number) != files.PROC_SUPER_MAGIC:
                raise OSError(22, "is not on proc", name)
            os.write(fd.number, self.value.encode())

    def calls(self) -> list[str]:
        return [f'write("/proc/sys/{self.key.replace(".", "/")}", "{self.value}")']

    def meaning(self) -> str:
        return f"{self.key} is {self.value} in here, and as it was outside"

    def hint(self, code: int) -> str:
        if code in {1, 13, 30}:
            return f"{self.key} does not belong to a namespace of the container, so it cannot be set for it alone"
        return "this kernel has no such parameter" if code == 2 else ""


@record
class NewSession(InsideOperation):
    """Leave the caller's session and terminal; wear our own stdin, stdout and stderr."""

    terminal: bool

    def execute(self, scene: Inside) -> None:
        os.setsid()
        if self.terminal:
            terminal.make_controlling(scene.stdio[0])
        for target, fd in enumerate(scene.stdio):
            os.dup2(fd, target, inheritable=True)

    def calls(self) -> list[str]:
        control = ["ioctl(TIOCSCTTY)"] if self.terminal else []
        return ["setsid()", *control, "dup2(…, 0, 1, 2)"]

    def meaning(self) -> str:
        return "no key, signal or character of your terminal can be faked from in here"


@record
class WorkingDirectory(InsideOperation):
    """Go to the directory the command starts in, making it if asked."""

    path: str

    def execute(self, scene: Inside) -> None:
        del scene
        try:
            os.chdir(self.path)
        except PermissionError:
            # what root may enter, the command may start in: /root, as a user (runc and crun do so)
            _, permitted, inheritable = capabilities.get()
            capabilities.set_(permitted, permitted, inheritable)
            os.chdir(self.path)
        if not process.working_directory().startswith(b"/"):
            raise OSError(2, "is outside the root", self.path)

    def calls(self) -> list[str]:
        return [f'chdir("{self.path}")', "getcwd()"]

    def meaning(self) -> str:
        return f"the command starts in {self.path}, and that is inside (CVE-2024-21626)"

    def hint(self, code: int) -> str:
        return f"{self.path} has to be a directory in the container" if code in {2, 20} else ""


@record
class DieWithStage(InsideOperation):
    """End when the stage ends, however it ends; a stage that has died already has closed its end."""

    def execute(self, scene: Inside) -> None:
        process.die_with_parent()
        if _hung_up(scene.channel.fileno()):
            os._exit(125)

    def calls(self) -> list[str]:
        return ["prctl(PR_SET_PDEATHSIG, SIGKILL)"]

    def meaning(self) -> str:
        return "if cloche is killed, so is everything in here"


@record
class Outlive(InsideOperation):
    """Go on without the command that made this process, once it has written down that it is there."""

    def execute(self, scene: Inside) -> None:
        outlive(scene)

    def calls(self) -> list[str]:
        return ["prctl(PR_SET_PDEATHSIG, 0)"]

    def meaning(self) -> str:
        return "the process does not end with the command that made it"


@record
class CloseDescriptors(InsideOperation):
    """Let nothing that is open here reach the command."""

    preserve: int = 0  # how many descriptors after 2 stay

    def execute(self, scene: Inside) -> None:
        # at once, and not only in execve, which looks for the command first: its path may be /proc/self/fd/7
        first = 3 + self.preserve
        ours = [sock.fileno() for sock in (scene.channel, scene.starting) if sock is not None]
        for fd in sorted(ours):
            if first < fd:
                process.close_range(first, fd - 1)
            first = max(first, fd + 1)
        process.close_range(first)

    def calls(self) -> list[str]:
        return [f"close_range({3 + self.preserve}, ~0)"]  # but for our own sockets

    def meaning(self) -> str:
        return "the command starts with stdin, stdout and stderr and no other descriptor (CVE-2024-21626)"


@record
class Execute(InsideOperation):
    """Become the command."""

    argv: tuple[str, ...]
    environment: tuple[str, ...]  # KEY=value
    init: bool = False  # stay as a small init, and run the command below

    def execute(self, scene: Inside) -> None:
        env = dict(entry.partition("=")[::2] for entry in self.environment)
        env["HOME"] = env.get("HOME") or scene.user[3]  # docker counts on an empty one, too (runc #4704)
        if self.init:
            reaper.run(scene.channel, lambda: self._become(scene, env))
        self._become(scene, env)

    def _become(self, scene: Inside, env: dict[str, str]) -> None:
        name = self.argv[0]
        code, culprit = 2, name
        for path in [name] if "/" in name else candidates(name, env.get("PATH", "")):
            try:
                os.execve(path, self.argv, env)
            except OSError as error:
                missing = error.errno in {2, 20} and not os.access(path, os.F_OK)  # else its interpreter is
                if (not missing and culprit == name) or "/" in name:
                    code, culprit = error.errno or 5, path
                if error.errno not in {2, 20, 13, 116}:
                    break
        exit_code, text, hint = why_not_executed(culprit, code, searched="/" not in culprit)
        wire.send(scene.channel, ("not executed", exit_code, code, text, hint))
        os._exit(exit_code)

    def calls(self) -> list[str]:
        words = ", ".join(f'"{word}"' for word in self.argv)
        call = f'execve("{self.argv[0]}", [{words}], {len(self.environment)} variables)'
        return ["fork()", call] if self.init else [call]

    def meaning(self) -> str:
        first = "a small init stays process 1 and cleans up after orphans; " if self.init else ""
        return f"{first}from here on it is the command; nothing of cloche is left in the process"


def outlive(scene: Inside) -> None:
    """Say that all is ready, wait until somebody has written that down, and do not end with the stage any more."""
    wire.send(scene.channel, ("ready",))
    if scene.receive() is None:
        os._exit(125)  # it did not live to write it down
    process.die_with_parent(0)


def candidates(name: str, path: str) -> list[str]:
    """Where a command may be, what can be executed first: the others only tell why not."""
    found = [f"{folder.rstrip('/')}/{name}" for folder in path.split(":") if folder.startswith("/")]
    return sorted(found, key=lambda place: not os.access(place, os.X_OK))


def _hung_up(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
