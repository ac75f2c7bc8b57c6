"""Who stands behind the users inside: id maps, --user, --group-add, --userns, --uidmap and --gidmap."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.runtime.idmaps import FILES
from tests.integration.background import PATIENCE, Elsewhere, gone, refused, running, uid_of

if TYPE_CHECKING:
    from tests.conftest import Cli

MAPS = "cat /proc/self/uid_map; echo; cat /proc/self/gid_map"
OWN = "echo $(id -u) $(id -g) $(id -G)"


def maps(lines: list[str] | str) -> list[tuple[int, int, int]]:
    """The lines of a map as numbers."""
    rows = lines.splitlines() if isinstance(lines, str) else lines
    return [tuple(map(int, row.split())) for row in rows if row.strip()]  # type: ignore[misc]


def expected(kind: str, ids: list[tuple[int, int, int]]) -> bool:
    """Whether a map is what this kind of user gets."""
    if kind == "root":
        [(inside, outside, count)] = ids
        return inside == 0 and outside >= 100000 and count == 65536
    own = uid_of_kind()
    if kind == "subuid":
        return ids == [(0, own, 1), (1, 300000, 65536)]
    return ids == [(0, own, 1)]


def uid_of_kind() -> int:
    """The uid of the ordinary user."""
    return 1500 if os.geteuid() == 0 else os.geteuid()


def test_each_kind_of_user_gets_its_maps(anyone: Cli, rootfs: Path) -> None:
    with running(anyone, "--rootfs", str(rootfs), script=MAPS) as inside:
        gap = inside.said.index("")
        uids, gids = maps(inside.said[:gap]), maps(inside.said[gap:])
        assert expected(anyone.kind, uids)
        assert expected(anyone.kind, gids)
        assert maps(Path(f"/proc/{inside.pid}/uid_map").read_text()) == uids
        assert inside.status("Uid").split() == [str(uids[0][1])] * 4  # root inside is nobody special outside
        assert inside.namespace("user") != os.stat("/proc/self/ns/user").st_ino
        setgroups = Path(f"/proc/{inside.pid}/setgroups").read_text().strip()
        assert setgroups == ("deny" if anyone.kind == "user" else "allow")


@pytest.mark.parametrize(
    ("user", "ids", "home"),
    [
        ("", "0 0 0", "/root"),
        ("ann", "1000 1000 1000 10", "/home/ann"),
        ("1000", "1000 1000 1000 10", "/home/ann"),
        ("ann:wheel", "1000 10 10", "/home/ann"),
        ("ann:4242", "1000 4242 4242", "/home/ann"),
        ("4242", "4242 0 0", "/"),
        ("4242:10", "4242 10 10", "/"),
        (":10", "0 10 10", "/root"),
        ("65535:65535", "65535 65535 65535", "/"),
    ],
)
@pytest.mark.parametrize("kind", ["root", "subuid"])
def test_the_user_is_looked_up_in_the_containers_files(
    root: Cli, rootfs: Path, kind: str, user: str, ids: str, home: str
) -> None:
    cli = type(root)(kind, root.source, root.python)
    options = ("--user", user) if user else ()
    done = cli("run", *options, "--rootfs", str(rootfs), "sh", "-c", f"{OWN}; echo $HOME")
    assert done.stdout.splitlines() == [ids, home], done.stderr


def test_from_outside_the_user_is_one_of_the_range(root: Cli, rootfs: Path) -> None:
    with running(root, "--user", "ann", "--group-add", "77", "--rootfs", str(rootfs), script=MAPS) as inside:
        first = maps(inside.said)[0][1]
        assert inside.status("Uid").split() == [str(first + 1000)] * 4
        assert inside.status("Groups").split() == [str(first + gid) for gid in (10, 77, 1000)]


def test_a_number_is_never_taken_for_a_name(root: Cli, own_rootfs: Path) -> None:
    """CVE-2024-40635: a user called 4242 with uid 0, a group called 4343 with gid 0."""
    with (own_rootfs / "etc/passwd").open("a") as file:
        file.write("4242:x:0:0::/:/bin/sh\nbig:x:4294967295:0::/:/bin/sh\nwrap:x:4294967296:0::/:/bin/sh\n")
    with (own_rootfs / "etc/group").open("a") as file:
        file.write("4343:x:0:\n")
    done = root("run", "--user", "4242:4343", "--rootfs", str(own_rootfs), "sh", "-c", OWN)
    assert done.stdout == "4242 4343 4343\n"
    for name in ("big", "wrap"):
        assert refused(root("run", "--user", name, "--rootfs", str(own_rootfs), "sh", "-c", OWN), "is not an id")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--user", "nobody-here"), "nobody-here"),
        (("--user", "ann:nobody-here"), "nobody-here"),
        (("--user", "-1"), "-1"),
        (("--user", "4294967295"), "4294967295"),
        (("--user", "99999999999999999999"), "99999999999999999999"),
        (("--user", "70000"), "id map"),
        (("--user", "1:70000"), "id map"),
        (("--group-add", "nobody-here"), "nobody-here"),
        (("--group-add", "70000"), "id map"),
    ],
)
def test_users_that_do_not_exist_are_refused(root: Cli, rootfs: Path, options: tuple[str, str], says: str) -> None:
    assert refused(root("run", *options, "--rootfs", str(rootfs), "true"), says)


@pytest.mark.parametrize("kind", ["root", "subuid"])
def test_more_groups_can_be_given(root: Cli, rootfs: Path, kind: str) -> None:
    cli = type(root)(kind, root.source, root.python)
    options = ("--group-add", "wheel", "--group-add", "77", "--user", "1001:5")
    done = cli("run", *options, "--rootfs", str(rootfs), "sh", "-c", OWN)
    assert done.stdout == "1001 5 5 10 77\n", done.stderr


def test_where_there_is_one_id_no_other_can_be_had(user: Cli, rootfs: Path) -> None:
    assert refused(user("run", "--user", "1000", "--rootfs", str(rootfs), "true"), "id map")
    assert refused(user("run", "--group-add", "wheel", "--rootfs", str(rootfs), "true"), "--group-add")
    done = user("run", "--user", "root", "--rootfs", str(rootfs), "id", "-u")
    assert done.stdout == "0\n"


def test_the_hosts_users_can_be_kept_by_root_only(root: Cli, user: Cli, rootfs: Path) -> None:
    with running(root, "--userns", "host", "--rootfs", str(rootfs), script="cat /proc/self/uid_map") as inside:
        assert maps(inside.said) == maps(Path("/proc/self/uid_map").read_text())
        assert inside.namespace("user") == os.stat("/proc/self/ns/user").st_ino
    assert refused(user("run", "--userns", "host", "--rootfs", str(rootfs), "true"), "--userns=host needs root")


@pytest.mark.parametrize("kind", ["user", "subuid"])
def test_keep_id_leaves_you_who_you_are(root: Cli, rootfs: Path, place: Path, kind: str) -> None:
    cli = type(root)(kind, root.source, root.python)
    script = f"{OWN}; touch /here/file; cat /proc/self/uid_map"
    options = ("--userns", "keep-id", "-v", f"{place}:/here", "--rootfs", str(rootfs))
    done = cli("run", *options, "sh", "-c", script)
    first, *rows = done.stdout.splitlines()
    assert first.split()[:2] == ["1500", "1500"], done.stderr
    assert (1500, 1500, 1) in maps(rows)
    assert len(maps(rows)) == (1 if kind == "user" else 3)
    assert (place / "file").stat().st_uid == 1500


def test_root_has_no_id_to_keep(root: Cli, rootfs: Path) -> None:
    assert refused(root("run", "--userns", "keep-id", "--rootfs", str(rootfs), "true"), "keep-id", "--uidmap")


def test_auto_is_the_default(anyone: Cli, rootfs: Path) -> None:
    done = anyone("run", "--userns", "auto", "--rootfs", str(rootfs), "cat", "/proc/self/uid_map")
    assert expected(anyone.kind, maps(done.stdout))


def test_maps_can_be_given(root: Cli, rootfs: Path) -> None:
    options = ("--uidmap", "0:700000:1000", "--uidmap", "1000:800000:5", "--gidmap", "0:900000:2000")
    with running(root, *options, "--rootfs", str(rootfs), script=MAPS) as inside:
        gap = inside.said.index("")
        assert maps(inside.said[:gap]) == [(0, 700000, 1000), (1000, 800000, 5)]
        assert maps(inside.said[gap:]) == [(0, 900000, 2000)]
        assert inside.status("Uid").split()[0] == "700000"
        assert inside.status("Gid").split()[0] == "900000"
    only = root("run", "--uidmap", "0:700000:1000", "--rootfs", str(rootfs), "cat", "/proc/self/gid_map")
    assert maps(only.stdout) == [(0, 700000, 1000)]


def test_a_user_may_map_the_own_id(user: Cli, rootfs: Path) -> None:
    own = uid_of(user)
    done = user("run", "--uidmap", f"7:{own}:1", "--user", "7:7", "--rootfs", str(rootfs), "sh", "-c", "id -u; id -g")
    assert done.stdout == "7\n7\n", done.stderr
    done = user("run", "--uidmap", "0:0:1", "--rootfs", str(rootfs), "true")
    assert done.returncode == 125
    assert "cloche: map ids" in done.stderr


@pytest.mark.parametrize("option", ["--uidmap", "--gidmap"])
@pytest.mark.parametrize("text", ["x", "0", "0:1:2:3", "-1:0:1", "0:0:0", "0:4294967295:1", "0:1e5:1", "0:٣:1", "::"])
def test_nonsense_maps_are_refused(cli: Cli, rootfs: Path, option: str, text: str) -> None:
    assert refused(cli("run", f"{option}={text}", "--rootfs", str(rootfs), "true"), text)


def test_maps_that_overlap_are_refused(root: Cli, rootfs: Path) -> None:
    options = ("--uidmap", "0:100000:10", "--uidmap", "5:200000:10")
    assert refused(root("run", *options, "--rootfs", str(rootfs), "true"), "map ids", "overlap")


def test_a_map_without_root_has_no_root(root: Cli, rootfs: Path) -> None:
    options = ("--uidmap", "1000:700000:10", "--rootfs", str(rootfs))
    assert refused(root("run", *options, "true"), "id map")
    done = root("run", "--user", "1000:1000", *options, "sh", "-c", OWN)
    assert done.stdout == "1000 1000 1000\n", done.stderr


def test_modes_that_contradict_are_refused(root: Cli, rootfs: Path) -> None:
    contradiction = ("--userns", "host", "--uidmap", "0:700000:1000")
    assert refused(root("run", *contradiction, "--rootfs", str(rootfs), "true"), "contradicts")
    assert refused(root("run", "--userns", "sometimes", "--rootfs", str(rootfs), "true"), "--userns=sometimes")


def test_two_containers_of_root_have_nobody_in_common(root: Cli, rootfs: Path) -> None:
    with (
        running(root, "--rootfs", str(rootfs), script=MAPS) as one,
        running(root, "--rootfs", str(rootfs), script=MAPS) as other,
    ):
        first, second = maps(one.said)[0][1], maps(other.said)[0][1]
        assert abs(first - second) >= 65536


def test_a_range_is_returned_after_the_end(root: Cli, rootfs: Path, place: Path) -> None:
    """With two ranges on the whole machine, a third container has to wait for one to end, however it ends."""
    (place / "subuid").write_text("cloche:700000:131072\n")
    narrow = Elsewhere(root, f"touch /etc/subuid; mount --bind {place}/subuid /etc/subuid")
    words = ("--rootfs", str(rootfs))
    with running(narrow, *words, script=MAPS) as one, running(narrow, *words, script=MAPS) as other:
        assert {maps(one.said)[0][1], maps(other.said)[0][1]} == {700000, 765536}
        assert refused(narrow("run", *words, "true"), "every id range is in use")
        other.front.kill()
        other.front.wait(PATIENCE)
        assert gone(other.pid)
        freed = maps(other.said)[0][1]
        _wait_for_a_range(Path(narrow.state, "ranges"))
        assert maps(narrow("run", *words, "cat", "/proc/self/uid_map").stdout)[0][1] == freed


def _wait_for_a_range(folder: Path) -> None:
    """The stage of a killed front lets go of its range a moment after the container has ended."""
    script = (
        "import fcntl, struct, sys, time\n"
        "for _ in range(1000):\n"
        "    for slot in (0, 1):\n"
        "        try:\n"
        "            with open(f'{sys.argv[1]}/{slot}', 'r+b') as file:\n"
        "                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)\n"
        "        except OSError:\n"
        "            continue\n"
        "        sys.exit(0)\n"
        "    time.sleep(0.01)\n"
        "sys.exit(1)\n"
    )
    subprocess.run(["python3", "-c", script, str(folder)], check=True, timeout=PATIENCE)


def test_explaining_takes_no_range(root: Cli, rootfs: Path) -> None:
    root("run", "--rootfs", str(rootfs), "true")
    with contextlib.ExitStack() as held:
        for number in range(FILES):
            file = held.enter_context(open(Path(root.state, "ranges", str(number)), "wb"))
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody can take one while these are held
        assert root("explain", "--rootfs", str(rootfs), "true").returncode == 0
        assert refused(root("run", "--rootfs", str(rootfs), "true"), "every id range is in use")
