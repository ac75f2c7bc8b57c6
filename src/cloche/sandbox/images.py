"""`cloche.images`: what a Python program does with images.

    from cloche import images

    image = images.pull("debian:12")                      into the store, unpacked, for cloche.run(image="debian:12")
    image = images.open_image("oci-archive:/tmp/box.tar") just looked at, wherever it is
    image.config.config.Cmd, [layer.diff_id for layer in image.layers]
    images.copy(image, "docker://registry.example.com/box:1")
    image.unpack("/tmp/rootfs")

Places are named as skopeo names them: docker://NAME, oci:DIR[:NAME], oci-archive:FILE[:NAME],
docker-archive:FILE[:NAME], docker-daemon:NAME; a NAME alone is in the store of this machine, CLOCHE_ROOT or where
docs/images.md says. Names follow docker's grammar. What fails raises a ClocheError that says what to do about it.
"""

from __future__ import annotations

from cloche.errors import ConflictError
from cloche.images import archives, local, saving, tagging
from cloche.images.describing import describe
from cloche.images.listing import Row, rows
from cloche.images.lists import is_list
from cloche.images.platforms import parse_platform
from cloche.images.references import claimed_name, parse_reference
from cloche.images.removing import clear, filling, take_out
from cloche.images.sources.copying import copy as copy_to
from cloche.images.sources.layout import LayoutPlace
from cloche.images.sources.places import REGISTRY, open_place, split_transport
from cloche.images.sources.source import Image
from cloche.images.store import names, uses
from cloche.images.store.crew import unpack_all
from cloche.images.store.layout import Layout, store_dir
from cloche.images.store.stacks import stack
from cloche.images.tagging import new_name
from cloche.images.telling import tell_of_registry, tell_of_saving
from cloche.images.unpack.worker import Worker
from cloche.sandbox.image import unpacking, with_libraries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from cloche.images.fetching import Access

    Login = tuple[str, str]  # a user and a password


def open_image(where: str, *, platform: str = "", tls_verify: bool | None = None, login: Login | None = None) -> Image:
    """The image in a place, for one platform (OS/ARCH[/VARIANT], this machine's by default); nothing is stored.

    `login` is a user and a password for a registry, in place of those on file; `tls_verify` None is as registries.conf
    says. Raises SpecError, NotFoundError, ForbiddenError, RegistryError.
    """
    transport, rest = split_transport(where)
    wanted = parse_platform(platform)
    if transport == REGISTRY:
        from cloche.images.sources.registry import registry_image

        return registry_image(rest, _access(tls_verify, login), wanted)
    if transport:
        place, name = open_place(transport, rest, wanted if platform else None)
        return Image(place, name, wanted)
    layout = Layout(store_dir())
    return Image(LayoutPlace(layout.path), local.find_entry(layout, where).manifest.digest, wanted)


def pull(
    name: str,
    *,
    platform: str = "",
    tls_verify: bool | None = None,
    login: Login | None = None,
) -> Image:
    """Have an image in the store, unpacked, as its place has it now; what is here already is not fetched again.

    `name` is a registry's, or a place of another kind, whose image is then called as it is there. Raises ClocheError,
    and OSError where the disk is full.
    """
    transport, rest = split_transport(name)
    if transport in {"", REGISTRY}:
        with_libraries(rest)
        from cloche.images.fetching import fetch
        from cloche.images.pulling import Progress

        layout, access = Layout(store_dir()), _access(tls_verify, login)
        done = fetch(layout, rest, parse_platform(platform), access, unpacking(), Progress())
        return open_image(str(done.reference))
    wanted = parse_platform(platform)
    place, selector = open_place(transport, rest, wanted if platform else None, _incoming())
    image = Image(place, selector, wanted)
    return open_image(take(image, claimed_name(place.name_of(image), image.digest, image.tag_digest)))


