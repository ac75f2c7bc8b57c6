"""A container's layer and what it was started with become an image on top of its own.

    layer/upper ──▶ a tar with whiteouts, by the worker ──▶ a blob, unpacked as every layer is ──┐
    the image's config, what was given at the start, -c CHANGE ──▶ config ──▶ manifest ──▶ a name

The same files always give the same layer: entries in the order of their names, and nothing of the time it was made.
"""

from __future__ import annotations

import os
import posixpath
import stat
import threading
from contextlib import ExitStack, contextmanager

from cloche.engine import pausing, views
from cloche.engine.changes import mount_places
from cloche.engine.events import tell
from cloche.engine.walking import OPEN, Scope, walk, write_tar
from cloche.errors import ConflictError, UnsupportedError
from cloche.images import local, telling
from cloche.images.changes import apply_changes
from cloche.images.documents import LARGEST, LARGEST_CONFIG
from cloche.images.importing import now, store_layer
from cloche.images.references import parse_reference
from cloche.images.removing import discard, filling
from cloche.images.store import names
from cloche.images.store.crew import unpack_all
from cloche.images.store.layout import Layout, store_dir
from cloche.images.store.stacks import stack
from cloche.images.unpack.apply import OPAQUE, WHITEOUT
from cloche.images.unpack.tar import CHARACTER, DIRECTORY, FILE, Entry
from cloche.images.unpack.worker import Worker
from cloche.linux import files
from cloche.records import record
from cloche.spec import image
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cloche.engine.containers import Container
    from cloche.engine.fileworker import FileWorker
    from cloche.images.unpack.worker import Unpacking

    Config = dict[str, Any]

BENEATH = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
OPAQUE_ATTRIBUTE = "user.overlay.opaque"


@record
class Commit:
    """What is said of the new image: its name in full or "", author, message, and instructions of a Dockerfile."""

    name: str
    author: str
    message: str
    changes: tuple[str, ...]


def commit(container: Container, asked: Commit, unpacking: Unpacking, worker: FileWorker) -> str:
    """Make the image; returns its ID. Raises SpecError for a change that is none, other ClocheErrors, OSError."""
    layout = Layout(store_dir())
    base = local.find(layout, str(container.known["image_id"]))
    manifest = _document(layout.read(base.digest, LARGEST))
    config = _document(layout.read(base.id, LARGEST_CONFIG))
    execution = apply_changes(execution_of(container.known, config.get("config") or {}), list(asked.changes))

    def make_worker() -> Worker:
        return Worker(unpacking.users)

    stored: set[str] = set()
    try:
        with filling(layout, make_worker):
            layer, diff_id = _store(layout, container, worker, noted=not unpacking.powers.own)
            stored.add(layer.digest)
            unpack_all(layout, [(layer.digest, diff_id)], make_worker, unpacking.powers)
            made = write_json(_config(config, execution, diff_id, asked)).encode()
            image_id = layout.add(made)
            stored.add(image_id)
            stack(layout, image_id, [*config["rootfs"]["diff_ids"], diff_id], make_worker, unpacking.powers)
            document = write_json(_manifest(manifest, image_id, len(made), layer)).encode()
            digest = layout.add(document)
            stored.add(digest)
            kind = str(manifest.get("mediaType") or image.OCI_MANIFEST)
            entry = image.Descriptor(mediaType=kind, digest=digest, size=len(document))
            names.put(layout, names.Entry(asked.name, entry))
    finally:
        discard(layout, stored)
    more = {"comment": asked.message, "imageID": image_id, "imageRef": asked.name}
    tell(container, "commit", **more)
    if asked.name:
        telling.tell(layout, "tag", image_id, parse_reference(asked.name).familiar)
    return image_id


def _document(text: bytes) -> Config:
    found = read_json(text)
    assert isinstance(found, dict)
    return found


