"""Images from a real registry: fetched, listed, run, removed; as root, and as users with one id and with many."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.images.platforms import parse_platform
from tests.images.conftest import Images, Registry, quietly
from tests.images.liar import digest_of, tar_of
from tests.images.whole import look

if TYPE_CHECKING:
    from tests.conftest import Cli


def everything(top: Path) -> list[Path]:
    return [path for path in top.rglob("*") if path.is_file()]


def test_pull(fresh: Cli, filled: Registry) -> None:
    name = f"{filled.host}/box:1"
    done = fresh("pull", name)
    assert done.returncode == 0, done.stderr
    first, *_, digest, status, last = done.stdout.splitlines()
    assert first == f"1: Pulling from {filled.host}/box"
    assert digest == f"Digest: {filled.digest('box', '1')}"
    assert status == f"Status: Downloaded newer image for {name}"
    assert last == name
    again = fresh("pull", name)
    assert again.stdout.splitlines()[-2] == f"Status: Image is up to date for {name}"
    assert "Already exists" in again.stdout
    assert fresh("pull", "-q", name).stdout == f"{name}\n"
    assert not list(Path(fresh.root, "incoming").iterdir())


def test_run(fresh: Cli, filled: Registry) -> None:
    """What an ordinary user and root get is the image, with its own environment and command."""
    name = f"{filled.host}/changed:1"
    assert fresh("pull", "-q", name).returncode == 0
    done = fresh(
        "run", "--rm", name, "sh", "-c", "echo $WHO; cat /root/new; echo; ls /bin/nc; id -u; touch /etc/x; ls -ld /tmp"
    )
    assert done.returncode == 0, done.stderr
    who, new, uid, tmp = done.stdout.splitlines()
    assert (who, new, uid) == ("box", "new", "0")
    assert tmp.startswith("drwxrwxrwt")
    assert "nc: No such file" in done.stderr
    assert (
        fresh("run", "--rm", "-i", name, input="echo from the default command").stdout == "from the default command\n"
    )
    assert fresh("run", "--rm", name, "ls", "/etc/x").returncode == 1


def test_listed_and_removed(fresh: Cli, filled: Registry) -> None:
    for name in ("box", "changed"):
        assert fresh("pull", "-q", f"{filled.host}/{name}:1").returncode == 0
    heading, *lines = fresh("images").stdout.splitlines()
    assert heading.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert sorted(line.split()[0] for line in lines) == [f"{filled.host}/box", f"{filled.host}/changed"]
    ids = fresh("images", "-q", "--no-trunc").stdout.split()
    assert len(ids) == 2
    done = fresh("rmi", f"{filled.host}/changed:1", ids[0][7:17])
    assert done.returncode in {0, 1}
    assert fresh("rmi", "-f", f"{filled.host}/changed:1", f"{filled.host}/box:1").returncode == 0
    assert fresh("images", "-q").stdout == ""
    assert {path.name for path in everything(Path(fresh.root))} == {
        *("index.json", "oci-layout", "lock", "spare", "events.log")
    }


def test_shared_layers_are_kept(fresh: Cli, filled: Registry) -> None:
    for name in ("box", "changed"):
        assert fresh("pull", "-q", f"{filled.host}/{name}:1").returncode == 0
    assert fresh("rmi", f"{filled.host}/box:1").returncode == 0
    assert fresh("run", "--rm", f"{filled.host}/changed:1", "cat", "/root/new").stdout == "new"


def test_the_same_as_umoci_makes_of_it(cli: Cli, filled: Registry, images: Images, tmp_path: Path) -> None:
    """Entry by entry, with owners, modes, times, links and attributes."""
    if os.geteuid() != 0:
        return  # umoci gives files to others as root only
    store = tmp_path / "store"
    env = {"CLOCHE_ROOT": str(store)}
    assert cli("pull", "-q", f"{filled.host}/changed:1", env=env).returncode == 0
    entry = json.loads((store / "index.json").read_text())["manifests"][0]
    manifest = json.loads((store / "blobs" / entry["digest"].replace(":", "/")).read_text())
    config = json.loads((store / "blobs" / manifest["config"]["digest"].replace(":", "/")).read_text())
    layers = [str(store / "layers" / item.replace(":", "/") / "fs") for item in config["rootfs"]["diff_ids"]]
    words = "from tests.images.whole import look; import sys; print(*look(sys.argv[1]), sep='\\n')"
    script = f'mount -t overlay overlay -o lowerdir="$1" "$2" && exec {sys.executable} -c "$3" "$2"'
    (tmp_path / "whole").mkdir()
    argv = ["unshare", "-m", "sh", "-ec", script, "sh", ":".join(reversed(layers)), str(tmp_path / "whole"), words]
    ours = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    theirs = [str(line) for line in look(str(images.tree("changed")))]
    assert sorted(set(theirs) ^ set(ours.stdout.splitlines())) == []


def test_other_tools_read_the_store(cli: Cli, filled: Registry, tmp_path: Path) -> None:
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    name = f"{filled.host}/box:1"
    assert cli("pull", "-q", name, env=env).returncode == 0
    quietly("skopeo", "copy", f"oci:{tmp_path}/store:{name}", f"dir:{tmp_path}/copy")
    quietly("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/store:{name}", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/bin/busybox").exists()


def test_saved_and_loaded(fresh: Cli, filled: Registry, tmp_path: Path) -> None:
    name = f"{filled.host}/changed:1"
    assert fresh("pull", "-q", name).returncode == 0
    before = fresh("images", "--no-trunc").stdout
    done = subprocess.run(
        [*fresh.argv, "save", name],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], "CLOCHE_ROOT": fresh.root, "HOME": "/"},
    )
    path = tmp_path / "saved.tar"
    path.write_bytes(done.stdout)
    quietly("skopeo", "copy", f"docker-archive:{path}", f"dir:{tmp_path}/copy")
    assert fresh("rmi", name).returncode == 0
    loaded = fresh("load", input=done.stdout)
    assert loaded.stdout == f"Loaded image: {name}\n", loaded.stderr
    assert fresh("images", "--no-trunc").stdout.split()[:6] == before.split()[:6]
    assert fresh("run", "--rm", name, "cat", "/root/new").stdout == "new"
    shutil.rmtree(tmp_path / "copy")


@pytest.mark.parametrize("count", [3, 400])
def test_many_layers(cli: Cli, count: int, tmp_path: Path) -> None:
    """As deep as overlayfs goes; the highest wins."""
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    layers = [tar_of(**{"bin/sh": busybox, "shared": b"0", "f0": b"0"})]
    layers += [tar_of(**{"shared": str(i).encode(), f"f{i}": str(i).encode()}) for i in range(1, count)]
    config = {
        "architecture": parse_platform("").architecture,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    names = [f"{i}/layer.tar" for i in range(count)]
    listed = [{"Config": "config.json", "RepoTags": ["many:1"], "Layers": names}]
    contents = dict(zip(names, layers, strict=True))
    contents |= {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(listed).encode()}
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    done = cli("load", input=tar_of(**contents), env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    script = 'read a <shared; read b <f0; echo "$a $b"; set -- f*; echo $#'
    done = cli("run", "--rm", "many:1", "/bin/sh", "-c", script, env=env)
    assert done.stdout == f"{count - 1} 0\n{count}\n", done.stderr
