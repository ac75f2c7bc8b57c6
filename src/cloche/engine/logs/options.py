"""The log drivers and what may be said to them with --log-opt, as docker has it; pure.

docker's documentation, "Configure logging drivers" and the page of each driver.
"""

from __future__ import annotations

from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

    from cloche.engine.logs.writers import Facts

DEFAULT = "json-file"
FILES = ("max-size", "max-file", "compress")
COPY = "cache-"  # what the options of a copy begin with, and those of its file
DISABLED = f"{COPY}disabled"
MODE = ("mode", "max-buffer-size")  # nothing that is written waits, so neither changes anything
COMMON = (*MODE, DISABLED, *(f"{COPY}{name}" for name in FILES))  # of a driver that is read itself no copy is made
ATTRIBUTES = ("labels", "labels-regex", "env", "env-regex", "tag")
DRIVERS = {
    "json-file": (*COMMON, *FILES, *ATTRIBUTES),
    "local": (*COMMON, *FILES),
    "journald": (*COMMON, *ATTRIBUTES),
    "syslog": (*COMMON, *ATTRIBUTES, "syslog-facility"),
    "none": MODE,
}
HINT = f"there are {', '.join(DRIVERS)}"
FACILITIES = (
    "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp - - - - "
    "local0 local1 local2 local3 local4 local5 local6 local7"
).split()  # by their numbers in RFC 5424
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}  # docker's are those of 1000 here
TRUE = ("1", "t", "T", "true", "True", "TRUE")
FALSE = ("0", "f", "F", "false", "False", "FALSE")
LOCAL_SIZE, LOCAL_FILES = 20 << 20, 5
IN_FILES, SENT = ("json-file", "local"), ("journald", "syslog")


class Limits:
    """How a file is rotated: at `size` bytes (0: never), `files` of them in all, compressed or not."""

    __slots__ = ("compress", "files", "size")

    def __init__(self, size: int, files: int, *, compress: bool) -> None:
        self.size, self.files, self.compress = size, files, compress


def check_options(driver: str, options: dict[str, str]) -> None:
    """Raise SpecError for a driver that is not there or does not know one of these options."""
    if driver not in DRIVERS:
        raise SpecError(f"logger: no log driver named '{driver}' is registered", hint=HINT)
    known = DRIVERS[driver]
    for name in options:
        if name not in known:
            hint = f"it knows {', '.join(known)}"
            raise SpecError(f"unknown log opt '{name}' for {driver} log driver", hint=hint)
    if options.get("mode", "blocking") not in {"blocking", "non-blocking"}:
        raise SpecError(f"logger: logging mode not supported: {options['mode']}", hint="blocking or non-blocking")
    if "max-buffer-size" in options:
        parse_size(options["max-buffer-size"], "max-buffer-size")
    if driver in IN_FILES:
        limits_of(driver, options)
    limits_of("local", options, COPY)
    is_copied(driver, options)
    facility_of(options)
    _expand(options.get("tag", ""), "", {})
    for name in ("labels-regex", "env-regex"):
        if name in options:
            _compile(options[name], name)


def limits_of(driver: str, options: dict[str, str], prefix: str = "") -> Limits:
    """The limits that options and the driver's defaults come to; `prefix` is what their names begin with.

    Raises SpecError.
    """
    local = driver == "local"
    size_name, count_name, compress_name = (f"{prefix}{name}" for name in FILES)
    size, files, compress = (LOCAL_SIZE, LOCAL_FILES, True) if local else (0, 1, False)
    if size_name in options:
        size = parse_size(options[size_name], size_name)
    if count_name in options:
        files = _parse_count(options[count_name], count_name)
    if compress_name in options:
        compress = _parse_bool(options[compress_name], compress_name)
    if compress and compress_name in options and (files < 2 or not size):
        raise SpecError(
            f"{compress_name} cannot be true when {count_name} is less than 2 or {size_name} is not set",
            hint=f"--log-opt {size_name}=10m --log-opt {count_name}=3 --log-opt {compress_name}=true",
        )
    return Limits(size, files, compress=compress and files > 1 and size > 0)


def is_copied(driver: str, options: dict[str, str]) -> bool:
    """Whether what is sent away is kept here, too, so that it can be read. Raises SpecError.

    docker's documentation, "Use docker logs with remote logging drivers" (dual logging).
    """
    text = options.get(DISABLED, "")
    if text and text not in TRUE and text not in FALSE:
        raise SpecError(f"invalid value for option {DISABLED}: {text}", hint="true or false")
    return driver in SENT and text not in TRUE


