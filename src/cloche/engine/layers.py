"""What containers have written, removed: by us, or where that belongs to other ids by a process that has them."""

from __future__ import annotations

import posix as os

from cloche.linux import files
from cloche.stage.removal import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.images.unpack.worker import Users

LAYER = b"layer"


def remove_layers(folder: str) -> None:
    """Remove the directory `layer` below this one, if it is there."""
    with files.Fd(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as place:
        try:
            remove_tree(place.number, LAYER)
        except PermissionError:
            if os.geteuid() == 0:
                raise
            _remove_as_inside(place.number)


def _remove_as_inside(place: int) -> None:
    """A user's own container: directories nobody may read, and files of ids that only exist inside."""
    from cloche.images.unpack.worker import Worker

    worker = Worker(users())
    try:
        for name in os.listdir(place):
            if name == LAYER.decode() or name.startswith(".gone-"):
                worker.ask(("remove", name), (place,))
    finally:
        worker.close()


def users(options: dict[str, Any] | None = None) -> Users:
    """The ids that the containers of an ordinary user have, or that one with these options has chosen."""
    from cloche.images.unpack.worker import Users
    from cloche.runtime import idmaps
    from cloche.runtime.host import probe_host

    asked = options or {}
    uids, gids = (tuple(map(idmaps.parse_map, asked.get(name, ()))) for name in ("uidmap", "gidmap"))
    mode = str(asked.get("userns", ""))
    # whoever shares another's may have outlived it
    ids = idmaps.choose(probe_host(), mode if mode == "keep-id" else "", uids, gids, None)
    return Users(ids.uids, ids.gids, ids.uid_helper, ids.gid_helper, ids.deny_setgroups)
