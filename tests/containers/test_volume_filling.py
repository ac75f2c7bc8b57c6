"""What a volume gets of the image at its first use: all of it, once, whoever is killed and whatever the image is."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Cli, system_python
from tests.containers.boxes import CHAR, FIFO, HARD, LINK, member, take_in, write_box
from tests.images.conftest import workshop  # noqa: F401
from tests.images.rich import rich
from tests.images.whole import look

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.boxes import Member
    from tests.images.workshop import Workshop

SEE = "cd /data; find . -exec stat -c '%n|%F|%a|%u:%g|%s|%Y' {} + | grep -v '^./[^|]*|directory' | sort; cat /data/two"
FOLDERS = "cd /data; find . -type d -exec stat -c '%n|%a|%u:%g|%Y' {} + | sort"
NUMBERS = "seq 2000 >/tmp/n; cmp /tmp/n /data/numbers && ls /data | wc -l"
DEEP = "/".join(["deep"] * 200)


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Images, by name: with everything that a file can be below /data, with much there, with next to nothing."""
    top = tmp_path_factory.mktemp("tars")
    numbers = "".join(f"{number}\n" for number in range(1, 2001)).encode()
    many = [member("data/"), *(member(f"data/{number}", b"x" * 500) for number in range(300))]
    few = [
        member("data/", mode=0o2770, uid=7, gid=8),
        member("kept/", mode=0o1777),
        member("kept/file", b"of the image\n"),
        member("file", b"no directory\n"),
        member("fifo", type=FIFO),
        member("null", type=CHAR, devmajor=1, devminor=3),
        member("to-etc", type=LINK, linkname="/etc"),
        member("to-outside", type=LINK, linkname="../../../../../etc"),
        member("to-proc", type=LINK, linkname="/proc"),
        member("to-dev", type=LINK, linkname="dev"),
        member("to-itself", type=LINK, linkname="to-itself"),
        member("to-nothing", type=LINK, linkname="made/by/link"),
        member("links/"),
        member("links/out", type=LINK, linkname="/etc/shadow"),
        member("links/up", type=LINK, linkname="../../../../.."),
        member("links/loop", type=LINK, linkname="loop"),
        *(member("deep/" * depth, mode=0o750) for depth in range(1, 201)),
        member(f"{DEEP}/file", b"down there\n"),
    ]
    return {
        "rich": write_box(top / "rich-box.tar", member("data/", mode=0o751, uid=5, gid=6), *_below_data(top)),
        "many": write_box(top / "many.tar", *many, member("data/numbers", numbers)),
        "few": write_box(top / "few.tar", *few),
    }


def _below_data(top: Path) -> list[Member]:
    rich(top / "rich.tar", far=False)
    found = []
    with tarfile.open(top / "rich.tar", encoding="utf-8", errors="surrogateescape") as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            data = file.read() if file is not None else b""
            info.name = f"data/{info.name}"
            if info.type == HARD:
                info.linkname = f"data/{info.linkname}"
            info.pax_headers = {key: text for key, text in info.pax_headers.items() if key not in {"path", "linkpath"}}
            found.append((info, data))
    return found


@pytest.fixture(params=["root", "user", "subuid"], scope="module")
def stocked(request: pytest.FixtureRequest, shared_dir: Path, tars: dict[str, Path]) -> Iterator[Cli]:
    """The command line as three kinds of user, each with these images."""
    if os.geteuid() != 0 and request.param != "user":
        pytest.skip("needs root to become other users")
    cli = Cli(request.param, shared_dir / "src", system_python())
    for name, path in tars.items():
        take_in(cli, path, f"{name}:1", "VOLUME /kept")
    yield cli
    shutil.rmtree(cli.root)


@pytest.fixture
def anyone_stocked(stocked: Cli) -> Iterator[Cli]:
    """The same, without volumes."""
    yield stocked
    shutil.rmtree(f"{stocked.root}/volumes", ignore_errors=True)


