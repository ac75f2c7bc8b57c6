"""A scope of systemd around the new process, where systemd owns the control groups."""

from __future__ import annotations

from cloche.records import record
from cloche.stage import units
from cloche.stage.operation import OutsideOperation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.stage.scene import Outside


class Started:
    """A scope that was made: stopped again if there is no container in the end."""

    def __init__(self, unit: str, *, user: bool) -> None:
        self.unit, self.user = unit, user

    def undo(self) -> list[str]:
        """Stop it; returns what could not be given back."""
        try:
            with units.Manager(user=self.user) as manager:
                manager.stop(self.unit)
        except OSError as error:
            return [f"{self.unit} could not be stopped: {error.strerror}"]
        return []

    def keep(self) -> None:
        """It belongs to the container now."""


@record
class StartScope(OutsideOperation):
    """Let systemd make a scope around the new process: its control group, with limits systemd knows of."""

    unit: str
    properties: units.Properties
    user: bool

    def execute(self, scene: Outside) -> None:
        properties = [*self.properties, ("PIDs", ("au", [scene.pid]))]
        ours = Started(self.unit, user=self.user)
        with units.Manager(user=self.user) as manager:
            scene.undo.append(ours)
            try:
                manager.start_scope(self.unit, properties)
            except units.Refused as error:
                if error.name:  # of the call, not of its job: nothing was made, and what is there is somebody else's
                    scene.undo.remove(ours)
                raise OSError(error.errno, error.strerror, self.unit) from error

    def calls(self) -> list[str]:
        words = ", ".join(f"{name}={value!r}" for name, (_, value) in self.properties)
        return [f'org.freedesktop.systemd1.Manager.StartTransientUnit("{self.unit}", {words}, PIDs)']

    def meaning(self) -> str:
        return "systemd makes the control group, and knows its limits"


@record
class EnterScope(OutsideOperation):
    """Let systemd put another process into a scope: a user may not move one there from a group that is not theirs."""

    unit: str
    below: str  # a group below the scope's own, or ""
    user: bool

    def execute(self, scene: Outside) -> None:
        try:
            with units.Manager(user=self.user) as manager:
                manager.attach(self.unit, self.below, scene.pid)
        except units.Refused as error:
            raise OSError(error.errno, error.strerror, self.unit) from error

    def calls(self) -> list[str]:
        return [f'org.freedesktop.systemd1.Manager.AttachProcessesToUnit("{self.unit}", "{self.below}", PID)']

    def meaning(self) -> str:
        return "it is counted and limited together with the container's other processes"