def execution_of(known: Config, base: Config) -> Config:
    """The image's `config` with what was given when the container was made, as docker merges them."""
    options = known.get("options") or {}
    keep = known.get("keep") or {}
    found = {key: value for key, value in base.items() if key != "OnBuild"}
    entrypoint, command = options.get("entrypoint"), list(options.get("command") or ())
    if entrypoint is not None:
        found["Entrypoint"] = [entrypoint] if entrypoint else None
        found["Cmd"] = command or None
    elif command:
        found["Cmd"] = command
    given = [text for text in options.get("env") or () if "=" in text]
    own = {text.partition("=")[0]: text for text in given}
    theirs = [text for text in base.get("Env") or () if text.partition("=")[0] not in own]
    found["Env"] = [*own.values(), *theirs]
    found["Labels"] = {**(base.get("Labels") or {}), **(known.get("labels") or {})}
    found["ExposedPorts"] = {**(base.get("ExposedPorts") or {}), **{port: {} for port in known.get("exposed") or ()}}
    places = [word for word in options.get("volume") or () if ":" not in word]
    found["Volumes"] = {**(base.get("Volumes") or {}), **{place: {} for place in places}}
    for key, option in (("User", "user"), ("WorkingDir", "workdir"), ("StopSignal", "stop_signal")):
        found[key] = options.get(option) or base.get(key)
    if keep.get("no_healthcheck"):
        found["Healthcheck"] = {"Test": ["NONE"]}
    elif keep.get("health_cmd"):
        found["Healthcheck"] = _health(keep, base.get("Healthcheck") or {})
    return {key: value for key, value in found.items() if value not in (None, "", [], {})}


def _health(keep: Config, base: Config) -> Config:
    times = {"Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period"}
    found = {**base, "Test": ["CMD-SHELL", keep["health_cmd"]]}
    found |= {key: int(keep[f"health_{name}"] * 10**9) for key, name in times.items() if keep.get(f"health_{name}")}
    return found | ({"Retries": keep["health_retries"]} if keep.get("health_retries") else {})


def _config(base: Config, execution: Config, diff_id: str, asked: Commit) -> Config:
    created = now()
    by = " ".join(execution.get("Cmd") or ())
    step = {"created": created, "author": asked.author, "created_by": by, "comment": asked.message}
    made = {
        **{key: value for key, value in base.items() if key not in {"container", "container_config", "comment"}},
        "created": created,
        "author": asked.author,
        "comment": asked.message,
        "config": execution,
        "rootfs": {"type": "layers", "diff_ids": [*base["rootfs"]["diff_ids"], diff_id]},
        "history": [*(base.get("history") or ()), {key: value for key, value in step.items() if value}],
    }
    return {key: value for key, value in made.items() if value not in (None, "")}


def _manifest(base: Config, image_id: str, size: int, layer: image.Descriptor) -> Config:
    """One of the same kind as that of the image: docker's has layers of docker's."""
    docker = base.get("mediaType") == image.DOCKER_MANIFEST
    own = {**layer.to_dict(), **({"mediaType": f"{image.DOCKER_LAYER}.gzip"} if docker else {})}
    kind = image.DOCKER_CONFIG if docker else image.OCI_CONFIG
    return {
        "schemaVersion": 2,
        "mediaType": base.get("mediaType") or image.OCI_MANIFEST,
        "config": {"mediaType": kind, "digest": image_id, "size": size},
        "layers": [*base["layers"], own],
    }


def _store(layout: Layout, container: Container, worker: FileWorker, *, noted: bool) -> tuple[image.Descriptor, str]:
    """Have the worker write the layer, and store it as it comes; returns its blob and its diffID."""
    read, write = os.pipe2(os.O_CLOEXEC)
    places = tuple(place[1:] for place in mount_places(container))
    upper = f"{container.folder}/layer/upper"
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            worker.hear()
        except BaseException as error:  # handed on to who waits for the layer
            failed.append(error)

    def take(size: int) -> bytes:
        part = os.read(read, size)
        if not part:
            waiting.join()  # whether that was all of it
            if failed:
                raise failed[0]
        return part

    waiting = threading.Thread(target=wait)
    try:
        try:
            worker.tell(("commit", upper, views.layers_of(container), places, noted), (write,))
        finally:
            os.close(write)
        waiting.start()
        return store_layer(layout, take, "commit")
    finally:
        os.close(read)
        if waiting.is_alive():
            waiting.join()


