"""A request made ready to be carried out.

prepare(options) ──▶ Prepared: plan, receipt, what to give back
stage.run(plan)  ──▶ messages … ended ──▶ results.conclude(prepared, ended) ──▶ Result
"""

from __future__ import annotations

import posix as os
import sys

from cloche.engine import records
from cloche.engine.names import reserve
from cloche.engine.sweeping import kept_group_name, sweep
from cloche.ids import check_name, new_id
from cloche.linux import places
from cloche.linux.seccomp import FLAG_WAIT_KILLABLE_RECV, refusing
from cloche.records import values
from cloche.runtime import idmaps
from cloche.runtime.host import Host, probe_host
from cloche.runtime.planning import plan as make_plan
from cloche.runtime.receipt import Receipt
from cloche.sandbox.config import build, ids_of
from cloche.sandbox.image import image_of, use_image
from cloche.sandbox.image_config import describe_image, with_image
from cloche.sandbox.volumes import asks_for_volumes
from cloche.stage.operation import Plan
from cloche.stage.operations.identity import LoadSeccomp
from cloche.stage.points import from_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.images.local import Image
    from cloche.linux.files import Fd
    from cloche.runtime.host import Groups
    from cloche.runtime.receipt import Layer
    from cloche.runtime.request import Kept, Request
    from cloche.sandbox.attaching import Settled
    from cloche.sandbox.options import Options


