"""Where a stage of its own starts: `python -I -S -c 'from cloche.stage.main import main; main(3)'`."""

from __future__ import annotations

import _socket
import os
import sys

from cloche.linux import process
from cloche.stage import server


def main(control: int) -> None:
    """Serve the control socket at descriptor `control`; nothing is imported from here on."""
    process.close_range(control + 1)
    sock = _socket.socket(fileno=control)
    os.set_inheritable(control, False)
    freeze_imports()
    server.serve(sock)


def freeze_imports() -> None:
    """From now on an import fails instead of reading files, which may soon be the container's."""
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
