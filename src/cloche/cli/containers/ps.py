"""`cloche ps`: which containers there are, and how they stand."""

from __future__ import annotations

import sys
import time

from cloche.cli import human
from cloche.cli.containers.states import health_of, short_reason, status_text
from cloche.cli.format import Methods, render
from cloche.cli.output import plain, width
from cloche.engine.filtering import chosen, networks_of, parse_filters
from cloche.errors import BAD_OPTION, SpecError
from cloche.images.store.layout import store_dir
from cloche.linux.reading import read_bytes
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.cli.grammar import Parsed
    from cloche.engine.containers import Container

    Row = dict[str, Any]

SHORT, SHORT_COMMAND, SHORT_MOUNT = 12, 20, 15
LIST, PREFIXES = "a list", ("", "docker.io/library/", "docker.io/")
COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
HEADINGS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "CreatedAt": "CREATED AT",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Size": "SIZE",
    "LocalVolumes": "LOCAL VOLUMES",
    "HealthStatus": "HEALTH STATUS",
}


def ps(parsed: Parsed) -> int:
    """Carry out `ps`."""
    filters = parse_filters(parsed.all("filter"))
    count = _count(parsed)
    found = chosen(filters, everything=parsed.flag("all") or count > 0)
    if count > 0:
        found = found[:count]
    full = parsed.flag("no_trunc")
    if parsed.flag("quiet"):
        sys.stdout.write("".join(f"{shown_id(container.id, full=full)}\n" for container in found))
        return 0
    form = parsed.text("format") or ""
    sizes = parsed.flag("size")
    now, index = time.time(), _index() if any(container.known["image_id"] for container in found) else None
    rows = [shown(container, now, index, full=full) for container in found]
    if form not in {"", "table"}:
        rows = [_with_more(container, row, full=full) for container, row in zip(found, rows, strict=True)]
    if sizes or ".Size" in form:
        _add_sizes(found, rows)
    sys.stdout.write(render(rows, (*COLUMNS, *(["Size"] if sizes else [])), HEADINGS, form))
    return 0


def _count(parsed: Parsed) -> int:
    """How many of those made last are wanted; 0 for any number."""
    if parsed.flag("latest"):
        return 1
    text = parsed.text("last")
    if text is None:
        return 0
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise SpecError(f"--last {text[:80]!r} is not a number", hint="such as --last 5", code=BAD_OPTION)
    return max(0, int(text))


def shown(container: Container, now: float, index: dict[str, str] | None = None, *, full: bool = False) -> Row:
    """A container as a row of the table, by docker's names; `index` says what names of images stand for by now."""
    known = container.known
    return {
        "Command": quoted(_command(known, full=full)),
        "ID": shown_id(container.id, full=full),
        "Image": _image(known, index, full=full),
        "Names": container.name,
        "Ports": "",
        "RunningFor": human.ago(str(known["created"]), now),
        "Status": status_text(container.state, now),
    }


def _with_more(container: Container, row: Row, *, full: bool) -> Row:
    """A row with what only templates and JSON show."""
    known, state = container.known, container.state
    mounts = sorted(str(mount.get("Name") or mount.get("Source", "")) for mount in container.mounts)
    labels = {str(key): str(value) for key, value in known["labels"].items()}
    more = {
        "CreatedAt": human.date(str(known["created"])),
        "HealthStatus": health_of(state),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "LocalVolumes": str(sum(mount.get("Driver") == "local" for mount in container.mounts)),
        "Mounts": ",".join(mounts if full else [cut(mount, SHORT_MOUNT) for mount in mounts]),
        "Networks": ",".join(networks_of(container)),
        "Platform": _platform(known),
        "Reason": str((state["reason"] or {}).get("text") or short_reason(state)),
        "Size": "0B",
        "State": container.status,
    }
    return Methods(dict(sorted({**row, **more}.items())), {"Label": lambda name: labels.get(name, "")})


def _add_sizes(found: list[Container], rows: list[Row]) -> None:
    """What each has written, and with its image; docker's `--size` looks at every file too."""
    from cloche.engine.sizes import image_sizes, written

    images = image_sizes()
    for container, row in zip(found, rows, strict=True):
        own = written(container)
        whole = own + images.get(str(container.known["image_id"]), 0)
        row["Size"] = f"{human.size(own)} (virtual {human.size(whole)})" if whole else human.size(own)


def shown_id(container_id: str, *, full: bool = False) -> str:
    """A container's id as docker shows it."""
    return container_id if full else container_id[:SHORT]


def quoted(text: str) -> str:
    """A word in double quotes, as Go's strconv.Quote has it."""
    return f'"{plain(text.translate(ESCAPED))}"'


ESCAPED = {ord('"'): '\\"', ord("\\"): "\\\\"}


def cut(text: str, columns: int) -> str:
    """The beginning of a text that takes up more columns, with an ellipsis."""
    if width(text) <= columns:
        return text
    text = text[: columns - 1]
    while width(text) > columns - 1:
        text = text[:-1]
    return f"{text}…"


def _command(known: Row, *, full: bool) -> str:
    words = [str(word) for word in known["command"]]
    text = " ".join([*words[:1], *(f"'{word}'" if " " in word else word for word in words[1:])])
    return text if full else cut(text, SHORT_COMMAND)


def _image(known: Row, index: dict[str, str] | None, *, full: bool) -> str:
    """The name it was asked for by, or its ID where that is another's name by now."""
    name = str(known["image"] or known["options"].get("rootfs") or "<no image>")
    image_id = str(known["image_id"])
    if index is not None and image_id and _digest(name, index) not in {str(known["image_digest"]), LIST}:
        name = image_id
    if full:
        return name
    if name.startswith("sha256:"):
        return name[7:][:SHORT]
    return name.removeprefix("docker.io/library/").partition("@")[0]


def _digest(name: str, index: dict[str, str]) -> str:
    """The digest of what has a name as people write it; a name with a digest stands for nothing else."""
    if "@" in name:
        return LIST
    tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    return next((index[full] for prefix in PREFIXES if (full := f"{prefix}{tagged}") in index), "")


def _index() -> dict[str, str] | None:
    """The digests of what is in the store by its names in full; of a list of images LIST; None for no store."""
    try:
        raw = read_json(read_bytes(f"{store_dir()}/index.json"))
    except SpecError:
        return None
    found = {}
    for item in raw.get("manifests", ()) if isinstance(raw, dict) else ():
        name = (item.get("annotations") or {}).get("org.opencontainers.image.ref.name", "")
        found[name] = LIST if "index" in item.get("mediaType", "") or "list" in item["mediaType"] else item["digest"]
    return found


def _platform(known: Row) -> str:
    """What it is for: this machine, unless it was made for another platform."""
    from cloche.images.platforms import own_platform

    return str(known["options"].get("platform") or own_platform())
