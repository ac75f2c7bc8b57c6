"""The seccomp agent of a profile (config-linux.md "Seccomp"): it gets the listener, and the state with it."""

from __future__ import annotations

from cloche.spec.reader import read_json, write_json
from cloche.stage.seccomp_agent import send_listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.spec.seccomp import Seccomp


def tell_agent(seccomp: Seccomp | None, state: bytes, pid: int, listener: int) -> None:
    """Send a listener to the profile's `listenerPath` with the ContainerProcessState. Raises OSError."""
    if seccomp is None or not seccomp.listenerPath:
        raise OSError(22, "the profile names no listenerPath")
    whole: object = read_json(state)
    document = {
        "ociVersion": whole["ociVersion"],  # type: ignore[index]
        "fds": ["seccompFd"],
        "pid": pid,
        **({"metadata": seccomp.listenerMetadata} if seccomp.listenerMetadata else {}),
        "state": whole,
    }
    send_listener(seccomp.listenerPath, write_json(document).encode(), listener)
