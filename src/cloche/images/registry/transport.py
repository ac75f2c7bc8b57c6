"""HTTP to registries: one pool of connections, redirects that tell nobody a password, and patience with limits.

- A redirect to another origin is followed without the Authorization header; one from https to http is refused.
- 429 and 5xx are tried again after what Retry-After says, or 0.5, 1, 2 … seconds, within PATIENCE altogether.
- Proxies come from the environment (https_proxy, http_proxy, no_proxy), certificates from certs.d (see `Trust`).
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from base64 import b64encode
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    InsecureRequestWarning,
    LocationParseError,
    MaxRetryError,
    ProxyError,
    SSLError,
)
from urllib3.util import Timeout

from cloche.errors import RegistryError
from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from urllib3.response import BaseHTTPResponse

    class Readable(Protocol):
        """A file, as far as it is read when it is sent."""

        def read(self, size: int = -1, /) -> bytes:
            """The next bytes."""

        def seek(self, offset: int, whence: int = 0, /) -> int:
            """Go on from there."""

    Body = bytes | Readable | None

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 10
AGAIN = (429, 500, 502, 503, 504)
TRIES = 6
PATIENCE = 60.0  # seconds of waiting between tries of one request
CONNECT, READ = 15.0, 60.0  # seconds until somebody answers, and between two parts of an answer
CERTIFICATES = ("/etc/containers/certs.d", "/etc/docker/certs.d")  # containers-certs.d(5)
# alerts of TLS that speak of our certificate
REFUSED = ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_REQUIRED", "ALERT_UNKNOWN_CA", "ALERT_CERTIFICATE_UNKNOWN")
AGENT = "cloche"


@record
class Trust:
    """How a registry, and where it sends us, is spoken to.

    `verify` is whether certificates are checked; with `only_here` those of other machines always are. Files in
    `folder`, or else in DIR/HOST[:PORT]/ of certs.d: *.crt are authorities to trust, NAME.cert with NAME.key is who we
    are.
    """

    verify: bool = True
    folder: str = ""
    only_here: bool = False

    def verifies(self, host: str) -> bool:
        """Whether the certificate of a host is checked."""
        return self.verify or (self.only_here and not is_loopback(host))

    def folders(self, netloc: str) -> list[str]:
        """Where the certificates for an origin are."""
        return [self.folder] if self.folder else [f"{place}/{netloc}" for place in CERTIFICATES]


class UnreachableError(RegistryError):
    """Nobody is there, or the connection broke off before an answer."""


class NoTLSError(RegistryError):
    """Whoever listens there does not speak TLS."""


class Transport:
    """All connections of one command; for several threads."""

    def __init__(self, trust: Trust | None = None) -> None:
        self.trust = trust or Trust()
        if not self.trust.verify:  # somebody has said so: it need not be said again with every connection
            urllib3.disable_warnings(InsecureRequestWarning)
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        wanted: tuple[int, ...] = (200,),
    ) -> BaseHTTPResponse:
        """Ask, and return an answer whose status is one of `wanted` or below 500; its body is not read yet.

        Raises RegistryError.
        """
        deadline = time.monotonic() + PATIENCE
        for attempt in range(TRIES):
            if attempt and body is not None and not isinstance(body, bytes):
                body.seek(0)
            answer = self._follow(method, url, dict(headers or {}), body)
            if answer.status not in AGAIN or answer.status in wanted:
                return answer
            pause = _pause(answer.headers.get("Retry-After"), attempt)
            discard(answer)
            if attempt == TRIES - 1 or time.monotonic() + pause > deadline:
                break
            time.sleep(pause)
        what = "asks to come back later (too many requests)" if answer.status == 429 else f"fails ({answer.status})"
        raise RegistryError(f"{_origin(url)} {what}", hint="try again later")

    def _follow(self, method: str, url: str, headers: dict[str, str], body: Body) -> BaseHTTPResponse:
        seen = {url}
        for _ in range(MOST_REDIRECTS):
            answer = self._once(method, url, headers, body)
            place = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not place or method not in {"GET", "HEAD"}:
                return answer
            discard(answer)
            try:
                target = urljoin(url, place)
                _origin(target)
            except ValueError:
                raise RegistryError(f"{_origin(url)} redirects to {bare(place)!r}, which is no address") from None
            if urlsplit(target).scheme not in {"http", "https"}:
                raise RegistryError(f"{_origin(url)} redirects to {bare(target)!r}, which is no place on the web")
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme == "http":
                raise RegistryError(f"{_origin(url)} redirects to {_origin(target)}, where nothing is encrypted")
            if _origin(target) != _origin(url):
                headers.pop("Authorization", None)
            if target in seen:
                raise RegistryError(f"{_origin(url)} redirects in a circle")
            seen.add(target)
            url = target
        raise RegistryError(f"{_origin(url)} redirects more than {MOST_REDIRECTS} times")

    def _once(self, method: str, url: str, headers: dict[str, str], body: Body) -> BaseHTTPResponse:
        try:
            return self._pool(url).request(
                method,
                url,
                headers={"User-Agent": AGENT, **headers},
                body=body,  # type: ignore[arg-type]  # as much of a file as is needed
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(connect=CONNECT, read=READ),
            )
        except HTTPError as error:
            raise _translated(error, url) from None

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The pool for an origin: certificates and proxies are by host."""
        parts = urlsplit(url)
        key = parts.scheme, parts.netloc
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = self._make_pool(parts.scheme, parts.netloc, parts.hostname or "")
        return pool

    def _make_pool(self, scheme: str, netloc: str, host: str) -> urllib3.PoolManager:
        context = self._context(netloc, host) if scheme == "https" else None
        through = proxy_for(scheme, netloc, host)
        if through:
            return urllib3.ProxyManager(through, maxsize=8, ssl_context=context, proxy_headers=_who_asks(through))
        return urllib3.PoolManager(maxsize=8, ssl_context=context)

    def _context(self, netloc: str, host: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not self.trust.verifies(host):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for folder in self.trust.folders(netloc):
            if not os.path.isdir(folder):
                continue
            for name in sorted(os.listdir(folder)):
                path = f"{folder}/{name}"
                try:
                    if name.endswith(".crt"):
                        context.load_verify_locations(path)
                    elif name.endswith(".cert"):
                        context.load_cert_chain(path, path.removesuffix("cert") + "key")
                except (OSError, ssl.SSLError) as error:
                    raise RegistryError(f"the certificate {path} cannot be used: {error}") from None
        return context


def discard(answer: BaseHTTPResponse) -> None:
    """Be done with an answer whose body nobody wants: it may have no end."""
    if answer.headers.get("Content-Length") == "0":
        answer.drain_conn()
    else:
        answer.close()


def _translated(error: Exception, url: str) -> RegistryError:
    reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    where = _origin(url)
    if isinstance(reason, LocationParseError):  # whose text is all of the address
        return RegistryError(f"{where} cannot be reached: its address, or that of the proxy, is none")
    if isinstance(reason, SSLError):
        inner = reason.args[0] if reason.args else reason
        if isinstance(inner, ssl.SSLCertVerificationError):
            return RegistryError(
                f"{where} has a certificate that is not trusted: {inner.verify_message}",
                hint=f"put its authority into {CERTIFICATES[0]}/HOST:PORT/ca.crt, or give --tls-verify=false",
            )
        if "WRONG_VERSION_NUMBER" in str(inner) or "RECORD_LAYER_FAILURE" in str(inner):
            return NoTLSError(
                f"{where} does not speak TLS", hint="if it is meant to be plain HTTP, give --tls-verify=false"
            )
        if any(word in str(inner) for word in REFUSED):
            return RegistryError(
                f"{where} wants to know by a certificate who we are, and has seen none that it takes",
                hint=f"put NAME.cert and NAME.key into {CERTIFICATES[0]}/HOST:PORT, or give --cert-dir",
            )
        return RegistryError(f"{where}: {inner}")
    if isinstance(reason, ProxyError):
        return UnreachableError(
            f"{where} cannot be reached through the proxy: {_bare(reason.original_error)}",
            hint="https_proxy and http_proxy name it; no_proxy lists what is reached without",
        )
    return UnreachableError(
        f"{where} cannot be reached: {_bare(reason)}",
        hint="check the name and the network; https_proxy names a proxy, registries.conf mirrors",
    )


def _bare(error: Exception) -> str:
    """What urllib3 says, without the connection in front, whose form is that of its version."""
    text = str(error)
    for end in (">: ", "): "):
        front, found, rest = text.partition(end)
        if found and "Connection" in front:
            return rest
    return text


def _pause(retry_after: str | None, attempt: int) -> float:
    """Seconds until the next try: what the answer says (RFC 9110, 10.2.3), or twice as long each time."""
    if retry_after and retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    if retry_after:
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
        except (ValueError, OverflowError):
            pass
    return 0.5 * float(1 << attempt)


def proxy_for(scheme: str, netloc: str, host: str) -> str:
    """The proxy for an origin, "" for none: https_proxy, http_proxy, all_proxy, but for what no_proxy lists.

    As with docker, this machine itself is never asked through one.
    """
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    known = getproxies_environment()
    through = known.get(scheme) or known.get("all") or ""
    if not through or is_loopback(host) or proxy_bypass_environment(netloc) or _in_networks(host, known.get("no", "")):
        return ""
    return through if "://" in through else "http://" + through


def _who_asks(through: str) -> dict[str, str]:
    """The header for a proxy whose address has a user and a password in it."""
    parts = urlsplit(through)
    if not parts.username:
        return {}
    basic = b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {basic}"}


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    return host in {"localhost", "::1"} or (host.startswith("127.") and host.replace(".", "").isdecimal())


def _in_networks(host: str, listed: str) -> bool:
    """Whether an address is in one of the networks (10.0.0.0/8) that no_proxy may list."""
    from ipaddress import ip_address, ip_network

    try:
        address = ip_address(host)
    except ValueError:
        return False
    for word in listed.split(","):
        try:
            if "/" in word and address in ip_network(word.strip(), strict=False):
                return True
        except ValueError:
            continue  # a path, or nothing at all
    return False


def bare(url: str) -> str:
    """What a message can say of an address that may be none: no name or password, nothing that is asked."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    return f"{scheme}{mark}{rest.rpartition('@')[2].partition('?')[0]}"[:80]


def _origin(url: str) -> str:
    """Whom a URL asks, for comparing and for messages: without a name, a password, or what is asked."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