class Prepared:
    """A plan ready for a stage, and what has to be given back when it is over."""

    def __init__(self, container_id: str, request: Request, plan: Plan, receipt: Receipt, sealed: bool) -> None:
        self.id, self.request, self.plan, self.receipt = container_id, request, plan, receipt
        self.sealed = sealed
        self.lease: idmaps.Lease | None = None
        self.image: Image | None = None
        self.stop_signal: str | int = "SIGTERM"
        self.labels: tuple[str, ...] = ()
        self.exposed: tuple[str, ...] = ()
        self.use: Fd | None = None  # what keeps the image from being removed
        self.volumes: Settled | None = None  # and volumes

    @property
    def lacking(self) -> tuple[Layer, ...]:
        """What was asked for and this machine cannot enforce: --allow-unenforced goes on without."""
        layers = (self.receipt[name] for name in self.request.asked if name in self.receipt)
        return tuple(layer for layer in layers if not layer.enforced)

    def record(self, options: Options, pid: int) -> dict[str, Any]:
        """What other commands need to know of a running container."""
        process = self.request.config.process
        assert process is not None
        bounding = process.capabilities.bounding if process.capabilities else None
        return {
            "id": self.id,
            "name": options.name,
            "pid": pid,
            "groups": list(self.plan.groups),
            "paths": groups_by_controller(self.plan.groups, probe_host().groups),
            "image": options.image or options.rootfs,
            "image_id": self.image.id if self.image is not None else "",
            "command": list(process.args or []),
            "env": list(process.env or []),
            "labels": list(self.labels),
            "exposed": list(self.exposed),
            "cwd": process.cwd,
            "user": self.request.user,
            "capabilities": list(bounding or []),
            "no_new_privs": process.noNewPrivileges,
            "seccomp": self.request.default_seccomp,
            "landlock": [values(op) for op in self.plan.operations if type(op).__name__ == "Landlock"],
            "filter": self._filter(),
            "group_add": list(self.request.groups),
            "umask": process.user.umask,
            "rlimits": [[limit.type, limit.soft, limit.hard] for limit in process.rlimits or []],
            "oom_score_adj": process.oomScoreAdj,
            "users": [list(entry) for entry in self.request.ids.uids],
        }

    def _filter(self) -> list[Any]:
        """Its filter, for others that enter, whose refusals nobody listens to: [program in hex, flags]."""
        loads = [op for op in self.plan.operations if isinstance(op, LoadSeccomp)]
        return [found for op in loads for found in (refusing(op.program).hex(), op.flags & ~FLAG_WAIT_KILLABLE_RECV)]

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the range of ids back, and take back a record that was written after the stage had removed it."""
        for path in self.plan.unlink:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
        for held in (self.lease, self.use, self.volumes):
            if held is not None:
                held.close()


def prepare(
    options: Options,
    *,
    dry: bool = False,
    size: tuple[int, int] = (0, 0),
    host: Host | None = None,
    kept: tuple[str, Kept] | None = None,
) -> Prepared:
    """Everything up to the first change: options checked, ids chosen, the plan computed.

    `dry` leases nothing, for `explain`. `kept` is the id of a container that stays, and where it is kept. Raises
    ClocheError for what a person can get wrong.
    """
    host = host or probe_host()
    if not dry:
        _sweep_once(host)
    container_id = new_id() if kept is None else kept[0]
    if options.name:
        check_name(options.name)
    image, use = (image_of(options), None) if dry else use_image(options)
    asked = options
    reserved = bool(options.name) and not dry and kept is None
    if not dry:
        records.containers_dir()  # surely ours, before anything is opened below it
    lease = None if dry else idmaps.Lease(f"{records.state_dir()}/ranges")
    settled = None
    try:
        if reserved:
            reserve(options.name, container_id)
        if image is not None:
            options = with_image(options, image)
        if asks_for_volumes(options, image, kept=kept is not None):
            from cloche.sandbox.attaching import settle

            settled = settle(options, image, container_id, kept=kept is not None, dry=dry and kept is None)
            options = settled.options
        request = build(options, host, container_id, lease=lease, find=_find_process, size=size, image=image)
        sealed = needs_seal(request.ids)
        extra: dict[str, Any] = {
            "stage_says": "runs from a sealed copy of the interpreter"
            if sealed
            else "the interpreter belongs to a user the container cannot become",
            "unlink": records.paths_of(container_id) if is_recorded(options) else (),
            "failpoint": from_environment(places.environment("CLOCHE_FAILPOINT")),
        }
        if kept is not None:
            extra |= {"kept": kept[1], "name": kept_group_name(container_id), "unlink": ()}
        request = type(request)(**{**vars(request), **extra})
        plan, receipt = make_plan(request, host)
        if image is not None:
            describe_image(image, asked, options, receipt)
    except BaseException:
        if reserved:
            records.remove(container_id)
        for held in (lease, use, settled):
            if held is not None:
                held.close()
        raise
    prepared = Prepared(container_id, request, plan, receipt, sealed)
    prepared.lease, prepared.image, prepared.use, prepared.volumes = lease, image, use, settled
    prepared.stop_signal = "SIGTERM" if options.stop_signal is None else options.stop_signal
    prepared.labels, prepared.exposed = options.label, options.expose
    return prepared


def groups_by_controller(directories: tuple[str, ...], groups: Groups) -> dict[str, str]:
    """{controller: directory} of a container's groups, "" for that of the v2 tree."""
    found = {}
    for path in directories:
        if groups.v2_mount and path.startswith(f"{groups.v2_mount}/"):
            found[""] = path
            continue
        found.update({name: path for name, top in groups.mounts.items() if path.startswith(f"{top}/")})
    return found


def is_recorded(options: Options) -> bool:
    """Whether others have to find the container: by its name, or, where nobody would look, by its groups."""
    return bool(options.name or options.cgroup_parent)


def _sweep_once(host: Host) -> None:
    """What was left by programs that were killed is looked for once by each program."""
    if not _SWEPT:
        _SWEPT.append(True)
        sweep(host.groups)


_SWEPT: list[bool] = []


def needs_seal(ids: idmaps.IdMaps) -> bool:
    """Whether some id of the container could write the interpreter the stage runs from (CVE-2019-5736)."""
    if ids.kind == "host":
        return True
    if ids.kind == "joined":
        return os.stat(places.realpath(sys.executable)).st_uid == os.geteuid()
    owner = os.stat(places.realpath(sys.executable)).st_uid
    return any(outside <= owner < outside + count for _, outside, count in ids.uids)


def will_need_seal(options: Options) -> bool:
    """Whether a container with these options will need one, before there is its image."""
    return needs_seal(ids_of(options, probe_host(), _find_process))


def _find_process(word: str) -> tuple[int, int]:
    """The process whose namespaces are to be joined; most containers join none."""
    from cloche.engine.containers import find_process

    return find_process(word)
