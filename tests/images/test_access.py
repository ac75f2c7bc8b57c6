"""Who may, by which way: certificates, passwords, mirrors, short names, and when an image is fetched at all."""

from __future__ import annotations

import json
import os
import pty
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.images.liar import Liar, digest_of, tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Cli
    from tests.images.conftest import Registry


@pytest.fixture
def env(cli: Cli, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A store, logins and registries.conf of the test's own."""
    (tmp_path / "registries.conf").write_text("")
    yield {
        "REGISTRY_AUTH_FILE": str(tmp_path / "auth.json"),
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
        "CLOCHE_ROOT": str(tmp_path / "store"),
    }
    shutil.rmtree(cli.root, ignore_errors=True)


def test_nobody_gets_in_without_a_password(cli: Cli, guarded: Registry, env: dict[str, str]) -> None:
    done = cli("pull", f"{guarded.host}/box:1", env=env)
    assert done.returncode == 1
    assert "does not let us have" in done.stderr
    assert f"cloche login {guarded.host}" in done.stderr


def test_a_certificate_nobody_knows(cli: Cli, guarded: Registry, env: dict[str, str]) -> None:
    done = cli("pull", "--tls-verify=true", f"{guarded.host}/box:1", env=env)
    assert done.returncode == 1
    assert "certificate that is not trusted" in done.stderr
    assert "--tls-verify=false" in done.stderr


def test_login_and_logout(cli: Cli, guarded: Registry, env: dict[str, str], tmp_path: Path) -> None:
    words = ("--cert-dir", str(guarded.top / "certs"), "--tls-verify=true")
    wrong = cli("login", *words, "-u", "ana", "--password-stdin", guarded.host, input="guessed\n", env=env)
    assert wrong.returncode == 1
    assert "does not let ana in" in wrong.stderr
    assert not (tmp_path / "auth.json").exists()
    done = cli("login", *words, "-u", "ana", "--password-stdin", guarded.host, input="secret\n", env=env)
    assert done.stdout.startswith("Login Succeeded\n"), done.stderr
    assert stat.S_IMODE((tmp_path / "auth.json").stat().st_mode) == 0o600
    assert cli("pull", *words, "-q", f"{guarded.host}/box:1", env=env).returncode == 0
    subprocess.run(
        [
            "skopeo",
            "inspect",
            "--tls-verify=false",
            "--authfile",
            str(tmp_path / "auth.json"),
            f"docker://{guarded.host}/box:1",
        ],
        check=True,
        capture_output=True,
    )
    assert cli("logout", guarded.host, env=env).returncode == 0
    assert json.loads((tmp_path / "auth.json").read_text())["auths"] == {}
    again = cli("logout", guarded.host, env=env)
    assert again.returncode == 1
    assert "not logged in" in again.stderr


def test_a_login_of_skopeo_is_ours_as_well(cli: Cli, guarded: Registry, env: dict[str, str], tmp_path: Path) -> None:
    login = [
        "skopeo",
        "login",
        "--tls-verify=false",
        "--authfile",
        str(tmp_path / "auth.json"),
        "-u",
        "ana",
        "-p",
        "secret",
    ]
    subprocess.run([*login, guarded.host], check=True, capture_output=True)
    assert cli("pull", "-q", f"{guarded.host}/box:1", env=env).returncode == 0


def test_a_helper_keeps_the_password(cli: Cli, guarded: Registry, env: dict[str, str], tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        f'#!/bin/sh\nread host; test "$1 $host" = "get {guarded.host}" || {{ echo credentials not found; exit 1; }}\n'
        'echo \'{"ServerURL":"x","Username":"ana","Secret":"secret"}\'\n'
    )
    helper.chmod(0o755)
    (tmp_path / "auth.json").write_text(json.dumps({"credHelpers": {guarded.host: "test"}}))
    more = {**env, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert cli("pull", "-q", f"{guarded.host}/box:1", env=more).returncode == 0
    missing = cli("pull", f"{guarded.host}/box:1", env=env)
    assert missing.returncode == 1
    assert "docker-credential-test, which keeps the passwords, is not there" in missing.stderr


def test_a_password_is_asked_for_at_a_terminal(cli: Cli, guarded: Registry, env: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    child = cli.popen(
        "login", guarded.host, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen = b""
    for asked, answer in ((b"Username: ", b"ana\n"), (b"Password: ", b"secret\n")):
        while asked not in seen:
            seen += os.read(ours, 1000)
        os.write(ours, answer)
    while b"Succeeded" not in seen:
        seen += os.read(ours, 1000)
    assert child.wait(20) == 0
    assert b"secret" not in seen
    os.close(ours)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("login", "--password", "secret", "localhost:1"), "--password-stdin"),
        (("login", "--password-stdin", "localhost:1"), "--username"),
        (("login", "localhost:1"), "no terminal"),
        (("login", "-u", "x", "--password-stdin", "a b"), "invalid reference|not a registry"),
        (("pull", "a b"), "invalid reference format"),
        (("pull", "--platform", "no/such/thing/there", "a"), "not a platform"),
        (("pull", "--cert-dir", "/nowhere", "a"), "not a directory"),
        (("pull", "localhost:1/a"), "cannot be reached"),
        (("push", "nobody/has:it"), "no such image"),
        (("rmi", "nobody/has:it"), "no such image"),
        (("tag", "nobody/has:it", "x"), "no such image"),
        (("save", "nobody/has:it"), "no such image"),
        (("load", "-i", "/nowhere"), "cannot be read"),
        (("load", "-i", "/etc/passwd"), "none of images|no tar|number"),
        (("pull", "--pull"), "unknown option"),
    ],
)
def test_mistakes(cli: Cli, env: dict[str, str], words: tuple[str, ...], says: str) -> None:
    done = cli(*words, env=env)
    assert done.returncode in {1, 125}
    first, *rest = done.stderr.splitlines()
    assert first.startswith("cloche: ")
    assert any(word in done.stderr for word in says.split("|")), done.stderr
    assert all(line.startswith("  hint: ") for line in rest)


def test_a_mirror_stands_in(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    conf = Path(env["CONTAINERS_REGISTRIES_CONF"])
    conf.write_text(
        '[[registry]]\nprefix = "registry.invalid/team"\nlocation = "localhost:1/nothing"\n'
        f'[[registry.mirror]]\nlocation = "{filled.host}"\ninsecure = true\n'
    )
    done = cli("pull", "-q", "registry.invalid/team/box:1", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "registry.invalid/team/box:1\n"
    missing = cli("pull", "registry.invalid/team/nothing:1", env=env)
    assert missing.returncode == 1
    assert "is not in the registry" in missing.stderr
    conf.write_text('[[registry]]\nprefix = "registry.invalid"\nblocked = true\n')
    assert "is blocked" in cli("pull", "registry.invalid/x", env=env).stderr


def test_short_names(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    conf = Path(env["CONTAINERS_REGISTRIES_CONF"])
    conf.write_text(f'[aliases]\n"mybox" = "{filled.host}/box"\n')
    assert cli("pull", "-q", "mybox:1", env=env).stdout == f"{filled.host}/box:1\n"
    conf.write_text(f'unqualified-search-registries = ["localhost:1", "{filled.host}"]\n')
    done = cli("pull", "-q", "changed:1", env=env)
    assert done.stdout == f"{filled.host}/changed:1\n", done.stderr


def test_push(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    new = f"{filled.host}/pushed/{os.getpid()}:2"
    assert cli("pull", "-q", f"{filled.host}/changed:1", env=env).returncode == 0
    assert cli("tag", f"{filled.host}/changed:1", new, env=env).returncode == 0
    done = cli("push", new, env=env)
    assert done.returncode == 0, done.stderr
    assert "Mounted from another repository" in done.stdout
    path, tag = new.removeprefix(f"{filled.host}/").split(":")
    assert filled.digest(path, tag) == filled.digest("changed", "1")
    assert "Layer already exists" in cli("push", new, env=env).stdout


def test_push_where_nothing_is(cli: Cli, filled: Registry, guarded: Registry, env: dict[str, str]) -> None:
    """Every blob is sent, with a password, and comes back the same."""
    new = f"{guarded.host}/sent:1"
    Path(env["REGISTRY_AUTH_FILE"]).write_text(json.dumps({"auths": {guarded.host: {"auth": "YW5hOnNlY3JldA=="}}}))
    assert cli("pull", "-q", f"{filled.host}/changed:1", env=env).returncode == 0
    before = cli("images", "-q", "--no-trunc", env=env).stdout
    assert cli("tag", f"{filled.host}/changed:1", new, env=env).returncode == 0
    done = cli("push", new, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": Pushed") == 2
    assert cli("rmi", "-f", new, f"{filled.host}/changed:1", env=env).returncode == 0
    assert cli("pull", "-q", new, env=env).returncode == 0
    assert cli("images", "-q", "--no-trunc", env=env).stdout == before


def test_when_it_is_fetched(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    name = f"{filled.host}/box:1"
    never = cli("run", "--rm", "--pull", "never", name, "true", env=env)
    assert never.returncode == 125
    assert "no such image" in never.stderr
    missing = cli("run", "--rm", name, "echo", "here", env=env)
    assert missing.stdout == "here\n", missing.stderr
    assert f"Unable to find image '{name}' locally" in missing.stderr
    assert cli("run", "--rm", name, "echo", "here", env=env).stderr == ""
    always = cli("run", "--rm", "--pull", "always", name, "echo", "here", env=env)
    assert (always.returncode, always.stdout) == (0, "here\n")
    assert "Already exists" in always.stderr
    nothing = cli("run", "--rm", f"{filled.host}/nothing:1", "true", env=env)
    assert nothing.returncode == 125
    assert "is not in the registry" in nothing.stderr


def test_an_older_one_will_do(cli: Cli, env: dict[str, str]) -> None:
    with Liar() as liar:
        assert cli("pull", "-q", liar.name, env=env).returncode == 0
        liar.replies["*"] = lambda request: request.give(404)
        done = cli("run", "--rm", "--pull", "newer", liar.name, env=env)
        assert done.returncode == 126, done.stderr  # the file is there, and no program
        assert cli("run", "--rm", "--pull", "always", liar.name, env=env).returncode == 125


PROGRAM = """
import sys, cloche
name, missing = sys.argv[1:]
try:
    cloche.run(["true"], name, pull="never")
except cloche.NotFoundError as error:
    print(error)
result = cloche.run(["sh", "-c", "echo $WHO"], name)
print(result.exit_code, result.stdout, end="")
try:
    cloche.run(["true"], missing)
except cloche.NotFoundError as error:
    print(error)
"""


def test_from_python(cli: Cli, filled: Registry, env: dict[str, str], tmp_path: Path) -> None:
    name, missing = f"{filled.host}/box:1", f"{filled.host}/nothing:1"
    more = {**os.environ, **env, "CLOCHE_STATE": str(tmp_path / "state"), "PYTHONPATH": str(cli.source)}
    words = [cli.python, "-c", PROGRAM, name, missing]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=more, timeout=60)
    assert done.returncode == 0, done.stderr
    never, ran, nothing = done.stdout.splitlines()
    assert never == f"no such image: {name}"
    assert ran == "0 box"
    assert "is not in the registry" in nothing


def test_a_mirror_does_not_get_the_password(cli: Cli, env: dict[str, str]) -> None:
    with Liar() as mirror:
        mirror.replies["*"] = lambda request: request.give(401, WWW_Authenticate='Basic realm="x"')
        Path(env["REGISTRY_AUTH_FILE"]).write_text('{"auths": {"registry.invalid": {"auth": "YW5hOnNlY3JldA=="}}}')
        Path(env["CONTAINERS_REGISTRIES_CONF"]).write_text(
            '[[registry]]\nprefix = "registry.invalid"\nlocation = "localhost:1"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        )
        assert cli("pull", "registry.invalid/app:1", env=env).returncode == 1
        assert mirror.asked
        assert not any("Authorization" in headers for _, headers in mirror.asked)


def test_a_push_goes_to_no_mirror(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    assert cli("pull", "-q", f"{filled.host}/box:1", env=env).returncode == 0
    assert cli("tag", f"{filled.host}/box:1", "registry.invalid/app:1", env=env).returncode == 0
    with Liar() as mirror:
        Path(env["CONTAINERS_REGISTRIES_CONF"]).write_text(
            '[[registry]]\nprefix = "registry.invalid"\nlocation = "localhost:1"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        )
        done = cli("push", "registry.invalid/app:1", env=env)
        assert done.returncode == 1
        assert "localhost:1 cannot be reached" in done.stderr
        assert mirror.asked == []


def test_an_image_by_its_alias(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    Path(env["CONTAINERS_REGISTRIES_CONF"]).write_text(f'[aliases]\n"mybox" = "{filled.host}/box"\n')
    assert cli("run", "--rm", "mybox:1", "echo", "here", env=env).stdout == "here\n"
    assert cli("run", "--rm", "--pull", "never", "mybox:1", "echo", "again", env=env).stdout == "again\n"


def test_an_image_reads_nothing_of_ours(cli: Cli, env: dict[str, str]) -> None:
    """An entry of its Env without a value is no variable to pass on."""
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    tar = tar_of(**{"bin/env": busybox})
    config = {"config": {"Env": ["SECRET", "A=b"]}, "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]}}
    with Liar(layer=tar, config=config) as liar:
        done = cli("run", "--rm", liar.name, "/bin/env", env={**env, "SECRET": "hunter2"})
        assert "A=b\n" in done.stdout, done.stderr
        assert "hunter2" not in done.stdout


def test_the_same_layer_twice(cli: Cli, env: dict[str, str]) -> None:
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    tar = tar_of(**{"bin/true": busybox})
    config = {"rootfs": {"type": "layers", "diff_ids": [digest_of(tar)] * 2}}
    with Liar(layer=tar, config=config) as liar:
        liar.document["layers"] *= 2
        done = cli("run", "--rm", liar.name, "/bin/true", env=env)
        assert done.returncode == 0, done.stderr


def test_an_image_of_nothing(cli: Cli, env: dict[str, str]) -> None:
    with Liar(config={"rootfs": {"type": "layers", "diff_ids": []}}) as liar:
        liar.document["layers"] = []
        done = cli("run", "--rm", liar.name, "x", env=env)
        assert done.returncode == 125
        assert "has no layers" in done.stderr


def test_saved_into_what_is_no_file(cli: Cli, filled: Registry, env: dict[str, str], tmp_path: Path) -> None:
    assert cli("pull", "-q", f"{filled.host}/box:1", env=env).returncode == 0
    assert cli("save", "-o", "/dev/null", f"{filled.host}/box:1", env=env).returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    os.symlink("/dev/null", tmp_path / "link")
    assert cli("save", "-o", str(tmp_path / "link"), f"{filled.host}/box:1", env=env).returncode == 0
    assert (tmp_path / "link").is_symlink()


def test_layers_are_nobody_elses(cli: Cli, filled: Registry, env: dict[str, str]) -> None:
    """Set-uid programs of an image are not for everybody on this machine."""
    store = Path(env["CLOCHE_ROOT"])
    store.mkdir(mode=0o755)
    assert cli("pull", "-q", f"{filled.host}/box:1", env=env).returncode == 0
    assert stat.S_IMODE((store / "layers").stat().st_mode) == 0o700
    assert stat.S_IMODE((store / "incoming").stat().st_mode) == 0o700
    assert cli("run", "--rm", f"{filled.host}/box:1", "true", env=env).returncode == 0


def test_the_stop_signal_of_the_image(cli: Cli, env: dict[str, str]) -> None:
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    tar = tar_of(**{"bin/sh": busybox})
    config = {"config": {"StopSignal": "SIGUSR1"}, "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]}}
    with Liar(layer=tar, config=config) as liar:
        assert cli("pull", "-q", liar.name, env=env).returncode == 0
        script = "trap 'echo stopped; exit 7' USR1; echo up; while :; do :; done"
        child = cli.popen("run", "--rm", "--timeout", "20", liar.name, "/bin/sh", "-c", script, env=env, stdout=-1)
        assert child.stdout
        with child.stdout:
            assert child.stdout.readline() == b"up\n"
            child.terminate()
            assert child.stdout.read() == b"stopped\n"
        assert child.wait(30) == 7
