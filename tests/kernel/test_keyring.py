"""cloche.linux.keyring: a session keyring of one's own."""

from __future__ import annotations

import errno
import os

import pytest

from cloche.linux import kernel, keyring

from .forked import fails, in_child

pytestmark = pytest.mark.skipif(
    not kernel.supported(lambda: keyring.keyctl(99999)), reason="this kernel was built without keys"
)


def test_a_new_session_keyring_takes_the_place_of_the_old() -> None:
    def child() -> tuple[bool, bool, str]:
        before = keyring.session_keyring_id()
        first = keyring.join_session_keyring()
        same = keyring.session_keyring_id() == first != before
        second = keyring.join_session_keyring()
        return same, second != first, keyring.describe(second)

    same, fresh, description = in_child(child)
    assert (same, fresh) == (True, True)
    kind, uid, _, _, name = description.split(";")
    assert (kind, int(uid), name) == ("keyring", os.getuid(), "_ses")


def test_a_named_keyring_can_be_joined_again() -> None:
    name = f"cloche-test-{os.getpid()}"

    def newcomer() -> int:
        keyring.join_session_keyring()
        return keyring.join_session_keyring(name)

    def child() -> tuple[set[int], str, str]:
        first = keyring.join_session_keyring(name)
        keyring.set_permissions(first, 0x3F1F0000)  # all for the possessor, all but setattr for the user
        again = keyring.join_session_keyring(name)
        *_, permissions, description = keyring.describe(first).split(";")
        return {again - first, in_child(newcomer) - first}, permissions, description

    assert in_child(child) == ({0}, "3f1f0000", name)


def test_a_revoked_keyring_is_useless() -> None:
    def child() -> None:
        serial = keyring.join_session_keyring()
        keyring.revoke(serial)
        with fails(errno.EKEYREVOKED, "keyctl(2)"):
            keyring.describe(serial)

    in_child(child)


def test_refusals() -> None:
    with fails(errno.EOPNOTSUPP, "keyctl(2)"):
        keyring.keyctl(99999)
    with pytest.raises(ValueError, match="null byte"):
        keyring.join_session_keyring("a\0b")