def take(image: Image, name: str) -> str:
    """Take an image from any source into the store, unpacked, under this name in full; returns it, or the ID for "".

    Raises RegistryError for one that is no good, StageError where the disk is full.
    """
    layout, who = Layout(store_dir()), unpacking()
    layout.make()
    with filling(layout, lambda: Worker(who.users)):
        copy_to(image, LayoutPlace(layout.path), image.digest)
        pairs = [(layer.digest, layer.diff_id) for layer in image.layers]
        unpack_all(layout, pairs, lambda: Worker(who.users), who.powers)
        stack(layout, image.id, [layer.diff_id for layer in image.layers], lambda: Worker(who.users), who.powers)
        names.put(layout, names.Entry(name, LayoutPlace(layout.path).descriptor(image.digest, image.media_type)))
    if name:
        tell_of_registry(layout, "pull", parse_reference(name), image.id)
    return name or image.id


def push(name: str, to: str = "", *, tls_verify: bool | None = None, login: Login | None = None) -> str:
    """Send an image of the store to its registry, or to another place; returns the digest of its manifest.

    A list of images goes to a registry with all of them.
    """
    where = to or f"{REGISTRY}://{name}"
    layout = Layout(store_dir())
    entry = local.find_entry(layout, name)
    if not is_list(entry):
        return copy(name, where, tls_verify=tls_verify, login=login)
    transport, rest = split_transport(where)
    if transport != REGISTRY:
        raise ConflictError(f"{name} is a list of images, which goes to a registry alone", hint=f"{REGISTRY}://NAME")
    access = _access(tls_verify, login)
    from cloche.images import pushing

    entry, held = uses.keeping(layout, lambda: local.find_entry(layout, name))
    with held:
        return pushing.send(layout, entry, rest, access, pushing.Progress())[0]


def copy(
    source: str | Image,
    to: str,
    *,
    platform: str = "",
    tls_verify: bool | None = None,
    login: Login | None = None,
) -> str:
    """Copy an image from one place to another; returns the digest of its manifest. Every blob is checked."""
    image = open_image(source, platform=platform) if isinstance(source, str) else source
    transport, rest = split_transport(to)
    if not transport:
        take(image, new_name(rest))
        return image.digest
    if transport == REGISTRY:
        from cloche.images.sources.registry import copy_to_registry

        return copy_to_registry(image, rest, _access(tls_verify, login))
    place, name = open_place(transport, rest, None)
    return copy_to(image, place, name)


def inspect(name: str) -> dict[str, Any]:
    """All there is to know of an image in the store, with docker's names: a dict of what JSON has."""
    layout = Layout(store_dir())
    return describe(layout, local.find_entry(layout, name))


def list_images() -> list[Row]:
    """The images in the store, each with one of its names, the newest first."""
    return rows(Layout(store_dir()))


def tag(name: str, new: str) -> None:
    """Give an image of the store one more name. Raises NotFoundError, and SpecError for a name that has a digest."""
    tagging.tag(Layout(store_dir()), name, new)


def remove(name: str) -> None:
    """Take a name away, and what no other name leads to. Raises NotFoundError, and ConflictError if it is in use."""
    layout = Layout(store_dir())
    take_out(layout, name)
    clear(layout, lambda: Worker(unpacking().users))


def save(images: list[str], out: IO[bytes]) -> None:
    """Write images of the store into a file or pipe, as an OCI archive that is docker's at once."""
    layout = Layout(store_dir())
    entries, held = uses.keeping(layout, lambda: [local.find_entry(layout, name) for name in images])
    with held:
        saving.save(layout, entries, out)
        tell_of_saving(layout, entries)


def load(source: IO[bytes], *, platform: str = "") -> list[archives.Loaded]:
    """Take the images of an archive into the store; returns (name, id) of each."""
    who = unpacking()
    wanted = parse_platform(platform) if platform else None
    return archives.load(Layout(store_dir()), source.read, wanted, lambda: Worker(who.users), who.powers)


def _incoming() -> str:
    """Where in the store something is put that is on its way there."""
    layout = Layout(store_dir())
    layout.make()
    return f"{layout.path}/incoming"


def _access(tls_verify: bool | None, login: Login | None) -> Access:
    with_libraries("images")
    from cloche.images.fetching import Access
    from cloche.images.registry.auth import Login

    return Access(tls_verify, Login(*login) if login is not None else None)
