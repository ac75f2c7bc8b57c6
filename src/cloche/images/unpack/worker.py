"""A process that unpacks layers, one after the other, so that its caller can go on fetching.

    caller ── ("enter",)                       ──▶ worker    into a user namespace of its own, where files can be
           ◀── ("entered",) ── ("mapped",)     ──▶           given to ids an ordinary user has no power over
           ── ("unpack",), [blob, directory, lock]   ──▶
           ◀── ("done", diffID, facts) or ("failed", kind, text, errno)
           ── ("shape", names, implied), [layers, directory]   ──▶       (see `shapes`)
           ── ("remove", name), [directory]    ──▶           what it has made, only it can remove
           ── ("export", layers), [store, out] ──▶           and read
           ── ("compare", new, base), [store, out] ──▶       A, C or D, a path, and a NUL, for each

It has blobs and directories as descriptors and is told no path. The bytes are hashed by a thread of its own.
"""

from __future__ import annotations

import _socket
import hashlib
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

from cloche.errors import ClocheError, StageError
from cloche.images.unpack.apply import Powers, Unpacker
from cloche.images.unpack.compression import reader
from cloche.images.unpack.shapes import shape
from cloche.images.unpack.tar import Archive, BadArchive, Stream
from cloche.linux import namespaces, process
from cloche.records import record
from cloche.stage import wire
from cloche.stage.operations.processes import write_map
from cloche.stage.points import point
from cloche.stage.removal import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Facts = dict[str, Any]

MOST_BYTES = 256 << 30  # of one layer, unfolded
RATIO, SMALL = 2000, 1 << 30  # unfolded to stored, beyond so many bytes; gzip has 1032 at most
AHEAD = 8  # chunks that are decompressed before they are taken


@record
class Users:
    """The ids of a user namespace, as (inside, outside, count), and what writes the maps (newuidmap) or ""."""

    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]
    uid_helper: str = ""
    gid_helper: str = ""
    deny_setgroups: bool = False


@record
class Unpacking:
    """Who unpacks: in a user namespace with these ids, or as root itself; and what they may do."""

    users: Users | None
    powers: Powers


