"""systemd asked over D-Bus for a scope: made around a process, changed, and stopped (org.freedesktop.systemd1(5)).

    Manager(user)     the system's, or the caller's own; its private socket, or the bus where that is not in reach
    .group()          the manager's own control group: every path of a unit is below it
    .version()        which systemd it is
    .start_scope()    StartTransientUnit, and wait for the end of that job
    .attach()         AttachProcessesToUnit
    .set_properties() SetUnitProperties, until the unit is gone
    .stop()           StopUnit, and forget that it failed

Messages are jeepney's business, which is imported here only: without --systemd-cgroup nobody needs it.
What does not belong here: which properties a scope has (`cloche.runtime.cgroups.systemd`).
"""

from __future__ import annotations

import os
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    Properties = list[tuple[str, tuple[str, Any]]]  # name, (D-Bus signature, value)

PLACE, INTERFACE = "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
PATIENCE = 30.0  # seconds for one answer, or one job
GONE = {"org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitNotLoaded"}


class Refused(OSError):
    """systemd said no: `name` is the D-Bus error's, `strerror` what it said."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(5, f"systemd: {text}")
        self.name = name


class Manager:
    """A connection to a service manager. Raises OSError where there is none."""

    def __init__(self, *, user: bool) -> None:
        self.messages = _jeepney()
        self.parser = self.messages.Parser()
        self.serial = 0
        self.socket, bus = _connect(user=user)
        try:
            self._authenticate()
            if bus:
                place, interface = "/org/freedesktop/DBus", "org.freedesktop.DBus"
                self.call("Hello", where=(place, interface, interface))
                rule = f"type='signal',interface='{INTERFACE}',member='JobRemoved'"
                self.call("AddMatch", "s", (rule,), where=(place, interface, interface))
                self.call("Subscribe")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self.socket.close()

    def group(self) -> str:
        """The manager's own control group, as a path from the top of the hierarchy; "" for the top."""
        return self._property("ControlGroup").rstrip("/")

    def version(self) -> int:
        """Such as 252; 0 for one that does not begin with a number."""
        text = self._property("Version").partition(".")[0].partition("-")[0].partition("~")[0]
        return int(text) if text.isdecimal() else 0

    def _property(self, name: str) -> str:
        where = (PLACE, "org.freedesktop.DBus.Properties", "org.freedesktop.systemd1")
        ((_, value),) = self.call("Get", "ss", (INTERFACE, name), where=where)
        return str(value)

    def start_scope(self, unit: str, properties: Properties) -> None:
        """Make a scope; "PIDs" in its properties says around which processes. Raises Refused."""
        (job,) = self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "fail", properties, []))
        self._await(job, unit)

    def attach(self, unit: str, below: str, pid: int) -> None:
        """Move a process into a unit that is delegated, or a group below its own: "" or /NAME. Raises Refused.

        A user's systemd asks the system's to do it, where the process comes from outside its own groups.
        """
        self.call("AttachProcessesToUnit", "ssau", (unit, below, [pid]))

    def set_properties(self, unit: str, properties: Properties) -> None:
        """Change properties of a unit that is running. Raises Refused."""
        self.call("SetUnitProperties", "sba(sv)", (unit, True, properties))

    def stop(self, unit: str) -> None:
        """Stop a unit; one that is gone is no error. Raises Refused."""
        try:
            (job,) = self.call("StopUnit", "ss", (unit, "replace"))
            self._await(job, unit)
            self.call("ResetFailedUnit", "s", (unit,))
        except Refused as error:
            if error.name not in GONE:
                raise

    def call(
        self,
        method: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
        where: tuple[str, str, str] = (PLACE, INTERFACE, "org.freedesktop.systemd1"),
    ) -> tuple[Any, ...]:
        """Call a method and return what it returns. Raises Refused, and TimeoutError without an answer."""
        path, interface, name = where
        address = self.messages.DBusAddress(path, bus_name=name, interface=interface)
        message = self.messages.new_method_call(address, method, signature or None, body)
        self.serial += 1
        self.socket.sendall(message.serialise(serial=self.serial))
        kinds, fields = self.messages.MessageType, self.messages.HeaderFields
        while True:
            answer = self._receive(time.monotonic() + PATIENCE)
            if answer.header.fields.get(fields.reply_serial) != self.serial:
                self._remember(answer)
                continue
            if answer.header.message_type == kinds.error:
                text = answer.body[0] if answer.body else "no reason given"
                raise Refused(answer.header.fields.get(fields.error_name, ""), str(text))
            return tuple(answer.body)

    def _await(self, job: str, unit: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while job not in self._ended:
            self._remember(self._receive(deadline))
        if (result := self._ended[job]) != "done":
            raise Refused("", f"the job for {unit} ended as {result!r}")

    _ended: dict[str, str]

    def _remember(self, message: Any) -> None:
        """Note the end of a job (signal JobRemoved: id, job, unit, result); leave other signals alone."""
        if message.header.fields.get(self.messages.HeaderFields.member) == "JobRemoved":
            self._ended[message.body[1]] = message.body[3]

    def _receive(self, deadline: float) -> Any:
        while (message := self.parser.get_next_message()) is None:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise TimeoutError(110, "systemd does not answer") from None
            if not data:
                raise ConnectionResetError(104, "systemd closed the connection")
            self.parser.add_data(data)
        return message

    def _authenticate(self) -> None:
        """EXTERNAL without a name: who we are is what the kernel says, also from within a user namespace.

        BEGIN goes with it: systemd leaves a message lying that arrives in one piece with that.
        """
        self._ended = {}
        self.socket.settimeout(PATIENCE)
        self.socket.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        said = b""
        while said.count(b"\r\n") < 2 and not said.startswith(b"REJECTED"):
            part = self.socket.recv(1024)
            said += part
            if not part:
                break
        if b"\r\nOK " not in said:
            raise PermissionError(13, "systemd does not let this user in")


def places_of(*, user: bool) -> list[tuple[str, bool]]:
    """The manager's sockets, best first, and whether each is a bus; a name without a file begins with NUL.

    Without XDG_RUNTIME_DIR a user's are in /run/user/UID, where pam_systemd(8) puts them.
    """
    if not user:
        return [("/run/systemd/private", False), ("/run/dbus/system_bus_socket", True)]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{_uid_outside()}"
    told = _addresses(os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
    return [(f"{runtime}/systemd/private", False), *((place, True) for place in told or [f"{runtime}/bus"])]


def _uid_outside() -> int:
    """Who we are outside of our user namespace, where podman without root starts us as its root."""
    uid = os.geteuid()
    with open("/proc/self/uid_map") as lines:
        for line in lines:
            inside, outside, size = map(int, line.split())
            if inside <= uid < inside + size:
                return outside + uid - inside
    return uid


def _addresses(text: str) -> list[str]:
    """The sockets in a list of D-Bus addresses (D-Bus Specification, Server Addresses); others are left out."""
    found = []
    for address in text.split(";"):
        transport, _, pairs = address.strip().partition(":")
        if transport != "unix":
            continue
        keys = dict(pair.split("=", 1) for pair in pairs.split(",") if "=" in pair)
        for key, mark in (("path", ""), ("abstract", "\0")):
            if key in keys:
                found.append(mark + _unescaped(keys[key]))
    return found


def _unescaped(text: str) -> str:
    """%20 and the like; what is no such thing stays."""
    first, *rest = text.encode().split(b"%")
    whole = first
    for part in rest:
        try:
            whole += bytes([int(part[:2], 16)]) + part[2:]
        except ValueError:
            whole += b"%" + part
    return os.fsdecode(whole)


def _connect(*, user: bool) -> tuple[socket.socket, bool]:
    """The first of the manager's sockets that answers, and whether it is a bus."""
    failed: OSError | None = None
    for path, is_bus in places_of(user=user):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            failed = failed or OSError(error.errno, error.strerror, path)
            continue
        return connection, is_bus
    assert failed is not None
    raise failed


def _jeepney() -> Any:
    try:
        import jeepney
    except ImportError:
        from cloche.linux.libraries import reach

        reach()
        import jeepney
    return jeepney
