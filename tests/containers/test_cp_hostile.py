"""Containers that mean harm while files are copied: nothing outside is read, written or waited for."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.amounts import some
from tests.containers.filed import BOX, create, members, succeed
from tests.integration.background import running, uid_of

if TYPE_CHECKING:
    from tests.conftest import Cli

ROUNDS = some(12)
SECRET = "SECRET-OF-THE-HOST"


@pytest.fixture
def desk(desk: Path, anyone: Cli) -> Path:
    """The same with a secret in it."""
    (desk / "host").mkdir()
    (desk / "host/secret").write_text(SECRET)
    (desk / "file").write_text("from the host")
    (desk / "tree").mkdir()
    (desk / "tree/secret").write_text("from the host")
    for path in desk.rglob("*"):
        os.chown(path, uid_of(anyone), uid_of(anyone))
    return desk


def contents(top: Path) -> set[str]:
    return {path.read_text(errors="replace") for path in top.rglob("*") if path.is_file() and not path.is_symlink()}


def test_links_that_are_swapped_meanwhile(anyone: Cli, desk: Path) -> None:
    """A directory that is one moment a directory, the next a link to where a path of the host would lead (the race
    of CVE-2018-15664), while files are copied out of it and into it."""
    host = desk / "host"
    script = f"""
mkdir /real; echo inside >/real/secret; mkdir -p {host}; ln -s {host} /link; ln -s /proc/self/root{host} /magic
(while :; do
  mv /real /spot 2>/dev/null; mv /spot /real; mv /link /spot; mv /spot /link; mv /magic /spot; mv /spot /magic
done) >/dev/null 2>&1 &
"""
    with running(anyone, "--rm", BOX, script=script) as found:
        deadline = time.monotonic() + 20
        for number in range(ROUNDS):
            anyone("cp", f"{found.name}:/spot/secret", str(desk / f"out-{number}"))
            anyone("cp", "-L", f"{found.name}:/spot", str(desk / f"outs-{number}"))
            anyone("cp", str(desk / "file"), f"{found.name}:/spot/secret")
            anyone("cp", str(desk / "tree/."), f"{found.name}:/spot/")
            if time.monotonic() > deadline:
                break
    assert (host / "secret").read_text() == SECRET
    assert [path.name for path in host.iterdir()] == ["secret"]
    shutil.rmtree(host)
    assert SECRET not in contents(desk)


def test_links_that_lead_out(anyone: Cli, desk: Path) -> None:
    """Of a container that does not run, too: what is in it means its own files."""
    create(anyone, name := f"c-{os.urandom(4).hex()}")
    host = desk / "host"
    for link, target in (
        ("abs", str(host)),
        ("rel", f"../../../../../../..{host}"),
        ("dots", "../.." * 20 + str(host)),
    ):
        (desk / link).symlink_to(target)
        succeed(anyone, "cp", str(desk / link), f"{name}:/{link}")
        done = anyone("cp", f"{name}:/{link}/secret", str(desk / "stolen"))
        assert f"Could not find the file /{link}/secret" in done.stderr
        done = anyone("cp", "-L", f"{name}:/{link}", str(desk / "stolen"))
        assert "Could not find the file" in done.stderr
        done = anyone("cp", str(desk / "file"), f"{name}:/{link}/secret")
        assert "Could not find the file" in done.stderr
    assert not (desk / "stolen").exists()
    assert (host / "secret").read_text() == SECRET


def test_links_of_proc(anyone: Cli, desk: Path) -> None:
    """What the kernel would follow to another root is read as the text it is."""
    with running(anyone, "--rm", BOX, script="echo mine >/mine; cd /tmp") as found:
        for path in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd/.."):
            done = anyone("cp", f"{found.name}:{path}{desk}/host/secret", str(desk / "stolen"))
            assert done.returncode == 1, path
            done = anyone("cp", str(desk / "file"), f"{found.name}:{path}{desk}/host/secret")
            assert done.returncode == 1, path
        done = anyone("cp", f"{found.name}:/proc/1/root/mine", str(desk / "mine"))
        assert done.returncode == 0, done.stderr
        assert (desk / "mine").read_text() == "mine\n"
    assert not (desk / "stolen").exists()
    assert (desk / "host/secret").read_text() == SECRET


def test_nothing_is_waited_for(anyone: Cli, desk: Path) -> None:
    """Fifos and devices are named, not opened; a fifo in the place of a file is replaced."""
    script = "mkdir /odd; mkfifo /odd/fifo /odd/secret; cp -a /dev/null /dev/zero /odd 2>/dev/null; echo x >/odd/x"
    with running(anyone, "--rm", BOX, script=script) as found:
        start = time.monotonic()
        succeed(anyone, "cp", f"{found.name}:/odd", str(desk / "odd"))
        succeed(anyone, "cp", str(desk / "file"), f"{found.name}:/odd/secret")
        done = anyone("cp", f"{found.name}:/dev", str(desk / "dev"))
        assert done.returncode == 0, done.stderr
        assert "not copied: devices (" in done.stderr
        assert time.monotonic() - start < 15
    assert stat.S_ISFIFO((desk / "odd/fifo").lstat().st_mode)
    assert (desk / "odd/x").read_text() == "x\n"
    assert not [path for path in desk.rglob("*") if stat.S_ISCHR(path.lstat().st_mode)]


def test_what_is_here_is_not_followed(anyone: Cli, desk: Path) -> None:
    """A link of the container's that has come here before does not lead the next copy elsewhere."""
    with running(
        anyone, "--rm", BOX, script=f"mkdir -p /a /b/a; ln -s {desk}/host /a/a; echo evil >/b/a/secret"
    ) as found:
        succeed(anyone, "cp", f"{found.name}:/a/.", str(desk / "here"))
        done = anyone("cp", f"{found.name}:/b/.", str(desk / "here"))
        assert done.returncode == 1
        assert "cannot overwrite non-directory" in done.stderr
    assert (desk / "host/secret").read_text() == SECRET


