"""All there is to know of a tree, to be compared with another's."""

from __future__ import annotations

import hashlib
import os
import stat


def look(top: str) -> list[tuple[object, ...]]:
    """(path, mode, owner, device, time, size, links, attributes, content) of everything below `top`.

    Times of files only: in directories umoci leaves those of its own changes.
    """
    found = []
    for folder, names, others in os.walk(top):
        for name in sorted(names + others):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            directory = stat.S_ISDIR(status.st_mode)
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in sorted(os.listxattr(path, follow_symlinks=False))
            }
            numbers = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev)
            sizes = () if directory else (status.st_mtime_ns, status.st_size, status.st_nlink)
            found.append((os.path.relpath(path, top), *numbers, *sizes, attributes, content))
    return sorted(found)
