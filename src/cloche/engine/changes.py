"""What a kept container has changed in the files of its image: A, C or D, and where.

Read from its directories, without a mount (see images.differences). What the runtime has made for its own mounts is
no change of the container's; docker leaves out its own likewise, and podman all of them.
"""

from __future__ import annotations

import errno
import os

from cloche.engine import views
from cloche.engine.walking import too_deep
from cloche.images.store.layout import store_dir
from cloche.images.unpack.worker import Worker
from cloche.linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.engine.containers import Container
    from cloche.images.unpack.worker import Unpacking

MADE = ("/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf")  # what there is in every container
TRIES = 10  # of one that runs, and removes things while we look
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}


def differences(container: Container, unpacking: Unpacking) -> Iterator[tuple[str, str]]:
    """A, C or D, and a path, for each; a directory before what is in it, in the order of the names.

    `unpacking` says who has unpacked the layers. Raises UnsupportedError for a container that has no layer of its own,
    NotFoundError, OSError.
    """
    top = store_dir()
    base = tuple(os.path.relpath(layer, top) for layer in views.layers_of(container))
    if not os.path.isdir(f"{container.folder}/layer/work"):
        return  # it was never started
    new = (*base, os.path.relpath(f"{container.folder}/layer/upper", top))
    worker = Worker(unpacking.users)
    try:
        with files.Fd(os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as store:
            for left in reversed(range(TRIES)):
                with open(os.memfd_create("differences", os.MFD_CLOEXEC), "rb") as out:
                    try:
                        worker.compare(store.number, new, base, unpacking.powers, out.fileno(), mount_places(container))
                    except OSError as error:
                        if error.errno == errno.ENAMETOOLONG:
                            raise too_deep() from None
                        if error.errno not in GONE or not left:
                            raise
                        continue
                    out.seek(0)
                    yield from _read(out.read())
                    return
    finally:
        worker.close()


def _read(text: bytes) -> Iterator[tuple[str, str]]:
    for item in text.split(b"\0")[:-1]:
        yield item[:1].decode(), os.fsdecode(item[1:])


def mount_places(container: Container) -> tuple[bytes, ...]:
    """Where something is mounted in it, from the root on: what is below is not in its layer."""
    mounts = [str(item.get("Destination") or "") for item in container.known.get("mounts") or ()]
    options = container.known.get("options") or {}
    mounts += [str(word).partition(":")[0] for word in options.get("tmpfs") or ()]
    return tuple(sorted({os.fsencode(os.path.normpath(f"/{path}").replace("//", "/")) for path in (*MADE, *mounts)}))
