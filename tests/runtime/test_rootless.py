"""An ordinary user with one id: the configuration that `spec --rootless` writes, through the whole life."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ORDINARY
from tests.runtime.conftest import POLITE, SLEEP, Bundle, build_rootfs, default_config, wait_until
from tests.runtime.looking import only_cloche

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runtime.conftest import Runtime


@pytest.fixture
def bundle(rootless: Runtime, busybox: Path) -> Callable[..., Bundle]:
    """As the other one, but the user's, with the configuration that the runtime itself writes."""
    count = 0

    def make(*args: str) -> Bundle:
        nonlocal count
        count += 1
        path = rootless.top / f"bundle{count}"
        build_rootfs(path / "rootfs", busybox)
        (path / "rootfs/bin/busybox").unlink()
        shutil.copy(busybox, path / "rootfs/bin/busybox")
        owner = rootless.top.stat()
        for top, dirs, files in os.walk(path):
            for name in (".", *dirs, *files):
                os.chown(os.path.join(top, name), owner.st_uid, owner.st_gid, follow_symlinks=False)
        rootless.ok("spec", "--rootless", "--bundle", str(path))
        made = Bundle(path, json.loads((path / "config.json").read_text()))
        made.process["terminal"] = False
        return made.command(*args)

    return make


def test_run(rootless: Runtime, bundle: Callable[..., Bundle]) -> None:
    done = rootless.run(bundle("sh", "-c", "id -u; hostname; cat /proc/self/uid_map; exit 3"))
    assert done.returncode == 3, done.stderr
    uid, _, *mapped = done.stdout.split()
    assert uid == "0"
    assert mapped == ["0", str(rootless.top.stat().st_uid), "1"]


def test_the_whole_life(rootless: Runtime, bundle: Callable[..., Bundle]) -> None:
    made = bundle(*POLITE)
    id = rootless.create(made)
    assert rootless.state(id)["status"] == "created"
    rootless.start(id)
    wait_until(lambda: rootless.output(id) == "ready\n", "it is not ready")
    done = rootless.exec(id, "sh", "-c", "id -u; ls /proc | grep -c '^[0-9]*$'; exit 4")
    assert (done.returncode, done.stdout.split()[0]) == (4, "0"), done.stderr
    assert rootless.ok("list", "-q").split() == [id]
    rootless.kill(id, "TERM")
    rootless.wait(id)
    rootless.delete(id)
    assert rootless.status(id) == ""


def test_the_owner_is_told(rootless: Runtime, bundle: Callable[..., Bundle]) -> None:
    id = rootless.create(bundle("true"))
    head, line = rootless.ok("list").splitlines()
    assert "OWNER" in head
    assert line.split()[-1] in (f"#{rootless.top.stat().st_uid}", str(rootless.top.stat().st_uid)) or id in line


def test_by_force(rootless: Runtime, bundle: Callable[..., Bundle]) -> None:
    id = rootless.running(bundle(*SLEEP))
    rootless.delete(id, "--force")
    assert rootless.status(id) == ""


def test_the_state_directory_is_the_users_own(rootless: Runtime, bundle: Callable[..., Bundle]) -> None:
    # runc(8): "Default is /run/runc, or $XDG_RUNTIME_DIR/runc for rootless containers."
    made, id = bundle(*SLEEP).write(), rootless.new_id()

    def call(*words: str) -> int:
        argv = [*rootless.prefix, *rootless.command, *words]
        with (rootless.top / "out").open("wb") as out:
            return subprocess.run(argv, env=rootless.env, check=False, stdout=out, stderr=out, stdin=out).returncode

    try:
        assert call("create", "--bundle", str(made.path), id) == 0, (rootless.top / "out").read_text()
        assert list(rootless.top.glob(f"*/{id}"))
    finally:
        assert call("delete", "--force", id) == 0, (rootless.top / "out").read_text()


def test_another_user_is_refused_where_there_is_one_id(rootless: Runtime, bundle: Callable[..., Bundle]) -> None:
    made = bundle("true")
    made.process["user"] = {"uid": 1000, "gid": 1000}
    done = rootless.run(made)
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.parametrize("kind", ["somebody else's", "link", "open to all", "file"])
def test_a_state_directory_in_tmp_that_somebody_else_has_made(rootless: Runtime, kind: str) -> None:
    # without XDG_RUNTIME_DIR; who could write there would decide what `kill` kills
    only_cloche(rootless, "where state is kept without XDG_RUNTIME_DIR")
    uid = ORDINARY + 77  # nobody's
    path = Path(f"/tmp/cloche-runtime-{uid}")
    assert not path.is_symlink()
    assert not path.exists()
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    words = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", *rootless.command, "list", "-q"]
    env = {"PATH": os.environ["PATH"]}
    try:
        if kind == "link":
            path.symlink_to(rootless.top)
        elif kind == "file":
            path.write_text("")
            os.chown(path, uid, uid)
        else:
            path.mkdir()
            path.chmod(0o777 if kind == "open to all" else 0o755)
            if kind == "open to all":
                os.chown(path, uid, uid)
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"{path} is not a directory of yours alone" in done.stderr
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert not path.exists()  # nothing is made by looking
    finally:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            path.rmdir()


def test_a_bundle_for_root_says_what_a_user_needs(rootless: Runtime, bundle: Callable[..., Bundle]) -> None:
    rootless.not_like("runc", "crun", because="speaks of its own options, or makes a user namespace unasked")
    made = bundle("true")
    made.config = default_config()
    done = rootless.run(made)
    assert done.returncode == 1
    assert "spec --rootless" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("own_users", [False, True])
def test_below_a_user_namespace_with_one_id(rootless: Runtime, bundle: Callable[..., Bundle], own_users: bool) -> None:
    # as podman calls it for a user without a range in /etc/subuid: root there, and setgroups(2) is denied
    made, id = bundle("sleep", "600"), rootless.new_id()
    if own_users:
        for kind in ("uidMappings", "gidMappings"):
            made.linux[kind][0]["hostID"] = 0
    else:
        made.without_namespace("user")
        del made.linux["uidMappings"], made.linux["gidMappings"]
    made.process["user"]["additionalGids"] = [0]
    me = shlex.join([*rootless.command, "--root", str(rootless.root)])
    script = f"""
        {me} create -b {made.write().path} {id} </dev/null >/dev/null || exit 1
        {me} start {id} && {me} exec {id} cat /proc/self/setgroups /proc/self/uid_map; echo $?
        cat {rootless.root}/{id}/receipt.json; {me} delete --force {id}
    """
    words = [*rootless.prefix, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=rootless.env)
    assert done.returncode == 0, (done.stdout, done.stderr)
    denied, *mapped, code = done.stdout.split("{")[0].split()
    assert (denied, code) == ("deny", "0"), (done.stdout, done.stderr)
    assert mapped == ["0", "0" if own_users else str(rootless.top.stat().st_uid), "1"]
    if rootless.name == "cloche-runtime":
        assert not json.loads("{" + done.stdout.split("{", 1)[1])["groups"]["enforced"]
