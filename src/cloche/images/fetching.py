"""From what somebody typed to an image in the store: which registry is meant, who asks, and with or without TLS."""

from __future__ import annotations

from cloche.errors import ClocheError, ForbiddenError, NotFoundError, RegistryError, SpecError
from cloche.images.pulling import Progress, Pulled, pull
from cloche.images.references import DEFAULT_DOMAIN, Reference, parse_reference
from cloche.images.registry.client import Repository
from cloche.images.registry.logins import login_for
from cloche.images.registry.places import HUB, SEARCH_HUB, Place, read_registries
from cloche.images.registry.referrers import is_fallback_tag
from cloche.images.registry.searching import find
from cloche.images.registry.session import Session, check_login
from cloche.images.registry.transport import NoTLSError, Transport, Trust
from cloche.images.removing import filling
from cloche.images.unpack.worker import Worker
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from cloche.images.platforms import Wanted
    from cloche.images.registry.auth import Login
    from cloche.images.registry.searching import Found
    from cloche.images.store.layout import Layout
    from cloche.images.unpack.worker import Unpacking

    T = TypeVar("T")


@record
class Access:
    """How registries are spoken to: `tls_verify` None is as registries.conf says; `login` in place of those on file.

    The login is for the registry that a name itself means: what may stand in for that one gets none but its own.
    """

    tls_verify: bool | None = None
    login: Login | None = None
    cert_dir: str = ""

    @property
    def without_login(self) -> Access:
        """The same for another registry."""
        return Access(self.tls_verify, None, self.cert_dir)


@record
class Fetched:
    """An image that is there now, under this name."""

    reference: Reference
    pulled: Pulled


def fetch(
    layout: Layout, text: str, wanted: Wanted, access: Access, unpacking: Unpacking, progress: Progress
) -> Fetched:
    """Have the image of this name in the store, as its registry has it now. Raises ClocheError, OSError."""
    layout.make()
    with filling(layout, lambda: Worker(unpacking.users)):
        return _fetch(layout, text, wanted, access, unpacking, progress)


def _fetch(
    layout: Layout, text: str, wanted: Wanted, access: Access, unpacking: Unpacking, progress: Progress
) -> Fetched:
    def ask(reference: Reference, repository: Repository) -> Fetched:
        users, powers = unpacking.users, unpacking.powers
        return Fetched(reference, pull(layout, reference, repository, wanted, lambda: Worker(users), powers, progress))

    return at_registry(text, access, ask)


class Told:
    """What is told while all tags of a repository are fetched; this one tells nobody."""

    def begins(self, reference: Reference) -> Progress:
        """An image is going to be fetched: who is to be told about it."""
        del reference
        return Progress()

    def ends(self, reference: Reference, pulled: Pulled) -> None:
        """It is there."""

    def fails(self, reference: Reference, error: ClocheError) -> None:
        """It could not be fetched; the next one is tried."""


def fetch_all(layout: Layout, text: str, wanted: Wanted, access: Access, unpacking: Unpacking, told: Told) -> Reference:
    """Have the images of all tags of a repository in the store, but for lists of referrers; returns its name.

    Raises ClocheError where there is no list of tags, OSError; what is wrong with one image is told.
    """
    layout.make()

    def make_worker() -> Worker:
        return Worker(unpacking.users)

    def ask(reference: Reference, repository: Repository) -> Reference:
        tags = [tag for tag in repository.tags() if not is_fallback_tag(tag)]
        if not tags:
            raise NotFoundError(f"{repository.name} has no tags", hint="check the name")
        for tag in tags:
            named = Reference(reference.domain, reference.path, tag)
            try:
                named = parse_reference(f"{reference.name}:{tag}")
                progress = told.begins(named)
                told.ends(named, pull(layout, named, repository, wanted, make_worker, unpacking.powers, progress))
            except ClocheError as error:
                told.fails(named, error)
        return Reference(reference.domain, reference.path)

    with filling(layout, make_worker):
        return at_registry(text, access, ask)


def at_registry(text: str, access: Access, work: Callable[[Reference, Repository], T]) -> T:
    """Do something with a repository: at the first of the places that may be meant where it can be done."""
    registries = read_registries()
    failed: list[ClocheError] = []
    meant = registries.references(parse_reference(text))
    for reference in meant:
        *mirrors, itself = registries.places(reference)
        for place in (*mirrors, itself):
            own = place is itself and len(meant) == 1
            try:
                return _at(place, reference, access if own else access.without_login, work)
            except (NotFoundError, ForbiddenError, RegistryError) as error:
                failed.append(error)
    if len(failed) > 1:
        # the last place is the registry itself, the others stand in for it
        more = "; ".join(str(error) for error in failed[:-1])
        raise type(failed[-1])(f"{failed[-1]} (before that, {more})", hint=failed[-1].hint)
    raise failed[-1]


def push_to(text: str, access: Access, work: Callable[[Reference, Repository], T]) -> T:
    """Do something with the repository of exactly this name: what is sent goes to no mirror and no other registry."""
    reference = parse_reference(text)
    if reference.digest:
        raise SpecError(f"{text!r} has a digest, which an image has by itself", hint="NAME[:TAG]")
    return _at(read_registries().places(reference)[-1], reference, access, work)


def login_name(domain: str) -> str:
    """What a login for this registry is kept as: the host that is asked, which may be another by registries.conf."""
    return _login_name(read_registries().itself(parse_reference(f"{domain}/any", tagged=False)))


def log_in(domain: str, access: Access, login: Login) -> None:
    """See whether a registry lets somebody in. Raises ForbiddenError, RegistryError."""
    place = read_registries().places(parse_reference(f"{domain}/any", tagged=False))[-1]

    def ask(transport: Transport, base: str) -> None:
        check_login(transport, base, login)

    _with_or_without_tls(place, access, ask)


def search(domain: str, term: str, limit: int, access: Access) -> list[Found]:
    """What a registry finds for a word. Raises UnsupportedError where it offers no search, ClocheError."""
    place = read_registries().places(parse_reference(f"{domain}/any", tagged=False))[-1]
    login = access.login or login_for(_login_name(place), "")
    if place.host == HUB:
        place = Place(SEARCH_HUB, place.path, place.insecure)

    def ask(transport: Transport, base: str) -> list[Found]:
        return find(Session(transport, base, login), term, limit)

    return _with_or_without_tls(place, access, ask)


def search_domains() -> tuple[str, ...]:
    """The registries where a name that has none may be: those of registries.conf, or docker.io."""
    return read_registries().search or (DEFAULT_DOMAIN,)


def _at(place: Place, reference: Reference, access: Access, work: Callable[[Reference, Repository], T]) -> T:
    # of the place that is asked: what stands in for a registry does not get its password
    login = access.login or login_for(_login_name(place), place.path)

    def ask(transport: Transport, base: str) -> T:
        return work(reference, Repository(transport, base, place.path, login))

    return _with_or_without_tls(place, access, ask)


def _login_name(place: Place) -> str:
    return DEFAULT_DOMAIN if place.host == HUB else place.host


def _with_or_without_tls(place: Place, access: Access, work: Callable[[Transport, str], T]) -> T:
    verify = access.tls_verify if access.tls_verify is not None else not (place.insecure or place.loopback)
    # nobody has said it where it is for loopback alone: then it is not for where a registry there sends us
    only_here = access.tls_verify is None and not place.insecure
    transport = Transport(Trust(verify, access.cert_dir, only_here))
    try:
        return work(transport, f"https://{place.host}")
    except NoTLSError:
        if verify:
            raise
    return work(transport, f"http://{place.host}")
