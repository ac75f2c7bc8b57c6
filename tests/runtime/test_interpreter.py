"""The copy of the interpreter that containers are made from: nobody can write it, and it is there whoever was killed.

Called as functions as well, on a directory of the test's own, as what is tested is who comes at the same time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.linux import files
from cloche.stage import keeping, kept
from tests.conftest import SOURCE, system_python
from tests.runtime.conftest import SLEEP, wait_until
from tests.runtime.looking import namespace, only_cloche

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.conftest import MakeBundle, Runtime

MAKE = """
import sys
sys.path.append(sys.argv[1])
from cloche.stage import keeping, kept
kept.KEPT = sys.argv[2]
print(keeping.keep(sys.argv[3]))
"""


@pytest.fixture
def own(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of copies."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    top = place / "kept"
    monkeypatch.setattr(kept, "KEPT", str(top))
    yield top
    for copy in top.glob(".*"):
        keeping.remove_copy(str(copy))


def flags(path: Path | str) -> int:
    with files.Fd(os.open(path, os.O_RDONLY)) as fd:
        return files.flags_of(fd.number)


def make() -> Path:
    return Path(keeping.keep(os.path.realpath(system_python())))


def works(link: Path) -> None:
    done = subprocess.run([link, "-I", "-S", "-c", "import os, ctypes"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_cannot_be_written(own: Path) -> None:
    link = make()
    assert flags(link) & files.FS_IMMUTABLE_FL
    with pytest.raises(PermissionError):
        os.open(link, os.O_WRONLY)
    with pytest.raises(PermissionError):
        link.resolve().unlink()
    works(link)
    assert sorted(p.name for p in own.iterdir() if p.name[0] == ".") == [link.resolve().parents[1].name]


def test_one_that_can_be_written_is_made_anew(own: Path) -> None:
    link = make()
    copy = link.resolve()
    with files.Fd(os.open(copy, os.O_RDONLY)) as fd:
        files.set_flags(fd.number, files.flags_of(fd.number) & ~files.FS_IMMUTABLE_FL)
    copy.write_bytes(b"somebody else's")
    assert make() == link
    assert flags(link) & files.FS_IMMUTABLE_FL
    works(link)
    assert own.is_dir()


@pytest.mark.parametrize("frozen", [True, False])
def test_what_a_killed_one_has_left_is_removed(own: Path, frozen: bool) -> None:
    link = make()
    name = link.resolve().parents[1].name
    for left in (f"{name}.new", ".some-other.new"):
        (own / left / "bin").mkdir(parents=True)
        (own / left / "bin/python3").write_bytes(b"half")
        if frozen:
            with files.Fd(os.open(own / left / "bin/python3", os.O_RDONLY)) as fd:
                files.set_flags(fd.number, files.flags_of(fd.number) | files.FS_IMMUTABLE_FL)
    Path(f"{link}.new").symlink_to("nowhere")
    keeping.remove_copy(str(own / name))
    make()
    works(link)
    assert [p.name for p in own.iterdir() if p.name[0] == "."] == [name]
    assert not Path(f"{link}.new").is_symlink()


def test_its_library_is_not_found_by_way_of_another_copy(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the original is replaced, the new copy is made by a process that runs from the old one."""
    old = own / ".old"
    (old / "bin").mkdir(parents=True)
    (old / "bin/python3").write_bytes(b"old")
    (old / "lib").symlink_to(f"{sys.base_prefix}/lib")
    monkeypatch.setattr(sys, "base_prefix", str(old))
    link = make()
    assert not old.exists(), "nobody needs it any more"
    assert (link.resolve().parents[1] / "lib").is_dir()
    works(link)


def test_many_at_once_of_several_interpreters(own: Path, place: Path) -> None:
    origins = []
    for n in range(3):
        origins.append(place / f"usr{n}/bin/python3")
        origins[-1].parent.mkdir(parents=True)
        shutil.copy(os.path.realpath(system_python()), origins[-1])
    words = [system_python(), "-I", "-S", "-c", MAKE, str(SOURCE)]
    children = [
        subprocess.Popen([*words, str(own), str(origin)], stdout=subprocess.PIPE, text=True) for origin in origins * 3
    ]
    links = {child.communicate(timeout=60)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0] * 9
    assert links == {f"{own}{origin}" for origin in origins}
    for link in links:
        works(Path(link))
    assert len([p for p in own.iterdir() if p.name[0] == "."]) == 3


def test_what_it_lies_in_is_roots_alone(own: Path) -> None:
    """The launcher starts what is there as whoever calls it: an engine's umask of 0 makes no place for others."""
    kept.KEPT = str(own / "deep/kept")  # put back by the fixture
    mask = os.umask(0)
    try:
        link = make()
    finally:
        os.umask(mask)
    works(link)
    modes = {path: path.stat().st_mode & 0o022 for path in [own, *own.rglob("*")] if not path.is_symlink()}
    for copy in Path(kept.KEPT).glob(".*"):
        keeping.remove_copy(str(copy))
    assert set(modes.values()) == {0}, modes


@pytest.mark.parametrize("may", [True, False])
def test_who_may_change_flags_does_not_start_from_a_file_that_stays(
    runtime: Runtime, bundle: MakeBundle, may: bool
) -> None:
    only_cloche(runtime, "how it is protected from CVE-2019-5736")
    made = bundle(*SLEEP)
    if may:
        made.process["capabilities"]["bounding"].append("CAP_LINUX_IMMUTABLE")
    exe = os.readlink(f"/proc/{runtime.pid(runtime.create(made))}/exe")
    assert exe == "/memfd:cloche-stage (deleted)" if may else exe.startswith(f"{kept.KEPT}/.")


def test_one_of_a_user_namespace_that_is_joined(runtime: Runtime, bundle: MakeBundle) -> None:
    """It keeps the map it has, whatever config.json says: root in it may be the host's."""
    only_cloche(runtime, "how it is protected from CVE-2019-5736")
    other = subprocess.Popen(["unshare", "--user", "sleep", "1000"])
    try:
        own = os.readlink("/proc/self/ns/user")
        wait_until(lambda: os.readlink(f"/proc/{other.pid}/ns/user") != own, "no namespace")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{other.pid}/{name}").write_text("0 0 65536")
        made = namespace(bundle(*SLEEP), "user", f"/proc/{other.pid}/ns/user")
        one = [{"containerID": 0, "hostID": 300000, "size": 65536}]
        made.linux["uidMappings"] = made.linux["gidMappings"] = one
        exe = os.readlink(f"/proc/{runtime.pid(runtime.create(made))}/exe")
        assert exe.startswith((f"{kept.KEPT}/.", "/memfd:"))
    finally:
        other.kill()
        other.wait()
