"""Containers written down by hand, as a command and the supervisor leave them, without a process of their own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from cloche.engine import records
from cloche.engine.keeping import Keep
from cloche.linux.reading import boot_id
from cloche.sandbox.options import Options
from cloche.spec.reader import write_json

IMAGE_ID = "sha256:" + "1d" * 32
# templates of members that are nil, and what docker's client makes of them for a container of which nothing was asked
NIL = {
    "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}": "none",
    "{{json .State.Health}} {{json .Config.ExposedPorts}} {{json .HostConfig.Mounts}}": "null null null",
    "{{.Config.StopSignal}}{{.Config.MacAddress}}|{{.Config.NetworkDisabled}}": "|false",
    "{{with .Config.Healthcheck}}{{.Interval}} {{json .Interval}} {{.Timeout}} {{.Retries}}{{end}}": "",
    "{{.Config.StopTimeout}} {{.HostConfig.Init}} {{.SizeRw}} {{.SizeRootFs}}": "<nil> <nil> <nil> <nil>",
    "{{.Config.Shell}} {{.HostConfig.Binds}} {{.HostConfig.Tmpfs}} {{len .HostConfig.Binds}}": "[] [] map[] 0",
    '{{join .Config.Entrypoint " "}}|{{range .HostConfig.Mounts}}x{{else}}none{{end}}': "|none",
    "{{.Config.Labels.foo}} {{.HostConfig.Sysctls.foo.bar}}": "<no value> <no value>",
    "{{json .Config.Labels.foo}} {{.Config.Labels.foo | print}} {{not .Config.Labels.foo}}": "null <nil> true",
    '{{or .Config.Labels.foo "a"}} {{with .Config.Labels.foo}}{{else}}b{{end}}': "a b",
    '{{eq .Config.Labels.foo ""}}': "false",
    '{{.NetworkSettings.Networks.other.IPAddress}} {{index .Config.Labels "foo"}}|': "<no value> |",
    "{{range .Mounts}}{{.Name}}|{{.Driver}}{{end}}": "|",
    "{{.HostConfig.DNS}} {{.HostConfig.NanoCPUs}}": "[] 0",
}


def at(seconds_ago: float) -> str:
    """A time as containers have it."""
    then = time.time() - seconds_ago
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(then)) + f".{int(then % 1 * 1e9):09d}Z"


class Store:
    """A store with containers; `env` is what makes a command use it."""

    def __init__(self, top: Path) -> None:
        self.root, self.made = top / "store", 0
        self.env = {"CLOCHE_ROOT": str(self.root), "CLOCHE_STATE": str(top / "state")}

    def make(self, name: str, state: dict[str, Any] | None = None, **known: Any) -> Path:
        """A container made a second after the one before; returns its folder."""
        self.made += 1
        container_id = os.urandom(32).hex()
        folder = self.root / "containers" / container_id
        (folder / "layer/upper").mkdir(parents=True)
        options = vars(Options(image="box:1", command=("sleep", "100"))) | known.pop("options", {})
        keep = vars(Keep()) | known.pop("keep", {})
        document = {
            "version": 1,
            "id": container_id,
            "name": name,
            "created": at(990 - self.made),
            "options": options,
            "image": "box:1",
            "image_id": IMAGE_ID,
            "image_digest": "sha256:" + "2d" * 32,
            "command": ["sleep", "100"],
            "labels": {},
            "exposed": [],
            "stop_signal": "SIGTERM",
            "stop_timeout": 10,
            "keep": keep,
            "mounts": [],
            "volumes": [],
        }
        (folder / "container.json").write_text(write_json(document | known))
        (folder / "lock").touch()
        self.change(folder, **(state or {}))
        (self.root / "names").mkdir(exist_ok=True)
        os.symlink(container_id, self.root / "names" / name)
        return folder

    def change(self, folder: Path, **state: Any) -> None:
        """Write its state.json; `pid` is of a process that is there."""
        if "pid" in state:
            state = {"start": records.start_time(state["pid"]), "boot": boot_id(), "status": "running"} | state
        (folder / "state.json").write_text(write_json({"status": "created", "pid": 0} | state))

    def run(self, name: str, seconds: float = 300, state: dict[str, Any] | None = None, **known: Any) -> Path:
        """One that runs, for so long; its process is that of the tests."""
        return self.make(name, {"pid": os.getpid(), "started_at": at(seconds), "entry": {}} | (state or {}), **known)

    def end(self, name: str, code: int | None = 0, seconds: float = 120, **state: Any) -> Path:
        """One that has ended so long ago."""
        ended = {"status": "exited", "exit_code": code, "started_at": at(seconds + 60), "finished_at": at(seconds)}
        return self.make(name, ended | state)
