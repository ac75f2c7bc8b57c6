"""What planning decides about groups: the steps that make them, and where they are.

create ─▶ (clone: born_in) ─▶ adopt ─▶ join ─▶ … the container runs … ─▶ directories, removed at its end
"""

from __future__ import annotations

from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.operation import Operation


@record
class GroupPlan:
    """Steps before the process is there and after it is, groups it joins itself, and what to read at the end."""

    create: tuple[Operation, ...]
    join: tuple[str, ...]  # v1 directories
    born_in: str  # v2 directory
    directories: tuple[str, ...]
    counters: tuple[tuple[str, str], ...]
    controllers: tuple[str, ...]
    by_controller: tuple[tuple[str, str], ...] = ()  # v1: (controller, directory); "" for v2 if not born there
    made_room: str = ""  # v2: the group whose processes step aside meanwhile
    left_out: tuple[tuple[str, str], ...] = ()  # limits that were asked for and cannot be had, with the reason
    adopt: tuple[Operation, ...] = ()  # by which others put it into a group of theirs
    views: tuple[tuple[str, str], ...] = ()  # (name below the container's /sys/fs/cgroup, directory)

    @property
    def paths(self) -> dict[str, str]:
        """{controller: directory}, "" for the one in the v2 tree: what later commands need to know."""
        return {**dict(self.by_controller), **({"": self.born_in} if self.born_in else {})}