def out(cli: Cli, *words: str, **more: object) -> str:
    """What is printed by a command that succeeds."""
    done = cli(*words, **more)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stdout


def inside(cli: Cli, image: str, script: str, *words: str) -> str:
    return out(cli, "run", "--rm", *(words or ("-v", "data:/data")), f"{image}:1", "sh", "-c", script)


def first(cli: Cli, name: str = "data") -> bytes:
    return Path(f"{cli.root}/volumes/{name}/first").read_bytes()


def data(cli: Cli, name: str = "data") -> list[str]:
    return os.listdir(f"{cli.root}/volumes/{name}/_data")


def test_all_that_a_file_can_be(anyone_stocked: Cli) -> None:
    for script in (SEE, FOLDERS):
        image = inside(anyone_stocked, "rich", script, "--tmpfs", "/x").splitlines()
        image = [line for line in image if "special" not in line or ("disk|" not in line and "null|" not in line)]
        volume = inside(anyone_stocked, "rich", script).splitlines()
        assert len(image) > 10
        assert volume == image
    again = inside(anyone_stocked, "rich", "cd /data; ls -i one two | cut -d' ' -f1 | sort -u | wc -l")
    assert again == "1\n"


def test_what_cannot_be_copied_is_said(anyone_stocked: Cli) -> None:
    done = anyone_stocked("run", "--rm", "--explain", "-v", "data:/data", "rich:1", "true")
    assert done.returncode == 0
    left_out = "" if anyone_stocked.kind != "root" else "could not be copied: 2 devices"
    assert left_out in done.stderr + done.stdout


def test_as_docker_fills_it(workshop: Workshop, tars: dict[str, Path]) -> None:  # noqa: F811
    shutil.copy(tars["rich"], workshop.folder / "volume-rich.tar")
    store = workshop.store()
    place = workshop.sh(
        "docker import volume-rich.tar volumes:1 >/dev/null; docker volume create filled >/dev/null;"
        "docker run --rm --network none -v filled:/data volumes:1 /bin/true;"
        "docker volume inspect -f '{{.Mountpoint}}' filled"
    ).strip()
    workshop.sh(
        "cloche import volume-rich.tar volumes:1 >/dev/null;cloche run --rm -v filled:/data volumes:1 /bin/true",
        store,
    )
    ours, theirs = f"{store}/volumes/filled/_data", place

    def whole(top: str) -> list[object]:
        status = os.stat(top)
        devices = (stat.S_IFCHR, stat.S_IFBLK)
        found = [entry for entry in look(top) if stat.S_IFMT(int(str(entry[1]))) not in devices]
        return [(status.st_mode, status.st_uid, status.st_gid), *found]

    assert len(whole(theirs)) > 80
    assert whole(ours) == whole(theirs)


def test_an_empty_directory_gives_its_owner_and_mode(anyone_stocked: Cli) -> None:
    expected = "2770 0:0\n" if anyone_stocked.kind == "user" else "2770 7:8\n"
    assert inside(anyone_stocked, "few", "stat -c '%a %u:%g' /data; chmod 700 /data") == expected
    assert inside(anyone_stocked, "few", "stat -c %a /data") == "700\n"


def test_a_place_that_the_image_has_not(anyone_stocked: Cli) -> None:
    assert inside(anyone_stocked, "few", "stat -c '%a %u:%g' /new/place", "-v", "data:/new/place") == "755 0:0\n"
    assert inside(anyone_stocked, "few", "ls /kept", "-v", "data:/kept") == ""


def test_once_is_once(anyone_stocked: Cli) -> None:
    assert inside(anyone_stocked, "few", "cat /kept/file; rm /kept/file", "-v", "data:/kept") == "of the image\n"
    assert inside(anyone_stocked, "few", "ls /kept", "-v", "data:/kept") == ""
    for words in (("-v", "other:/kept:nocopy"), ("--mount", "type=volume,src=third,dst=/kept,volume-nocopy")):
        assert inside(anyone_stocked, "few", "ls /kept", *words) == ""
    assert inside(anyone_stocked, "few", "ls /kept", "-v", "other:/kept") == ""


