"""`diff`, `commit` and `export` beside docker's: the same script changes the same files in a container of each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.filed import InStore, create, members, succeed

if TYPE_CHECKING:
    from tests.conftest import Cli
    from tests.images.workshop import Workshop

BASE = """
mkdir -p d/sub e/f opq mode ren/in gone k dirtofile leaf old/er/still
echo 1 >d/a; echo 2 >d/sub/b; echo x >opq/old; echo y >opq/old2; echo z >ren/in/z; echo q >gone/q; echo h >h1
ln h1 h2; echo m >m; echo t >touch; echo s >same; echo fd >filetodir; echo r >remade; echo k >k/k; echo w >rewritten
echo l >leaf/l; ln -s a link; ln -s b relink; echo 1 >xattr; echo 2 >swapped; echo 3 >old/er/still/there
echo u >untouched; find . -exec touch -h -d 2020-01-01 {} +  # docker takes what is made in the same second for the same
"""
CHANGES = """
echo new >d/new; echo more >>d/sub/b; rm -r opq; mkdir opq; echo n >opq/n; chmod 700 mode; mv ren ren2; rm -r gone
ln h1 h3; rm h2; chmod 600 m; rm touch; rm remade; echo r >remade; rm filetodir; mkdir filetodir; echo i >filetodir/i
rmdir dirtofile; echo f >dirtofile; ln -s a lnk; mkdir -p /new/deep; mkfifo /new/fifo; chown 5 k/k; rm -r e
mkdir -p e/g; echo 5 >'a
b'; chmod 755 d; mkdir made; rmdir made; mkdir -p mode/u; rmdir mode/u; touch -d 2001-01-01 rewritten; rm relink
ln -s c relink; rm swapped; ln -s m swapped; read word <untouched; rm -r old; mkdir -p old/er; rm -r /t
"""


@pytest.fixture(scope="module")
def both(workshop: Workshop, cli: Cli) -> tuple[Workshop, InStore]:
    """A container `cc` of docker's and one of ours, of the same image, after the same changes."""
    store = workshop.store()
    workshop.sh(
        f"mkdir base; (cd base; {BASE}); tar -c base | docker cp - $(docker create --name start localhost/box:1 x):/;"
        "docker commit start base:1 && docker save base:1 -o base.tar && cloche load -i base.tar",
        store,
    )
    script = workshop.folder / "changes.sh"
    script.write_text(f"cd /base\n{CHANGES}")
    workshop.sh(
        "docker create --name cc -e GIVEN=1 -l a=b -w /base base:1 sh /changes.sh; docker cp changes.sh cc:/changes.sh;"
        "docker start -a cc"
    )
    ours = InStore(cli, store)
    create(ours, "cc", "-e", "GIVEN=1", "-l", "a=b", "-w", "/base", image="base:1", command=("sh", "/changes.sh"))
    succeed(ours, "cp", str(script), "cc:/changes.sh")
    succeed(ours, "start", "-a", "cc")
    return workshop, ours


def lines(text: str) -> list[str]:
    return sorted(text.replace("a\nb", "a\\nb").splitlines())


def test_diff(both: tuple[Workshop, InStore]) -> None:
    workshop, ours = both
    theirs = lines(workshop.sh("docker diff cc"))
    assert len(theirs) > 40
    assert lines(succeed(ours, "diff", "cc")) == theirs


def test_export(both: tuple[Workshop, InStore]) -> None:
    workshop, ours = both
    workshop.sh("docker export cc -o theirs.tar; cloche export cc -o ours.tar", Path(ours.root))
    theirs = members((workshop.folder / "theirs.tar").read_bytes())
    found = members((workshop.folder / "ours.tar").read_bytes())
    assert {name for name in theirs if name.startswith("base/")} == {name for name in found if name.startswith("base/")}
    # what docker makes in every container, and we on a mount alone
    own = {
        ".dockerenv",
        "etc/hostname",
        "etc/hosts",
        "etc/resolv.conf",
        "etc/mtab",
        "dev/console",
        "dev/pts",
        "dev/shm",
    }
    assert set(theirs) - set(found) <= own
    assert set(found) - set(theirs) <= {"."}
    for name in (set(theirs) & set(found)) - own - {"etc", "dev", "changes.sh"}:
        one, other = (
            (item.type, item.mode & 0o7777, item.uid, item.gid, item.size) for item in (theirs[name], found[name])
        )
        assert one == other, name
        assert theirs[name].linkname == found[name].linkname or theirs[name].islnk(), name


