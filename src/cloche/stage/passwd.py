"""passwd(5) and group(5) of a root file system nobody trusts: pure text in, numbers out.

Numbers never fall back to names, nor names to numbers (CVE-2024-40635); an id is 0 to 2^32-2.
"""

from __future__ import annotations

LARGEST_ID = 2**32 - 2


def parse(text: str) -> list[list[str]]:
    """The lines of a colon-separated file as lists of fields; comments and short lines left out."""
    lines = [line.split(":") for line in text.split("\n") if line and line[0] not in "#+-"]
    return [fields for fields in lines if len(fields) >= 3]


def find(
    user: str, extra: tuple[str, ...], users: list[list[str]], groups: list[list[str]]
) -> tuple[int, int, tuple[int, ...], str]:
    """What `user` ("name", "1000", "name:group", "1000:1000", "") stands for.

    Returns (uid, gid, supplementary gids with the primary first, home directory).
    Raises OSError ENOENT for a name that is not in the files, ERANGE for a number out of range.
    """
    name, _, group = user.partition(":")
    name = name or "0"
    entry = None
    if name.isdecimal():
        uid = _number(name)
        entry = by_id(uid, users)
    else:
        entry = next((e for e in users if e[0] == name), None)
        if entry is None:
            raise OSError(2, "no such user in /etc/passwd of the container", name)
        uid = _number(entry[2])
    login = entry[0] if entry else ""
    if group:
        gid = _group(group, groups)
    else:
        gid = _number(entry[3]) if entry and len(entry) > 3 else 0
    gids = [gid]
    if not group and login:
        gids += [_number(e[2]) for e in groups if len(e) > 3 and login in e[3].split(",")]
    gids += [_group(wanted, groups) for wanted in extra]
    return uid, gid, tuple(dict.fromkeys(gids)), home(entry)


def by_id(uid: int, users: list[list[str]]) -> list[str] | None:
    """The entry of user `uid`, if there is one."""
    return next((entry for entry in users if entry[2] == str(uid)), None)


def home(entry: list[str] | None) -> str:
    """The home directory of an entry; the root without one."""
    return entry[5] if entry and len(entry) > 5 and entry[5].startswith("/") else "/"


def _group(name: str, groups: list[list[str]]) -> int:
    if name.isdecimal():
        return _number(name)
    entry = next((e for e in groups if e[0] == name), None)
    if entry is None:
        raise OSError(2, "no such group in /etc/group of the container", name)
    return _number(entry[2])


def _number(text: str) -> int:
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 11 else -1
    if not 0 <= value <= LARGEST_ID:
        raise OSError(34, "is not an id between 0 and 4294967294", text)
    return value
