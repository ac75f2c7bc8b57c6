"""Text to values: sizes, durations, devices, volumes, limits, as docker's users write them. Pure."""

from __future__ import annotations

from cloche.errors import BAD_OPTION, ConflictError, NotFoundError, SpecError
from cloche.linux import places
from cloche.records import record

UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
LARGEST = 2**63 - 1
PROPAGATIONS = ("private", "slave", "shared", "rprivate", "rslave", "rshared")  # mount_namespaces(7)
_ALTERNATIVES = (
    ("ro", "rw"),
    ("bind", "rbind"),
    PROPAGATIONS,
    ("z", "Z"),
    ("exec", "noexec"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
)


def size(text: str | int, what: str) -> int:
    """Bytes from 512, "64m", "1.5g", "2GiB"; -1 is unlimited where the caller allows it.

    Raises SpecError for anything else.
    """
    if isinstance(text, bool) or not isinstance(text, int | str):
        hint = "a number of bytes, or one with k, m or g: 512m"
        raise SpecError(f"{what} {text!r} is not a size", hint=hint, code=BAD_OPTION)
    if isinstance(text, int):
        number, factor = float(text), 1
    else:
        word = text.strip().lower()
        digits = word.rstrip("bkmgtpi")
        unit = word[len(digits) :].removesuffix("b").removesuffix("i")
        try:
            if not digits or digits != digits.strip() or unit not in UNITS or "_" in digits:
                raise ValueError
            number, factor = float(digits), UNITS[unit]
        except ValueError:
            hint = "such as 512m, 2g or 1073741824"
            raise SpecError(f"{what} {text!r} is not a size", hint=hint, code=BAD_OPTION) from None
    value = number * factor
    if not abs(value) <= LARGEST:
        raise SpecError(f"{what} {text!r} is too large", hint="at most 8 EiB")
    return int(text) if isinstance(text, int) else int(value)


def positive_size(text: str | int, what: str, *, least: int = 1) -> int:
    """A size of at least `least` bytes."""
    value = size(text, what)
    if value < least:
        raise SpecError(f"{what} {text!r} is too small", hint=f"at least {least} bytes")
    return value


def duration(text: str | float, what: str) -> float:
    """Seconds from 10, 1.5, "30s", "5m", "1h30m", "500ms"; never negative."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        seconds = float(text)
    else:
        seconds = _duration(str(text), what)
    if not 0 <= seconds < 1e9:
        raise SpecError(f"{what} {text!r} is not a duration", hint="such as 30s, 5m or 1h30m", code=BAD_OPTION)
    return seconds


def _duration(text: str, what: str) -> float:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    wrong = SpecError(f"{what} {text!r} is not a duration", hint="such as 30s, 5m or 1h30m", code=BAD_OPTION)
    total, number, rest = 0.0, "", text.strip().lower()
    if rest.replace(".", "", 1).isdecimal():
        return float(rest)
    while rest:
        while rest and (rest[0].isdecimal() or rest[0] == "."):
            number, rest = number + rest[0], rest[1:]
        unit = rest[:2] if rest[:2] == "ms" else rest[:1]
        if not number or number.count(".") > 1 or number == "." or unit not in units:
            raise wrong
        total += float(number) * units[unit]
        number, rest = "", rest[len(unit) :]
    if not text.strip():
        raise wrong
    return total


def whole(text: str | int, what: str, least: int, most: int) -> int:
    """A whole number between `least` and `most`."""
    try:
        if isinstance(text, bool) or "_" in str(text):
            raise ValueError
        value = int(text)
    except (ValueError, TypeError):
        hint = f"from {least} to {most}"
        raise SpecError(f"{what} {text!r} is not a whole number", hint=hint, code=BAD_OPTION) from None
    if not least <= value <= most:
        raise SpecError(f"{what} {text!r} is out of range", hint=f"from {least} to {most}")
    return value


def processors(text: str | float, what: str = "--cpus") -> float:
    """A positive number of processors, such as 1.5."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = 0.0
    if not 0.01 <= value <= 8192:
        hint = "such as 0.5 or 2; at least 0.01"
        raise SpecError(f"{what} {text!r} is not a number of processors", hint=hint, code=BAD_OPTION)
    return value


def cpu_list(text: str, what: str) -> str:
    """A list such as 0-3,5, checked."""
    for part in text.split(","):
        first, dash, last = part.partition("-")
        good = first.isdecimal() and (not dash or last.isdecimal()) and len(part) < 16
        good = good and (not dash or int(first) <= int(last))
        if not good:
            raise SpecError(f"{what} {text!r} is not a list of numbers", hint="such as 0-3 or 0,2")
    return text


@record
class Volume:
    """One thing shown inside: of the host, from `source`, or a volume of the store, by `name`; neither: one without.

    `copy` and `below` are for volumes: whether it gets what the image has at its place, and a path in it.
    """

    source: str
    target: str
    read_only: bool = False
    recursive: bool = True
    propagation: str = ""
    name: str = ""
    copy: bool = True
    below: str = ""


def volume(text: str, base: str) -> Volume:
    """[SOURCE:]TARGET[:OPTIONS] of -v. Relative sources start at `base` ("": the directory is gone).

    A source that begins with /, . or ~ is a path, another is the name of a volume, as in docker. Raises ClocheError.
    """
    parts = text.split(":")
    if len(parts) == 1:
        parts = ["", *parts]
    elif not parts[0]:
        parts = []
    if len(parts) not in {2, 3} or not parts[1]:
        raise SpecError(f"volume {text!r} is not SOURCE:TARGET", hint="such as $PWD:/work or /data:/data:ro")
    source, target = parts[0], parts[1]
    _check_target(target, text)
    read_only, recursive, propagation, copy = False, True, "", True
    options = parts[2].split(",") if len(parts) == 3 else []
    check_alternatives(options, f"volume {text!r}")
    for option in options:
        if option in {"ro", "rw"}:
            read_only = option == "ro"
        elif option in {"bind", "rbind"}:
            recursive = option == "rbind"
        elif option in PROPAGATIONS:
            propagation = option
        elif option == "nocopy":
            copy = False
        elif option == "U":
            raise SpecError(
                f"volume {text!r}: files are not given to other owners",
                hint="leave U out: ids are mapped where the kernel can, and nothing is changed on disk",
            )
        elif option not in {"z", "Z", "cached", "delegated", "consistent", "idmap"}:
            raise SpecError(f"volume {text!r}: {option!r} is not an option", hint="ro, rw, z, Z, bind, rbind, rslave")
    if source.startswith(("/", ".", "~")):
        return Volume(absolute(source, base), target, read_only, recursive, propagation)
    if propagation or not recursive:
        what = propagation or "bind"
        raise ConflictError(f"volume {text!r}: {what} means nothing for a volume", hint=f"leave {what} out")
    return Volume("", target, read_only, name=source, copy=copy)


def absolute(path: str, base: str) -> str:
    """`path`, from `base` on where it is relative; `base` is "" where the caller's directory was deleted.

    Raises NotFoundError where there is nothing to start from.
    """
    if not base and not path.startswith("/"):
        raise NotFoundError(
            f"{path!r} starts at the current directory, which is no longer there", hint="an absolute path, or cd"
        )
    return places.abspath(places.join(base, path))


def check_alternatives(words: list[str], what: str) -> None:
    """Raise ConflictError where two of `words` exclude each other."""
    for group in _ALTERNATIVES:
        found = [word for word in group if word in words]
        if len(found) > 1:
            raise ConflictError(f"{what}: {found[0]} contradicts {found[1]}", hint="leave one of them out")


def mount_words(text: str) -> dict[str, str]:
    """--mount's type=bind,src=…,dst=…,ro as a dictionary with docker's long names.

    What may be given repeatedly is joined by NUL, which `repeated` takes apart. Raises ClocheError for keys that are
    unknown, contradict each other, or belong to another type.
    """
    names = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
    result: dict[str, str] = {}
    for word in fields(text):
        key, equals, value = word.partition("=")
        key = names.get(key, key)
        if key not in _MOUNT_KEYS:
            hint = "type=volume|bind|tmpfs,src=NAME|DIR,dst=DIR,ro"
            raise SpecError(f"--mount {text!r}: {key!r} is not a key", hint=hint)
        value = value if equals else "true"
        if key in _REPEATED and key in result:
            result[key] += "\0" + value
        elif result.setdefault(key, value) != value:
            raise ConflictError(f"--mount {text!r}: two values of {key}", hint="leave one of them out")
    kind = result.setdefault("type", "volume")
    if "target" not in result:
        raise SpecError(f"--mount {text!r} has no target", hint="add dst=DIR")
    _check_target(result["target"], text)
    foreign = [key for key in result if kind not in _MOUNT_KEYS[key]]
    if foreign and kind in _EVERY:
        raise ConflictError(f"--mount {text!r}: {foreign[0]} means nothing with type={kind}", hint="leave it out")
    return result


def repeated(words: dict[str, str], key: str) -> list[str]:
    """The values of a key of `mount_words` that may be given repeatedly."""
    return words[key].split("\0") if key in words else []


def fields(text: str) -> list[str]:
    """The fields of a line of CSV (RFC 4180), as docker reads --mount: one with a comma in it stands in quotes."""
    if '"' not in text:
        return text.split(",")
    found, rest = [], text
    while True:
        if not rest.startswith('"'):
            field, comma, rest = rest.partition(",")
            if '"' in field:
                raise SpecError(f"{text!r}: a quote in the middle of {field!r}", hint='quote it whole: "dst=/a,b"')
        else:
            field, comma, rest = _quoted(rest[1:], text)
        found.append(field)
        if not comma:
            return found


def _quoted(rest: str, text: str) -> tuple[str, str, str]:
    """(field, comma or "", what follows) of what begins after a quote; two quotes in it are one."""
    field = ""
    while True:
        part, quote, rest = rest.partition('"')
        if not quote:
            raise SpecError(f"{text!r} has a quote that is not closed")
        field += part
        if not rest.startswith('"'):
            break
        field, rest = field + '"', rest[1:]
    if rest and not rest.startswith(","):
        raise SpecError(f"{text!r}: there has to be a comma after {field!r}")
    return field, rest[:1], rest[1:]


def quoted(field: str) -> str:
    """A field as `fields` reads it."""
    return '"' + field.replace('"', '""') + '"' if "," in field or '"' in field else field


_EVERY = ("bind", "tmpfs", "volume")
_REPEATED = {"volume-label", "volume-opt"}
_MOUNT_KEYS = {  # each key of --mount, and the types it belongs to
    "type": _EVERY,
    "source": ("bind", "volume"),
    "target": _EVERY,
    "readonly": _EVERY,
    "consistency": _EVERY,
    "bind-propagation": ("bind",),
    "bind-recursive": ("bind",),
    "bind-nonrecursive": ("bind",),
    "tmpfs-size": ("tmpfs",),
    "tmpfs-mode": ("tmpfs",),
    "volume-driver": ("volume",),
    "volume-label": ("volume",),
    "volume-nocopy": ("volume",),
    "volume-opt": ("volume",),
    "volume-subpath": ("volume",),
}


def truth(word: str, what: str) -> bool:
    """true, 1, false or 0."""
    if word in {"true", "1"}:
        return True
    if word in {"false", "0"}:
        return False
    raise SpecError(f"{what} {word!r} is neither true nor false")


def octal_mode(text: str, what: str) -> str:
    """The permissions of a directory: octal digits, at most 7777."""
    digits = text.lstrip("0") or "0"
    if not text or len(digits) > 4 or not set(digits) <= set("01234567"):
        raise SpecError(f"{what} {text!r} is not a mode", hint="octal, such as 1777")
    return text


def _check_target(target: str, text: str) -> None:
    if not target.startswith("/") or ".." in target.split("/"):
        raise SpecError(f"{text!r}: the target {target!r} must be an absolute path inside", hint="such as /work")
    if not places.normpath(target).strip("/"):  # "//" stays as it is: POSIX gives it a meaning of its own
        raise SpecError(f"{text!r}: the root itself cannot be mounted over", hint="--rootfs DIR changes the root")


def rlimit(text: str) -> dict[str, object]:
    """NAME=SOFT[:HARD] of --ulimit as an OCI rlimit; -1 and "unlimited" are no limit."""
    from cloche.linux.scheduling import RLIMITS

    name, equals, numbers = text.partition("=")
    kind = f"RLIMIT_{name.upper()}"
    if not equals or kind not in RLIMITS:
        known = ", ".join(sorted(n[7:].lower() for n in RLIMITS))
        raise SpecError(f"--ulimit {text!r} is not NAME=SOFT[:HARD]", hint=f"names: {known}")
    soft, _, hard = numbers.partition(":")
    limits = [_limit(word, text) for word in (soft, hard or soft)]
    if limits[0] > limits[1]:
        raise SpecError(f"--ulimit {text!r}: the soft limit is above the hard one", hint="SOFT:HARD, SOFT ≤ HARD")
    return {"type": kind, "soft": limits[0], "hard": limits[1]}


def _limit(word: str, text: str) -> int:
    if word in {"-1", "unlimited"}:
        return 2**64 - 1
    return whole(word, f"--ulimit {text}:", 0, 2**64 - 1)


def key_value(text: str, what: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SpecError(f"{what} {text!r} is not KEY=VALUE")
    return key, value
