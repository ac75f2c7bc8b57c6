"""Asking one registry as one user: challenges are answered, and refusals become errors that say what they mean."""

from __future__ import annotations

from urllib.parse import urlsplit

from cloche.errors import ForbiddenError, NotFoundError, RegistryError, SpecError
from cloche.images.registry.auth import Authority, Login
from cloche.images.registry.reading import read_start
from cloche.images.registry.transport import discard
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3.response import BaseHTTPResponse

    from cloche.images.registry.transport import Body, Transport

LARGEST_ERROR = 64 << 10
MOST_CHALLENGES = 3  # of one request: who we are, and once more where a token was too old


class StatusError(RegistryError):
    """A registry's answer that is no success; `status` is its number."""

    def __init__(self, message: str, status: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Session:
    """One registry, whose origin is `base` (https://HOST:PORT), asked as one user; for several threads."""

    def __init__(self, transport: Transport, base: str, login: Login | None = None) -> None:
        self.transport, self.base = transport, base
        self.host = urlsplit(base).netloc
        self._authority = Authority(transport, base, login or Login())

    def ask(
        self,
        method: str,
        place: str,
        what: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        wanted: tuple[int, ...] = (200,),
        body: Body = None,
    ) -> BaseHTTPResponse:
        """Ask for a path below the origin, or a whole address; the answer has one of the statuses `wanted`.

        `what` names it in errors, `scope` is what a token is asked for (repository:NAME:pull). Raises NotFoundError
        (404), ForbiddenError (401, 403), StatusError for other statuses, RegistryError.
        """
        url = place if "://" in place else self.base + place
        for _ in range(MOST_CHALLENGES):
            # an upload may be somewhere else, where nobody is told who we are
            ours = origin(url) == self.base
            own = {**(headers or {}), **(self._authority.header(scope) if ours else {})}
            answer = self.transport.request(method, url, headers=own, body=body, wanted=wanted)
            if answer.status in wanted:
                return answer
            if answer.status == 401:
                challenge = answer.headers.get("WWW-Authenticate", "")
                if self._authority.challenged(challenge, scope):
                    discard(answer)
                    if body is not None and not isinstance(body, bytes):
                        body.seek(0)
                    continue
            raise self._refusal(answer, what)
        raise RegistryError(f"{self.host} asks again and again who we are")

    def _refusal(self, answer: BaseHTTPResponse, what: str) -> ForbiddenError | NotFoundError | RegistryError:
        """What a registry's error means (distribution-spec, "Error Codes")."""
        said = _message(answer)
        status = answer.status
        if status == 404:
            return NotFoundError(f"{what} is not in the registry{said}", hint="check the name and the tag")
        if status in {401, 403}:
            return ForbiddenError(
                f"{self.host} does not let us have {what}{said}",
                hint=f"cloche login {self.host}, if it is there at all",
            )
        return StatusError(f"{self.host} answers {status} for {what}{said}", status)


def check_login(transport: Transport, base: str, login: Login) -> None:
    """See whether a registry lets this user in. Raises ForbiddenError, RegistryError."""
    authority = Authority(transport, base, login)
    host = urlsplit(base).netloc
    for _ in range(MOST_CHALLENGES):
        answer = transport.request("GET", f"{base}/v2/", headers=authority.header(""))
        discard(answer)
        if answer.status == 200:
            return
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status != 401 or not authority.challenged(challenge, ""):
            break
    if answer.status in {401, 403}:
        raise ForbiddenError(f"{host} does not let {login.user} in", hint="check the user's name and the password")
    raise RegistryError(f"{host} answers {answer.status}: it is no registry", hint="HOST[:PORT]")


def origin(url: str) -> str:
    """The scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _message(answer: BaseHTTPResponse) -> str:
    """What the registry says itself, for people; "" where it says nothing that can be understood."""
    try:
        raw = read_json(read_start(answer, LARGEST_ERROR))
    except SpecError:
        return ""
    errors = raw.get("errors") if isinstance(raw, dict) else None
    if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
        return ""
    text = str(errors[0].get("message") or errors[0].get("code") or "")
    return f": {text[:200]}" if text else ""
