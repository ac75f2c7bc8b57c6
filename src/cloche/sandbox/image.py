"""What an image says about the containers made of it, under what was asked for (docker run, "Overriding defaults").

Only its config's `config` is looked at, and there what is listed here: labels and annotations drive nothing.
"""

from __future__ import annotations

from cloche.errors import SpecError
from cloche.runtime.request import Root, Tree

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

    return find(Layout(store_dir()), options.image)


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


def with_image(options: Options, image: Image) -> Options:
    """The options, with what the image says where they say nothing."""
    own = image.config.config
    if own is None:
        return options
    changed: dict[str, object] = {}
    command = tuple(options.command)
    if options.entrypoint is None:
        command = (*(own.Entrypoint or ()), *(command or own.Cmd or ()))
        changed["command"] = command
    # one without a value would be taken for a variable of ours to pass on
    changed["env"] = (*(entry for entry in own.Env or () if entry.find("=") > 0), *options.env)
    changed["user"] = options.user or own.User or ""
    changed["workdir"] = options.workdir or own.WorkingDir or ""
    if options.stop_signal == type(options)().stop_signal and own.StopSignal:
        changed["stop_signal"] = own.StopSignal
    return type(options)(**{**vars(options), **changed})


def image_root(image: Image, *, read_only: bool) -> Root:
    """The image's layers, with a throwaway one on top."""
    if not image.layers:
        raise SpecError(f"the image {image.name or image.id} has no layers: there is nothing to run in it")
    top = image.layers[0].rpartition("/")[0]
    below = len(top) + 1
    # overlayfs takes a directory once; of a layer that comes again the highest counts
    highest = dict.fromkeys(reversed(image.layers))
    layers = tuple(f"{place[below:]}/fs" for place in reversed(highest))
    return Root((Tree(top, "/", layers=layers, shape=f"{image.root[below:]}/fs"),), read_only=read_only)