def write_layer(upper: str, layers: tuple[str, ...], places: frozenset[bytes], noted: bool, out: int) -> None:
    """Write a container's layer as the tar of an image's; in the worker. Raises ConflictError, OSError."""
    if not os.path.isdir(upper):  # it was never started
        write_tar(iter(()), out)
        return
    with files.Fd(os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as top:
        below = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in layers]
        try:
            entries = walk(top.number, b"", Scope(noted), {})
            write_tar(_without_places(_layer(top.number, entries), places, below), out)
        finally:
            for fd in below:
                os.close(fd)


def _layer(upper: int, entries: Iterator[tuple[Entry, int]]) -> Iterator[tuple[Entry, int]]:
    """Entries as an image has them: whiteouts and opaque directories by their names."""
    for entry, fd in entries:
        above, _, name = entry.name.rpartition(b"/")
        if name.startswith(WHITEOUT):
            raise ConflictError(
                f"the container has {os.fsdecode(entry.name)!r}, a name that means something else in an image",
                hint="remove it, or give it another name",
            )
        if entry.kind == CHARACTER and not entry.major and not entry.minor:
            hidden = (above + b"/" if above else b"") + WHITEOUT + name
            yield Entry(FILE, hidden, mode=0o600, mtime=entry.mtime), -1
            continue
        yield entry, fd
        if entry.kind == DIRECTORY and entry.name != b"." and _is_opaque(upper, entry.name):
            yield Entry(FILE, entry.name + b"/" + OPAQUE, mode=0o755), -1


def _is_opaque(upper: int, path: bytes) -> bool:
    try:
        with files.Fd(files.openat2(upper, path, OPEN, resolve=BENEATH)) as folder:
            return os.getxattr(folder.number, OPAQUE_ATTRIBUTE) == b"y"
    except OSError:
        return False


def _without_places(
    entries: Iterator[tuple[Entry, int]], places: frozenset[bytes], layers: list[int]
) -> Iterator[tuple[Entry, int]]:
    """Leave out where things were mounted, and the directories that were made to lead there."""
    leading = {posixpath.dirname(place) for place in places}
    leading |= {above for place in leading for above in _above(place)}
    waiting: dict[bytes, Entry] = {}
    for entry, fd in entries:
        if entry.name in places and entry.kind in {DIRECTORY, FILE} and not entry.size:
            files.Fd(fd).close()
            continue
        if entry.kind == DIRECTORY and entry.name in leading and not _is_below(layers, entry.name):
            waiting[entry.name] = entry
            continue
        for above in reversed(_above(entry.name)):
            if above in waiting:
                yield waiting.pop(above), -1
        yield entry, fd


def _above(path: bytes) -> list[bytes]:
    found = []
    while path := posixpath.dirname(path):
        found.append(path)
    return found


def _is_below(layers: list[int], path: bytes) -> bool:
    """Whether the image has such a directory, in whichever layer."""
    for layer in layers:
        try:
            with files.Fd(files.openat2(layer, path, os.O_PATH | os.O_NOFOLLOW, resolve=BENEATH)) as found:
                if stat.S_ISDIR(os.fstat(found.number).st_mode):
                    return True
        except OSError:
            continue
    return False


@contextmanager
def standing_still(container: Container, *, wanted: bool) -> Iterator[None]:
    """Keep a container that runs from changing its files meanwhile. Raises UnsupportedError where it has no group."""
    views.layers_of(container)  # says what has none
    if not wanted or not container.running:
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(pausing.held(container))
        except UnsupportedError as error:
            error.hint = "--pause=false takes its files as they are being changed"
            raise
        except ConflictError:
            if container.read_state().running:
                raise
        yield
