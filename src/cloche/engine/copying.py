"""Copying between a container and this machine, by docker's rules (docker's reference, "docker container cp").

    SRC is        DST is                   what happens
    a file        nothing                  it is copied to that name; its directory must be there
                  nothing, ends in /       refused: no such directory
                  a file                   it is replaced
                  a directory              it is copied into it
    a directory   nothing                  it is made, with what SRC has
                  a file                   refused: cannot copy directory
                  a directory              SRC goes into it, or with SRC/. what is in SRC

Each side is touched by who belongs there: this machine's by the caller, the container's by a worker that sees nothing
else (see `fileworker`); between them go entries and open files. Nothing of the container's becomes a path here: below
the place that the caller has named, no link is followed.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import contextmanager

from cloche.engine import fileworker, layers, making, views
from cloche.engine.containers import not_running, settled
from cloche.engine.events import tell
from cloche.engine.fileworker import DIRECTORY, LINK, NOTHING, FileWorker
from cloche.engine.placing import Giving, Placer
from cloche.engine.walking import Scope, walk
from cloche.errors import ClocheError, ConflictError, ForbiddenError, NotFoundError, SpecError
from cloche.images.unpack.tar import BadArchive
from cloche.linux import files
from cloche.records import record, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.engine.containers import Container
    from cloche.images.unpack.tar import Entry
    from cloche.images.unpack.worker import Unpacking

LOOK = os.O_PATH | os.O_CLOEXEC
STREAM = "-"
OUT, IN = "archive-path", "extract-to-dir"  # docker's events


@record
class Place:
    """An operand of `cp`: a path in a container, or "" for this machine."""

    container: str
    path: str


@record
class Copied:
    """What came of it: bytes of files that were copied, and what was left out, how often."""

    bytes: int
    left_out: dict[str, int]


@record
class Asked:
    """What `cp` was asked for: `archive` keeps owners, `follow` copies what SRC leads to where it is a link."""

    archive: bool = False
    follow: bool = False


def parse_place(text: str) -> Place:
    """CONTAINER:PATH, or a path here: one that begins with / or ., or has no colon."""
    name, colon, path = text.partition(":")
    if text.startswith("/") or not colon or name.startswith("."):
        return Place("", text)
    return Place(name, path)


def parse_places(source: str, target: str) -> tuple[Place, Place]:
    """Both operands. Raises SpecError, with docker's words."""
    one, other = parse_place(source), parse_place(target)
    if one.container and other.container:
        raise SpecError(
            "copying between containers is not supported", hint="cloche cp ONE:PATH - | cloche cp - OTHER:DIR"
        )
    if not one.container and not other.container:
        raise SpecError("must specify at least one container source", hint="CONTAINER:PATH")
    for place in (one, other):
        if not place.path:
            raise SpecError(f"{source if place is one else target!r} has no path", hint="CONTAINER:PATH")
    return one, other


def base_name(path: str, start: str = "/") -> str:
    """What a copy of this path is called: "" for all that is in a directory, named as DIR/. or /."""
    if path.rstrip("/").endswith("/.") or path.rstrip("/") == ".":
        return ""
    return os.path.basename(os.path.normpath(os.path.join(start, path)))


def decide(kind: str, target: str, there: str, *, called: str, name: str) -> tuple[bool, str]:
    """Whether to copy into the target, in place of into the directory it is in; and what it is to be called there.

    `kind` and `there` are what source and target are, `called` and `name` what they are called. Raises ConflictError,
    NotFoundError, with docker's words.
    """
    if there == DIRECTORY:
        return True, called
    if there != NOTHING and kind == DIRECTORY:
        raise ConflictError("cannot copy directory", hint=f"{target} is no directory")
    if kind != DIRECTORY and target.endswith(("/", "/.")):
        raise NotFoundError("no such directory", hint=f"{target} is not there; without the / it is made as a file")
    return False, name


