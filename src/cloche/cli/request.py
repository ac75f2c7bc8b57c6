"""From a parsed `run`, `shell` or `explain` to Options: names are the table's, meanings `sandbox`'s."""

from __future__ import annotations

import posix as os

from cloche.errors import BAD_OPTION, NotFoundError, SpecError
from cloche.sandbox.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.cli.table import Verb

# what the engine is told, see cli.keeping
KEPT = frozenset(
    "attach restart detach_keys log_driver log_opt health_cmd health_interval health_timeout health_retries "
    "health_start_period health_start_interval health_on_failure no_healthcheck".split()
)
NOT_OPTIONS = {"help", "rm", "detach", "sig_proxy", "env_file", "label_file", "explain", "format", "quiet", "step"}
NOT_OPTIONS |= {"disable_content_trust", "volume_driver"}  # there is one value that they can have


def options_of(verb: Verb, parsed: Parsed, *, trace: bool = False, step: bool = False) -> Options:
    """The Options that a command line asks for. Raises SpecError and NotFoundError."""
    given: dict[str, object] = {}
    for name, value in parsed.values.items():
        if name in NOT_OPTIONS or name in KEPT or value is None:
            continue
        given[name] = tuple(value) if isinstance(value, list) else value
    words = list(parsed.positionals)
    if parsed.text("rootfs") is not None:
        given["image"] = ""
        if not parsed.text("rootfs"):
            raise SpecError("--rootfs is empty", hint="--rootfs DIR")
    else:
        given["image"] = words.pop(0) if words else "host"
    if verb.name == "shell" and not parsed.text("entrypoint"):
        words = words or shell_command(str(given.get("image", "")))
        given["entrypoint"] = ""  # a shell, and not what an image starts with
    given["command"] = tuple(words)
    given["label"] = (*lines_of("--label-file", parsed.all("label_file"), "label"), *parsed.all("label"))
    _check_values(parsed)
    given["env"] = (
        *lines_of("--env-file", parsed.all("env_file"), "variable"),
        *_shell_prompt(verb, parsed),
        *parsed.all("env"),
    )
    return Options(**given, trace=trace, step=step)  # type: ignore[arg-type]


def _check_values(parsed: Parsed) -> None:
    """Raise SpecError for what would else be left out without a word, or written down as it is."""
    for text in parsed.all("label"):
        label_of(text)
    if nameless := [text for text in parsed.all("env") if text.partition("=")[0] == ""]:
        hint = "KEY=VALUE, or KEY to pass on your own"
        raise SpecError(f"--env {nameless[0]!r} has no name", hint=hint, code=BAD_OPTION)
    if parsed.text("network") == "":
        raise SpecError("--network is empty", hint="none, host, ns:PATH or container:NAME", code=BAD_OPTION)
    if parsed.all("expose"):
        from cloche.engine.filtering import ports_of

        if wrong := [text for text in parsed.all("expose") if not ports_of(text)]:
            raise SpecError(f"--expose {wrong[0]!r} is no port", hint="PORT[-PORT][/PROTOCOL]", code=BAD_OPTION)


def label_of(text: str) -> tuple[str, str]:
    """KEY[=VALUE] of --label as (key, value). Raises SpecError with docker's words."""
    key, _, value = text.partition("=")
    name = key.lstrip()
    if not name:
        raise SpecError(f"invalid label '{text}': empty name", hint="KEY=VALUE, or KEY", code=BAD_OPTION)
    if any(c.isspace() for c in name):
        raise SpecError(f"label '{name}' contains whitespaces", hint="KEY=VALUE, or KEY", code=BAD_OPTION)
    return key, value


def shell_command(image: str) -> list[str]:
    """The shell to open: bash without the host's start-up files, so that the prompt is ours, or sh."""
    if image == "host" and os.access("/bin/bash", os.X_OK):
        return ["/bin/bash", "--norc", "--noprofile"]
    return ["/bin/sh"]


def _shell_prompt(verb: Verb, parsed: Parsed) -> tuple[str, ...]:
    if verb.name != "shell":
        return ()
    where = parsed.text("hostname") or parsed.text("name") or "cloche"
    return (f"PS1=[{where}: inside] \\w \\$ ",)


def lines_of(option: str, paths: list[str], what: str) -> list[str]:
    """The lines of files of variables or labels, without empty ones and comments."""
    found = []
    for path in paths:
        try:
            # utf-8-sig: editors on Windows put a mark at the start; only a line feed ends a line
            with open(path, encoding="utf-8-sig", newline="") as file:
                lines = file.read().split("\n")
        except OSError as error:
            raise NotFoundError(f"{option} {path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SpecError(f"{option} {path} is not UTF-8 text") from None
        for number, line in enumerate(lines, 1):
            entry = line.removesuffix("\r").lstrip()
            if not entry or entry.startswith("#"):
                continue
            key = entry.partition("=")[0]
            if not key or any(c.isspace() for c in key):
                raise SpecError(f"{option} {path}, line {number}: {key!r} is not a {what}'s name")
            found.append(entry)
    return found