def copy_options(options: dict[str, str]) -> dict[str, str]:
    """What the file of a copy is told: its limits, and what is to come with every record, but for the tag."""
    limits = {name: options[f"{COPY}{name}"] for name in FILES if f"{COPY}{name}" in options}
    return limits | {name: options[name] for name in ATTRIBUTES if name in options and name != "tag"}


def parse_size(text: str, what: str) -> int:
    """Bytes of "10m", in units of 1000 as docker has it for logs; 0 for "-1", which is no limit. Raises SpecError."""
    if text == "-1":
        return 0
    word = text.strip().lower().removesuffix("b")
    number, unit = (word[:-1], word[-1]) if word[-1:] in UNITS else (word, "")
    number = number.strip()
    digits = number.replace(".", "", 1)
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise SpecError(f"{what} {text!r} is not a size", hint="such as 10m or 1g")
    size = int(float(number) * UNITS[unit])
    if size < 1:
        raise SpecError(f"{what} must be a positive number", hint="such as 10m or 1g")
    return size


def facility_of(options: dict[str, str]) -> int:
    """The number of a facility of syslog; `daemon` unless told. Raises SpecError."""
    word = options.get("syslog-facility", "daemon")
    if word in FACILITIES and word != "-":
        return FACILITIES.index(word)
    if word.isascii() and word.isdecimal() and len(word) < 3 and int(word) < 24:
        return int(word)
    raise SpecError(f"invalid syslog facility: {word}", hint=f"one of {' '.join(FACILITIES).replace(' -', '')}")


def tag_of(options: dict[str, str], container: Facts, otherwise: str) -> str:
    """What --log-opt tag comes to for a container."""
    image_id = container.image_id.partition(":")[2] or container.image_id
    words = {
        "ID": container.id[:12],
        "FullID": container.id,
        "Name": container.name,
        "ImageID": image_id[:12],
        "ImageFullID": container.image_id,
        "ImageName": container.image,
        "DaemonName": "cloche",
    }
    return _expand(options.get("tag") or otherwise, container.id, words)


def attributes_of(options: dict[str, str], container: Facts) -> dict[str, str]:
    """The labels and variables of a container that a log is to have with every record, and the tag if one was given."""
    env = {name: value for name, _, value in (text.partition("=") for text in container.env)}
    found = _choose(container.labels, options.get("labels", ""), options.get("labels-regex", ""), "labels-regex")
    found |= _choose(env, options.get("env", ""), options.get("env-regex", ""), "env-regex")
    if options.get("tag"):
        found["tag"] = tag_of(options, container, "")
    return found


def _choose(values: dict[str, str], names: str, pattern: str, what: str) -> dict[str, str]:
    found = {name: values[name] for name in names.split(",") if name in values}
    if pattern:
        expression = _compile(pattern, what)
        found |= {name: value for name, value in values.items() if expression.search(name)}
    return found


def _compile(pattern: str, what: str) -> re.Pattern[str]:
    import re  # only where a pattern was given: it takes 6 ms

    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise SpecError(f"{what} {pattern!r} is no regular expression: {error}") from None


def _expand(text: str, what: str, words: dict[str, str]) -> str:
    """A tag with {{.Name}} and the like replaced; with no `words`, only checked."""
    parts = text.split("{{")
    out = parts[0]
    for part in parts[1:]:
        name, closed, rest = part.partition("}}")
        name = name.strip()
        if not closed or name not in {f".{word}" for word in TAG_WORDS}:
            hint = f"there are {', '.join(f'{{{{.{word}}}}}' for word in TAG_WORDS)}"
            raise SpecError(f"tag {text!r} names nothing that a log knows", hint=hint)
        out += words.get(name[1:], what) + rest
    return out


TAG_WORDS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")


def _parse_count(text: str, what: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 4:
        raise SpecError(f"{what} {text!r} is not a whole number", hint="such as 3")
    if int(text) < 1:
        raise SpecError(f"{what} cannot be less than 1")
    return int(text)


def _parse_bool(text: str, what: str) -> bool:
    if text not in TRUE and text not in FALSE:
        raise SpecError(f"{what} is true or false, not {text!r}")
    return text in TRUE
