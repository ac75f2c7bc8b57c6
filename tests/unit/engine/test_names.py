"""Names: made up, taken by one, taken over from who is not there any more, given up by whose they are."""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.engine import names, records
from cloche.engine.name_words import ADJECTIVES, SURNAMES
from cloche.errors import ConflictError
from cloche.ids import check_name
from cloche.spec.reader import write_json

if TYPE_CHECKING:
    from pathlib import Path

ONE, OTHER, THIRD = "ab" * 32, "ac" * 32, "ad" * 32


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOCHE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CLOCHE_ROOT", str(tmp_path / "store"))
    return tmp_path / "store"


def make(store: Path, container_id: str, name: str) -> Path:
    """A container that is there."""
    folder = store / "containers" / container_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lock").touch()
    (folder / "container.json").write_text(write_json({"id": container_id, "name": name}))
    return folder


def links(store: Path) -> dict[str, str]:
    return {path.name: os.readlink(path) for path in (store / "names").iterdir() if path.is_symlink()}


def test_there_are_many_words_and_each_once() -> None:
    assert len(set(ADJECTIVES)) == len(ADJECTIVES) >= 100
    assert len(set(SURNAMES)) == len(SURNAMES) >= 150
    assert not set(ADJECTIVES) & set(SURNAMES)
    assert all(word.isascii() and word.islower() and word.isalpha() for word in (*ADJECTIVES, *SURNAMES))


@given(st.binary(min_size=4, max_size=32))
def test_a_name_is_one_that_may_be_given(random: bytes) -> None:
    name = names.generate(random)
    assert check_name(name) == name == names.generate(random)
    adjective, _, surname = name.partition("_")
    assert adjective in ADJECTIVES
    assert surname in SURNAMES


def test_every_word_is_used() -> None:
    total = len(ADJECTIVES) * len(SURNAMES)
    assert len({names.generate(number.to_bytes(4, "big")) for number in range(total)}) == total


def test_a_name_is_taken_once(store: Path) -> None:
    names.take("web", ONE)
    make(store, ONE, "web")
    names.take("web", ONE)
    with pytest.raises(ConflictError) as found:
        names.take("web", OTHER)
    assert str(found.value) == (
        f'Conflict. The container name "/web" is already in use by container "{ONE}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    assert names.owner("web") == ONE
    assert names.owner("other") == ""
    assert names.owner("../containers") == ""


def test_who_is_on_the_way_keeps_it(store: Path) -> None:
    folder = store / "containers" / ONE
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names.take("web", ONE)
        with pytest.raises(ConflictError):
            names.take("web", OTHER)
    names.take("web", OTHER)  # the command was killed before there was a container.json
    assert links(store) == {"web": OTHER}


@pytest.mark.parametrize("left", ["nothing", "a folder", "another name", "no id"])
def test_what_was_left_is_taken_over(store: Path, left: str) -> None:
    names.take("web", "../names" if left == "no id" else ONE)
    if left == "a folder":
        (store / "containers" / ONE).mkdir(parents=True)
    if left == "another name":
        make(store, ONE, "site")
    assert names.owner("web") == ""
    names.take("web", OTHER)
    assert links(store) == {"web": OTHER}


def test_a_damaged_container_keeps_its_name(store: Path) -> None:
    names.take("web", ONE)
    (make(store, ONE, "web") / "container.json").write_text('{"id": ')
    with pytest.raises(ConflictError):
        names.take("web", OTHER)


def test_one_of_many_takes_over(store: Path) -> None:
    takers = [f"{number:064x}" for number in range(16)]

    def attempt(name: str, taker: str) -> bool:
        make(store, taker, name)
        try:
            names.take(name, taker)
        except ConflictError:
            return False
        return True

    for turn in range(20):
        name = f"web{turn}"
        names.take(name, ONE)
        with ThreadPoolExecutor(16) as pool:
            has = list(pool.map(attempt, [name] * len(takers), takers))
        won = [taker for taker, one in zip(takers, has, strict=True) if one]
        assert won == [links(store)[name]]
    assert not [path for path in (store / "names").iterdir() if path.name.startswith(names.NEW)]


def test_what_a_killed_one_was_about_to_put_there_is_no_hindrance(store: Path) -> None:
    names.take("web", ONE)
    os.symlink(OTHER, store / "names" / f"{names.NEW}{OTHER}")
    names.take("web", OTHER)
    assert links(store) == {"web": OTHER}


def test_only_its_owner_gives_it_up(store: Path) -> None:
    names.give_up("web", ONE)  # where there is no store at all
    names.take("web", ONE)
    names.give_up("web", OTHER)
    names.give_up("site", ONE)
    names.give_up("", ONE)
    assert links(store) == {"web": ONE}
    names.give_up("web", ONE)
    assert links(store) == {}


def test_another_name(store: Path) -> None:
    names.take("web", ONE)
    make(store, ONE, "web")
    names.take("site", OTHER)
    make(store, OTHER, "site")
    with pytest.raises(ConflictError):
        names.take("site", ONE)
    assert links(store) == {"web": ONE, "site": OTHER}
    names.take("shop", ONE)
    names.give_up("web", ONE)
    assert links(store) == {"shop": ONE, "site": OTHER}


def test_a_container_of_the_moment_has_its_name_too() -> None:
    records.add({"id": THIRD, "name": "web", "pid": os.getpid(), "groups": []}, 0)
    with pytest.raises(ConflictError, match=THIRD):
        names.take("web", ONE)
    names.take("site", ONE)


def test_a_name_is_found_where_most_are_taken(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = names.take_any(ONE)
    assert links(store) == {made: ONE}
    assert "_" in made
    monkeypatch.setattr(names, "generate", lambda _: "keen_noether")
    names.take("keen_noether", OTHER)
    make(store, OTHER, "keen_noether")
    numbered = names.take_any(THIRD)
    assert numbered.startswith("keen_noether")
    assert numbered != "keen_noether"