def test_what_somebody_has_put_there_stays_alone(anyone_stocked: Cli) -> None:
    out(anyone_stocked, "volume", "create", "data")
    place = Path(f"{anyone_stocked.root}/volumes/data/_data/mine")
    place.write_text("x")
    assert inside(anyone_stocked, "few", "ls /kept", "-v", "data:/kept") == "mine\n"


def test_a_read_only_one_is_filled_as_well(anyone_stocked: Cli) -> None:
    script = "cat /kept/file; touch /kept/new 2>&1"
    done = anyone_stocked("run", "--rm", "-v", "data:/kept:ro", "few:1", "sh", "-c", script)
    assert done.stdout.startswith("of the image\n")
    assert "Read-only" in done.stdout


def test_the_host_is_no_image(anyone_stocked: Cli) -> None:
    assert out(anyone_stocked, "run", "--rm", "-v", "data:/usr/share", "host", "ls", "/usr/share") == ""


def test_in_memory_it_is_filled_each_time(anyone_stocked: Cli) -> None:
    out(anyone_stocked, "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "fast")
    for _ in range(2):
        script = "cat /kept/file; rm /kept/file; stat -c %a /kept"
        assert inside(anyone_stocked, "few", script, "-v", "fast:/kept") == "of the image\n1777\n"


@pytest.mark.parametrize("point", ["FillVolume", "volume-filling", "copying@1", "copying@150", "volume-copied"])
@pytest.mark.parametrize("action", ["kill", "errno", "full"])
def test_what_was_half_filled_is_filled_anew(anyone_stocked: Cli, point: str, action: str) -> None:
    words = ("run", "--rm", "-v", "data:/data", "many:1", "true")
    done = anyone_stocked(*words, env={"CLOCHE_FAILPOINT": f"{point}:{action}"})
    assert done.returncode == 125, done.stderr
    assert "Traceback" not in done.stderr
    begun = point != "FillVolume"
    assert first(anyone_stocked) == (b"f" if begun and action == "kill" else b"")
    if action != "kill":  # whoever fails and lives leaves nothing of it on a disk that may be full
        assert data(anyone_stocked) == []
        assert f"failpoint {point}" in done.stderr
        assert ("the disk of the store is full" in done.stderr) == (action == "full")
    assert inside(anyone_stocked, "many", NUMBERS) == "301\n"
    assert first(anyone_stocked) == b"d"


def test_one_that_is_whole_is_not_filled_again_whatever_happened_then(anyone_stocked: Cli) -> None:
    words = ("run", "--rm", "-v", "data:/data", "many:1", "true")
    assert anyone_stocked(*words, env={"CLOCHE_FAILPOINT": "volume-filled:kill"}).returncode == 125
    assert first(anyone_stocked) == b"f"
    assert anyone_stocked(*words, env={"CLOCHE_FAILPOINT": "PivotRoot:kill"}).returncode == 125
    assert first(anyone_stocked) == b"d"
    assert inside(anyone_stocked, "many", "rm /data/numbers; ls /data | wc -l") == "300\n"
    assert inside(anyone_stocked, "many", "ls /data | wc -l") == "300\n"


def test_whatever_is_killed_while_it_is_filled(anyone_stocked: Cli) -> None:
    words = ("run", "--rm", "-v", "data:/data", "many:1", "true")
    place = Path(f"{anyone_stocked.root}/volumes/data/first")
    with anyone_stocked.popen(*words, env={"CLOCHE_FAILPOINT": "copying@200:sleep"}) as process:
        deadline = time.monotonic() + 20
        while not place.exists() or place.read_bytes() != b"f":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert inside(anyone_stocked, "many", NUMBERS) == "301\n"


def test_many_at_once_find_it_whole(anyone_stocked: Cli) -> None:
    words = ("run", "--rm", "-v", "data:/data", "many:1", "sh", "-c", NUMBERS)
    env = {"CLOCHE_FAILPOINT": "copying@200:sleep"}
    many = [anyone_stocked.popen(*words, env=env if not n else {}, stdout=subprocess.PIPE) for n in range(4)]
    for process in many:
        said, _ = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, b"301\n")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/file", "the image has a file at /file, and no directory"),
        ("/fifo", "the image has a file at /fifo, and no directory"),
        ("/null", "the image has a file at /null, and no directory"),
        ("/to-itself", "/to-itself"),
        ("/to-proc", "leads to what is the container's own"),
        ("/to-dev", "leads to what is the container's own"),
        ("/file/below", "/file/below"),
    ],
)
def test_an_image_that_has_something_else_there(anyone_stocked: Cli, place: str, said: str) -> None:
    if place == "/null" and anyone_stocked.kind != "root":
        pytest.skip("only as an ordinary user: the layer has no device")
    done = anyone_stocked("run", "--rm", "-v", f"data:{place}", "few:1", "true")
    assert done.returncode == 125
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("place", ["/to-etc", "/to-outside"])
def test_a_link_leads_to_what_the_image_has_there(anyone_stocked: Cli, place: str) -> None:
    found = inside(anyone_stocked, "few", f"cat {place}/passwd", "-v", f"data:{place}")
    assert found.startswith("root:x:0:0::/root:/bin/sh\nana:")
    assert {"passwd", "group"} <= set(data(anyone_stocked))
    assert "shadow" not in data(anyone_stocked)


