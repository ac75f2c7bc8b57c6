"""The small files by which programs find names: hosts(5), hostname(5), resolv.conf(5). Pure text."""

from __future__ import annotations

from cloche.errors import SpecError

LOOPBACK = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def hosts_file(hostname: str, extra: list[str]) -> str:
    """/etc/hosts: loopback, the container's own name, and NAME:ADDRESS lines as docker takes them."""
    lines = [LOOPBACK]
    if hostname:
        lines.append(f"127.0.1.1\t{hostname}\n")
    for entry in extra:
        name, separator, address = entry.partition("=" if "=" in entry else ":")
        address = address.strip("[]")
        if not separator or not name or not address or any(c.isspace() for c in entry):
            raise SpecError(f"--add-host {entry!r} is not NAME:ADDRESS", hint="such as db:10.0.0.5")
        _check_address(address, entry)
        lines.append(f"{address}\t{name}\n")
    return "".join(lines)


def resolver_file(servers: list[str], search: list[str], options: list[str]) -> str:
    """/etc/resolv.conf from --dns, --dns-search and --dns-option."""
    for word in (*servers, *search, *options):
        if not word or any(c.isspace() for c in word):
            raise SpecError(f"{word!r} is not one word", hint="--dns, --dns-search and --dns-option take one at a time")
    for server in servers:
        _check_address(server, server)
    lines = [f"nameserver {server}\n" for server in servers]
    if search:
        lines.append(f"search {' '.join(search)}\n")
    if options:
        lines.append(f"options {' '.join(options)}\n")
    return "".join(lines)


def _check_address(address: str, entry: str) -> None:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, address.partition("%")[0])
        except (OSError, ValueError):  # ValueError: a NUL or a letter no address has
            continue
        return
    raise SpecError(f"{address!r} in {entry!r} is not an IP address", hint="a number such as 10.0.0.5 or fd00::1")
