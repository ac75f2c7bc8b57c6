"""What an image says about the containers made of it, under what was asked for (docker run, "Overriding defaults").

Only its config's `config` is looked at, and there what is listed here: labels and annotations drive nothing. Whoever
made the image is not trusted: what it says is either taken as docker takes it, or an error that names the image.
"""

from __future__ import annotations

from cloche.engine.signals import signal_number
from cloche.errors import SpecError
from cloche.images.local import volume_place
from cloche.runtime.mounts import VOLUME
from cloche.runtime.request import Root, Tree
from cloche.spec.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.local import Image
    from cloche.runtime.receipt import Receipt
    from cloche.sandbox.options import Options

MOST_VOLUMES = 1000


def with_image(options: Options, image: Image) -> Options:
    """The options, with what the image says where they say nothing; its variables are `image_variables`."""
    own = image.config.config
    if own is None:
        return options
    changed: dict[str, object] = {}
    if options.entrypoint is None:
        entrypoint = own.Entrypoint or []
        command = (*([] if entrypoint == [""] else entrypoint), *(options.command or own.Cmd or ()))
        changed["command"] = command
    changed["user"] = options.user or own.User or ""
    if not options.workdir and own.WorkingDir:
        if not own.WorkingDir.startswith("/"):
            raise _wrong(image, f"its working directory {own.WorkingDir!r} is not absolute", "--workdir DIR")
        changed["workdir"] = own.WorkingDir
    if options.stop_signal is None and own.StopSignal:
        changed["stop_signal"] = _stop_signal(image, own.StopSignal)
    labels = [f"{key}={value}" for key, value in (own.Labels or {}).items()]
    changed["label"] = _without_doubles([*labels, *options.label])
    changed["expose"] = tuple(dict.fromkeys((*(own.ExposedPorts or ()), *options.expose)))
    return type(options)(**{**vars(options), **changed})


def _stop_signal(image: Image, text: str) -> str:
    try:
        signal_number(text)
    except SpecError:
        raise _wrong(image, f"its stop signal {text!r} is not a signal", "--stop-signal TERM") from None
    return text


def _without_doubles(labels: list[str]) -> tuple[str, ...]:
    """Of labels with the same key the last."""
    return tuple({text.partition("=")[0]: text for text in labels}.values())


def image_variables(image: Image) -> dict[str, str | None]:
    """The variables of its environment; None takes one away that would be there otherwise. Raises SpecError."""
    found: dict[str, str | None] = {}
    for text in (image.config.config and image.config.config.Env) or ():
        key, equals, value = text.partition("=")
        if not key:
            raise _wrong(image, f"a variable of its environment has no name: {text!r}", "")
        found[key] = value if equals else None
    return found


def image_volumes(image: Image) -> tuple[Mount, ...]:
    """Its volumes: directories that can be written also where the root cannot. Raises SpecError."""
    places = []
    volumes = (image.config.config and image.config.config.Volumes) or {}
    if len(volumes) > MOST_VOLUMES:
        raise _wrong(image, f"it has {len(volumes)} volumes; {MOST_VOLUMES} is the most", "")
    for text in volumes:
        place = volume_place(text)
        if not place:
            raise _wrong(image, f"{text!r} cannot be a volume", "it is the container's own: make the image without it")
        if not place.startswith(("/sys/", "/dev/")):
            places.append(Mount(destination=place, type=VOLUME, source=VOLUME))
    return tuple(places)


def _wrong(image: Image, what: str, hint: str) -> SpecError:
    return SpecError(f"the image {image.name or image.id}: {what}", hint=hint)


def image_root(image: Image, *, read_only: bool) -> Root:
    """The image's layers, with a throwaway one on top."""
    if not image.layers:
        raise _wrong(image, "it has no layers: there is nothing to run in it", "")
    top = image.layers[0].rpartition("/")[0]
    below = len(top) + 1
    # overlayfs takes a directory once; of a layer that comes again the highest counts
    highest = dict.fromkeys(reversed(image.layers))
    layers = tuple(f"{place[below:]}/fs" for place in reversed(highest))
    return Root((Tree(top, "/", layers=layers, shape=f"{image.root[below:]}/fs"),), read_only=read_only)


def describe_image(image: Image, options: Options, merged: Options, receipt: Receipt) -> None:
    """Say in the receipt which image it is, and what came from its config and not from the `options`."""
    name = image.name or "without a name"
    receipt.add("image", True, f"{name}, ID {image.id}, digest {image.digest}: all of it is what these digests say")
    words = ("command", "user", "workdir", "stop_signal")
    taken = [_taken(word, getattr(options, word), getattr(merged, word)) for word in words]
    given = {text.partition("=")[0] for text in options.env}
    variables = [key for key in image_variables(image) if key not in given]
    taken.append(f"variables {' '.join(variables)}" if variables else "")
    volumes = [item.destination for item in image_volumes(image)]
    taken.append(f"volumes {' '.join(volumes)}" if volumes else "")
    own = image.config.config
    ports = list((own and own.ExposedPorts) or ())
    taken.append(f"ports {' '.join(ports)}, which are published nowhere" if ports else "")
    says = ", ".join(filter(None, taken)) or "nothing"
    receipt.add("image config", True, f"{says} taken from it; labels and annotations steer nothing")


def _taken(word: str, asked: object, merged: object) -> str:
    if asked == merged or not merged:
        return ""
    text = " ".join(merged) if isinstance(merged, tuple) else merged
    return f"{word.replace('_', ' ')} {text}"