class Worker:
    """The caller's end; for one thread. With `users` it works in a user namespace that has them.

    `module` is whose `main` the process runs, `what` what it is called when it was killed.
    """

    def __init__(
        self, users: Users | None = None, module: str = __name__, what: str = "the process that unpacks layers"
    ) -> None:
        self._what, self._owes = what, 0  # answers
        ours, theirs = wire.pair()
        program = f"import sys; sys.path[:] = {sys.path!r}\nfrom {module} import main\nmain()"
        try:
            words = [sys.executable, "-I", "-S", "-c", program]
            with _deaf():
                self._process = subprocess.Popen(words, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        finally:
            theirs.close()
        self._sock = ours
        if users is not None:
            try:
                self._enter(users)
            except BaseException:
                self.close()
                raise

    def _enter(self, users: Users) -> None:
        self.ask(("enter",))
        pid = self._process.pid
        if users.deny_setgroups:
            namespaces.deny_setgroups(pid)
        write_map(pid, "uid", users.uids, users.uid_helper)
        write_map(pid, "gid", users.gids, users.gid_helper)
        self.ask(("mapped",))

    def ask(self, message: tuple[Any, ...], fds: tuple[int, ...] = ()) -> tuple[Any, ...]:
        """Send a request and wait for its answer. Raises BadArchive, OSError, StageError."""
        self.tell(message, fds)
        return self.hear()

    def tell(self, message: tuple[Any, ...], fds: tuple[int, ...] = ()) -> None:
        """Send a request alone; `hear` takes its answer."""
        self._owes += 1
        try:
            wire.send(self._sock, message, fds)
        except BrokenPipeError:
            pass  # which is what `hear` finds

    def hear(self) -> tuple[Any, ...]:
        """Wait for the answer to a request. Raises BadArchive, OSError, StageError."""
        try:
            got = wire.receive(self._sock)
        except KeyboardInterrupt:
            self.kill()
            raise
        self._owes -= 1
        if got is None:
            raise StageError(f"{self._what} was killed", hint="run it again")
        answer: tuple[Any, ...] = got[0]
        if answer[0] == "failed":
            _, kind, text, code = answer
            raise BadArchive(text) if kind == "archive" else OSError(code, text)
        return answer

    def unpack(self, blob: int, directory: int, powers: Powers, lock: int) -> tuple[str, Facts]:
        """Unpack a blob into an empty directory; returns the diffID and what there is to know about it.

        `lock` is what is held on the directory: whoever is killed, it is free when nobody writes there any more. Raises
        BadArchive for what is wrong with the blob, OSError for what is wrong here.
        """
        _, diff_id, facts = self.ask(("unpack", powers.own, powers.nodes, powers.opaque), (blob, directory, lock))
        return diff_id, facts

    def shape(self, layers: int, names: list[str], implied: list[list[bytes]], target: int, powers: Powers) -> int:
        """Make what an image needs above its layers, which are in the directory `layers`; returns how much that is."""
        words = powers.own, powers.nodes, powers.opaque
        return int(self.ask(("shape", names, implied, *words), (layers, target))[1])

    def remove(self, directory: int, name: str) -> None:
        """Remove a tree below a directory, if it is there."""
        self.ask(("remove", name), (directory,))

    def export(self, store: int, layers: tuple[str, ...], root: int, powers: Powers, out: int) -> None:
        """Write the files of layers, directories below `store`, into a descriptor (see exporting.export)."""
        self.ask(("export", layers, root, powers.own, powers.nodes, powers.opaque), (store, out))

    def compare(
        self,
        store: int,
        new: tuple[str, ...],
        base: tuple[str, ...],
        powers: Powers,
        out: int,
        places: tuple[bytes, ...] | None = None,
    ) -> None:
        """Write the differences between stacks of layers, directories below `store`, into `out` (see differences)."""
        self.ask(("compare", new, base, powers.opaque, places), (store, out))

    def kill(self) -> None:
        """End the process in the middle of what it does."""
        self._process.kill()

    def close(self) -> None:
        """End the process, in the middle of what it does where nobody waits for its answer any more, as after Ctrl-C.

        It may write to a pipe that nobody reads: its end would be waited for without one.
        """
        if self._owes:
            self.kill()
        self._sock.close()
        self._process.wait()


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes begun here hear of no Ctrl-C, from their first moment: they end with their caller, which does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(reply: Callable[[tuple[Any, ...], list[int]], tuple[Any, ...]] | None = None) -> None:
    """The worker: takes requests from the socket that is its standard input until that is closed."""
    reply = reply or answer
    process.die_with_parent()  # what it writes is the next one's to remove
    sock = _socket.socket(fileno=os.dup(0))
    os.umask(0)
    while (got := wire.receive(sock)) is not None:
        message, fds = got
        try:
            told = reply(message, fds)
        except ClocheError as error:
            told = ("failed", "archive", str(error), 0)
        except OSError as error:
            told = ("failed", "here", error.strerror or str(error), error.errno or 0)
        except Exception as error:  # a defect of ours: told in one line, like everything else
            told = ("failed", "here", f"a defect in unpacking, {type(error).__name__}: {error}", 0)
        finally:
            for fd in fds:
                os.close(fd)
        try:
            wire.send(sock, told)
        except BrokenPipeError:
            return  # nobody waits any more


def answer(message: tuple[Any, ...], fds: list[int]) -> tuple[Any, ...]:
    """What is done with a request, and told."""
    if message[0] == "enter":
        namespaces.unshare(process.CLONE_NEWUSER)
        process.die_with_parent()  # new powers take that away
    elif message[0] == "remove":
        remove_tree(fds[0], os.fsencode(message[1]))
        point("worker-removed")
    elif message[0] == "export":
        from cloche.images.exporting import export

        export(fds[0], message[1], message[2], Powers(*message[3:]), fds[1])
    elif message[0] == "shape":
        _, names, implied, *powers = message
        return ("done", shape(fds[0], names, implied, fds[1], Powers(*powers)))
    elif message[0] == "compare":
        from cloche.images.differences import write_differences

        _, new, base, opaque, places = message
        write_differences(fds[0], new, base, opaque, fds[1], places)
    elif message[0] == "unpack":
        return ("done", *unpack(fds[0], fds[1], Powers(*message[1:])))
    return ("done",)


def unpack(blob: int, directory: int, powers: Powers) -> tuple[str, Facts]:
    """Unpack in this process."""
    chunks = _Ahead(reader(lambda size: os.read(blob, size)), os.fstat(blob).st_size)
    unpacker = Unpacker(directory, powers)
    point("worker-begun")
    try:
        unpacker.run(Archive(Stream(chunks.next)))
    finally:
        digest = chunks.finish()
    point("worker-done")
    return f"sha256:{digest}", {
        "entries": unpacker.entries,
        "bytes": unpacker.bytes,
        "left_out": unpacker.left_out,
        "root": unpacker.has_root,
        "hides": unpacker.hides,
        "implied": unpacker.implied,
    }


class _Ahead:
    """Chunks of a source, decompressed and hashed by a thread while others are taken."""

    def __init__(self, source: Callable[[], bytes], stored: int) -> None:
        self._source = source
        self._left = max(SMALL, min(MOST_BYTES, stored * RATIO))
        self._chunks: queue.Queue[bytes | Exception] = queue.Queue(AHEAD)
        self._hash = hashlib.sha256()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._stopped and (chunk := self._source()):
                self._left -= len(chunk)
                if self._left < 0:
                    raise BadArchive("unfolds to more than a layer of its size can be")
                self._hash.update(chunk)
                self._chunks.put(chunk)
            self._chunks.put(b"")
        except Exception as error:  # whatever it is: whoever waits for a chunk has to hear of it
            self._chunks.put(error)

    def next(self) -> bytes:
        chunk = self._chunks.get()
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def finish(self) -> str:
        """End the thread, whatever is left; returns the digest of what it has read."""
        self._stopped = True
        while self._thread.is_alive():
            try:
                self._chunks.get(timeout=0.01)
            except queue.Empty:
                continue
        return self._hash.hexdigest()
