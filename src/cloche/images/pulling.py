"""Fetching an image from a registry: what is there already is not asked for again.

    manifest ── choose a platform ──▶ manifest ──▶ config ──▶ diffIDs
                                         └──▶ layers, several at once ──▶ blobs ──▶ unpacked, lowest first

An image gets its name when all of it is there. What has arrived before somebody is killed is used by the next.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

from cloche.errors import NotFoundError, RegistryError
from cloche.images import documents
from cloche.images.documents import LARGEST, LARGEST_CONFIG, read_config, read_manifest
from cloche.images.platforms import Wanted, choose_asking, shown, suits
from cloche.images.store import names, room
from cloche.images.store.crew import Crew
from cloche.images.store.incoming import Incoming
from cloche.images.store.layers import check_layers, has_layer
from cloche.images.store.stacks import stack
from cloche.images.telling import tell_of_registry
from cloche.images.unpack.apply import Powers
from cloche.records import record
from cloche.spec.image import DOCKER_FOREIGN, OCI_FOREIGN, Descriptor, Manifest, Platform
from cloche.stage.points import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from cloche.images.documents import Answer
    from cloche.images.references import Reference
    from cloche.images.registry.client import Repository
    from cloche.images.store.layout import Layout
    from cloche.images.unpack.worker import Worker
    from cloche.spec.image import ImageConfig

AT_ONCE = 3  # blobs that are fetched at the same time, as docker has it
TRIES = 5  # connections for one blob; each goes on where the last broke off
PART = 1 << 18


class Progress:
    """What is told of a pull while it goes on; this one tells nobody. Called from several threads."""

    def layers(self, items: list[Descriptor]) -> None:
        """The layers of the image are known."""

    def exists(self, item: Descriptor) -> None:
        """A layer is there already."""

    def arrived(self, item: Descriptor, size: int) -> None:
        """So many bytes of a blob are there."""

    def unpacking(self, item: Descriptor) -> None:
        """A layer is being unpacked."""

    def unpacked(self, item: Descriptor) -> None:
        """A layer is ready."""

    def close(self) -> None:
        """The pull has ended, well or not."""


@record
class Pulled:
    """An image that is there: its manifest, its ID, its config, and whether anything of it was new."""

    manifest: Descriptor
    id: str
    config: ImageConfig
    digest: str  # of what the name stood for in the registry: the manifest, or the index it is in
    fresh: bool


def pull(
    layout: Layout,
    reference: Reference,
    repository: Repository,
    wanted: Wanted,
    make_worker: Callable[[], Worker],
    powers: Powers,
    progress: Progress,
) -> Pulled:
    """Fetch and unpack an image, and give it its name. Raises ClocheError, OSError."""
    top = repository.manifest(reference.selector)
    known = names.named(layout, str(reference))
    answer, manifest = _chosen(layout, repository, top, wanted)
    kind = manifest.mediaType or answer.media_type
    descriptor = Descriptor(mediaType=kind, digest=answer.digest, size=len(answer.content))
    had = known is not None and known.manifest.digest == descriptor.digest
    content = _small(layout, repository, manifest.config)
    config = read_config(content, repository.name)
    check_layers(config.rootfs.diff_ids, len(manifest.layers))
    own = Platform(os=config.os, architecture=config.architecture, variant=config.variant)
    if wanted.given and not suits(own, wanted):
        raise NotFoundError(
            f"{repository.name} has nothing for the platform {wanted}: its image is for {shown(own)}",
            hint=f"--platform {shown(own)}, if it is that one",
        )
    try:
        fresh = _Layers(layout, repository, manifest, config, progress).fetch(make_worker, powers)
    finally:
        progress.close()
    point("pull-unpacked")
    stack(layout, manifest.config.digest, config.rootfs.diff_ids, make_worker, powers)
    layout.add(answer.content)
    if top is not answer:
        layout.add(top.content)
    point("pull-unnamed")
    names.put(layout, names.Entry(str(reference), descriptor, f"{reference.name}@{top.digest}"))
    tell_of_registry(layout, "pull", reference, manifest.config.digest)
    return Pulled(descriptor, manifest.config.digest, config, top.digest, fresh or not had)


def _chosen(layout: Layout, repository: Repository, top: Answer, wanted: Wanted) -> tuple[Answer, Manifest]:
    """The manifest for a platform, as it came and as it was read."""
    answer = top
    found = read_manifest(top.content, top.media_type, repository.name)
    for _ in range(2):  # an index may be in an index
        if isinstance(found, Manifest):
            break
        item = choose_asking(found.manifests, wanted, repository.name, partial(_platform, layout, repository))
        answer = _member(layout, repository, item)
        found = read_manifest(answer.content, item.mediaType, repository.name)
    if not isinstance(found, Manifest):
        raise RegistryError(f"{repository.name} has an index of indexes without end")
    return answer, found


def _member(layout: Layout, repository: Repository, item: Descriptor) -> Answer:
    """A manifest of an index, which is not asked for where it is in the store."""
    from cloche.images.documents import Answer

    if layout.has(item.digest):
        return Answer(layout.read(item.digest, LARGEST), item.mediaType, item.digest)
    return repository.manifest(item.digest)


def _platform(layout: Layout, repository: Repository, item: Descriptor) -> Platform | None:
    """What a manifest is for, by its config; None where that does not say."""
    try:
        answer = _member(layout, repository, item)
        found = read_manifest(answer.content, item.mediaType, repository.name)
        if not isinstance(found, Manifest):
            return None
        config = read_config(_small(layout, repository, found.config), repository.name)
    except (NotFoundError, RegistryError):
        return None  # something that is no image
    return Platform(os=config.os, architecture=config.architecture, variant=config.variant)


def _small(layout: Layout, repository: Repository, item: Descriptor) -> bytes:
    """The content of a blob that is read as a whole."""
    if item.size > LARGEST_CONFIG:
        raise RegistryError(f"{repository.name} has a config of {item.size} bytes; {LARGEST_CONFIG} is the most")
    fetch_blob(layout, repository, item, Progress())
    return layout.read(item.digest, documents.LARGEST_CONFIG)


def fetch_blob(
    layout: Layout, repository: Repository, item: Descriptor, progress: Progress, stop: threading.Event | None = None
) -> bool:
    """Have a blob in the store; whether it had to be fetched. Goes on where a connection broke off.

    Gives up when `stop` is set, and leaves what has arrived to the next.
    """
    from urllib3.exceptions import HTTPError

    with Incoming(layout, item.digest, item.size) as incoming:
        if incoming.done:
            return False
        tries = best = 0
        while incoming.size < item.size or not item.size:
            answer, start = repository.blob(item.digest, incoming.size)
            if start != incoming.size:
                incoming.restart()
            try:
                while part := answer.read(PART):
                    if stop is not None and stop.is_set():
                        answer.close()
                        return False
                    incoming.write(part)
                    progress.arrived(item, incoming.size)
                answer.release_conn()
                break
            except HTTPError as error:
                answer.close()
                # one that begins anew each time gets nowhere either
                tries = tries + 1 if incoming.size <= best else 0
                best = max(best, incoming.size)
                if tries == TRIES:
                    raise RegistryError(
                        f"{repository.host} breaks off in the middle of {item.digest}: {error}", hint="try again later"
                    ) from None
            except RegistryError:
                answer.close()
                incoming.restart()
                raise
        incoming.finish()
    return True


class _Layers:
    """The layers of one image, fetched by several threads, each unpacked as soon as it is there."""

    def __init__(
        self,
        layout: Layout,
        repository: Repository,
        manifest: Manifest,
        config: ImageConfig,
        progress: Progress,
    ) -> None:
        self.layout, self.repository, self.progress = layout, repository, progress
        self.items = list(zip(manifest.layers, config.rootfs.diff_ids, strict=True))
        self._stop = threading.Event()

    def fetch(self, make_worker: Callable[[], Worker], powers: Powers) -> bool:
        """Have all of them; whether anything was missing."""
        self.progress.layers([item for item, _ in self.items])
        missing = [(item, diff_id) for item, diff_id in self.items if not self._is_there(item, diff_id)]
        if not missing:
            return False
        room.check(self.layout, sum(item.size for item, _ in missing if not self.layout.has(item.digest)))
        with Crew(self.layout, make_worker, powers, len(missing)) as crew:
            pool = ThreadPoolExecutor(AT_ONCE, "fetch")
            try:
                fetched = {pool.submit(self._fetch, item): (item, diff_id) for item, diff_id in missing}
                unpacked = [self._unpack(crew, *fetched[future]) for future in as_completed(fetched) if future.result()]
                for done in unpacked:
                    done.result()
            except BaseException as error:
                self._stop.set()
                # who wants to end waits for no registry that says nothing: threads end with the process
                pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
                raise
            pool.shutdown()
        return True

    def _is_there(self, item: Descriptor, diff_id: str) -> bool:
        if not (self.layout.has(item.digest) and has_layer(self.layout, diff_id)):
            return False
        self.progress.exists(item)
        return True

    def _fetch(self, item: Descriptor) -> bool:
        """Whether the layer has arrived; it has not where something else has failed before that."""
        if self._stop.is_set():
            return False
        try:
            fetch_blob(self.layout, self.repository, item, self.progress, self._stop)
        except NotFoundError:
            if not item.urls or not item.mediaType.startswith((OCI_FOREIGN, DOCKER_FOREIGN)):
                raise
            raise NotFoundError(
                f"the layer {item.digest} of {self.repository.name} is foreign: the registry has it not, and the"
                f" address that the image has for it, {item.urls[0][:200]}, is not followed",
                hint="have it pushed with all its layers (dockerd --allow-nondistributable-artifacts)",
            ) from None
        return not self._stop.is_set()

    def _unpack(self, crew: Crew, item: Descriptor, diff_id: str) -> Future[None]:
        self.progress.unpacking(item)
        done = crew.unpack(item.digest, diff_id)
        done.add_done_callback(lambda done: self._unpacked(item, done))
        return done

    def _unpacked(self, item: Descriptor, done: Future[None]) -> None:
        if done.cancelled() or done.exception():
            self._stop.set()  # what is not here yet need not come
        else:
            self.progress.unpacked(item)
