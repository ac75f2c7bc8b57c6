"""What is written down of a container, for all who look at it later: container.json of one that stays."""

from __future__ import annotations

from cloche.engine import clock
from cloche.engine.checks import check_of
from cloche.engine.events import volumes_among
from cloche.engine.keeping import STOP_TIMEOUT
from cloche.sandbox import values
from cloche.sandbox.image_config import image_volumes
from cloche.sandbox.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cloche.engine.keeping import Keep
    from cloche.engine.passing import Passing
    from cloche.images.local import Image
    from cloche.sandbox.running import Prepared


def known_of(options: Options, keep: Keep, prepared: Prepared) -> dict[str, Any]:
    """The members of container.json, see `cloche.engine.containers`; `options` are what was asked."""
    process = prepared.request.config.process
    assert process is not None
    timeout, image = options.stop_timeout, prepared.image
    options = _with_volumes(options, prepared)
    return {
        "version": 1,
        "id": prepared.id,
        "name": options.name,
        "created": clock.now(),
        "options": dict(vars(options)),
        "image": options.image or options.rootfs,
        "image_id": image.id if image is not None else "",
        "image_digest": image.digest if image is not None else "",
        "command": list(process.args or []),
        "labels": dict(text.partition("=")[::2] for text in prepared.labels),
        "exposed": list(prepared.exposed),
        "stop_signal": prepared.stop_signal,
        "stop_timeout": STOP_TIMEOUT if timeout is None else values.duration(timeout, "--stop-timeout"),
        "keep": dict(vars(keep)),
        "check": check_of(keep, image.config.config if image is not None else None),
        "mounts": _mounts(options, image),
        "volumes": list(prepared.volumes.anonymous) if prepared.volumes is not None else [],
    }


def volumes_of(options: Options, prepared: Prepared) -> list[dict[str, Any]]:
    """The volumes of the store that it has, as `inspect` shows them; `options` are what was asked."""
    if prepared.volumes is None:
        return []
    return volumes_among(_mounts(_with_volumes(options, prepared), prepared.image))


def passing(options: Options, prepared: Prepared) -> Passing:
    """What there is to tell of one that is gone when it ends."""
    from cloche.engine.passing import Passing

    labels = dict(text.partition("=")[::2] for text in prepared.labels)
    about = {**labels, "image": options.image or options.rootfs, "name": options.name}
    return Passing(prepared.id, about, volumes_of(options, prepared))


def _with_volumes(options: Options, prepared: Prepared) -> Options:
    """The options with the names of the volumes it has now."""
    if prepared.volumes is None:
        return options
    found = vars(prepared.volumes.options)
    changed = {name: found[name] for name in ("volume", "mount", "volumes_from")}
    return Options(**{**vars(options), **changed})


def _mounts(options: Options, image: Image | None) -> list[dict[str, object]]:
    """What of the host and of the store it has."""
    if not (options.volume or options.mount or (image is not None and image_volumes(image))):
        return []
    from cloche.sandbox.attaching import mounts_for_inspect

    return mounts_for_inspect(options, image)
