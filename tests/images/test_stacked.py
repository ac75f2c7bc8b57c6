"""How layers lie on each other, compared with what umoci makes of the same image, entry by entry."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from cloche.errors import RegistryError
from cloche.images.store import stacks
from cloche.images.store.layout import Layout
from cloche.images.store.stacks import stack
from cloche.images.unpack import shapes
from cloche.images.unpack.apply import Powers
from cloche.images.unpack.shapes import shape
from cloche.stage.removal import remove_tree
from tests.images.conftest import quietly
from tests.images.made import entry, layer, layout, link
from tests.images.whole import look

if TYPE_CHECKING:
    from cloche.images.unpack.worker import Worker
    from tests.conftest import Cli

STICKY: Any = {"mode": 0o1777, "uid": 7, "gid": 8}
IMAGES: dict[str, tuple[bytes, ...]] = {
    "a whiteout and what takes its place": (
        layer(entry("foo/"), entry("foo/old")),
        layer(entry(".wh.foo"), entry("foo/bar")),
    ),
    "a whiteout of what is above": (
        layer(entry("foo/"), entry("foo/deep/"), entry("foo/deep/old"), entry("foo/old")),
        layer(entry("foo/.wh.deep"), entry("foo/deep/er/new")),
    ),
    "a link that leads to nothing yet": (
        layer(link("l", "gone/../far/away"), entry("l/x"), link("a", "/abs"), entry("a/y")),
    ),
    "links that lead to links": (layer(link("l", "m"), link("m", "../../n"), link("n", "end"), entry("l/x/y")),),
    "a directory nothing is said about": (
        layer(entry("t/", **STICKY), entry("t/old"), entry("t/u/", mode=0o700, uid=9), entry("t/u/old")),
        layer(entry("t/u/new")),
    ),
    "twice": (
        layer(entry("t/", **STICKY), entry("t/u/", mode=0o711)),
        layer(entry("t/u/one")),
        layer(entry("t/", mode=0o750, gid=3), entry("t/two")),
        layer(entry("t/u/three")),
    ),
    "said in the middle": (layer(entry("t/old")), layer(entry("t/", **STICKY)), layer(entry("t/new"))),
    "what hides it": (
        layer(entry("t/", **STICKY), entry("t/old"), entry("u/", **STICKY), entry("u/old")),
        layer(entry(".wh.t"), entry("u/.wh..wh..opq"), entry("u/here")),
        layer(entry("t/new"), entry("u/new")),
    ),
    "what is above hides it": (
        layer(entry("p/"), entry("p/t/", **STICKY), entry("p/t/old")),
        layer(entry("p/"), entry("p/.wh..wh..opq")),
        layer(entry("p/t/new")),
    ),
    "all is hidden": (
        layer(entry("./", mode=0o711), entry("a/", **STICKY), entry("a/old"), entry("top")),
        layer(entry(".wh..wh..opq"), entry("a/new"), entry("other")),
        layer(entry("a/newer")),
    ),
    "all is hidden at the end": (layer(entry("a/"), entry("a/old")), layer(entry("new"), entry(".wh..wh..opq"))),
}
BUSYBOX = layer(
    entry("bin/"),
    entry("bin/busybox", Path(shutil.which("busybox") or "").read_bytes(), mode=0o755),
    link("bin/sh", "busybox"),
)


@pytest.mark.parametrize("name", IMAGES)
def test_as_umoci_has_it(cli: Cli, tmp_path: Path, name: str) -> None:
    if os.geteuid() != 0:
        return  # umoci gives files to others as root only
    made = layout(tmp_path / "layout", *IMAGES[name])
    env = {"CLOCHE_ROOT": str(tmp_path / "store")}
    packed = subprocess.run(["tar", "-C", made, "-c", "."], capture_output=True, check=True).stdout
    done = cli("load", input=packed, env=env)
    assert done.returncode == 0, done.stderr
    quietly("umoci", "unpack", "--image", f"{made}:made", tmp_path / "bundle")
    theirs = [str(line) for line in look(str(tmp_path / "bundle/rootfs"))]
    script = (
        "import sys; from tests.images.whole import look; from cloche.images import local; "
        "from cloche.images.store.layout import Layout; from subprocess import check_call\n"
        "layers = local.find(Layout(sys.argv[1]), sys.argv[2]).layers\n"
        "below = ':'.join([f'{layer}/fs' for layer in reversed(layers)] + [sys.argv[1] + '/incoming'])\n"
        "check_call(['mount', '-t', 'overlay', 'overlay', '-o', f'userxattr,lowerdir={below}', sys.argv[3]])\n"
        "print(*look(sys.argv[3]), sep='\\n')"
    )
    (tmp_path / "whole").mkdir()
    words = ["unshare", "-m", sys.executable, "-c", script, str(tmp_path / "store"), "made:1", str(tmp_path / "whole")]
    ours = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout.splitlines() == theirs


def test_run(fresh: Cli, tmp_path: Path) -> None:
    """A container sees the mode and owner that a lower layer says, and nothing of what is hidden."""
    made = layout(
        tmp_path / "layout",
        layer(entry("old"), entry("a/"), entry("a/old")),
        layer(entry(".wh..wh..opq"), entry("tmp/", mode=0o1777), entry("tmp/one")),
        BUSYBOX,
        layer(entry("tmp/two")),
    )
    packed = subprocess.run(["tar", "-C", made, "-c", "."], capture_output=True, check=True).stdout
    done = fresh("load", input=packed)
    assert done.returncode == 0, done.stderr
    done = fresh("run", "--rm", "made:1", "/bin/busybox", "sh", "-c", "/bin/busybox stat -c %a /tmp; echo /tmp/* /*")
    assert done.returncode == 0, done.stderr
    mode, names = done.stdout.splitlines()
    assert mode == "1777"
    assert names.startswith("/tmp/one /tmp/two /bin /dev")
    assert "/old" not in names
    assert fresh("rmi", "made:1").returncode == 0
    assert os.listdir(Path(fresh.root, "layers/sha256")) == []


def never() -> Worker:
    raise AssertionError("there is nothing to make")


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What layers say nothing about is read once for each, and not without end."""
    digests = []
    for digit in "abc":
        folder = tmp_path / "layers/sha256" / (digit * 64)
        folder.mkdir(parents=True)
        (folder / "implied").write_bytes(b"x" * 300)
        (folder / "layer.json").write_text("{}")
        digests.append(f"sha256:{digit * 64}")
    monkeypatch.setattr(stacks, "MOST_IMPLIED", 700)
    store, image = Layout(str(tmp_path)), "sha256:" + "f" * 64
    stack(store, image, digests[:1] * 40, never, Powers())
    with pytest.raises(AssertionError, match="nothing to make"):
        stack(store, image, digests[:2] * 20, never, Powers())
    with pytest.raises(RegistryError, match=f"^the image {image} has too many directories that nothing is said about$"):
        stack(store, image, digests, never, Powers())


