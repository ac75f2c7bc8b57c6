"""`cloche system df`: what images, containers and volumes take up on the disk, and how much of it nobody needs."""

from __future__ import annotations

import sys
import time

from cloche.cli import human
from cloche.cli.containers.ps import HEADINGS as OF_CONTAINERS
from cloche.cli.containers.ps import shown as shown_container
from cloche.cli.format import is_json, render, unescaped
from cloche.cli.output import plain
from cloche.engine import containers
from cloche.engine.sizes import written
from cloche.engine.volume_uses import size_of, uses
from cloche.engine.volumes import every as every_volume
from cloche.images.store.layout import Layout, store_dir
from cloche.images.usage import usage
from cloche.records import record
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container
    from cloche.engine.volumes import Volume
    from cloche.images.usage import Image, Usage

    Row = dict[str, Any]

NONE = "N/A"
COLUMNS = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
HEADINGS = {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
IMAGES = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers")
OF_IMAGES = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}
CONTAINERS = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
VOLUMES = ("Name", "Links", "Size")
OF_VOLUMES = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
CACHE = ("CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED")


@record
class Taken:
    """All there is: images, containers with bytes they have written, volumes with theirs, and who uses them."""

    images: Usage
    containers: list[tuple[Container, int]]
    volumes: list[tuple[Volume, int]]
    users: dict[str, list[str]]

    def made_of(self, image: Image) -> int:
        """How many containers there are of an image."""
        return sum(container.known.get("image_id") == image.row.id for container, _ in self.containers)


def system_df(parsed: Parsed) -> int:
    """Carry out `system df`."""
    taken = Taken(
        usage(Layout(store_dir())),
        [(container, written(container)) for container in containers.every(everything=True)],
        [(volume, size_of(volume)) for volume in every_volume()],
        uses(),
    )
    form = parsed.text("format") or ""
    if not parsed.flag("verbose"):
        sys.stdout.write(render(summary(taken), COLUMNS, HEADINGS, form))
    elif form in {"", "table"}:
        sys.stdout.write(_tables(taken))
    elif is_json(form):
        sys.stdout.write(write_json(details(taken, full=True)) + "\n")
    else:
        from cloche.cli.template import compile_template

        text = compile_template(unescaped(form))(details(taken, full=True))
        sys.stdout.write("\n".join(map(plain, text.split("\n"))) + "\n")
    return 0


def summary(taken: Taken) -> list[Row]:
    """A row for each kind of thing."""
    active = {image.row.id for image in taken.images.images if image.held or taken.made_of(image)}
    running = [item for item in taken.containers if item[0].running]
    used = [item for item in taken.volumes if item[0].name in taken.users]
    return [
        _row("Images", len(taken.images.images), len(active), taken.images.total, taken.images.needed(active)),
        _row("Containers", len(taken.containers), len(running), _sum(taken.containers), _sum(running)),
        _row("Local Volumes", len(taken.volumes), len(used), _sum(taken.volumes), _sum(used)),
        _row("Build Cache", 0, 0, 0, 0),
    ]


def _sum(items: Sequence[tuple[object, int]]) -> int:
    return sum(size for _, size in items)


def _row(kind: str, count: int, active: int, size: int, needed: int) -> Row:
    rest = size - needed
    share = f" ({rest * 100 // size}%)" if size else ""
    return {
        "Active": str(active),
        "Reclaimable": human.size(rest, 4) + share,
        "Size": human.size(size, 4),
        "TotalCount": str(count),
        "Type": kind,
    }


def details(taken: Taken, *, full: bool = False) -> Row:
    """Every image, container and volume, with docker's members."""
    now = time.time()
    return {
        "Images": [_image(taken, image, full=full) for image in taken.images.images],
        "Containers": [_container(container, size, now, full=full) for container, size in taken.containers],
        "Volumes": [_volume(taken, volume, size) for volume, size in taken.volumes],
        "BuildCache": [],
    }


def _image(taken: Taken, image: Image, *, full: bool) -> Row:
    row = image.row
    return {
        "Containers": str(taken.made_of(image)),
        "CreatedAt": human.date(row.created),
        "CreatedSince": human.ago(row.created),
        "Digest": row.digest,
        "ID": row.id if full else row.id.partition(":")[2][:12],
        "Repository": row.repository,
        "SharedSize": human.size(image.shared, 4),
        "Size": human.size(row.size),
        "Tag": row.tag,
        "UniqueSize": human.size(row.size - image.shared, 4),
        "VirtualSize": human.size(row.size, 4),
    }


def _container(container: Container, size: int, now: float, *, full: bool) -> Row:
    local = sum(mount.get("Type") == "volume" for mount in container.known.get("mounts") or ())
    return {**shown_container(container, now, full=full), "LocalVolumes": str(local), "Size": human.size(size)}


def _volume(taken: Taken, volume: Volume, size: int) -> Row:
    return {
        "Availability": NONE,
        "Driver": "local",
        "Group": NONE,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items())),
        "Links": str(len(taken.users.get(volume.name, ()))),
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Scope": "local",
        "Size": human.size(size, 4),
        "Status": NONE,
    }


def _tables(taken: Taken) -> str:
    found = details(taken)
    headings = {**OF_CONTAINERS, "LocalVolumes": "LOCAL VOLUMES", "Size": "SIZE"}
    parts = (
        ("Images", render(found["Images"], IMAGES, OF_IMAGES, "")),
        ("Containers", render(found["Containers"], CONTAINERS, headings, "")),
        ("Local Volumes", render(found["Volumes"], VOLUMES, OF_VOLUMES, "")),
    )
    text = "".join(f"{kind} space usage:\n\n{table}\n" for kind, table in parts)
    return f"{text}Build cache usage: 0B\n\n{'   '.join(CACHE)}\n"
