"""Making directories and files below a root that may be hostile: each step by descriptor.

Every lookup goes through openat2 with RESOLVE_IN_ROOT and without magic links, so that a link in the
tree leads to a place in the tree; what is missing is made in a parent that is already held open.
"""

from __future__ import annotations

import posix as os

from cloche.linux import files
from cloche.linux.places import normpath

DEEPEST = 512  # directories that are made, one in the other


def open_path(root: int, path: str) -> int:
    """An O_PATH descriptor of `path` as seen from `root`; links are followed, inside the root."""
    return files.open_in_root(root, path or "/")


def make_directory(root: int, path: str, mode: int = 0o755, links: int = 8) -> int:
    """An O_PATH descriptor of directory `path` below `root`, made with its parents if missing.

    A link that leads nowhere yet gets what it leads to, inside the root, over at most `links` links.
    """
    try:
        return files.open_in_root(root, path or "/", os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    if ".." in path.split("/"):
        raise OSError(22, "may not contain '..'", path)
    if path.count("/") > DEEPEST:
        raise OSError(36, f"is deeper than {DEEPEST} directories", path)
    parent, _, name = path.rstrip("/").rpartition("/")
    if name == ".":
        return make_directory(root, parent, mode, links)
    with files.Fd(make_directory(root, parent, 0o755, links)) as place:
        try:
            os.mkdir(name, mode, dir_fd=place.number)
        except FileExistsError:
            try:
                return files.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:  # not somebody else who made it meanwhile, but a link
                os.close(make_directory(root, _leads_to(place.number, path, links), 0o755, links - 1))
            return files.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        return files.openat2(place.number, name, flags, resolve=files.RESOLVE_BENEATH)


def make_file(root: int, path: str, mode: int = 0o644, links: int = 8) -> int:
    """An O_PATH descriptor of file `path` below `root`, made empty with its parents if missing.

    Links that lead nowhere are treated as by `make_directory`.
    """
    try:
        return open_path(root, path)
    except FileNotFoundError:
        pass
    parent, _, name = path.rstrip("/").rpartition("/")
    with files.Fd(make_directory(root, parent)) as place:
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY
        try:
            os.close(files.openat2(place.number, name, flags, mode=mode, resolve=files.RESOLVE_BENEATH))
        except FileExistsError:
            try:
                return open_path(root, path)
            except FileNotFoundError:  # as above
                os.close(make_file(root, _leads_to(place.number, path, links), mode, links - 1))
            return open_path(root, path)
        return files.openat2(place.number, name, os.O_PATH | os.O_NOFOLLOW, resolve=files.RESOLVE_BENEATH)


def _leads_to(folder: int, path: str, links: int) -> str:
    """Where the link `path`, which lies in `folder`, leads as seen from the root; `..` stops there."""
    parent, _, name = path.rstrip("/").rpartition("/")
    if links == 0:
        raise OSError(40, "too many links, one leading to the next", path)
    target = os.readlink(name, dir_fd=folder)
    return normpath(target if target.startswith("/") else f"{parent}/{target}")


def apart(place: int, root: int, path: str) -> os.stat_result:
    """The status of a place to mount at, unless it is the root: what is mounted over that is seen by nobody."""
    found, top = os.fstat(place), os.fstat(root)
    if (found.st_dev, found.st_ino) == (top.st_dev, top.st_ino):
        raise OSError(16, "is the root itself", path)
    return found


def check_proc(found: int) -> int:
    """The same descriptor, if it is the root of a proc; else it is closed, and OSError raised."""
    if files.filesystem_type(found) != files.PROC_SUPER_MAGIC or os.fstat(found).st_ino != files.PROC_ROOT_INO:
        os.close(found)
        raise OSError(1, "a procfs is needed to say this to the kernel", "/proc")
    return found


def read_file(root: int, path: str, limit: int = 1 << 20) -> bytes:
    """The content of a regular file below `root`, at most `limit` bytes.

    Not one of proc, which may lead to secrets of ours, or, as /proc/kmsg does, take away from the host what is read.
    Raises OSError: ENOENT; EINVAL when it is no regular file; EFBIG when it is longer.
    """
    with files.Fd(files.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)) as place:
        if os.fstat(place.number).st_mode & 0o170000 != 0o100000:
            raise OSError(22, "is not a regular file", path)
        if files.filesystem_type(place.number) == files.PROC_SUPER_MAGIC:
            raise OSError(22, "is a file of proc", path)
        content = b""
        while part := os.read(place.number, 65536):
            content += part
            if len(content) > limit:
                raise OSError(27, "is too long", path)
        return content
