"""Which protections a container gets for the options about them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import ForbiddenError, SpecError
from cloche.linux.capabilities import NAMES
from cloche.runtime.defaults import CAPABILITIES
from cloche.sandbox.options import Options
from cloche.sandbox.security import capability_set, check_unconfined, decide


def test_everything_is_on_by_default() -> None:
    security = decide(Options())
    assert (security.seccomp, security.no_new_privileges, security.landlock) == ("default", True, True)
    assert (security.masks, security.watch_refusals) == (True, True)
    assert set(security.capabilities) == set(CAPABILITIES)


def test_privileged_switches_it_off() -> None:
    security = decide(Options(privileged=True))
    assert (security.seccomp, security.no_new_privileges, security.landlock, security.masks) == (
        "unconfined",
        False,
        False,
        False,
    )
    assert security.capabilities == tuple(NAMES)


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        ("seccomp=unconfined", "seccomp", "unconfined"),
        ("seccomp:/a/profile.json", "seccomp", "/a/profile.json"),
        ("no-new-privileges=false", "no_new_privileges", False),
        ("no-new-privileges:off", "no_new_privileges", False),
        ("landlock=off", "landlock", False),
        ("seccomp-log=off", "watch_refusals", False),
        ("systempaths=unconfined", "masks", False),
    ],
)
def test_one_word_switches_one_thing(word: str, field: str, value: object) -> None:
    plain, other = vars(decide(Options())), vars(decide(Options(security_opt=(word,))))
    assert {name: other[name] for name in other if other[name] != plain[name]} == {field: value}


@pytest.mark.parametrize(
    "word",
    [
        *("", "seccomp", "seccomp=", "landlock", "landlock=maybe", "x=y", "apparmor", "apparmor=", "apparmor=x"),
        *("apparmor=docker-default", "label", "label=type:container_t", "label=enable", "label:level:s0"),
    ],
)
def test_no_words(word: str) -> None:
    with pytest.raises(SpecError, match="--security-opt"):
        decide(Options(security_opt=(word,)))


WORDS = ["apparmor=unconfined", "apparmor:unconfined", "label=disable", "label:disable"]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    ("label", "by"),
    [
        ("", ""),
        ("unconfined\n", ""),
        ("firefox (unconfined)\n", ""),
        ("some tool (complain)\n", ""),
        ("docker-default (enforce)\n", "apparmor"),
        ("/usr/bin/x//child (kill)\n", "apparmor"),
        ("a//&:ns1:unconfined (mixed)\n", "apparmor"),
        ("kernel\0", ""),
        ("_\n", ""),
        ("unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0", ""),
        ("system_u:system_r:spc_t:s0\0", ""),
        ("system_u:system_r:container_t:s0:c1,c2\0", "label"),
        ("user_u:user_r:user_t\0", "label"),
    ],
)
def test_who_is_confined_cannot_let_go(word: str, label: str, by: str) -> None:
    """What a process is confined by, in the kernel's words, also holds whatever it starts."""
    if word.startswith(by or "nobody"):
        with pytest.raises(ForbiddenError, match="--security-opt") as caught:
            check_unconfined(word, label)
        assert label.strip("\n\0") in str(caught.value)
    else:
        check_unconfined(word, label)


@pytest.mark.parametrize("word", WORDS)
def test_nothing_else_confines(word: str) -> None:
    """This process is not, on the machines that tests run on."""
    assert decide(Options(security_opt=(word,))) == decide(Options())


def test_a_directory_as_root_has_no_landlock() -> None:
    assert not decide(Options(image="", rootfs="/x")).landlock


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), ("ALL",), set()),
        (("net_raw",), ("all",), {"CAP_NET_RAW"}),
        (("ALL",), ("CAP_NET_RAW",), set(NAMES) - {"CAP_NET_RAW"}),
        (("ALL",), ("ALL",), set(NAMES)),
        (("cap_mknod",), ("CHOWN",), {*CAPABILITIES, "CAP_MKNOD"} - {"CAP_CHOWN"}),
        (("CHOWN",), ("CHOWN",), set(CAPABILITIES) - {"CAP_CHOWN"}),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    assert set(capability_set(add, drop, privileged=False)) == expected


@given(st.lists(st.sampled_from([*NAMES, "ALL"])), st.lists(st.sampled_from([*NAMES, "ALL"])))
def test_what_is_dropped_by_name_is_never_there(add: list[str], drop: list[str]) -> None:
    found = capability_set(tuple(add), tuple(drop), privileged=False)
    assert not set(found) & set(drop)
    if "ALL" not in add:
        assert set(found) <= {*CAPABILITIES, *add}


def test_no_capability() -> None:
    with pytest.raises(SpecError, match="is not a capability"):
        capability_set(("NET_EVERYTHING",), (), privileged=False)
