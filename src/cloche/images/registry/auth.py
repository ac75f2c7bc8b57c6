"""Who asks a registry: its challenges (RFC 9110, 11.6.1), and tokens (distribution, "Token Authentication"):

GET /v2/…   ── 401, WWW-Authenticate: Bearer realm="https://auth…/token",service="…",scope="…"
GET https://auth…/token?service=…  ── {"token": "…", "expires_in": 300}     with the password, to that place alone
GET /v2/…  Authorization: Bearer …
"""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from urllib.parse import urlencode, urlsplit

from cloche.errors import RegistryError, SpecError
from cloche.images.registry.reading import read_whole
from cloche.images.registry.transport import discard
from cloche.records import record
from cloche.spec.reader import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.registry.transport import Transport

LARGEST = 1 << 20  # bytes of a token's answer
LONGEST_HEADER, LONGEST = 16 << 10, 86400  # bytes, and seconds that a token is taken for good
LEAST, EARLY = 60.0, 5.0  # seconds a token is good for when nobody says, and how long before its end it is left


@record
class Login:
    """A user and a password, or a refresh token, for one registry; both empty for nobody."""

    user: str = ""
    password: str = ""
    refresh: str = ""  # an identity token (OAuth2)

    @property
    def basic(self) -> str:
        """The header for basic authentication (RFC 7617)."""
        return "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()


class Authority:
    """What is known about one registry's challenges, and the tokens we have; for several threads."""

    def __init__(self, transport: Transport, origin: str, login: Login) -> None:
        self.transport, self.origin, self.login = transport, origin, login
        self._challenge: dict[str, str] | None = None
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> dict[str, str]:
        """The header to send, as far as it is known what is wanted; `scope` is repository:NAME:pull and the like."""
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return {}
            if challenge["scheme"] == "basic":
                return {"Authorization": self.login.basic}
            token, end = self._tokens.get(scope, ("", 0.0))
            if not token or time.monotonic() > end:
                token, end = self._tokens[scope] = self._fetch(challenge, scope)
            return {"Authorization": f"Bearer {token}"}

    def challenged(self, header: str, scope: str) -> bool:
        """Learn from a 401; whether there is something else to try now. Raises RegistryError."""
        known = parse_challenges(header[:LONGEST_HEADER])
        chosen = next((item for item in known if item["scheme"] in {"bearer", "basic"}), None)
        if chosen is None:
            return False
        if chosen["scheme"] == "basic" and not self.login.user:
            return False
        with self._lock:
            had = self._tokens.pop(scope, None)
            first = self._challenge != chosen
            self._challenge = chosen
            # a token that was too old is fetched anew, once
            return first or (had is not None and time.monotonic() > had[1])

    def _fetch(self, challenge: dict[str, str], scope: str) -> tuple[str, float]:
        realm = challenge.get("realm", "")
        try:
            parts = urlsplit(realm)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise RegistryError(f"{self.origin} sends us for a token to {realm[:80]!r}, which is no place on the web")
        if urlsplit(self.origin).scheme == "https" and parts.scheme == "http":
            raise RegistryError(f"{self.origin} sends us for a token to {realm[:80]}, where nothing is encrypted")
        asked = {"service": challenge.get("service", ""), "scope": scope}
        if self.login.refresh:
            body = urlencode(
                {"grant_type": "refresh_token", "client_id": "cloche", "refresh_token": self.login.refresh, **asked}
            )
            answer = self.transport.request(
                "POST",
                realm,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=body.encode(),
            )
        else:
            headers = {"Authorization": self.login.basic} if self.login.user else {}
            words = urlencode([(key, value) for key, value in asked.items() if value])
            answer = self.transport.request("GET", f"{realm}{'&' if parts.query else '?'}{words}", headers=headers)
        if answer.status != 200:
            discard(answer)
            who = f"as {self.login.user}" if self.login.user else "without a login"
            raise RegistryError(
                f"{parts.netloc} gives no token {who} ({answer.status})",
                hint=f"cloche login {urlsplit(self.origin).netloc}",
            )
        content = read_whole(answer, LARGEST, f"the token of {parts.netloc}")
        try:
            raw = read_json(content)
        except SpecError as error:
            raise RegistryError(f"{parts.netloc} sends a token that is none: {error}") from None
        if not isinstance(raw, dict):
            raise RegistryError(f"{parts.netloc} sends a token that is none")
        token, seconds = raw.get("token") or raw.get("access_token"), raw.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryError(f"{parts.netloc} sends a token that is none")
        good = float(min(seconds, LONGEST)) if isinstance(seconds, int) and seconds > LEAST else LEAST
        return token, time.monotonic() + good - EARLY


def parse_challenges(header: str) -> list[dict[str, str]]:
    """What a WWW-Authenticate header offers: {"scheme": "bearer", "realm": …}; what cannot be understood ends it."""
    found: list[dict[str, str]] = []
    rest = header.strip()
    while rest:
        word, rest = _token(rest)
        if not word:
            break
        if rest.startswith("=") and found:
            value, rest = _value(rest[1:].lstrip())
            found[-1][word.lower()] = value
        else:
            found.append({"scheme": word.lower()})
        rest = rest.lstrip(" \t,")
    return found


def _token(text: str) -> tuple[str, str]:
    end = 0
    while end < len(text) and (text[end].isalnum() or text[end] in "!#$%&'*+-.^_`|~/:"):
        end += 1
    return text[:end], text[end:].lstrip(" \t") if end < len(text) else ""


def _value(text: str) -> tuple[str, str]:
    if not text.startswith('"'):
        return _token(text)
    value, at = "", 1
    while at < len(text) and text[at] != '"':
        at += text[at] == "\\"
        value += text[at : at + 1]
        at += 1
    return value, text[at + 1 :]