def copy_out(container: Container, source: str, target: str, asked: Asked, unpacking: Unpacking) -> Copied:
    """From a container to a path here; returns what came of it. Raises ClocheError, OSError."""
    if not target:
        raise SpecError("the destination is empty", hint="a path, or - for the output")
    check_output(target)
    with _seen(container, unpacking) as worker:
        kind = _aim_at_source(worker, container, source, asked)
        with files.Fd(_open_target(target)) as here:
            path = os.path.realpath(target)
            inside, name = decide(kind, target, _kind(here), called=base_name(source), name=os.path.basename(path))
            place = f"/proc/self/fd/{here.number}" if inside else os.path.dirname(path)
            base = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # nobody here is made the owner of a file with powers that a container has given it
        owner = None if asked.archive and os.geteuid() == 0 else (os.geteuid(), os.getegid())
        placer = Placer(base, Giving(owner, privileges=asked.archive))
        copied = _fetch(worker, name, Scope(noted=not unpacking.powers.own), placer)
    _tell(container, OUT)
    return copied


def stream_out(container: Container, source: str, asked: Asked, unpacking: Unpacking, out: int) -> Copied:
    """From a container into a tar, written to the descriptor `out`."""
    with _seen(container, unpacking) as worker:
        _aim_at_source(worker, container, source, asked)
        copied = Copied(0, worker.pack(os.fsencode(base_name(source)), Scope(noted=not unpacking.powers.own), out))
    _tell(container, OUT)
    return copied


def copy_in(container: Container, source: str, target: str, asked: Asked, unpacking: Unpacking) -> Copied:
    """From a path here into a container; returns what came of it. Raises ClocheError, OSError."""
    with files.Fd(_open_source(source, follow=asked.follow)) as here, _seen(container, unpacking) as worker:
        _, name = _aim_at_target(worker, container, source, _kind(here), target)
        giving = Giving(None if asked.archive else (0, 0))
        try:
            copied = _send(worker, here.number, name, giving)
        except OSError as error:
            raise _refused(container, error) from None
    _tell(container, IN)
    return copied


def stream_in(container: Container, source: int, target: str, unpacking: Unpacking) -> Copied:
    """From a tar, read from the descriptor `source`, into a directory of a container."""
    with _seen(container, unpacking) as worker:
        there, _, _ = _aim(worker, container, target, follow=True)
        if there != DIRECTORY:
            raise ConflictError(
                f'destination "{container.name or container.id[:12]}:{target}" must be a directory',
                hint="an archive is unpacked in one",
            )
        try:
            # an archive says whose its files are, as docker has it, too
            copied = Copied(0, worker.extract(Giving(None), source))
        except BadArchive as error:
            raise SpecError(f"the archive {error}", hint="a tar is wanted; what came before that was copied") from None
        except OSError as error:
            raise _refused(container, error) from None
    _tell(container, IN)
    return copied


@contextmanager
def _seen(container: Container, unpacking: Unpacking) -> Iterator[FileWorker]:
    """A worker that sees its files. One that does not run is not started or removed meanwhile, as with docker."""
    held, worker = _look_into(container, unpacking)
    try:
        yield worker
    except BaseException:
        worker.kill()  # it may wait for something of the container's, which need not end
        raise
    finally:
        worker.close()
        if held is not None:
            held.close()


def _look_into(container: Container, unpacking: Unpacking) -> tuple[files.Fd | None, FileWorker]:
    """A worker, and what keeps the container as it is; of one that ends just now, as it is then."""
    if settled(container).running:
        try:
            return None, _worker(container, unpacking)
        except (OSError, ConflictError):
            if settled(container).running:
                raise
    if not container.kept:
        raise not_running(container)
    held = making.lock(container)
    try:
        return held, _worker(container, unpacking)
    except BaseException:
        held.close()
        raise


def _worker(container: Container, unpacking: Unpacking) -> FileWorker:
    chosen = unpacking.users and layers.users(container.known.get("options"))  # as it sees itself while it runs
    return FileWorker(chosen, views.view_of(container))


def _tell(container: Container, action: str) -> None:
    tell(container, action)


def check_output(path: str) -> None:
    """Whether something can be written there at all. Raises NotFoundError, ConflictError, with docker's words."""
    folder = os.path.dirname(path.rstrip("/")) or ("/" if path.startswith("/") else ".")
    if not os.path.isdir(folder):
        raise NotFoundError(f'invalid output path: directory "{os.path.abspath(folder)}" does not exist')
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        raise ConflictError(f'invalid output path: "{path}" must be a directory or a regular file')


