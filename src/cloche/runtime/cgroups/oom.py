"""Hearing of a container that ran out of memory, while it happens.

    with OomWatch(paths, pid) as watch:
        while (what := watch.wait(5.0)) != GONE:    # "oom", or "" when 5 seconds have passed
            …

v1 reports through an eventfd that is registered in cgroup.event_control; v2 marks memory.events as changed
(urgent data for poll(2)), and cgroup.events when the last process is gone. On v1 the first process is watched for that.
"""

from __future__ import annotations

import os
import select
import time

from cloche.linux import files
from cloche.linux.files import Fd
from cloche.linux.reading import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

OOM, GONE = "oom", "gone"
ENOENT = 2


class OomWatch:
    """The owner of the descriptors. Raises OSError: ENOENT without a memory group, ESRCH without the process."""

    def __init__(self, paths: dict[str, str], pid: int) -> None:
        self._v1 = "memory" in paths
        self.group = paths.get("memory") or paths.get("") or ""
        self._fds: list[Fd] = []
        self._poll = select.poll()
        if not self._v1 and not os.path.exists(f"{self.group}/memory.events"):
            raise OSError(ENOENT, "the container has no group that counts memory", self.group)
        if self._v1:
            event = self._hold(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
            control = self._hold(os.open(f"{self.group}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC))
            files.write_value(f"{self.group}/cgroup.event_control", f"{event} {control}")
            self._event, self._first = event, self._hold(os.pidfd_open(pid))
            for fd in (self._event, self._first):
                self._poll.register(fd, select.POLLIN)
        else:
            for name in ("memory.events", "cgroup.events"):
                changing = self._hold(os.open(f"{self.group}/{name}", os.O_RDONLY | os.O_CLOEXEC))
                os.read(changing, 4096)  # from here on, what changes is news
                self._poll.register(changing, select.POLLPRI)
            self._kills = self._killed()

    def wait(self, timeout: float) -> str:
        """Wait for up to `timeout` seconds: OOM when memory ran out, GONE when nothing is left, else ""."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready = [fd for fd, _ in self._poll.poll(left * 1000)]
            heard = self._heard_v1(ready) if self._v1 else self._heard_v2(ready)
            if heard or not ready:  # v2 marks its file for less than that, such as a limit that was met
                return heard

    def close(self) -> None:
        """Stop listening."""
        for fd in self._fds:
            fd.close()
        self._fds = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hold(self, number: int) -> int:
        self._fds.append(Fd(number))
        return number

    def _heard_v1(self, ready: list[int]) -> str:
        if self._event in ready:
            os.eventfd_read(self._event)
            if os.path.exists(f"{self.group}/cgroup.event_control"):
                return OOM
            return GONE  # which is reported in the same way
        return GONE if self._first in ready else ""

    def _heard_v2(self, ready: list[int]) -> str:
        before, self._kills = self._kills, self._killed()
        for fd in ready:
            try:
                os.lseek(fd, 0, os.SEEK_SET)
                os.read(fd, 4096)
            except OSError:
                return GONE  # ENODEV: the group is removed
        if self._kills > before:
            return OOM
        return "" if "populated 1" in read(f"{self.group}/cgroup.events") else GONE

    def _killed(self) -> int:
        words = read(f"{self.group}/memory.events").split()
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
