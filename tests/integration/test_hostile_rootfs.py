"""A root file system made by somebody who wants out: links where directories are expected.

Beside it lies a canary, which is what the links aim at; whatever happens, it stays as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.background import refused
from tests.integration.trees import give, look

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import Cli

AIMS = ("absolute", "relative", "dangling")


@pytest.fixture
def canary(place: Path) -> Path:
    """A directory outside, which anybody may write to, with a file that nobody inside may read."""
    top = place / "canary"
    (top / "sub").mkdir(parents=True)
    (top / "secret").write_text("the canary's secret\n")
    for path in (top, top / "sub"):
        path.chmod(0o777)
    return top


def aim(link: Path, root: Path, canary: Path, how: str, below: str = "") -> None:
    """Put a link at `link` that leads to the canary as seen from the host."""
    if link.is_dir() and not link.is_symlink():
        os.rename(link, root / f"was-{link.name}")
    elif link.is_symlink() or link.exists():
        link.unlink()
    goal = f"{canary}/absent" if how == "dangling" else str(canary)
    target = goal + below
    link.symlink_to(f"{'../' * 20}{target.lstrip('/')}" if how == "relative" else target)


def ends_well(done: subprocess.CompletedProcess[str]) -> None:
    """Either it ran, or cloche refused in one message."""
    assert done.returncode in {0, 125}, done.stderr
    assert "Traceback" not in done.stderr
    assert "the canary's secret" not in done.stdout


@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_have_to_be_directories(anyone: Cli, own_rootfs: Path, canary: Path, name: str, how: str) -> None:
    aim(own_rootfs / name, own_rootfs, canary, how)
    give(own_rootfs, anyone)
    before = look(canary)
    for mode in ("", ":rw"):
        done = anyone("run", "--rootfs", f"{own_rootfs}{mode}", "true")
        assert refused(done, f"/{name}")
    assert look(canary) == before


def test_proc_may_not_lead_elsewhere_inside_either(anyone: Cli, own_rootfs: Path) -> None:
    os.rename(own_rootfs / "proc", own_rootfs / "other")
    (own_rootfs / "proc").symlink_to("other")
    give(own_rootfs, anyone)
    assert refused(anyone("run", "--rootfs", str(own_rootfs), "true"), "/proc", "not a link")


@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("name", ["dev", "etc", "tmp", "etc/hosts", "etc/resolv.conf", "etc/passwd"])
@pytest.mark.parametrize("kind", ["root", "user"])
def test_what_cloche_puts_in_place_stays_inside(
    root: Cli, own_rootfs: Path, canary: Path, kind: str, name: str, how: str
) -> None:
    cli = type(root)(kind, root.source, root.python)
    aim(own_rootfs / name, own_rootfs, canary, how, "/sub/file" if "/" in name else "")
    give(own_rootfs, cli)
    before = look(canary)
    script = "cat /secret /etc/secret /tmp/secret /dev/secret 2>/dev/null; cat /etc/hosts"
    for mode in ("", ":rw"):
        words = ("--dns", "10.0.0.53", "--tmpfs", "/tmp", "--rootfs", f"{own_rootfs}{mode}")
        done = cli("run", *words, "sh", "-c", script)
        ends_well(done)
        assert look(canary) == before
        if done.returncode == 0:
            assert "localhost" in done.stdout


@pytest.mark.parametrize("mode", ["", ":rw"])
@pytest.mark.parametrize("how", AIMS)
@pytest.mark.parametrize("kind", ["root", "user"])
def test_mount_targets_stay_inside(root: Cli, own_rootfs: Path, canary: Path, kind: str, how: str, mode: str) -> None:
    """Targets below a link, at a link, and through one link to another."""
    cli = type(root)(kind, root.source, root.python)
    aim(own_rootfs / "link", own_rootfs, canary, how)
    (own_rootfs / "chain").symlink_to("link/../link")
    aim(own_rootfs / "file", own_rootfs, canary, how, "/secret")
    (own_rootfs / "data").mkdir()
    lent = own_rootfs.parent / "lent"
    lent.mkdir()
    (lent / "mark").write_text("lent\n")
    give(own_rootfs, cli)
    before = look(canary)
    ran = 0
    for options, where in (
        (("-v", f"{lent}:/link/sub/new"), "/link/sub/new/mark"),
        (("-v", f"{lent}:/link"), "/link/mark"),
        (("-v", f"{lent}:/chain/deep"), "/chain/deep/mark"),
        (("-v", f"{lent}/mark:/file"), "/file"),
        (("--tmpfs", "/link/sub"), ""),
        (("--mount", "type=tmpfs,dst=/chain"), ""),
        (("-w", "/link/work"), ""),
        (("--read-only", "-v", f"{lent}:/link/sub:ro"), "/link/sub/mark"),
    ):
        show = f"cat {where}; " if where else ""
        script = f"{show}echo; cat {canary}/secret 2>/dev/null; true"
        done = cli("run", *options, "--rootfs", f"{own_rootfs}{mode}", "/bin/sh", "-c", script)
        ends_well(done)
        assert look(canary) == before, options
        if done.returncode == 0:
            ran += 1
            assert done.stdout.startswith("lent\n" if where else "\n"), options
    assert ran > 3 or mode == ""  # most of it works, on what the links lead to inside


def test_links_in_a_circle_are_refused(anyone: Cli, own_rootfs: Path, place: Path) -> None:
    (own_rootfs / "a").symlink_to("b")
    (own_rootfs / "b").symlink_to("a")
    give(own_rootfs, anyone)
    assert refused(anyone("run", "-v", f"{place}:/a/x", "--rootfs", str(own_rootfs), "true"), "symbolic links")


@pytest.mark.parametrize(("link", "target"), [("etc/resolv.conf", "../run/resolve/stub.conf"), ("var/run", "/run")])
def test_links_that_lead_nowhere_yet_work(root: Cli, own_rootfs: Path, place: Path, link: str, target: str) -> None:
    """As every image has them: what they lead to is made, inside."""
    (own_rootfs / link).symlink_to(target)
    before = look(own_rootfs)
    script = "cat /etc/resolv.conf; ls /var/run/"
    done = root(
        "run", "--dns", "10.0.0.53", "-v", f"{place}:/var/run/here", "--rootfs", str(own_rootfs), "sh", "-c", script
    )
    assert done.stdout == "nameserver 10.0.0.53\nhere\n", done.stderr
    assert look(own_rootfs) == before


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "huge"])
def test_account_files_that_are_no_files(root: Cli, own_rootfs: Path, kind: str) -> None:
    """Nothing waits for a pipe, reads a device, or takes in a file without an end."""
    path = own_rootfs / "etc/passwd"
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        os.mknod(path, 0o20666, os.makedev(1, 5))
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    assert refused(root("run", "--user", "ann", "--rootfs", str(own_rootfs), "true", timeout=20), "/etc/passwd")
