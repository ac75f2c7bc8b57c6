"""Who is asking, and on what machine: what the checks need to know of each other."""

from __future__ import annotations

import errno
import os

from cloche.linux import capabilities, process
from cloche.runtime import idmaps
from cloche.runtime.checks.attempt import BROKEN, Outcome
from cloche.runtime.host import CAP_SYS_ADMIN, Host, probe_host

OUTER = "docker run --security-opt seccomp=unconfined …"
NOTHING_TRIED = Outcome(BROKEN, None, 0, "not tried")


class Place:
    """The caller and the machine; `userns` is how making a user namespace went, once it was tried."""

    def __init__(self) -> None:
        self.uid = os.geteuid()
        self.privileged = self.uid == 0 and bool(capabilities.get()[0] >> CAP_SYS_ADMIN & 1)
        self.filtered = status_field("Seccomp") == "2"
        self.host = _host()
        self.ids = idmaps.choose(self.host, "", (), (), None) if self.host else None
        self.userns = NOTHING_TRIED
        self.userns_fix = ""

    @property
    def flags(self) -> int:
        """What a new namespace takes beside its own flag: a user namespace, for who is not root."""
        return 0 if self.privileged else process.CLONE_NEWUSER

    def as_root(self, command: str) -> str:
        """A command that takes root, as this user would type it."""
        return command if self.uid == 0 else f"sudo {command}"

    def fix(self, outcome: Outcome, otherwise: str = "") -> str:
        """The command that helps: lifting an outer container's filter, if that was it, comes first."""
        if outcome.ok:
            return ""
        return OUTER if self.by_filter(outcome) else otherwise

    def fix_inside(self, outcome: Outcome, otherwise: str = "") -> str:
        """The same for what is tried in a user namespace, and fails where there is none."""
        if not outcome.ok and not self.userns.ok and self.userns_fix:
            return self.userns_fix
        return self.fix(outcome, otherwise)

    def by_filter(self, outcome: Outcome) -> bool:
        """Whether it looks as if a seccomp filter that was here before us refused it."""
        return self.filtered and outcome.code in {errno.EPERM, errno.ENOSYS, errno.EACCES}


def _host() -> Host | None:
    try:
        return probe_host()
    except OSError:
        return None  # what hindered it has a check of its own


def status_field(name: str) -> str:
    """A field of /proc/self/status, "" where there is none."""
    for line in read("/proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""


def read(path: str) -> str:
    """The text of a small file of the kernel, without white space around it; "" where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return (file.read(1 << 16) or b"").decode(errors="replace").strip(" \n\0")
    except OSError:
        return ""
