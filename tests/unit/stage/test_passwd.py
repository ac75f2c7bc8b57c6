"""Users and groups from files nobody trusts: numbers are numbers, names are names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.stage.passwd import LARGEST_ID, find, parse

USERS = parse(
    "root:x:0:0:root:/root:/bin/sh\n"
    "# a comment\n"
    "+nis\n"
    "short:x\n"
    "ann:x:1000:100:Ann:/home/ann:/bin/sh\n"
    "1001:x:7:7::/number:/bin/sh\n"
    "nohome:x:1002:1002::relative:/bin/sh\n"
    "huge:x:4294967295:0::/:/bin/sh\n"
    "twelve:x:99999999999:0::/:/bin/sh\n"
    "bare:x:1003\n"
)
GROUPS = parse("root:x:0:\nwheel:x:10:ann,bob\nann:x:100:ann\n20:x:30:\nmembers:x:40:root,\nbare:x:50\n")


def who(user: str, *extra: str) -> tuple[int, int, tuple[int, ...], str]:
    return find(user, extra, USERS, GROUPS)


def test_nobody_in_particular_is_root() -> None:
    assert who("") == (0, 0, (0, 40), "/root")


def test_a_name_brings_its_groups_and_home() -> None:
    assert who("ann") == (1000, 100, (100, 10), "/home/ann")


def test_a_number_finds_the_same_entry() -> None:
    assert who("1000") == who("ann")


def test_a_number_without_an_entry_is_itself() -> None:
    assert who("4242") == (4242, 0, (0,), "/")


def test_a_number_never_means_the_user_of_that_name() -> None:
    assert who("1001")[0] == 1001


def test_a_group_that_is_given_replaces_the_others() -> None:
    assert who("ann:wheel") == (1000, 10, (10,), "/home/ann")
    assert who("ann:20")[1:3] == (20, (20,))


def test_groups_are_added_after_the_primary_one() -> None:
    assert who("ann", "wheel", "77", "root")[2] == (100, 10, 77, 0)


def test_a_home_that_is_no_absolute_path_is_not_taken() -> None:
    assert who("nohome")[3] == "/"


def test_a_short_entry_has_group_0_and_home_at_the_root() -> None:
    assert who("bare") == (1003, 0, (0,), "/")


@pytest.mark.parametrize("user", ["bob", "ann:nobody", "short", "+nis", "#", " ann"])
def test_a_name_that_is_not_there(user: str) -> None:
    with pytest.raises(OSError, match=r"no such (user|group)") as caught:
        who(user)
    assert caught.value.errno == 2


@pytest.mark.parametrize(
    "user", ["4294967295", "4294967296", "99999999999", "0:4294967295", "huge", "twelve", "٣", "1:٣", "²"]
)
def test_a_number_out_of_range_is_refused(user: str) -> None:
    with pytest.raises(OSError, match=r"is not an id|no such"):
        who(user)


def test_the_largest_id_is_one() -> None:
    assert who(str(LARGEST_ID))[0] == LARGEST_ID


@given(
    st.text(max_size=30) | st.text("0123456789:-+", max_size=14), st.text(), st.text(), st.lists(st.text(max_size=5))
)
def test_whatever_the_files_hold_it_is_ids_or_an_oserror(user: str, users: str, groups: str, extra: list[str]) -> None:
    try:
        uid, gid, gids, home = find(user, tuple(extra), parse(users), parse(groups))
    except OSError as error:
        code = error.errno
    else:
        code = 0
    if code:
        assert code in {2, 34}
        return
    assert all(0 <= number <= LARGEST_ID for number in (uid, gid, *gids))
    assert gids[0] == gid
    assert len(gids) == len(set(gids))
    assert home.startswith("/")
