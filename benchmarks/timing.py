"""What every benchmark here needs: a root file system, an installed command, and ways to time a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"
DOCUMENT = HERE.parent / "docs/benchmarks.md"
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def make_rootfs(top: Path) -> Path:
    """A root file system with busybox."""
    rootfs = top / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or sys.exit("needs busybox-static"), rootfs / "bin/busybox")
    for applet in ("true", "sh", "sleep"):
        (rootfs / "bin" / applet).symlink_to("busybox")
    (rootfs / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return rootfs


def make_bundle(top: Path, rootfs: Path) -> Path:
    """An OCI bundle that runs `true`, made by runc or crun."""
    bundle = top / "bundle"
    bundle.mkdir()
    (bundle / "rootfs").symlink_to(rootfs)
    maker = shutil.which("runc") or shutil.which("crun")
    if maker:
        subprocess.run([maker, "spec"], cwd=bundle, check=True)
        config = json.loads((bundle / "config.json").read_text())
        config["process"]["terminal"] = False
        config["process"]["args"] = ["/bin/true"]
        config["root"]["path"] = str(rootfs)
        (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def install(top: Path) -> list[str]:
    """The command as pip installs it: a launcher beside an interpreter, the package in site-packages."""
    home = top / "installed"
    version = "python" + ".".join(python_version().split(".")[:2])
    library = home / "lib" / version / "site-packages"
    library.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to(PYTHON)
    for name in ("cloche", "cloche-runtime"):
        shutil.copy(HERE.parent / "scripts" / name, home / "bin" / name)
    shutil.copytree(SOURCE / "cloche", library / "cloche", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(library)], check=True)
    return [str(home / "bin/cloche")]


def command(words: list[str], *, quiet: bool = False) -> Callable[[], float]:
    """Time a process from start to exit."""
    actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)] if quiet else []

    def once() -> float:
        start = time.perf_counter()
        pid = os.posix_spawnp(words[0], words, os.environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"{words}: {status}")
        return (time.perf_counter() - start) * 1000

    return once


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of a call."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def output(words: list[str]) -> str:
    """What a command prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def put_section(text: str) -> None:
    """Have a section in the document, in the place of one with the same heading, else at the end."""
    before, title, rest = DOCUMENT.read_text().partition("\n" + text.partition("\n")[0] + "\n")
    after = rest[rest.index("\n## ") :] if title and "\n## " in rest else "\n"
    DOCUMENT.write_text(f"{before.rstrip()}\n\n{text.rstrip()}\n{after}".rstrip() + "\n")


def percentile(values: list[float], percent: int) -> float:
    """The value below which that many percent lie."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def python_version() -> str:
    """The version of the interpreter the command line is measured with."""
    return output([PYTHON, "-c", "import platform; print(platform.python_version())"]).strip()
