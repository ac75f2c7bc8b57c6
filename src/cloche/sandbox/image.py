"""The image that options name: found, kept from being removed, fetched where --pull says so."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.fetching import Unpacking
    from cloche.images.local import Image
    from cloche.linux.files import Fd
    from cloche.sandbox.options import Options

HOST = "host"


def image_of(options: Options) -> Image | None:
    """The image that is named, None for the host's own files or a directory. Raises NotFoundError."""
    if options.rootfs or options.image in {"", HOST}:
        return None
    from cloche.images.local import find
    from cloche.images.store.layout import Layout, store_dir

    wanted = None
    if options.platform:  # which of a list's
        from cloche.images.platforms import parse_platform

        wanted = parse_platform(options.platform)
    return find(Layout(store_dir()), options.image, wanted)


def use_image(options: Options) -> tuple[Image | None, Fd | None]:
    """The same, and what keeps it from being removed until it is closed."""
    if options.rootfs or options.image in {"", HOST}:
        return None, None
    from cloche.images.store import uses
    from cloche.images.store.layout import Layout, store_dir

    layout = Layout(store_dir())

    def begin() -> tuple[Image | None, Fd | None]:
        found = image_of(options)
        assert found is not None
        return found, uses.hold(layout, found.id)

    try:
        return uses.undisturbed(layout, begin)
    except FileNotFoundError:  # no store yet
        return image_of(options), None


def to_fetch(options: Options) -> bool:
    """Whether --pull has the image fetched before anything is made of it."""
    if options.rootfs or options.image in {"", HOST} or options.pull == "never":
        return False
    if options.pull in {"always", "newer"}:
        return True
    from cloche.errors import NotFoundError

    try:
        image = image_of(options)
    except NotFoundError:
        return True
    if not options.platform or image is None:
        return False
    from cloche.images.platforms import parse_platform

    wanted = parse_platform(options.platform)
    return (image.config.os, image.config.architecture) != (wanted.os, wanted.architecture)


def fetch_image(options: Options) -> None:
    """Fetch it, for a program: nothing is printed. Raises ClocheError unless an older one will do."""
    from cloche.errors import ForbiddenError, NotFoundError, RegistryError
    from cloche.images.fetching import Access, fetch
    from cloche.images.platforms import parse_platform
    from cloche.images.pulling import Progress
    from cloche.images.store.layout import Layout, store_dir

    wanted = parse_platform(options.platform)
    try:
        fetch(Layout(store_dir()), options.image, wanted, Access(), unpacking(), Progress())
    except (NotFoundError, ForbiddenError, RegistryError):
        if options.pull != "newer":
            raise
        image_of(options)


def unpacking() -> Unpacking:
    """Who unpacks layers here: root as itself; others in a user namespace, with the ids their containers have."""
    from cloche.images.fetching import Unpacking
    from cloche.images.unpack.apply import Powers
    from cloche.images.unpack.worker import Users
    from cloche.runtime import idmaps
    from cloche.runtime.host import probe_host

    host = probe_host()
    if host.privileged:
        return Unpacking(None, Powers())
    ids = idmaps.choose(host, "", (), (), None)
    users = Users(ids.uids, ids.gids, ids.uid_helper, ids.gid_helper, ids.deny_setgroups)
    return Unpacking(users, Powers(own=ids.kind != "single", nodes=False, opaque="user.overlay.opaque"))