def test_a_link_that_leads_nowhere_gets_what_it_leads_to(anyone_stocked: Cli) -> None:
    script = "touch /to-nothing/file; ls /made/by/link"
    assert inside(anyone_stocked, "few", script, "-v", "data:/to-nothing") == "file\n"


def test_links_in_it_stay_links(anyone_stocked: Cli) -> None:
    script = "cd /links; readlink out; readlink up; readlink loop"
    assert inside(anyone_stocked, "few", script, "-v", "data:/links") == "/etc/shadow\n../../../../..\nloop\n"


def test_a_deep_tree(anyone_stocked: Cli) -> None:
    below = DEEP.partition("/")[2]
    script = f"cat /deep/{below}/file; stat -c %a /deep/deep"
    assert inside(anyone_stocked, "few", script, "-v", "data:/deep") == "down there\n750\n"
    assert out(anyone_stocked, "volume", "rm", "data") == "data\n"
    assert [name for name in os.listdir(f"{anyone_stocked.root}/volumes") if name != ".lock"] == []


def test_a_volume_of_the_image_has_what_is_there_and_is_gone_at_the_end(anyone_stocked: Cli) -> None:
    script = "cat /kept/file; rm /kept/file; touch /unnamed/file"
    for _ in range(2):
        words = ("--read-only", "-v", "/unnamed")
        assert inside(anyone_stocked, "few", script, *words) == "of the image\n"
    assert not os.path.exists(f"{anyone_stocked.root}/volumes")


def test_a_root_of_ones_own_fills_it_too(root: Cli, rootfs: Path) -> None:
    words = ("-v", "from-rootfs:/etc", "--rootfs", str(rootfs))
    try:
        found = out(root, "run", "--rm", *words, "cat", "/etc/group")
        assert "wheel" in found
    finally:
        assert root("volume", "rm", "from-rootfs").returncode == 0


def test_numbers_above_the_range_belong_to_nobody(root: Cli, tmp_path: Path) -> None:
    tar = write_box(tmp_path / "far.tar", member("data/"), member("data/far", b"f", uid=3_000_000, gid=4_000_000))
    take_in(root, tar, "far:1")
    try:
        found = out(root, "run", "--rm", "-v", "far:/data", "far:1", "stat", "-c", "%u:%g", "/data/far")
        assert found == "65534:65534\n"
    finally:
        shutil.rmtree(root.root)
