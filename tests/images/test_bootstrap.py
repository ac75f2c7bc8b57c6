"""`cloche image bootstrap`: a small Debian from a mirror on this machine, and what is not taken from one that lies."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche.images.store.locks import is_locked
from tests.conftest import Cli, system_python
from tests.engines.conftest import require
from tests.images.debian import (
    ARCHITECTURE,
    RELEASED,
    Handler,
    Key,
    Made,
    Mirror,
    Served,
    ar_of,
    endless,
    member,
    small_system,
    tar_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Lie = Callable[[Mirror], None]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Key, Key]]:
    """A key to trust, and another."""
    require("gpg", "busybox")
    top = tmp_path_factory.mktemp("keys")
    top.chmod(0o755)
    made = Key(top / "good", "good@example.com"), Key(top / "other", "other@example.com")
    yield made
    for key in made:
        key.close()


@pytest.fixture
def mirror(shared_dir: Path, keys: tuple[Key, Key]) -> Iterator[Mirror]:
    """A mirror that tells the truth, which every user can read."""
    top = shared_dir / "mirror"
    made = Mirror(top, keys[0], small_system())
    shutil.copy(keys[0].ring, shared_dir / "ring.gpg")
    (shared_dir / "ring.gpg").chmod(0o644)
    yield made
    shutil.rmtree(top)


def bootstrap(cli: Cli, mirror: Mirror, *more: str, url: str = "", **env: str) -> Any:
    ring = str(Path(cli.root).parent / "ring.gpg")
    keyring = () if "--keyring" in more or "--no-check-gpg" in more else ("--keyring", ring)
    return cli("image", "bootstrap", "--mirror", url or mirror.url, *keyring, *more, "debian:12", env=env)


def refused(cli: Cli, mirror: Mirror, *more: str, url: str = "") -> str:
    """One line that says why, and nothing with a name."""
    done = bootstrap(cli, mirror, *more, url=url)
    assert done.returncode == 1, done
    lines = done.stderr.strip().split("\n")
    assert len(lines) <= 2, done.stderr
    assert lines[0].startswith("cloche: ")
    assert cli("images", "-q").stdout == ""
    assert not [path.name for path in Path(cli.root, "incoming").glob("*.d")] if Path(cli.root).exists() else True
    return str(done.stderr)


def parts(cli: Cli) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """The manifest and the config of the only image, and the directory of its layer."""
    store = Path(cli.root)
    entry = json.loads((store / "index.json").read_text())["manifests"][0]
    manifest = json.loads((store / "blobs/sha256" / entry["digest"][7:]).read_text())
    config = json.loads((store / "blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
    return manifest, config, store / "layers/sha256" / config["rootfs"]["diff_ids"][0][7:] / "fs"


@pytest.fixture(params=["root", "subuid"])
def maker(request: pytest.FixtureRequest, shared_dir: Path) -> Iterator[Cli]:
    """Those who can make a system, each with an empty store."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become other users")
    made = Cli(request.param, shared_dir / "src", system_python())
    yield made
    shutil.rmtree(made.root)


@pytest.fixture
def empty(root: Cli) -> Iterator[Cli]:
    """root, with an empty store."""
    yield root
    shutil.rmtree(root.root)


digests: set[str] = set()  # of what everybody has made of the same packages


def test_an_image_that_runs_and_is_the_same_for_everybody_each_time(maker: Cli, mirror: Mirror) -> None:
    """Root and a user with a range of ids get one digest, and so does who makes it again later."""
    for variable in ("TZ", "LANG"):
        done = bootstrap(maker, mirror, **{variable: "de_DE.UTF-8" if variable == "LANG" else "Asia/Tokyo"})
        assert done.returncode == 0, done.stderr
        *_, digest, name = done.stdout.split("\n")[:-1]
        assert name == "docker.io/library/debian:12"
        digests.add(digest)
    assert len(digests) == 1, digests
    script = "id ana; cat /srv/mine; stat -c '%u:%g %a' /srv/mine /srv/made; "
    script += "stat -c %Y /srv/made /etc/passwd; ls /bin/busybox"
    done = maker("run", "debian:12", "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [
        "uid=33(ana) gid=33 groups=33",
        "mine33:33 4750",
        "33:0 644",
        str(RELEASED),
        str(RELEASED),
        "/bin/busybox",
    ]