class Here:
    """A worker that is no process of its own."""

    def __init__(self, count: list[int]) -> None:
        self.count = count

    def shape(self, *given: Any) -> int:
        self.count.append(shape(*given))
        return self.count[-1]

    def remove(self, directory: int, name: str) -> None:
        remove_tree(directory, os.fsencode(name))

    def close(self) -> None:
        """There is nothing to end."""


def test_more_to_look_at_than_there_can_be(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories in each other, in every layer: each is looked for with all that is above it."""
    layers = [layer(entry("a/" * 20 + str(number))) for number in range(5)]
    made = layout(tmp_path / "layout", *layers)
    assert cli("pull", f"oci:{made}", env={"CLOCHE_ROOT": str(tmp_path / "store")}).returncode == 0
    digests = ["sha256:" + hashlib.sha256(content).hexdigest() for content in layers]
    looks = sum(range(21)) * len(layers)
    store, worker = Layout(str(tmp_path / "store")), Here([])
    monkeypatch.setattr(shapes, "MOST_LOOKS", looks)
    stack(store, "sha256:" + "e" * 64, digests, lambda: cast("Worker", worker), Powers())
    assert worker.count == [0]
    monkeypatch.setattr(shapes, "MOST_LOOKS", looks - 1)
    image = "sha256:" + "f" * 64
    with pytest.raises(RegistryError, match=f"^the image {image} has too many directories that nothing is said about$"):
        stack(store, image, digests, lambda: cast("Worker", worker), Powers())
    assert os.listdir(tmp_path / "store/incoming") == []
