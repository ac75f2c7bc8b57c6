"""The image that options name: found, kept from being removed, fetched where --pull says so."""

from __future__ import annotations

from cloche.errors import ClocheError, NotFoundError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.fetching import Fetched
    from cloche.images.local import Image
    from cloche.images.platforms import Wanted
    from cloche.images.pulling import Progress
    from cloche.images.unpack.worker import Unpacking
    from cloche.linux.files import Fd
    from cloche.sandbox.options import Options

HOST = "host"
HOW_TO_RUN = "register an emulator such as qemu-user-static with binfmt_misc, by the flag F"
OLDER = "an older one is here: --pull missing takes it, --pull newer where the registry cannot be asked"


def image_of(options: Options) -> Image | None:
    """The image that is named, None for the host's own files or a directory.

    Raises NotFoundError, also where it is here for another platform than the one asked for, and UnsupportedError for
    one whose programs cannot run here.
    """
    if options.rootfs or options.image in {"", HOST}:
        return None
    from cloche.images.local import find
    from cloche.images.store.layout import Layout, store_dir

    wanted = _platform(options)
    image = find(Layout(store_dir()), options.image, wanted)
    if wanted is not None and (image.config.os, image.config.architecture) != (wanted.os, wanted.architecture):
        found = f"{image.config.os}/{image.config.architecture}"
        raise NotFoundError(
            f"no such image: {options.image} for {wanted}: the one here is for {found}",
            hint=f"cloche pull --platform {wanted} {options.image}",
        )
    return image


def _platform(options: Options) -> Wanted | None:
    """The platform asked for. Raises UnsupportedError where its programs cannot run."""
    if not options.platform:
        return None
    from cloche.images.foreign import why_not
    from cloche.images.platforms import parse_platform

    wanted = parse_platform(options.platform)
    if why := why_not(wanted):
        raise UnsupportedError(f"running programs for {wanted}", needs=why, hint=HOW_TO_RUN)
    return wanted


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
    """Whether --pull has the image fetched before anything is made of it. Raises UnsupportedError as `image_of`."""
    if options.rootfs or options.image in {"", HOST} or options.pull == "never":
        return False
    _platform(options)
    return options.pull in {"always", "newer"} or older(options) is None


def older(options: Options) -> Image | None:
    """The image as it was fetched before, None if it was not."""
    try:
        return image_of(options)
    except NotFoundError:
        return None


def with_libraries(name: str) -> None:
    """Have the libraries there that it takes to fetch an image. Raises UnsupportedError where one is not installed."""
    from cloche.linux.libraries import reach

    reach()
    try:
        import cloche.images.fetching  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("cloche"):
            raise
        needs = f"the Python library {error.name} is not installed"
        raise UnsupportedError(f"fetching {name}", needs=needs, hint=f"pip install {error.name}") from None


def fetch_image(options: Options, progress: Progress | None = None) -> Fetched | ClocheError:
    """Fetch it; returns what came of it, or why the older one has to do (--pull newer).

    Raises ClocheError where none will do: of --pull always, too, which names the older one.
    """
    with_libraries(options.image)
    from cloche.images.fetching import Access, fetch
    from cloche.images.platforms import parse_platform
    from cloche.images.pulling import Progress
    from cloche.images.store.layout import Layout, store_dir

    wanted = parse_platform(options.platform)
    try:
        return fetch(Layout(store_dir()), options.image, wanted, Access(), unpacking(), progress or Progress())
    except ClocheError as error:
        if older(options) is None:
            raise
        if options.pull == "newer":
            return error
        error.hint = "; ".join(filter(None, (error.hint, OLDER)))
        raise


def unpacking() -> Unpacking:
    """Who unpacks layers here: root as itself; others in a user namespace, with the ids their containers have."""
    from cloche.images.unpack.apply import Powers
    from cloche.images.unpack.worker import Unpacking, Users
    from cloche.runtime import idmaps
    from cloche.runtime.host import probe_host

    host = probe_host()
    if host.privileged:
        return Unpacking(None, Powers())
    ids = idmaps.choose(host, "", (), (), None)
    users = Users(ids.uids, ids.gids, ids.uid_helper, ids.gid_helper, ids.deny_setgroups)
    return Unpacking(users, Powers(own=ids.kind != "single", nodes=False))
