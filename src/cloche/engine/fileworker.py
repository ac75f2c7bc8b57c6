"""The process that has a container's files before it: it alone touches them, and only from their root's descriptor.

    caller ── ("see", view)                                  ──▶ worker   see `views`
           ── ("aim", path, follow)                          ──▶          follow a path, and keep where it leads
           ◀── ("done", what, link, where)
           ── ("give", name, scope), [socket]                ──▶          send what is there, an entry a message
           ── ("take", owner, flags), [socket]               ──▶          make what is sent, where that leads
           ── ("pack", name, scope), [file]                  ──▶          write what is there as a tar
           ── ("extract", owner, flags), [file]              ──▶          make what a tar has
           ── ("commit", upper, layers, …), [file]           ──▶          write a layer as a tar (see `committing`)
           ◀── ("done", skipped, bytes) or ("refused", kind, text, hint)

and what any worker does (see images.unpack.worker), whose process and messages it shares. On the socket an entry is a
tuple with the descriptor of a file beside it, an empty tuple is the end. A path is followed once: what is done
afterwards is done to what it led to then, wherever its names lead by now.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import time

from cloche.engine import finding, views
from cloche.engine.placing import Giving, Placer, copy_file, place_archive
from cloche.engine.walking import Scope, walk, write_tar
from cloche.errors import ClocheError, ConflictError, UnsupportedError
from cloche.images.unpack import worker
from cloche.images.unpack.tar import Archive, BadArchive, Entry, Stream
from cloche.images.unpack.worker import Users, Worker
from cloche.linux import files
from cloche.records import values
from cloche.stage import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

NOTHING, DIRECTORY, LINK, OTHER = "nothing", "directory", "link", "other"
PART = 1 << 18


class FileWorker(Worker):
    """The caller's end; for one thread. Of a container that runs, `users` is None: it enters that one's."""

    def __init__(self, users: Users | None, view: tuple[Any, ...]) -> None:
        super().__init__(None if view[0] == "live" else users, __name__, "the process that copies files")
        try:
            self.ask(("see", view))
        except BaseException:
            self.close()
            raise

    def hear(self) -> tuple[Any, ...]:
        """Wait for an answer. Raises ConflictError, UnsupportedError, BadArchive, OSError, StageError."""
        answer = super().hear()
        if answer[0] == "refused":
            _, kind, text, hint = answer
            raise ConflictError(text, hint=hint) if kind == "conflict" else UnsupportedError(text, hint=hint)
        return answer

    def aim(self, path: bytes, *, follow: bool) -> tuple[str, bytes, bytes]:
        """Follow a path, whose last name may be missing: what is there, what it says if it is a link, and where."""
        _, what, link, where = self.ask(("aim", path, follow))
        return what, link, where

    def pack(self, name: bytes, scope: Scope, out: int) -> dict[str, int]:
        """Write what was aimed at as a tar; returns what is not in it, and how often."""
        return dict(self.ask(("pack", name, *values(scope)), (out,))[1])

    def extract(self, giving: Giving, source: int) -> dict[str, int]:
        """Make what a tar has in the directory that was aimed at."""
        return dict(self.ask(("extract", *values(giving)), (source,))[1])


def main() -> None:
    """The worker."""
    worker.main(_answer)


_root: list[int] = []
_aim: list[finding.Found] = []


def _answer(message: tuple[Any, ...], fds: list[int]) -> tuple[Any, ...]:
    try:
        return _do(message, fds)
    except ConflictError as error:
        return "refused", "conflict", str(error), error.hint
    except UnsupportedError as error:
        return "refused", "unsupported", error.feature, error.needs
    except BadArchive:
        raise
    except ClocheError as error:
        return "refused", "conflict", str(error), error.hint


def _do(message: tuple[Any, ...], fds: list[int]) -> tuple[Any, ...]:
    what, *given = message
    if what == "see":
        allow_descriptors()
        _root[:] = [views.open_view(given[0])]
    elif what == "aim":
        return _aim_at(*given)
    elif what == "give":
        return "done", send_entries(os.dup(fds[0]), *_walked(*given))
    elif what == "take":
        return "done", take_entries(os.dup(fds[0]), _placer(*given))
    elif what == "pack":
        entries, skipped = _walked(*given)
        write_tar(entries, fds[0])
        return "done", skipped
    elif what == "extract":
        placer = _placer(*given)
        try:
            place_archive(Archive(Stream(lambda: os.read(fds[0], PART))), placer)
        finally:
            os.close(placer.base)
        return "done", placer.skipped
    elif what == "commit":
        from cloche.engine.committing import write_layer

        upper, layers, places, noted = given
        write_layer(upper, layers, frozenset(places), noted, fds[0])
    else:
        return worker.answer(message, fds)
    return ("done",)


def _aim_at(path: bytes, follow: bool) -> tuple[Any, ...]:
    found = finding.find(_root[0], path, follow=follow)
    _aim.append(found)
    kind = NOTHING if found.fd < 0 else DIRECTORY if found.directory else LINK if found.link else OTHER
    return "done", kind, found.link, found.path


def _walked(name: bytes, *scope: Any) -> tuple[Iterator[tuple[Entry, int]], dict[str, int]]:
    """What was aimed at last, which nobody has replaced since."""
    found, skipped = _aim[-1], dict[str, int]()
    return walk(found.fd, name, Scope(*scope), skipped), skipped


def _placer(*giving: Any) -> Placer:
    """For the directory that was aimed at last; or where nothing or a file is, for the one that it is in."""
    found = _aim[-1]
    inside = found.directory
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    base = os.open(f"/proc/self/fd/{found.fd if inside else found.parent}", flags)
    where = found.path if inside else found.path.rpartition(b"/")[0]

    def elsewhere(path: bytes) -> int:
        there = finding.find(_root[0], b"/".join((where, path)), follow=True)
        with files.Fd(there.parent), files.Fd(there.fd):
            if not there.directory:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path))
            return os.open(f"/proc/self/fd/{there.fd}", flags)

    return Placer(base, Giving(*giving), elsewhere)


def send_entries(sock: int, entries: Iterator[tuple[Entry, int]], skipped: dict[str, int]) -> dict[str, int]:
    """Send entries into a socket, which is closed at the end."""
    with socket.socket(fileno=sock) as out:
        for entry, fd in entries:
            with files.Fd(fd):
                _send(out, values(entry), (fd,) if fd >= 0 else ())
        _send(out, (), ())
    return skipped


def _send(out: socket.socket, message: tuple[Any, ...], fds: tuple[int, ...]) -> None:
    while True:
        try:
            wire.send(out, message, fds)
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:  # descriptors on their way, of a user who may not have more
                raise
            time.sleep(0.001)
        else:
            return


def take_entries(sock: int, placer: Placer) -> dict[str, int]:
    """Make the entries that come from a socket; returns what could not be made. Raises as `Placer.place`."""
    with socket.socket(fileno=sock) as source, files.Fd(placer.base):
        while (got := wire.receive(source)) is not None:
            message, fds = got
            try:
                if not message:
                    placer.finish()
                    return placer.skipped
                entry = Entry(*message)
                placer.place(entry, _copier(fds, entry.size))
            finally:
                for fd in fds:
                    os.close(fd)
    raise ConflictError("the files broke off in the middle", hint="what is there already stays")


def _copier(fds: list[int], size: int) -> Callable[[int], None]:
    def copy(target: int) -> None:
        if fds:
            copy_file(fds[0], target, size)

    return copy


def allow_descriptors() -> None:
    """As many as we may have open at all."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
