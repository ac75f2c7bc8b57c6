"""Writing limits into a group's files: the stage does it for a new group, a later command for a living one.

What does not belong here: which limits there are (`cloche.runtime.cgroups.limits`).
"""

from __future__ import annotations

from cloche.linux import files
from cloche.linux.reading import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    # (file, value, name in the receipt, "always", "present" or "never", other files with their values)
    Write = tuple[str, str, str, str, tuple[tuple[str, str], ...]]

EBUSY, EINVAL = 16, 22
IGNORED = "memory.kmem.limit_in_bytes"  # since Linux 5.16
DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")  # /sys/kernel/cgroup/delegate, at least


def write_first(choices: tuple[tuple[str, str], ...]) -> None:
    """Write the value of the first of these (path, value) whose file is there.

    Raises the OSError of the first one: with ENOENT when none of the files is there.
    """
    first: OSError | None = None
    for path, value in choices:
        try:
            files.write_value(path, value)
            return
        except FileNotFoundError as error:
            first = first or error
    if first is not None:
        raise first


def write_limits(directory: str, writes: tuple[Write, ...]) -> list[tuple[str, str]]:
    """Write all of these into the files of one group; returns notes on what the kernel refused and may refuse.

    The kernel checks limits against each other (memory against memory and swap, a burst against the quota)
    and answers EINVAL to one that does not fit what is still there. Those are tried again after the others,
    until that changes nothing, so that limits can be raised and lowered in one order. Raises OSError with the
    path in it; "always" and "present" are as in `cloche.runtime.cgroups.limits`.
    """
    notes: list[tuple[str, str]] = []
    pending = list(writes)
    while pending:
        refused: list[tuple[Write, OSError]] = []
        for write in pending:
            file, value, name, need, instead = write
            choices = tuple((f"{directory}/{other}", amount) for other, amount in ((file, value), *instead))
            try:
                write_first(choices)
                if file == IGNORED and int(value) != -1 and int(read(choices[0][0])) > int(value):
                    notes.append((name, f"the kernel takes {file}, and does nothing with it"))
            except FileNotFoundError as error:
                if need == "always":
                    raise
                if need == "never":
                    notes.append((name, f"the kernel has no {file}: {error.strerror}"))
            except OSError as error:
                if error.errno == EINVAL:
                    refused.append((write, error))
                elif need == "never":
                    notes.append((name, f"the kernel refused {file}: {error.strerror}"))
                else:
                    _say_usage(directory, file, error)
                    raise
        if len(refused) == len(pending):
            return notes + _given_up(refused)
        pending = [write for write, _ in refused]
    return notes


def _given_up(refused: list[tuple[Write, OSError]]) -> list[tuple[str, str]]:
    for write, error in refused:
        if write[3] != "never":
            raise error
    return [(write[2], f"the kernel refused {write[0]}: {error.strerror}") for write, error in refused]


def _say_usage(directory: str, file: str, error: OSError) -> None:
    """EBUSY to a limit on memory: more is in use, and could not be given back."""
    if error.errno == EBUSY and file in {"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}:
        usage = read(f"{directory}/{file.replace('limit', 'usage')}").strip()
        error.add_note(f"{usage} bytes are in use")


def inherit_cpuset(above: str, path: str) -> None:
    """Give a group of v1 the processors and memory nodes of the one above, where it has none of its own yet."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not read(f"{path}/{file}").strip():
            files.write_value(f"{path}/{file}", read(f"{above}/{file}").strip())


def hand_down(group: str, controllers: tuple[str, ...]) -> None:
    """Let the groups below `group` be limited in those of these controllers that it has itself.

    What cannot be (EBUSY where it holds processes) stays as it is: only a limit that needs it is an error.
    """
    there, enabled = (read(f"{group}/cgroup.{name}").split() for name in ("controllers", "subtree_control"))
    missing = [name for name in controllers if name in there and name not in enabled]
    if not missing:
        return
    try:
        files.write_value(f"{group}/cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except OSError:
        for name in missing:  # all or nothing in one write: perhaps it is only one of them
            try:
                files.write_value(f"{group}/cgroup.subtree_control", f"+{name}")
            except OSError:
                continue
