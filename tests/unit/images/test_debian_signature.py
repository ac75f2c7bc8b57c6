"""Whose keys count for a Release, and what is said when nobody can look."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.engines.conftest import require
from tests.images.debian import Key

from cloche.errors import ForbiddenError, NotFoundError, UnsupportedError
from cloche.images.debian.signature import keyring_of, unchecked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = b"Origin: Debian\n- a line with a dash\nDescription: none\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Key, Key]]:
    require("gpg")
    top = tmp_path_factory.mktemp("signing")
    made = Key(top / "one", "one@example.com"), Key(top / "two", "two@example.com")
    yield made
    for key in made:
        key.close()


def armored(key: Key) -> str:
    command = ["gpg", "--homedir", str(key.home), "--armor", "--export"]
    return subprocess.check_output(command, text=True)


def fingerprint(key: Key) -> str:
    command = ["gpg", "--homedir", str(key.home), "--with-colons", "--fingerprint"]
    lines = subprocess.check_output(command, text=True).split("\n")
    return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))


def test_the_ways_to_name_a_key(keys: tuple[Key, Key]) -> None:
    """A file, several, the key itself, fingerprints of those of the usual ring; --keyring beats all."""
    one, two = keys
    signed = one.clear_sign(TEXT)
    usual = ("/nowhere", str(one.ring))
    good = fingerprint(one)
    for said, given in (
        (str(one.ring), ""),
        (f"{two.ring} {one.ring}", ""),
        (armored(one), ""),
        ("", ""),
        (good, ""),
        (f"{good}!", ""),
        (str(two.ring), str(one.ring)),
    ):
        found = keyring_of(said, given, usual).verify(signed, None, "it")
        assert (found.content.strip(), found.signers) == (TEXT.strip(), (good.lower(),))
    for said, given in (
        (str(two.ring), ""),
        (armored(two), ""),
        (fingerprint(two), ""),
        (str(one.ring), str(two.ring)),
    ):
        with pytest.raises(ForbiddenError, match="it has no good signature"):
            keyring_of(said, given, usual).verify(signed, None, "it")


def test_a_signature_beside(keys: tuple[Key, Key]) -> None:
    one, _ = keys
    ring = keyring_of("", str(one.ring), ())
    assert ring.verify(TEXT, one.detached(TEXT), "it").content == TEXT
    for content, signature in ((TEXT + b"x", one.detached(TEXT)), (TEXT, b""), (TEXT, b"no signature")):
        with pytest.raises(ForbiddenError):
            ring.verify(content, signature, "it")


def test_an_error_is_one_line(keys: tuple[Key, Key]) -> None:
    """The library tells where in it an error came from; nobody wants to know."""
    with pytest.raises(ForbiddenError) as caught:
        keyring_of("", str(keys[0].ring), ()).verify(keys[1].clear_sign(TEXT), None, "it")
    assert "\n" not in str(caught.value)


def test_a_text_without_a_look_at_its_signature(keys: tuple[Key, Key]) -> None:
    """What clear-signing has done to it is undone."""
    signed = keys[0].clear_sign(TEXT)
    assert signed.count(b"- - a line") == 1
    assert unchecked(signed).content.strip() == TEXT.strip()
    assert unchecked(TEXT).content == TEXT


def test_a_library_and_keys_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing is named, with what to do."""
    with pytest.raises(NotFoundError, match="there is no /nowhere/ring") as caught:
        keyring_of("", "", ("/nowhere/ring",))
    assert "debian-archive-keyring" in caught.value.hint
    monkeypatch.setitem(sys.modules, "pysequoia", None)
    with pytest.raises(UnsupportedError, match="pysequoia") as missing:
        keyring_of("", str(tmp_path / "ring"), ())
    assert "cloche[debian]" in missing.value.hint