def test_an_archive_of_two_minds(anyone: Cli, desk: Path) -> None:
    """An archive that makes a link and then goes through it stays in the container; one with .. is refused."""
    create(anyone, name := f"c-{os.urandom(4).hex()}")
    (desk / "t").mkdir()
    (desk / "t/link").symlink_to(desk / "host")
    script = (
        f"cd {desk}/t; tar -cf ../a.tar link; rm link; mkdir link; echo evil >link/secret; tar -rf ../a.tar link/secret"
    )
    subprocess.run(["sh", "-ec", script], check=True)
    anyone("cp", "-", f"{name}:/tmp", input=(desk / "a.tar").read_bytes())
    subprocess.run(["tar", "-C", desk / "t", "-Pcf", desk / "b.tar", "../file"], check=True)
    done = anyone("cp", "-", f"{name}:/tmp", input=(desk / "b.tar").read_bytes())
    assert done.returncode == 1
    assert "leads out of it" in done.stderr
    assert (desk / "host/secret").read_text() == SECRET


def test_a_tree_that_is_changed_meanwhile(anyone: Cli, desk: Path) -> None:
    """What goes while it is read is not there; nobody stumbles over it."""
    script = """
mkdir -p /busy/d; (while :; do for n in 1 2 3 4 5 6 7 8; do mkdir -p /busy/d/$n/x; echo $n >/busy/d/$n/x/f; done
rm -rf /busy/d/*; done) >/dev/null 2>&1 &
"""
    with running(anyone, "--rm", BOX, script=script) as found:
        for number in range(5):
            done = anyone("cp", f"{found.name}:/busy", str(desk / f"busy-{number}"))
            assert done.returncode == 0, done.stderr
            done = anyone("export", "-o", str(desk / "busy.tar"), found.name)
            assert done.returncode == 0, done.stderr
            assert "busy/d" in members((desk / "busy.tar").read_bytes())
