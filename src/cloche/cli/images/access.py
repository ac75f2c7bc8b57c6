"""From the options of a command line to how registries are spoken to."""

from __future__ import annotations

from cloche.errors import NotFoundError
from cloche.images.fetching import Access
from cloche.images.registry.auth import Login

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.cli.grammar import Parsed


def access_to(parsed: Parsed, login: Login | None = None) -> Access:
    """What --tls-verify and --cert-dir say. Raises NotFoundError."""
    import os

    verify = parsed.text("tls_verify")
    folder = parsed.text("cert_dir") or ""
    if folder and not os.path.isdir(folder):
        raise NotFoundError(f"--cert-dir {folder} is not a directory")
    return Access(None if verify is None else verify == "true", login, folder)


def access_of(parsed: Parsed) -> Access:
    """The same with --creds; a password that is missing is asked for."""
    login = None
    if given := parsed.text("creds"):
        user, colon, password = given.partition(":")
        if not colon:
            from getpass import getpass

            password = getpass("Password: ")
        login = Login(user, password)
    return access_to(parsed, login)
