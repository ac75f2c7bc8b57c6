"""`cloche login`: a user and a password, tried and remembered."""

from __future__ import annotations

import os
import sys

from cloche.cli.images.access import access_to
from cloche.errors import ConflictError, SpecError
from cloche.images.fetching import log_in, login_name
from cloche.images.references import DEFAULT_DOMAIN, parse_reference
from cloche.images.registry.auth import Login
from cloche.images.registry.logins import save

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def login(parsed: Parsed) -> int:
    """Carry out `login`."""
    domain = registry_of(parsed)
    user = parsed.text("username") or ""
    if parsed.flag("password_stdin"):
        if not user:
            raise ConflictError("--password-stdin needs --username", hint="-u USER")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    else:
        if not os.isatty(0):
            raise ConflictError("there is no terminal to ask for the password", hint="--password-stdin")
        from getpass import getpass

        user = user or input("Username: ")
        password = getpass("Password: ")
    if not user or not password:
        raise SpecError("a user's name and a password are needed")
    given = Login(user, password)
    log_in(domain, access_to(parsed), given)
    path = save(login_name(domain), given)
    sys.stdout.write(f"Login Succeeded\nkept in {path} until cloche logout\n")
    return 0


def registry_of(parsed: Parsed) -> str:
    """The registry that is meant. Raises SpecError."""
    text = parsed.positionals[0] if parsed.positionals else DEFAULT_DOMAIN
    bare = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if parse_reference(f"{bare}/any", tagged=False).domain != bare:
        raise SpecError(f"{text!r} is not a registry", hint="HOST[:PORT], such as registry.example.com")
    return bare
