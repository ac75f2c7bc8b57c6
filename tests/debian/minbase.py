"""A whole Debian, from packages that this machine's apt fetches: `make test-debian`, two minutes.

    apt's lists ──▶ the signed InRelease, Packages as apt keeps it ──▶ a mirror in .cache/, read over loopback
    apt-get download ──▶ the packages

It is not in `make test`, since it takes long and needs a mirror beyond this machine. The image is that of the release
this machine has, by Debian's own signature.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.images.debian.packages import Archive, parse_packages
from cloche.images.debian.resolving import first_choice, resolve
from tests.conftest import Cli, system_python
from tests.images.debian import ARCHITECTURE, Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.images.debian.packages import Package

LISTS = Path("/var/lib/apt/lists")
CACHE = Path(__file__).resolve().parents[2] / ".cache/debian"
RELEASE = platform.freedesktop_os_release()
SUITE, NUMBER = RELEASE["VERSION_CODENAME"], RELEASE["VERSION_ID"]
digests: dict[str, str] = {}


def the_list(ending: str) -> Path:
    found = sorted(LISTS.glob(f"*_debian_dists_{SUITE}_{ending}"))
    assert found, f"apt has no lists of {SUITE}: apt-get update"
    return found[0]


def packages() -> tuple[bytes, list[Package]]:
    """Packages as apt keeps it, and those of a system."""
    path = the_list(f"main_binary-{ARCHITECTURE}_Packages*")
    content = subprocess.check_output(["/usr/lib/apt/apt-helper", "cat-file", str(path)])
    archive = Archive(parse_packages(content, ARCHITECTURE, 0), ARCHITECTURE)
    return content, resolve(archive, first_choice(archive, "minbase", ()))


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The mirror."""
    content, wanted = packages()
    place = CACHE / "dists" / SUITE
    folder = place / f"main/binary-{ARCHITECTURE}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Packages").write_bytes(content)
    shutil.copy(the_list("InRelease"), place / "InRelease")
    missing = [package for package in wanted if not (CACHE / package.filename).exists()]
    fresh = CACHE / "fresh"
    fresh.mkdir(exist_ok=True)
    if missing:
        words = [f"{package.name}={package.version}" for package in missing]
        subprocess.run(["apt-get", "download", "-qq", *words], cwd=fresh, check=True)
    for package in missing:
        version = package.version.replace(":", "%3a")
        target = CACHE / package.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        (fresh / f"{package.name}_{version}_{package.architecture}.deb").rename(target)
    with Served(CACHE) as made:
        yield made


@pytest.mark.parametrize("kind", ["root", "subuid"])
def test_a_whole_debian(served: Served, shared_dir: Path, kind: str) -> None:
    """It runs, dpkg finds nothing wrong with it, and root's is that of a user with a range of ids."""
    cli = Cli(kind, shared_dir / "src", system_python())
    done = cli("image", "bootstrap", "--mirror", served.url, f"debian:{NUMBER}", timeout=800)
    assert done.returncode == 0, done.stderr
    *_, digest, name = done.stdout.split("\n")[:-1]
    assert name == f"docker.io/library/debian:{NUMBER}"
    digests[kind] = digest
    assert len(set(digests.values())) == 1, digests
    script = (
        "set -e; apt-get --version | head -1; dpkg --audit; dpkg --verify; "
        "dpkg-query -W -f '${Status}\\n' | sort -u; getent passwd _apt; stat -c %G /etc/shadow; "
        ". /etc/os-release; echo $VERSION_ID; perl -e 'print qq(perl\\n)'; readlink /bin /etc/localtime"
    )
    done = cli("run", "--pull", "never", f"debian:{NUMBER}", "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.split("\n")[:-1]
    assert first.startswith("apt ")
    assert rest == [
        "install ok installed",
        "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin",
        "shadow",
        NUMBER,
        "perl",
        "usr/bin",
        "/usr/share/zoneinfo/Etc/UTC",
    ]
