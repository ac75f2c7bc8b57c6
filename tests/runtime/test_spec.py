"""`spec`: a config.json to start from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.conftest import MakeBundle, Runtime


def written(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return found


def test_it_goes_to_the_current_directory(runtime: Runtime, place: Path) -> None:
    done = runtime("spec", cwd=place)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    config = written(place)
    assert config["ociVersion"].startswith("1.")
    assert config["process"]["args"] == ["sh"]
    assert config["process"]["terminal"] is True
    assert config["root"]["path"] == "rootfs"
    assert {"pid", "network", "ipc", "uts", "mount"} <= {n["type"] for n in config["linux"]["namespaces"]}
    assert "user" not in {n["type"] for n in config["linux"]["namespaces"]}


def test_it_goes_to_a_bundle(runtime: Runtime, bundle: MakeBundle, place: Path) -> None:
    for flag, made in (("--bundle", bundle()), ("-b", bundle())):
        runtime.ok("spec", flag, str(made.path), cwd=place)
        assert written(made.path)["process"]["args"] == ["sh"]
    assert not (place / "config.json").exists()


def test_it_may_have_another_name(runtime: Runtime, place: Path) -> None:
    runtime.not_like("runc", because="--file is crun's")
    runtime.ok("spec", "--bundle", str(place), "--file", "other.json")
    runtime.ok("spec", "-b", str(place), "-f", str(place / "third.json"))
    assert json.loads((place / "other.json").read_text()) == json.loads((place / "third.json").read_text())
    assert not (place / "config.json").exists()


def test_one_that_is_there_is_left_alone(runtime: Runtime, place: Path) -> None:
    (place / "config.json").write_text("mine")
    done = runtime("spec", cwd=place)
    assert done.returncode != 0
    assert done.stderr
    assert (place / "config.json").read_text() == "mine"


def test_it_runs_as_it_is(runtime: Runtime, bundle: MakeBundle) -> None:
    made = bundle()
    runtime.ok("spec", "--bundle", str(made.path))
    made.config = written(made.path)
    made.process["terminal"] = False
    made.command("sh", "-c", "id -u; hostname; touch /x || echo read-only")
    done = runtime.run(made)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", made.config["hostname"], "read-only"]


def test_for_an_ordinary_user(rootless: Runtime) -> None:
    rootless.ok("spec", "--rootless", cwd=rootless.top)
    config = written(rootless.top)
    assert "user" in {n["type"] for n in config["linux"]["namespaces"]}
    rootless.not_like("crun", because="1.8 writes no mappings and makes them up")
    mapping = config["linux"]["uidMappings"]
    assert mapping[0] == {"containerID": 0, "hostID": rootless.top.stat().st_uid, "size": 1}
