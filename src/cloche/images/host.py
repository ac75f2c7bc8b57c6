"""The image `host`: this machine's own system, read-only below a throwaway layer.

Only what belongs to the system is shown (/usr, /etc, /var, /opt, …); /home, /root, /tmp, /run, /mnt and
directories nobody knows are empty or absent. In what is shown, whatever other users of this machine
may not read is hidden, wherever it lies in the first two levels, and so are places known to hold keys.

    the root       an empty directory in memory
    /usr /etc …    a tree of the host, one overlay each (an overlay of / fails in a user namespace)
    /bin → usr/bin the host's own links
    environment    the calling program's Python, read-only, where it lies outside what is shown
"""

from __future__ import annotations

import _stat as stat
import posix as os
import sys

from cloche.linux import places
from cloche.records import record

SYSTEM = ("bin", "boot", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "opt", "sbin", "snap", "srv", "usr")
VARIABLE = "var"
DEPTH = {"etc": 2, "var": 2, "opt": 1, "srv": 1, "boot": 1}
EMPTY = (
    ("/dev", 0o755),
    ("/home", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
)
# hidden even where their modes would let anybody read them
KNOWN_SECRETS = (
    "etc/shadow",
    "etc/gshadow",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/sudoers",
    "etc/sudoers.d",
    "etc/krb5.keytab",
    "etc/ssl/private",
    "etc/wireguard",
    "etc/letsencrypt",
    "etc/kubernetes",
    "etc/docker",
    "var/lib/docker",
    "var/lib/containers",
    "var/lib/containerd",
    "var/lib/cloche",
    "var/lib/kubelet",
    "var/spool/cron",
    "var/mail",
    "var/spool/mail",
)


@record
class HostImage:
    """What `host` is made of, as plain values.

    `trees` are (source, hidden) for an overlay at the same place; `lent` are directories of the
    Python environment, shown read-only; `symlinks` are (path, target).
    """

    trees: tuple[tuple[str, tuple[str, ...]], ...]
    lent: tuple[str, ...]
    directories: tuple[tuple[str, int], ...]
    symlinks: tuple[tuple[str, str], ...]
    path: tuple[str, ...]  # what to put first on PATH


def host_image(environment: tuple[str, ...]) -> HostImage:
    """Look at this machine's root directory and decide what is shown of it.

    `environment` are directories of the calling program's Python (see `python_environment`).
    """
    trees, symlinks = [], []
    for name in sorted({*SYSTEM, VARIABLE}):
        path = f"/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISLNK(status.st_mode):
            symlinks.append((path, os.readlink(path)))
        elif stat.S_ISDIR(status.st_mode) and status.st_mode & 0o005 == 0o005:
            trees.append((path, _secrets(name)))
    shown = [source for source, _ in trees]
    lent = _outermost([path for path in environment if not _below_any(path, shown)])
    first = tuple(f"{folder}/bin" for folder in environment if places.isdir(f"{folder}/bin"))
    return HostImage(tuple(trees), tuple(lent), EMPTY, tuple(symlinks), first)


def python_environment() -> tuple[str, ...]:
    """Directories of this program's own Python: its prefix, a virtual environment, where cloche is.

    The first one is the most specific, so that its bin directory comes first on PATH.
    """
    found = []
    folder = places.dirname(places.dirname(sys.executable)) if sys.executable else ""
    if folder and places.exists(f"{folder}/pyvenv.cfg"):
        found.append(folder)
    found += [sys.prefix, sys.base_prefix, sys.exec_prefix]
    found.append(places.dirname(places.dirname(places.dirname(places.abspath(__file__)))))
    found += [path for path in sys.path if path and places.isdir(path)]
    real = [places.abspath(path) for path in found]
    return tuple(dict.fromkeys(path for path in real if path not in {"/", "/usr", "/usr/local"} and _is_library(path)))


def _is_library(path: str) -> bool:
    """Whether a directory looks like Python's own, and is not, say, somebody's home on sys.path."""
    if places.basename(path) in {"site-packages", "dist-packages", "lib-dynload"}:
        return True
    markers = ("pyvenv.cfg", f"lib/python3.{sys.version_info[1]}", "os.py", "cloche/__init__.py")
    return any(places.exists(f"{path}/{marker}") for marker in markers)


def _outermost(paths: list[str]) -> list[str]:
    return [path for path in paths if not _below_any(path, [p for p in paths if p != path])]


def _below_any(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _secrets(name: str) -> tuple[str, ...]:
    """Paths below /name that are not shown, relative to it."""
    found = _private(f"/{name}", DEPTH.get(name, 0), "")
    prefix = name + "/"
    for path in KNOWN_SECRETS:
        if path.startswith(prefix) and places.lexists("/" + path):
            found.append(path[len(prefix) :])
    if name == "etc":
        found += [f"ssh/{key}" for key in _host_keys()]
    outermost = _outermost(list(dict.fromkeys(found)))
    return tuple(sorted(outermost))


def _host_keys() -> list[str]:
    try:
        return [name for name in os.listdir("/etc/ssh") if name.startswith("ssh_host_") and not name.endswith(".pub")]
    except OSError:
        return []


def _private(folder: str, depth: int, relative: str) -> list[str]:
    """What others may not read below `folder`, `depth` levels deep."""
    if depth == 0:
        return []
    found = []
    try:
        entries = os.scandir(folder)
    except OSError:
        return []
    with entries:
        for entry in entries:
            if entry.is_symlink():
                continue
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except OSError:
                continue
            needed = 0o005 if stat.S_ISDIR(mode) else 0o004
            if mode & needed != needed:
                found.append(relative + entry.name)
            elif depth > 1 and stat.S_ISDIR(mode):
                found += _private(f"{folder}/{entry.name}", depth - 1, f"{relative}{entry.name}/")
    return found
