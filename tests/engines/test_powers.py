"""What a container may do: capabilities, filters of system calls, no new privileges, and all of it when privileged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.daemons import IMAGE, Engine, succeed

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = "grep -E '^(CapEff|CapBnd|CapInh|CapAmb|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status"
ALL = (1 << int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1) - 1
NET_ADMIN, SYS_ADMIN, CHOWN, NET_BIND_SERVICE = 12, 21, 0, 10


def powers(engine: Engine, *options: str) -> dict[str, int]:
    """The lines of /proc/self/status that tell powers; the capabilities as numbers."""
    lines = engine.sh(STATUS, *options).splitlines()
    return {key: int(value, 16) for key, value in (line.split(":\t") for line in lines)}


def test_no_capability(engine: Engine) -> None:
    found = powers(engine, "--cap-drop", "ALL")
    assert [found[each] for each in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")] == [0] * 5


def test_one_capability(engine: Engine) -> None:
    found = powers(engine, "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE")
    assert found["CapEff"] == found["CapBnd"] == 1 << NET_BIND_SERVICE


def test_the_usual_capabilities(engine: Engine) -> None:
    found = powers(engine)
    # docker's fourteen; podman's eleven or fourteen, as its configuration says
    assert found["CapEff"] in {0xA80425FB, 0x800405FB}
    assert found["CapBnd"] == found["CapPrm"] == found["CapEff"]


def test_one_more_capability(engine: Engine) -> None:
    assert powers(engine, "--cap-add", "NET_ADMIN")["CapEff"] == powers(engine)["CapEff"] | 1 << NET_ADMIN


def test_another_user_has_no_capability_in_effect(engine: Engine) -> None:
    found = powers(engine, "--user", "1000")
    assert found["CapEff"] == 0
    assert found["CapBnd"] != 0


def test_no_new_privileges(engine: Engine) -> None:
    assert powers(engine)["NoNewPrivs"] == 0
    assert powers(engine, "--security-opt", "no-new-privileges")["NoNewPrivs"] == 1


def test_system_calls_are_filtered(engine: Engine) -> None:
    assert powers(engine)["Seccomp"] == 2
    assert powers(engine, "--security-opt", "seccomp=unconfined")["Seccomp"] == 0
    assert "not permitted" in engine.run(IMAGE, "unshare", "-m", "true").stderr


def test_a_filter_of_ones_own(engine: Engine) -> None:
    profile = engine.room.folder / "seccomp.json"
    calls = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls}))
    profile.chmod(0o644)
    done = engine.run("--security-opt", f"seccomp={profile}", IMAGE, "mkdir", "/tmp/d")
    assert "No space left on device" in done.stderr
    engine.sh("mkdir /tmp/d")


def test_a_filter_by_argument(engine: Engine) -> None:
    profile = engine.room.folder / "argument.json"
    argument = {"index": 1, "value": 0o777, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
    calls = [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [argument]}]
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]
    profile.write_text(
        json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": calls})
    )
    profile.chmod(0o644)
    done = engine.run("--security-opt", f"seccomp={profile}", IMAGE, "mkdir", "/tmp/d")
    assert "not permitted" in done.stderr
    engine.sh(
        "umask 077; mkdir -m 700 /tmp/e || mkdir /tmp/e; mkdir -p /tmp/f; :", "--security-opt", f"seccomp={profile}"
    )


def test_privileged(rootful: Engine, unless_runc: Callable[[str], None]) -> None:
    bounding = int(succeed(rootful.room.run("grep", "^CapBnd", "/proc/1/status")).split()[1], 16)
    if bounding != ALL and rootful.kind == "docker":  # podman asks for what there is
        unless_runc("runc gives all capabilities or fails, and this host has not all of them to give")
    found = powers(rootful, "--privileged")
    assert found["CapEff"] == found["CapBnd"]
    # all that there is to give, but for the three latest, which docker 20.10 has not heard of
    assert {found["CapEff"], found["CapEff"] | 0b111 << 38} & {bounding}
    assert found["Seccomp"] == 0
    script = (
        "mount -t tmpfs x /t && echo x >/t/y && cat /t/y; ls /dev | wc -l; grep -c /proc/keys /proc/mounts; "
        ": </dev/fuse && echo device"
    )
    done = rootful.run("--privileged", IMAGE, "sh", "-c", script)
    written, devices, masked, device = done.stdout.split()
    assert (written, masked, device) == ("x", "0", "device")
    assert int(devices) > 20


def test_what_is_hidden_and_read_only(engine: Engine) -> None:
    script = "cat /proc/keys | wc -c; ls /sys/firmware | wc -w; echo 1 >/proc/sys/kernel/domainname"
    done = engine.run(IMAGE, "sh", "-c", script)
    assert done.stdout.split() == ["0", "0"]
    assert "Read-only file system" in done.stderr


def test_nothing_may_be_mounted(engine: Engine) -> None:
    assert "mount: permission denied" in engine.run(IMAGE, "mount", "-t", "tmpfs", "x", "/t").stderr
