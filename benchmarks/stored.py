"""What is there to do with images that are there: `cloche images` of many, `cloche run` of one beside a directory.

    benchmarks/stored.py [--rounds N]      this part alone; benchmarks/images.py has it, too

The command is installed as pip does it. What does not belong here: how images get there.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from timing import command, install, make_rootfs, percentile

from cloche.images.digests import sha256
from cloche.images.store.layers import layer_path
from cloche.images.store.layout import Layout
from cloche.spec import image
from cloche.spec.reader import write_json

IMAGES, LAYERS, SHARED = 200, 8, 5  # images, layers of each, and how many of them ten images share
WARM = 3
DIRECTORY, IMAGE = "`cloche run --rootfs DIR true`", "`cloche run IMAGE true`"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloche-bench-") as folder:
        print("\n".join(section(Path(folder), given.rounds)))


def section(top: Path, rounds: int) -> list[str]:
    """The lines of this part."""
    (cli,) = install(top)
    rootfs = make_rootfs(top)
    store = top / "many"
    by_id = fill(store, rootfs)
    ours = [cli, "--root", str(store)]
    works = {
        f"`cloche images`, {IMAGES} images": command([*ours, "images"], quiet=True),
        "`cloche image inspect`, one of them by name": command([*ours, "image", "inspect", "app-7"], quiet=True),
        "the same by its ID": command([*ours, "image", "inspect", by_id], quiet=True),
        DIRECTORY: command([*ours, "run", "--rootfs", str(rootfs), "true"]),
        IMAGE: command([*ours, "run", "app-7", "true"]),
        "python3 -I -S -c pass": command([f"{Path(cli).parent}/python3", "-I", "-S", "-c", "pass"]),
    }
    times: dict[str, list[float]] = {what: [] for what in works}
    for turn in range(WARM + rounds):
        for what, work in works.items():
            spent = work()
            if turn >= WARM:
                times[what].append(spent)
    rows = [
        f"| {what} | {statistics.median(found):.1f} | {min(found):.1f} | {percentile(found, 95):.1f} |"
        for what, found in times.items()
    ]
    image_run, plain = (statistics.median(times[what]) for what in (IMAGE, DIRECTORY))
    return [
        "### Images that are there",
        "",
        f"A store with {IMAGES} images of {LAYERS} layers, of which {SHARED} are shared by ten each; milliseconds from",
        f"start to exit, {rounds} rounds in which all take turns (`benchmarks/stored.py`).",
        "",
        "| what | median | best | p95 |",
        "|---|---|---|---|",
        *rows,
        "",
        f"An image costs {image_run - plain:.1f} ms more than a directory, by the medians.",
        "",
    ]


def fill(store: Path, rootfs: Path) -> str:
    """A store of images that have most of their layers in common, the root file system lowest; returns an ID of one."""
    layout = Layout(str(store))
    layout.make()
    listed = []
    for number in range(IMAGES):
        diff_ids = [add_layer(layout, "base", rootfs)]
        diff_ids += [add_layer(layout, f"shared {number // 10} {index}") for index in range(1, SHARED)]
        diff_ids += [add_layer(layout, f"own {number} {index}") for index in range(SHARED, LAYERS)]
        config = {
            "created": f"2024-{number % 12 + 1:02}-11T10:00:{number % 60:02}Z",
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
                "Cmd": ["true"],
                "Labels": {"org.opencontainers.image.version": str(number)},
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": f"RUN step {index} " + "and so on " * 20} for index in range(2 * LAYERS)],
        }
        content = write_json(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": image.OCI_MANIFEST,
            "config": {"mediaType": image.OCI_CONFIG, "digest": layout.add(content), "size": len(content)},
            "layers": [{"mediaType": f"{image.OCI_LAYER}+gzip", "digest": item, "size": 1000} for item in diff_ids],
        }
        content = write_json(manifest).encode()
        name = {image.NAME: f"docker.io/library/app-{number}:latest"}
        listed.append(
            {
                "mediaType": image.OCI_MANIFEST,
                "digest": layout.add(content),
                "size": len(content),
                "annotations": name,
            }
        )
    (store / "index.json").write_text(write_json({"schemaVersion": 2, "manifests": listed}))
    return str(manifest["config"]["digest"])[7:19]


def add_layer(layout: Layout, what: str, tree: Path | None = None) -> str:
    """A layer that is unpacked; returns its digest."""
    diff_id = sha256(what.encode())
    place = Path(layer_path(layout, diff_id))
    if not place.exists():
        if tree is None:
            (place / "fs").mkdir(parents=True)
        else:
            shutil.copytree(tree, place / "fs", symlinks=True)
        (place / "layer.json").write_text(write_json({"entries": 10, "bytes": 12345, "left_out": {}, "root": True}))
    return diff_id


if __name__ == "__main__":
    main()