def look(archive: bytes) -> dict[str, tuple[object, ...]]:
    return {
        name: (item.type, item.mode, item.uid, item.size, item.linkname)
        for name, item in members(archive).items()
        if name.startswith("base")
    }


def test_commit(both: tuple[Workshop, InStore]) -> None:
    """docker finds in our image what it finds in its own, and says the same of how it is run."""
    workshop, ours = both
    options = "-a Ana -m 'a word' -c 'CMD [\"run\", \"me\"]' -c 'ENV MORE=$GIVEN' -c 'EXPOSE 80' -c 'ONBUILD RUN x'"
    workshop.sh(
        f"docker commit {options} cc theirs:1; cloche commit {options} cc ours:1; cloche save -o ours.tar ours:1;"
        "docker load -i ours.tar; for each in ours theirs; do docker create --name of-$each $each:1; "
        "docker export of-$each -o of-$each.tar; docker image inspect $each:1 >$each.json; done",
        Path(ours.root),
    )
    exported = [(workshop.folder / f"of-{each}.tar").read_bytes() for each in ("ours", "theirs")]
    assert look(exported[0]) == look(exported[1])
    one, other = (json.loads((workshop.folder / f"{each}.json").read_text())[0] for each in ("ours", "theirs"))
    keys = ("Cmd", "Env", "Entrypoint", "WorkingDir", "Labels", "ExposedPorts", "OnBuild", "User", "Volumes")
    assert {key: one["Config"].get(key) or None for key in keys} == {
        key: other["Config"].get(key) or None for key in keys
    }
    assert (one["Author"], one["Comment"], one["Architecture"]) == ("Ana", "a word", other["Architecture"])
    assert one["RootFS"]["Layers"][:-1] == other["RootFS"]["Layers"][:-1]


def test_the_same_layer_each_time(both: tuple[Workshop, InStore]) -> None:
    _, ours = both
    env = {"SOURCE_DATE_EPOCH": "1600000000"}
    made = [ours("commit", "-m", "x", "cc", env=env).stdout for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].startswith("sha256:")
    found: list[dict[str, Any]] = json.loads(succeed(ours, "image", "inspect", made[0].strip()))
    assert found[0]["Created"].startswith("2020-09-13T12:26:40")


def test_of_one_that_was_never_started(both: tuple[Workshop, InStore]) -> None:
    _, ours = both
    create(ours, "still", image="base:1")
    assert succeed(ours, "diff", "still") == ""
    assert succeed(ours, "commit", "still", "still:1").startswith("sha256:")
    assert succeed(ours, "image", "diff", "still:1") == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("diff", "nobody"), "No such container: nobody"),
        (("commit", "nobody"), "No such container: nobody"),
        (("export", "nobody"), "No such container: nobody"),
        (("commit", "cc", "UPPER"), "UPPER"),
        (("commit", "cc", f"x@sha256:{'0' * 64}"), "has a digest"),
        (("commit", "-c", "RUN x", "cc"), "is no change that can be made"),
    ],
)
def test_refused(both: tuple[Workshop, InStore], words: tuple[str, ...], says: str) -> None:
    done = both[1](*words)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_name_that_images_have_no_room_for(both: tuple[Workshop, InStore], tmp_path: Path) -> None:
    _, ours = both
    create(ours, "odd", image="base:1")
    (tmp_path / ".wh.me").write_text("x")
    succeed(ours, "cp", f"{tmp_path}/.wh.me", "odd:/base/.wh.me")
    done = ours("commit", "odd")
    assert done.returncode == 1
    assert "a name that means something else in an image" in done.stderr
    assert not [name for name in os.listdir(f"{ours.root}/incoming") if name.startswith("commit")]
