"""What a bundle asks for and does not get is an error, never left out quietly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloche.errors import UnsupportedError
from cloche.runtime.bundle import default_config, read_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("linux/cgroupsPath", "/somewhere"),
        ("linux/devices", [{"type": "p", "path": "/dev/pipe"}]),
        ("linux/devices", [{"type": "c", "path": "/elsewhere", "major": 1, "minor": 3}]),
        ("linux/resources/memory/swappiness", 10),
        ("linux/resources/memory/disableOOMKiller", True),
        ("linux/resources/cpu/idle", 1),
        ("linux/resources/cpu/burst", 1000),
        ("linux/resources/cpu/realtimeRuntime", 1000),
        ("linux/resources/hugepageLimits", [{"pageSize": "2MB", "limit": 1}]),
        ("linux/resources/network", {"classID": 1}),
        ("linux/resources/rdma", {"mlx5_1": {"hcaHandles": 3}}),
        ("linux/resources/blockIO/leafWeight", 10),
    ],
)
def test_what_is_not_carried_out_is_refused(tmp_path: Path, pointer: str, value: object) -> None:
    config: dict[str, Any] = default_config(rootless=False, uid=0, gid=0)
    place = config
    *above, last = pointer.split("/")
    for name in above:
        place = place.setdefault(name, {})
    place[last] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match=f"/{pointer}"):
        read_config(str(tmp_path))


def test_what_changes_nothing_is_fine(tmp_path: Path) -> None:
    config: dict[str, Any] = default_config(rootless=False, uid=0, gid=0)
    config["linux"] |= {"rootfsPropagation": "rslave", "resources": {"memory": {"disableOOMKiller": False}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read_config(str(tmp_path))
