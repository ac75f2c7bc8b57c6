"""The image `host`: what of this machine can be seen, what cannot, and that nothing of it changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.integration.background import Elsewhere
from tests.integration.trees import look

SOURCE = Path(__file__).resolve().parents[2] / "src"
SECRETS = (
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssl/private",
    "/var/lib/docker",
    "/var/lib/containers",
)


@pytest.fixture(params=["root", "user"])
def stocked(request: pytest.FixtureRequest, root: Cli, place: Path) -> Elsewhere:
    """A machine with things to hide, and others to show, in /home, /root, /run, /tmp, /etc and /opt."""
    for path, mode in (
        ("opt/public/file", 0o644),
        ("opt/tool", 0o755),
        ("opt/private-file", 0o640),
        ("opt/private-dir/file", 0o644),
        ("home/ann/letter", 0o644),
        ("etc/shadow", 0o644),
        ("etc/gshadow", 0o644),
        ("etc/sudoers", 0o644),
        ("etc/sudoers.d/x", 0o644),
        ("etc/ssh/ssh_host_ed25519_key", 0o644),
        ("etc/ssh/ssh_host_ed25519_key.pub", 0o644),
        ("etc/ssh/ssh_config", 0o644),
        ("etc/app/key", 0o600),
        ("etc/app/config", 0o644),
        ("etc/krb5.keytab", 0o644),
        ("etc/passwd", 0o644),
        ("etc/group", 0o644),
    ):
        file = place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Path("/", path).read_text() if path in {"etc/passwd", "etc/group"} else f"this is {path}\n")
        file.chmod(mode)
    (place / "opt/private-dir").chmod(0o750)
    # what programs need to start at all
    needed = [
        path for path in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives") if Path("/etc", path).exists()
    ]
    subprocess.run(["cp", "-a", *(f"/etc/{path}" for path in needed), str(place / "etc")], check=True)
    script = f"for d in opt home etc; do mount --bind {place}/$d /$d; done; mount -t tmpfs none /run; mkdir /run/secret"
    return Elsewhere(Cli(request.param, root.source, root.python), script)


def test_homes_and_the_like_are_empty(anyone: Cli) -> None:
    done = anyone("run", "host", "sh", "-c", "for d in root home mnt media run; do ls -A /$d; done; ls /")
    seen = done.stdout.split()
    assert seen, done.stderr
    assert set(seen) <= set(os.listdir("/")) | {"dev", "home", "media", "mnt", "proc", "root", "run", "sys", "tmp"}
    assert set(os.listdir("/usr")) == set(anyone("run", "host", "ls", "-A", "/usr").stdout.split())


def test_a_stocked_machine_shows_what_is_public(stocked: Elsewhere) -> None:
    done = stocked("run", "host", "sh", "-c", "ls /opt /etc/ssh /etc/app; cat /opt/public/file")
    assert done.stdout.splitlines() == [
        *("/etc/app:", "config", ""),
        *("/etc/ssh:", "ssh_config", "ssh_host_ed25519_key.pub", ""),
        *("/opt:", "public", "tool"),
        "this is opt/public/file",
    ], done.stderr


def test_a_stocked_machine_hides_what_is_private(stocked: Elsewhere) -> None:
    places = "/home /root /run/secret"
    files = "/etc/shadow /etc/gshadow /etc/sudoers /etc/sudoers.d /etc/krb5.keytab /etc/ssh/ssh_host_ed25519_key"
    script = (
        f"ls -A {places} 2>/dev/null; for f in {files} /etc/app/key /opt/private-*; do [ -e $f ] && cat $f; done; true"
    )
    done = stocked("run", "host", "sh", "-c", script)
    assert "this is" not in done.stdout
    assert done.stdout.split() == ["/home:", "/root:"], done.stderr


def test_what_is_hidden_can_be_asked_for(stocked: Elsewhere) -> None:
    done = stocked(
        "run", "-v", "/etc/sudoers:/etc/sudoers:ro", "-v", "/home/ann:/home/ann:ro", "host", "cat", "/etc/sudoers"
    )
    assert done.stdout == "this is etc/sudoers\n", done.stderr


@pytest.mark.parametrize("path", SECRETS)
def test_secrets_of_this_machine_are_hidden(anyone: Cli, path: str) -> None:
    """Even from root, and even by another name of the same file."""
    script = f"for p in {path} /proc/1/root{path}; do [ -d $p ] && ls -A $p || cat $p; done"
    done = anyone("run", "--cap-add", "ALL", "host", "sh", "-c", script)
    assert done.stdout == ""


def test_what_is_written_does_not_reach_the_host(stocked: Elsewhere, place: Path) -> None:
    before = look(place / "opt") | look(place / "etc") | look(place / "home")
    script = (
        "echo x >/opt/new && echo y >>/opt/public/file && rm -f /opt/tool && echo z >/etc/new; "
        "mkdir -p /home/a /usr/local/new; cat /opt/new; tail -n 1 /opt/public/file"
    )
    done = stocked("run", "host", "sh", "-c", script)
    assert look(place / "opt") | look(place / "etc") | look(place / "home") == before
    assert not os.path.exists("/usr/local/new")
    if stocked.kind == "root":
        assert done.stdout == "x\ny\n", done.stderr


def test_root_may_install_what_it_likes(root: Cli) -> None:
    name = f"cloche-{os.urandom(4).hex()}"
    script = f"for d in usr/bin etc opt var/lib root home tmp run; do echo x >/$d/{name} && cat /$d/{name}; done"
    done = root("run", "host", "sh", "-c", script)
    assert done.stdout == "x\n" * 8, done.stderr
    assert not any(
        Path("/", d, name).exists() for d in ("usr/bin", "etc", "opt", "var/lib", "root", "home", "tmp", "run")
    )


def test_the_callers_python_is_there_and_read_only(place: Path) -> None:
    """From a program of the very interpreter that runs the tests, with its own packages."""
    inner = (
        "import sys, os, pytest, cloche; print(sys.executable); print(pytest.__file__); print(cloche.__file__)\n"
        "for path in (pytest.__file__, cloche.__file__):\n"
        "    try: open(path, 'a')\n"
        "    except OSError as error: print(error.errno in (13, 30))\n"
    )
    outer = (
        "import sys, cloche\n"
        f"result = cloche.run([sys.executable, '-c', {inner!r}], env={{'PYTHONPATH': {str(SOURCE)!r}}})\n"
        "print(result.stdout, result.stderr, result.exit_code)"
    )
    env = os.environ | {"PYTHONPATH": str(SOURCE), "CLOCHE_STATE": str(place / "state")}
    done = subprocess.run(
        [sys.executable, "-c", outer], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    lines = done.stdout.split()
    assert lines == [sys.executable, pytest.__file__, str(SOURCE / "cloche/__init__.py"), "True", "True", "0"], done


def test_its_commands_come_first(place: Path) -> None:
    outer = "import cloche; print(cloche.run('command -v python3; python3 -c \"import pytest\"').stdout)"
    env = os.environ | {"PYTHONPATH": str(SOURCE), "CLOCHE_STATE": str(place / "state")}
    done = subprocess.run(
        [sys.executable, "-c", outer], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    assert Path(done.stdout.strip()).parent == Path(sys.executable).parent, done