def test_what_an_image_says_of_itself_and_what_is_not_left_in_it(empty: Cli, mirror: Mirror) -> None:
    """Where it is from without the password, its time, its command; no log, backup, name or cache."""
    with Served(mirror.top) as served:
        login = served.url.replace("127", "ana:s3cret@127", 1)
        done = bootstrap(empty, mirror, url=f"{login}/")
        assert done.returncode == 0, done.stderr
        assert {authorization for _, authorization, _ in served.asked} == {"Basic YW5hOnMzY3JldA=="}
        url = served.url
    manifest, config, tree = parts(empty)
    notes = manifest["annotations"]
    assert notes == config["config"]["Labels"]
    assert notes["cloche.debian.mirrors"] == url
    assert notes["cloche.debian.signatures"] == "checked, with keys other than Debian's"
    assert notes["org.opencontainers.image.version"] == "12.99"
    assert notes["org.opencontainers.image.created"] == config["created"] == "2023-11-14T22:13:20Z"
    assert config["history"][0]["comment"] == "Debian of these tests"
    assert (config["config"]["Cmd"], config["architecture"]) == (["bash"], json.loads(done_platform(empty)))
    assert config["config"]["Env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    everything = "\n".join(path.read_text(errors="replace") for path in Path(empty.root, "blobs/sha256").iterdir())
    assert "s3cret" not in everything + done.stdout + done.stderr
    for gone in "etc/hostname etc/hosts etc/resolv.conf etc/passwd- var/log/dpkg.log var/lib/dpkg/status-old".split():
        assert not (tree / gone).exists(), gone
    assert [*(tree / "run").iterdir(), *(tree / "dev").iterdir()] == []
    assert not (tree / "usr/sbin/policy-rc.d").exists()
    sources = (tree / "etc/apt/sources.list.d/debian.sources").read_text()
    assert f"URIs: {url}\nSuites: bookworm\nComponents: main\n" in sources
    assert "Status: install ok unpacked" not in (tree / "var/lib/dpkg/status").read_text()


def done_platform(cli: Cli) -> str:
    """The architecture, as JSON, that `image inspect` gives."""
    return cli("image", "inspect", "-f", "{{json .Architecture}}", "debian:12").stdout


def test_more_packages_another_name_and_a_time_that_is_given(empty: Cli, mirror: Mirror) -> None:
    """--include brings what that depends on, through what is provided; SOURCE_DATE_EPOCH is the image's time."""
    more = ("--include", "extra", "--variant", "apt", "-q", "--keyring", str(mirror.key.ring))
    command = ("image", "bootstrap", "--mirror", mirror.url, *more, "debian:bookworm", "tools:1")
    done = empty(*command, env={"SOURCE_DATE_EPOCH": "1650000000"})
    assert (done.returncode, done.stdout) == (0, "docker.io/library/tools:1\n"), done.stderr
    assert parts(empty)[1]["created"] == "2022-04-15T05:20:00Z"
    assert empty("run", "tools:1", "cat", "/opt/extra", "/srv/b").stdout == "extrab"
    assert empty("run", "tools:1", "stat", "-c", "%Y", "/srv/made").stdout == "1650000000\n"


def test_without_a_look_at_signatures_the_image_says_so(empty: Cli, mirror: Mirror) -> None:
    """It is printed, and stands in annotations, labels and history."""
    (mirror.place / "InRelease").unlink()
    (mirror.place / "Release").write_bytes(mirror.text())
    done = bootstrap(empty, mirror, "--no-check-gpg")
    assert done.returncode == 0, done.stderr
    assert "NOT CHECKED" in done.stdout
    manifest, config, _ = parts(empty)
    assert manifest["annotations"]["cloche.debian.signatures"] == "not checked"
    assert config["config"]["Labels"]["cloche.debian.signatures"] == "not checked"
    assert "--no-check-gpg" in config["history"][0]["comment"]


def test_a_signature_that_is_apart_from_the_release(empty: Cli, mirror: Mirror) -> None:
    """Release and Release.gpg, as old mirrors have them; and a change of one letter is seen."""
    (mirror.place / "InRelease").unlink()
    (mirror.place / "Release").write_bytes(mirror.text())
    (mirror.place / "Release.gpg").write_bytes(mirror.key.detached(mirror.text()))
    assert bootstrap(empty, mirror).returncode == 0
    empty("rmi", "-f", "debian:12")
    (mirror.place / "Release").write_bytes(mirror.text().replace(b"12.99", b"12.98"))
    assert "no good signature" in refused(empty, mirror)


def test_a_user_with_one_id_is_told_what_is_missing(user: Cli, mirror: Mirror) -> None:
    """Before anything is fetched."""
    done = bootstrap(user, mirror)
    assert done.returncode == 1
    assert "more than one id" in done.stderr
    assert "add-subuids" in done.stderr


def test_a_download_that_breaks_off_goes_on_where_it_was(empty: Cli, mirror: Mirror) -> None:
    """The rest is asked for, not all of it."""
    whole = next(mirror.top.glob("pool/busybox_*")).read_bytes()
    broken: list[bool] = []

    def half(handler: Handler) -> None:
        if not broken:
            broken.append(True)
            handler.give(whole[:500_000], length=len(whole))
            handler.close_connection = True
            return
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        handler.give(whole[start:], 206)

    with Served(mirror.top) as served:
        served.replies[f"busybox_1.0-1_{ARCHITECTURE}.deb"] = half
        assert bootstrap(empty, mirror, url=served.url).returncode == 0
        assert [wanted for path, _, wanted in served.asked if "busybox" in path] == ["", "bytes=500000-"]


@pytest.mark.parametrize("whole", [False, True])
def test_half_a_package_of_something_else_is_not_in_the_way(empty: Cli, mirror: Mirror, whole: bool) -> None:
    """What somebody has left here is not what the mirror has: once it is begun anew."""
    content = next(mirror.top.glob("pool/applets_*")).read_bytes()
    path = Path(empty.root, "incoming", f"sha256-{hashlib.sha256(content).hexdigest()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(len(content) if whole else 100))
    with Served(mirror.top) as served:
        done = bootstrap(empty, mirror, "--variant", "essential", url=served.url)
        assert done.returncode == 0, done.stderr
        ranges = [wanted for path, _, wanted in served.asked if "applets" in path]
    assert ranges == ([""] if whole else ["bytes=100-", ""])


def test_what_is_wrong_twice_is_not_asked_for_again(empty: Cli, mirror: Mirror) -> None:
    """Half of it is here, and the mirror has something else for the whole as well."""
    content = next(mirror.top.glob("pool/applets_*")).read_bytes()
    path = Path(empty.root, "incoming", f"sha256-{hashlib.sha256(content).hexdigest()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content[:100])
    wrong_hash(mirror)
    with Served(mirror.top) as served:
        assert "what arrived is not" in refused(empty, mirror, url=served.url)
        assert [wanted for path, _, wanted in served.asked if "applets" in path] == ["bytes=100-", ""]


def test_who_is_killed_leaves_nothing_that_stays(maker: Cli, mirror: Mirror) -> None:
    """Half a tree is removed by the next prune, whoever its files belong to, and the next try is a whole one."""
    changed(mirror, Made("b-loop", control={"postinst": "#!/bin/sh\nsleep 60\n"}))
    command = ("image", "bootstrap", "-v", "--mirror", mirror.url, "--no-check-gpg", "debian:12")
    working = maker.popen(*command, stdout=subprocess.PIPE, start_new_session=True)
    assert working.stdout is not None
    while b"Configuring" not in working.stdout.readline():
        assert working.poll() is None
    os.killpg(working.pid, signal.SIGKILL)
    working.wait()
    working.stdout.close()
    incoming = Path(maker.root, "incoming")
    assert len([*incoming.glob("debian-*.d")]) == 1
    mirror.put(small_system())
    assert bootstrap(maker, mirror).returncode == 0
    assert maker("image", "prune", "-f").returncode == 0
    assert [*incoming.iterdir()] == []


ROOM = r"""#!/bin/sh
sed -n 's/^ *\([^ :]*\):.*/\1/p' /proc/net/dev >/srv/devices
ls -l /proc/self/ns/net >/srv/network
cat /proc/sys/kernel/hostname /etc/hostname >/srv/names
/usr/sbin/policy-rc.d ssh start; echo $? >/srv/policy
"""


def test_what_scripts_find(empty: Cli, mirror: Mirror) -> None:
    """No network but their own loopback, a policy that no service is started, a name that is always the same."""
    changed(mirror, Made("b-loop", [member("./srv/", None)], {"Provides": "thing"}, {"postinst": ROOM}))
    assert bootstrap(empty, mirror).returncode == 0
    place = parts(empty)[2] / "srv"
    assert (place / "devices").read_text() == "lo\n"
    assert os.readlink("/proc/self/ns/net") not in (place / "network").read_text()
    assert (place / "policy").read_text() == "101\n"
    assert (place / "names").read_text() == "localhost\n" * 2


def test_packages_of_another_architecture_are_not_taken(empty: Cli, mirror: Mirror) -> None:
    """However new they are; those for all are."""
    other = next(name for name in ("amd64", "arm64") if name != ARCHITECTURE)
    foreign = Made("extra", [member("./opt/", None)], {"Architecture": other}, version="9")
    common = Made("common", [member("./common", b"all")], {"Architecture": "all"})
    mirror.put([*small_system(), foreign, common])
    done = bootstrap(empty, mirror, "--include", "extra,common")
    assert done.returncode == 0, done.stderr
    tree = parts(empty)[2]
    assert (tree / "opt/extra").read_bytes() + (tree / "common").read_bytes() == b"extraall"


def test_two_at_once_with_one_process_id(empty: Cli, mirror: Mirror) -> None:
    """In two namespaces of processes, as in two containers that share a store: neither takes the other's files."""
    script = "#!/bin/sh\nwhile [ ! -e /srv/go ]; do id >/dev/null; done\n"
    changed(mirror, Made("b-loop", [member("./srv/", None)], {"Provides": "thing"}, {"postinst": script}))
    words = ["unshare", "--pid", "--fork", "--mount-proc", *empty.argv, "image", "bootstrap", "--mirror", mirror.url]
    words += ["--keyring", str(mirror.key.ring)]
    env = {"PATH": os.environ["PATH"], "CLOCHE_ROOT": empty.root, "CLOCHE_STATE": empty.state}
    with subprocess.Popen([*words, "debian:12"], stdout=subprocess.PIPE, text=True, env=env) as first:
        assert first.stdout is not None
        try:
            while "Configuring" not in first.stdout.readline():
                assert first.poll() is None
            (place,) = Path(empty.root, "incoming").glob("debian-*.d")
            assert is_locked(f"{place}.lock")
            mirror.put(small_system())
            done = subprocess.run(
                [*words, "debian:12", "other:1"], capture_output=True, text=True, check=False, env=env
            )
            assert done.returncode == 0, done.stderr
        finally:
            for place in Path(empty.root, "incoming").glob("debian-*.d"):
                (place / "fs/srv/go").touch()
        first.stdout.read()
    assert first.returncode == 0
    assert [*Path(empty.root, "incoming").glob("debian*")] == []


def of_this_machine(cli: Cli, sources: Path, text: str, *more: str) -> Any:
    """The same where apt has these lines."""
    sources.mkdir(exist_ok=True)
    (sources / "debian.list").write_text(text)
    script = f'mount --make-rprivate / && mount --bind {sources} /etc/apt/sources.list.d && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", script, "sh", *cli.argv, "image", "bootstrap", *more, "debian:12"]
    env = {"PATH": os.environ["PATH"], "CLOCHE_ROOT": cli.root, "CLOCHE_STATE": cli.state}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=env)


def test_the_sources_of_this_machine(empty: Cli, mirror: Mirror, keys: tuple[Key, Key]) -> None:
    """Those of the release and what fixes it, of Debian; the newest of each package is taken."""
    newer = Made("extra", [member("./extra", b"newer")], {"Depends": "thing"}, version="1.0-1+deb12u1")
    Mirror(mirror.top, keys[0], [newer], "bookworm-security")
    Mirror(mirror.top / "other", keys[0], [Made("extra", version="9")], "bookworm", Origin="Somebody\x1b[31m")
    with Served(mirror.top) as served:
        signed = f"[signed-by={keys[0].ring}]"
        text = "".join(
            f"deb {signed} {served.url} {suite} main\n" for suite in ("bookworm-security", "bookworm", "sid")
        )
        text += f"deb {served.url} bookworm stable\ndeb {signed} {served.url}/other bookworm main\n"
        done = of_this_machine(empty, mirror.top / "sources.list.d", text, "--include", "extra")
    assert done.returncode == 0, done.stderr
    assert "/other bookworm is left out: it is of Somebody" in done.stderr
    assert "\x1b" not in done.stderr
    assert [line.split()[1] for line in done.stdout.split("\n")[:2]] == ["bookworm", "bookworm-security"]
    manifest, _, tree = parts(empty)
    assert (tree / "extra").read_bytes() == b"newer"
    assert manifest["annotations"]["cloche.debian.suites"] == "bookworm bookworm-security"
    text = (tree / "etc/apt/sources.list.d/debian.sources").read_text()
    assert text.count("Types: deb") == 1
    assert "Suites: bookworm bookworm-security\n" in text


def test_fixes_cannot_be_taken_away(empty: Cli, mirror: Mirror, keys: tuple[Key, Key]) -> None:
    """Neither by what the same key has signed for something else, nor by a source that is not there."""
    Mirror(mirror.top, keys[0], [Made("extra", version="2")], "bookworm-security")
    Mirror(mirror.top, keys[0], [Made("junk")], "bookworm-backports", Origin="Debian Backports")
    with Served(mirror.top) as served:
        lines = [
            f"deb [signed-by={keys[0].ring}] {served.url} {suite} main\n" for suite in ("bookworm", "bookworm-security")
        ]
        other = (mirror.top / "dists/bookworm-backports/InRelease").read_bytes()
        served.replies["bookworm-security/InRelease"] = lambda handler: handler.give(other)
        done = of_this_machine(empty, mirror.top / "sources.list.d", "".join(lines))
        assert (done.returncode, "is the Release of bookworm-backports, not of" in done.stderr) == (1, True), done
        done = of_this_machine(empty, mirror.top / "sources.list.d", lines[0])
        assert (done.returncode, "has Debian's bookworm-security" in done.stderr) == (1, True), done
        other = keys[0].clear_sign(mirror.text().replace(b"bookworm", b"bookworm-security").replace(b"Debian", b"X", 1))
        done = of_this_machine(empty, mirror.top / "sources.list.d", "".join(lines))
        assert (done.returncode, "has Debian's bookworm-security" in done.stderr) == (1, True), done


def test_debians_own_mirror_has_debian(monkeypatch: pytest.MonkeyPatch, empty: Cli, mirror: Mirror) -> None:
    """Where nobody says where it is."""
    from cloche.errors import RegistryError
    from cloche.images.debian import building, suites
    from cloche.images.debian.fetching import Mirrors
    from cloche.images.platforms import own_platform

    mirror.put_release(Origin="Somebody")
    monkeypatch.setattr(building, "read_sources", lambda *_: [])
    for name in ("MIRROR", "SECURITY"):
        monkeypatch.setattr(suites, name, mirror.url)
    recipe = building.Recipe("12", "bookworm", "x", own_platform(), keyring=str(mirror.key.ring))
    with pytest.raises(RegistryError, match="bookworm is of 'Somebody', not of Debian"):
        building._suites(Mirrors(), recipe, ARCHITECTURE, building.Progress())
    del empty


def changed(mirror: Mirror, *packages: Made) -> None:
    """The small system with other packages in place of those of the same names, or besides."""
    names = {package.name for package in packages}
    mirror.put([*(package for package in small_system() if package.name not in names), *packages])


def unsigned(mirror: Mirror) -> None:
    (mirror.place / "InRelease").write_bytes(mirror.text())


def wrong_hash(mirror: Mirror) -> None:
    path = next(mirror.top.glob("pool/applets_*"))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def too_long(mirror: Mirror) -> None:
    path = next(mirror.top.glob("pool/applets_*"))
    path.write_bytes(path.read_bytes() + b"more")


def wrong_index(mirror: Mirror) -> None:
    path = mirror.place / f"main/binary-{ARCHITECTURE}/Packages.xz"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def before_and_after(mirror: Mirror) -> None:
    """A text that was not signed around one that was."""
    signed = (mirror.place / "InRelease").read_bytes()
    (mirror.place / "InRelease").write_bytes(mirror.text() + b"\n" + signed)


def other_text(mirror: Mirror) -> None:
    path = mirror.place / "InRelease"
    path.write_bytes(path.read_bytes().replace(b"Version: 12.99", b"Version: 12.98"))


def raw(content: bytes) -> Lie:
    return lambda mirror: changed(mirror, Made("b-loop", raw=content))


def hostile(*members: tuple[tarfile.TarInfo, bytes]) -> Lie:
    return lambda mirror: changed(mirror, Made("b-loop", list(members)))


FOREIGN = b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\xf3\xfe" + bytes(100)  # of no machine there is
BASE = {"Essential": "yes"}
YESTERDAY = formatdate(time.time() - 86400, usegmt=True)
LINK = member("./srv/out", b"", type=tarfile.SYMTYPE, linkname="/../../../../../../etc")
LIES: dict[str, tuple[Lie, str]] = {
    "no signature": (unsigned, "it has none"),
    "a text around the signed one": (before_and_after, "no good signature"),
    "another text": (other_text, "no good signature"),
    "expired": (lambda mirror: mirror.put_release(Valid_Until=YESTERDAY), "was valid until"),
    "another suite": (lambda mirror: mirror.put_release(Codename="trixie"), "is the Release of trixie"),
    "a Release of nothing": (lambda mirror: mirror.put_release(Date="soon"), "'soon' for its Date"),
    "another Packages": (wrong_index, "is not what was asked for"),
    "another package": (wrong_hash, "what arrived is not"),
    "a longer package": (too_long, "longer than"),
    "no architecture": (lambda mirror: mirror.put_indexes({}), "has no hashes"),
    "a package that is not there": (lambda mirror: next(mirror.top.glob("pool/applets_*")).unlink(), "is not there"),
    "a dependency that is not there": (
        lambda mirror: changed(mirror, Made("b-loop", fields={"Depends": "nowhere (>= 2)"})),
        "needs nowhere (>= 2), which cannot be had",
    ),
    "an old dependency": (
        lambda mirror: changed(mirror, Made("b-loop", fields={"Depends": "busybox (>= 2)"})),
        "needs busybox (>= 2)",
    ),
    "packages that do not go together": (
        lambda mirror: changed(mirror, Made("b-loop", fields={"Conflicts": "apt"})),
        "do not go together",
    ),
    "a file of two packages": (hostile(member("./usr/bin/dpkg", b"mine", 0o755)), "which b-loop has as well"),
    "a place above": (hostile(member("./../../up", b"up")), "leads out of it"),
    "a path of the machine": (
        lambda mirror: changed(mirror, Made("b-loop", said={"Filename": "../../etc/passwd"})),
        "no place on its mirror",
    ),
    "a whiteout": (hostile(member("./etc/.wh.passwd", b"")), "would hide something"),
    "a hard link out": (
        hostile(member("./etc/x", b"", type=tarfile.LNKTYPE, linkname="../../up")),
        "leads out",
    ),
    "no ar": (raw(b"PK\3\4" + bytes(100)), "no archive of ar"),
    "an ar without tars": (raw(ar_of(("debian-binary", b"2.0\n"), ("x", b""))), "no control.tar and data.tar"),
    "an ar that says too much": (raw(ar_of(("debian-binary", b"2.0\n"))[:-4] + b"x"), "ends in the middle"),
    "another package's name": (
        lambda mirror: changed(mirror, Made("b-loop", raw=Made("zsh").deb)),
        "is zsh, not b-loop",
    ),
    "a script with a path": (
        raw(
            ar_of(
                ("debian-binary", b"2.0\n"),
                ("control.tar", tar_of([member("./control", Made("b-loop").control_file().encode()), member("a/b")])),
                ("data.tar", tar_of([])),
            )
        ),
        "among what is for dpkg",
    ),
    "programs of another machine": (
        lambda mirror: changed(mirror, Made("busybox", [member("./usr/bin/busybox", FOREIGN, 0o755)], BASE)),
        "a machine that runs its programs",
    ),
    "a script that fails": (
        lambda mirror: changed(mirror, Made("b-loop", control={"postinst": "#!/bin/sh\necho no luck\nexit 3\n"})),
        "the postinst script of b-loop failed",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_what_is_not_right_is_not_taken(empty: Cli, mirror: Mirror, name: str) -> None:
    """One line says what; there is no image, and nothing half made."""
    lie, said = LIES[name]
    lie(mirror)
    assert said in refused(empty, mirror)
    assert not (mirror.top.parent / "up").exists()


def test_another_key_is_not_good_enough(empty: Cli, mirror: Mirror, keys: tuple[Key, Key]) -> None:
    """Neither to sign with, nor to look with."""
    assert "no good signature by a key of" in refused(empty, mirror, "--keyring", str(keys[1].ring))
    mirror.key = keys[1]
    mirror.put_release()
    assert "no good signature by a key of" in refused(empty, mirror)
    assert "is none" in refused(empty, mirror, "--keyring", "/etc/passwd")
    assert "cannot be read" in refused(empty, mirror, "--keyring", "/nowhere")


def test_a_mirror_older_than_it_may_be_when_that_is_wanted(empty: Cli, mirror: Mirror) -> None:
    """What is refused has an option."""
    mirror.put_release(Valid_Until=YESTERDAY)
    assert bootstrap(empty, mirror, "--no-check-valid-until", "--variant", "essential").returncode == 0


def test_answers_without_end(empty: Cli, mirror: Mirror) -> None:
    """Each file has a length, of a Release and all that it leads to."""
    for path, said in (("InRelease", "longer than"), ("Packages.xz", "longer than"), ("pool/dpkg", "longer than")):
        end = path if "/" not in path else f"/dpkg_1.0-1_{ARCHITECTURE}.deb"
        with Served(mirror.top) as served:
            served.replies[end] = endless
            assert said in refused(empty, mirror, url=served.url)


def test_a_packages_that_unfolds_without_end(empty: Cli, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is small as it is sent, and signed for."""
    from cloche.errors import RegistryError
    from cloche.images.debian import fetching

    monkeypatch.setattr(fetching, "LARGEST_PACKAGES", 1 << 20)
    with pytest.raises(RegistryError, match="unfolds to more than"):
        fetching._unfolded(gzip.compress(bytes(4 << 20)), "it")
    del empty, mirror


def test_files_by_their_hash_where_the_mirror_has_them(empty: Cli, mirror: Mirror) -> None:
    """The name may stand for another file by now."""
    folder = mirror.place / f"main/binary-{ARCHITECTURE}"
    content = (folder / "Packages.xz").read_bytes()
    (folder / "by-hash/SHA256").mkdir(parents=True)
    (folder / "by-hash/SHA256" / hashlib.sha256(content).hexdigest()).write_bytes(content)
    (folder / "Packages.xz").write_bytes(b"of the next day")
    assert "is not what was asked for" in refused(empty, mirror)
    mirror.put_release(Acquire_By_Hash="yes")
    assert bootstrap(empty, mirror, "--variant", "essential").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fedora:40",), "not a system that can be made here"),
        (("debian:7",), "no release of Debian"),
        (("debian:12", "UPPER"), "capital letters"),
        (("--mirror", "ftp://x/y", "debian:12"), "not the URL of a mirror"),
        (("--mirror", "http://127.0.0.1:1/x", "--no-check-gpg", "debian:12"), "cannot be reached"),
        (("--mirror", "file:///nowhere", "--no-check-gpg", "debian:12"), "is not there"),
        (("--platform", "linux/sparc64", "debian:12"), "has nothing for the platform"),
        (("--variant", "huge", "debian:12"), "variant"),
    ],
)
def test_a_mistake_is_one_line(empty: Cli, words: tuple[str, ...], said: str) -> None:
    """And no traceback."""
    done = empty("image", "bootstrap", *words)
    assert done.returncode == (125 if words[0] == "--variant" else 1)
    assert said in done.stderr
    assert len(done.stderr.strip().split("\n")) <= 2
