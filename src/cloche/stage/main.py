"""Where a stage of its own starts: `python -I -S -c 'from cloche.stage.main import main; main(3)'`."""

from __future__ import annotations

import _socket
import posix as os
import sys

from cloche.linux import process, scheduling
from cloche.stage import inside, server


def main(control: int, listener: int = -1, *, nofile: int = 0) -> None:
    """Serve the control socket at descriptor `control`; nothing is imported from here on.

    The next descriptor may be a `listener`, through which another owner can come. `nofile` is the soft limit of open
    files that commands get, where that is not ours.
    """
    if nofile:
        scheduling.set_rlimit(inside.NOFILE, nofile, scheduling.get_rlimit(inside.NOFILE)[1])
    process.close_range(max(control, listener) + 1)
    freeze_imports()
    server.serve(_taken(control), _taken(listener) if listener >= 0 else None)


def _taken(fd: int) -> _socket.socket:
    os.set_inheritable(fd, False)
    return _socket.socket(fileno=fd)


def freeze_imports() -> None:
    """From now on an import fails instead of reading files, which may soon be the container's."""
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
