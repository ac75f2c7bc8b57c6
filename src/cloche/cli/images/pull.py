"""`cloche pull`: fetch an image, and say how it goes as docker does."""

from __future__ import annotations

import sys

from cloche.cli.images.leftout import say_what_is_left_out
from cloche.cli.images.progress import of_pull
from cloche.cli.output import plain
from cloche.errors import ClocheError, ConflictError
from cloche.images.platforms import parse_platform, shown, suits
from cloche.images.pulling import Progress
from cloche.images.references import parse_reference
from cloche.images.sources.places import REGISTRY, split_transport
from cloche.images.store import names
from cloche.images.store.layout import Layout, store_dir
from cloche.sandbox.image import unpacking
from cloche.spec.image import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed
    from cloche.images.fetching import Fetched
    from cloche.images.platforms import Wanted
    from cloche.images.pulling import Pulled
    from cloche.images.references import Reference
    from cloche.sandbox.options import Options


def pull(parsed: Parsed) -> int:
    """Carry out `pull`."""
    from cloche.cli.images.access import access_of
    from cloche.images.fetching import fetch

    text = parsed.positionals[0]
    quiet = parsed.flag("quiet")
    transport, rest = split_transport(text)
    if transport not in {"", REGISTRY}:
        return _take(text, parsed.text("platform") or "")
    text = rest
    if parsed.flag("all_tags"):
        return _pull_all(parsed, text)
    wanted = parse_platform(parsed.text("platform") or "")
    given = parse_reference(text)
    if not quiet and given.tag == "latest" and not parse_reference(text, tagged=False).tag:
        print("Using default tag: latest")
    progress = Progress() if quiet else of_pull(given.selector, given.familiar_name)
    done = fetch(Layout(store_dir()), text, wanted, access_of(parsed), unpacking(), progress)
    name = str(done.reference)
    if not quiet:
        _say_what_is_there(done)
    say_what_is_left_out([done.pulled.id])
    if not wanted.given:
        _warn(done, wanted)
    print(name)
    return 0


def _take(place: str, platform: str) -> int:
    """Take an image from another place than a registry."""
    from cloche.sandbox.images import pull as take

    image = take(place, platform=platform)
    say_what_is_left_out([image.id])
    entry = next(entry for entry in names.entries(Layout(store_dir())) if entry.manifest.digest == image.digest)
    print(entry.name or image.id)
    return 0


def _pull_all(parsed: Parsed, text: str) -> int:
    """Every tag of a repository; goes on after one that fails."""
    from cloche.cli.images.access import access_of
    from cloche.cli.output import print_error
    from cloche.images.fetching import Told, fetch_all

    check_no_tag(text)
    quiet = parsed.flag("quiet")
    states: list[bool] = []  # of those that are there, whether anything was new
    failed: list[ClocheError] = []
    ids: list[str] = []

    class Printed(Told):
        def begins(self, reference: Reference) -> Progress:
            return Progress() if quiet else of_pull(reference.tag, reference.familiar_name)

        def ends(self, reference: Reference, pulled: Pulled) -> None:
            states.append(pulled.fresh)
            ids.append(pulled.id)
            print(str(reference) if quiet else f"Digest: {pulled.digest}", flush=True)

        def fails(self, reference: Reference, error: ClocheError) -> None:
            del reference
            failed.append(error)
            print_error(error)

    wanted = parse_platform(parsed.text("platform") or "")
    reference = fetch_all(Layout(store_dir()), text, wanted, access_of(parsed), unpacking(), Printed())
    if states and not quiet:
        state = "Downloaded newer image for" if any(states) else "Image is up to date for"
        print(f"Status: {state} {reference.familiar}\n{reference}")
    say_what_is_left_out(ids)
    return 1 if failed else 0


def check_no_tag(text: str) -> None:
    """Whether a name is a repository's, as --all-tags has it. Raises ConflictError."""
    given = parse_reference(text, tagged=False)
    if given.tag or given.digest:
        raise ConflictError(f"{text} is one image, and --all-tags means all of a repository", hint=given.familiar_name)


def fetch_for_run(options: Options, *, quiet: bool) -> int:
    """Fetch the image that `run` needs, and say so; returns 0, or 125 after saying what failed."""
    from cloche.cli.output import print_error
    from cloche.errors import StageError

    try:
        _fetch_for_run(options, quiet=quiet)
    except ClocheError as error:
        print_error(error)
    except OSError as error:
        print_error(StageError(f"{error.filename}: {error.strerror}"))
    except ModuleNotFoundError:
        raise
    except Exception as error:  # a defect of ours: there is nobody above who could say so
        print_error(StageError(f"a defect in cloche: {type(error).__name__}: {error}"))
    else:
        return 0
    return 125


def _fetch_for_run(options: Options, *, quiet: bool) -> None:
    from cloche.cli.output import message
    from cloche.errors import ClocheError
    from cloche.sandbox.image import fetch_image

    reference = parse_reference(options.image)
    newer = options.pull == "newer"
    if not quiet and options.pull == "missing":
        print(f"Unable to find image '{reference.familiar}' locally", flush=True)
    progress = Progress() if quiet else of_pull(reference.selector, reference.familiar_name, only_new=newer)
    done = fetch_image(options, progress)
    if quiet:
        return
    if isinstance(done, ClocheError):
        print(f"cloche: the {reference.familiar} that is here is used: {message(str(done))}", flush=True)
    elif done.pulled.fresh or not newer:
        _say_what_is_there(done)
        say_what_is_left_out([done.pulled.id])


def _warn(done: Fetched, wanted: Wanted) -> None:
    config = done.pulled.config
    own = Platform(os=config.os, architecture=config.architecture, variant=config.variant)
    if not suits(own, wanted):
        sys.stderr.write(
            plain(f"cloche: {done.reference.familiar} is for {shown(own)}, this machine is {wanted}") + "\n"
        )


def _say_what_is_there(done: Fetched) -> None:
    print(f"Digest: {done.pulled.digest}")
    state = "Downloaded newer image for" if done.pulled.fresh else "Image is up to date for"
    print(f"Status: {state} {done.reference.familiar}", flush=True)