def _aim_at_source(worker: FileWorker, container: Container, source: str, asked: Asked) -> str:
    kind, _, _ = _aim(worker, container, source, follow=asked.follow)
    if kind == NOTHING or (kind != DIRECTORY and source.endswith(("/", "/."))):
        raise _missing(container, source)
    return kind


def _aim(worker: FileWorker, container: Container, path: str, *, follow: bool) -> tuple[str, bytes, bytes]:
    try:
        return worker.aim(os.fsencode(path), follow=follow)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(container, path) from None


def _missing(container: Container, path: str) -> NotFoundError:
    return NotFoundError(f"Could not find the file {path} in container {container.name or container.id[:12]}")


def _aim_at_target(worker: FileWorker, container: Container, source: str, kind: str, target: str) -> tuple[bool, str]:
    try:
        there, _, where = worker.aim(os.fsencode(target), follow=True)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(container, os.path.dirname(target.rstrip("/"))) from None  # it is to be made in there
    called = base_name(source, os.getcwd())
    return decide(kind, target, there, called=called, name=os.fsdecode(where.rpartition(b"/")[2]))


def _open_source(path: str, *, follow: bool) -> int:
    flags = LOOK | (0 if follow or path.endswith(("/", "/.")) else os.O_NOFOLLOW)
    try:
        return os.open(path, flags)
    except OSError as error:
        raise NotFoundError(f"lstat {os.path.abspath(path)}: {(error.strerror or '').lower()}") from None


def _open_target(path: str) -> int:
    """What is there, -1 for nothing."""
    try:
        return os.open(path, LOOK)
    except FileNotFoundError:
        return -1


def _kind(fd: files.Fd) -> str:
    if fd.number < 0:
        return NOTHING
    mode = os.fstat(fd.number).st_mode
    return DIRECTORY if stat.S_ISDIR(mode) else LINK if stat.S_ISLNK(mode) else fileworker.OTHER


def _fetch(worker: FileWorker, name: str, scope: Scope, placer: Placer) -> Copied:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        worker.tell(("give", os.fsencode(name), *values(scope)), (theirs.fileno(),))
    failed: ClocheError | OSError | None = None
    skipped: dict[str, int] = {}
    try:
        skipped = fileworker.take_entries(ours.detach(), placer)
    except (ConflictError, OSError) as error:
        failed = error
    try:
        left_out = dict(worker.hear()[1])
    except (BrokenPipeError, ConnectionResetError):
        left_out = {}  # since we have gone first
    if failed is not None:
        raise failed
    return Copied(placer.bytes, _together(left_out, skipped))


def _send(worker: FileWorker, source: int, name: str, giving: Giving) -> Copied:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        worker.tell(("take", *values(giving)), (theirs.fileno(),))
    skipped: dict[str, int] = {}
    failed: ClocheError | OSError | None = None
    size = 0

    def counted() -> Iterator[tuple[Entry, int]]:
        nonlocal size
        for entry, fd in walk(source, os.fsencode(name), Scope(), skipped):
            size += entry.size
            yield entry, fd

    try:
        fileworker.send_entries(ours.detach(), counted(), skipped)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the worker says why
    except (ClocheError, OSError) as error:
        failed = error
    try:
        left_out = dict(worker.hear()[1])
    except (ClocheError, OSError):
        if failed is None:
            raise
        left_out = {}
    if failed is not None:
        raise failed
    return Copied(size, _together(left_out, skipped))


def _together(*counts: dict[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for count in counts:
        for what, often in count.items():
            found[what] = found.get(what, 0) + often
    return found


def _refused(container: Container, error: OSError) -> ClocheError | OSError:
    """What is wrong with where it was to go, where that is the container's doing."""
    if error.errno != 30:  # EROFS
        return error
    options = container.known.get("options") or {}
    if options.get("read_only"):
        return ForbiddenError("container rootfs is marked read-only", hint="a volume of it can be written to")
    return ForbiddenError("mounted volume is marked read-only", hint="copy to where it comes from")
