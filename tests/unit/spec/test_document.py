"""Shapes: every annotation's reader, where it points, and the way back to JSON."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cloche.errors import SpecError
from cloche.spec import features, image, shape, state
from cloche.spec.config import Config
from cloche.spec.document import Document
from cloche.spec.linux import Linux
from cloche.spec.process import IOPriority, Process, Rlimit, User
from cloche.spec.resources import Resources
from cloche.spec.seccomp import Seccomp, SeccompAction

from .examples import DELETE, MINIMAL, change, full


def test_attributes_are_the_members() -> None:
    config = Config.parse(full())
    assert config.process is not None
    assert config.process.args == ["sh", "-c", "echo ü"]
    assert config.process.rlimits is not None
    assert config.process.rlimits[1] == Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=(1 << 64) - 1)
    assert config.process.ioPriority == IOPriority(class_="IOPRIO_CLASS_BE", priority=4)
    assert config.linux is not None
    network = config.linux.namespace("network")
    assert network is not None
    assert network.path == "/run/netns/a"
    assert Linux().namespace("pid") is None


def test_absent_members_have_their_defaults() -> None:
    config = Config.parse(MINIMAL)
    assert config.process is not None
    assert config.process.user == User(uid=0, gid=0, umask=None)
    assert config.process.terminal is False
    assert config.hooks is None


def test_the_full_example_is_full() -> None:
    """Every member of every type is in it somewhere, so the property tests reach it."""
    seen: dict[type[Document], set[str]] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Document):
            seen.setdefault(type(value), set()).update(vars(value))
            value = list(vars(value).values())
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            visit(item)

    visit(Config.parse(full()))
    for cls in Document.__subclasses__():
        if cls.__module__ in (features.__name__, image.__name__, state.__name__) or not cls.__module__.startswith(
            "cloche."
        ):
            continue
        assert seen[cls] == set(cls.__annotations__), cls


def test_round_trip() -> None:
    config = Config.parse(full())
    assert config.to_dict() == full()
    assert Config.parse(config.to_dict()) == config


def test_to_dict_drops_none_and_shares_nothing() -> None:
    process = Process(cwd="/", user=User(uid=3), args=["a"], env=None)
    plain = process.to_dict()
    assert plain == {"cwd": "/", "user": {"uid": 3}, "args": ["a"]}
    assert process.args is not None
    process.args.append("b")
    assert plain["args"] == ["a"]


def test_parsing_leaves_the_raw_lists_alone() -> None:
    raw = full()
    config = Config.parse(raw)
    assert config.process is not None
    assert config.process.args is not None
    config.process.args.append("more")
    assert raw == full()


def test_unknown_members_are_left_out() -> None:
    raw = {**full(), "freebsd": {"jail": {}}, "windows": 1, "__class__": 2}
    assert Config.parse(raw) == Config.parse(full())


def test_null_is_absent_for_what_is_optional() -> None:
    assert Config.parse(change(full(), "/process/env", None)).to_dict() == change(full(), "/process/env", DELETE)


@pytest.mark.parametrize(
    ("pointer", "value", "message"),
    [
        ("", [], "must be an object, not an array"),
        ("/ociVersion", DELETE, "is required"),
        ("/ociVersion", None, "is required"),
        ("/ociVersion", 1, "must be a string, not a number"),
        ("/process/cwd", DELETE, "is required"),
        ("/process/user", [], "must be an object, not an array"),
        ("/process/terminal", 1, "must be true or false, not a number"),
        ("/process/args", "sh", "must be an array, not a string"),
        ("/process/args/1", 5, "must be a string, not a number"),
        ("/process/args/1", "a\0b", "NUL"),
        ("/process/args/1", None, "must be a string, not null"),
        ("/process/cwd", "/\0", "NUL"),
        ("/process/cwd", "/\ud800", "surrogate"),
        ("/process/env/0", "A=\ud800", "surrogate"),
        ("/process/user/uid", -1, "must be from 0 to 4294967295, not -1"),
        ("/process/user/uid", 1 << 32, "must be from 0 to 4294967295"),
        ("/process/user/uid", 1.0, "must be a whole number, not a fraction"),
        ("/process/user/uid", True, "must be a whole number, not a boolean"),
        ("/process/user/uid", "0", "must be a whole number, not a string"),
        ("/process/user/additionalGids/1", 10**999, "far larger"),
        ("/process/rlimits/0/soft", -1, "must be from 0 to 18446744073709551615"),
        ("/process/rlimits/1/type", "RLIMIT_SPEED", "must be one of RLIMIT_AS,"),
        ("/process/rlimits/1/hard", DELETE, "is required"),
        ("/process/ioPriority/class", "IOPRIO_CLASS_NONE", "must be one of"),
        ("/process/scheduler/flags/0", "SCHED_FLAG_X", "must be one of"),
        ("/process/scheduler/nice", 1 << 31, "must be from -2147483648"),
        ("/linux/resources/blockIO/weight", 65536, "must be from 0 to 65535"),
        ("/linux/resources/memory/limit", 1 << 63, "must be from -9223372036854775808"),
        ("/linux/resources/rdma/mlx5_1/hcaHandles", "max", "must be a whole number"),
        ("/linux/resources/devices/1/type", "p", "must be one of a, c, b"),
        ("/linux/namespaces/0/type", "pidd", "must be one of pid, network,"),
        ("/linux/devices/0/type", "x", "must be one of c, b, u, p"),
        ("/linux/seccomp/syscalls/1/args/0/op", "EQ", "must be one of SCMP_CMP_NE"),
        ("/linux/seccomp/architectures/0", "x86", "must be one of"),
        ("/linux/seccomp/flags/0", 3, "must be a string, not a number"),
        ("/linux/memoryPolicy/mode", "bind", "must be one of MPOL_DEFAULT"),
        ("/linux/sysctl", ["a"], "must be an object"),
        ("/linux/sysctl/net.ipv4.ip_forward", 1, "must be a string, not a number"),
        ("/linux/personality/domain", "BSD", "must be one of LINUX, LINUX32"),
        ("/annotations/a~1b~0c", 1, "must be a string"),
        ("/annotations/nul\0", "x", "NUL"),
    ],
)
def test_wrong_shapes_point_at_the_value(pointer: str, value: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Config.parse(change(full(), pointer, value))
    assert caught.value.pointer == pointer
    assert message in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_pointer_can_start_elsewhere() -> None:
    with pytest.raises(SpecError) as caught:
        Resources.parse({"pids": {"limit": "x"}}, "/linux/resources")
    assert caught.value.pointer == "/linux/resources/pids/limit"


def test_file_names_that_are_not_utf8_get_through() -> None:
    config = Config.parse(change(full(), "/root/path", "/\udcff"))
    assert config.root is not None
    assert config.root.path == "/\udcff"


def test_only_members_can_be_set_by_keyword() -> None:
    with pytest.raises(TypeError, match="no member 'argz'"):
        Process(cwd="/", user=User(), argz=[])  # type: ignore[call-arg]


def test_documents_compare_by_value_and_are_not_hashable() -> None:
    assert User() == User(uid=0)
    assert User() != User(uid=1)
    assert User() != {}
    assert repr(User(uid=1)) == "User(uid=1)"
    with pytest.raises(TypeError):
        hash(User())


def test_an_annotation_nobody_can_read_is_a_mistake_of_ours() -> None:
    class Odd(Document):
        odd: set[int]

    with pytest.raises(TypeError, match="no reader for the annotation"):
        Odd.parse({})


def test_value_sets_can_be_listed() -> None:
    assert shape.values(SeccompAction)[0] == "SCMP_ACT_KILL"
    assert len(shape.values(SeccompAction)) == 9


@pytest.mark.parametrize("cls", Document.__subclasses__(), ids=lambda cls: cls.__name__)
def test_every_type_has_readers_and_a_docstring(cls: type[Document]) -> None:
    assert cls.__doc__
    assert cls.__module__ in sys.modules
    with pytest.raises(SpecError):
        cls.parse("no object")
    required = [name for name in cls.__annotations__ if name not in vars(cls)]
    if required and cls is not Config:
        with pytest.raises(SpecError, match="is required"):
            cls.parse({})
    for name in set(cls.__annotations__) - set(required):
        default = getattr(cls, name)
        assert default is None or isinstance(default, int), "a default must not be shared and mutable"


def test_state() -> None:
    raw = {"ociVersion": "1.3.0", "id": "a", "status": "running", "pid": 4, "bundle": "/b", "annotations": {"k": "v"}}
    assert state.State.parse(raw).to_dict() == raw
    with pytest.raises(SpecError, match="/status: must be one of creating, created, running, stopped"):
        state.State.parse({**raw, "status": "paused"})
    agent = {"ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 4, "metadata": "m", "state": raw}
    assert state.ContainerProcessState.parse(agent).to_dict() == agent


def test_features() -> None:
    raw = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": ["poststop"],
        "mountOptions": ["ro"],
        "potentiallyUnsafeConfigAnnotations": ["org.example."],
        "linux": {
            "namespaces": ["pid"],
            "capabilities": ["CAP_KILL"],
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {"enabled": True, "actions": ["SCMP_ACT_KILL"], "knownFlags": [], "supportedFlags": []},
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {"modes": ["MPOL_BIND"], "flags": []},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"a": "b"},
    }
    assert features.Features.parse(raw).to_dict() == raw


def test_seccomp_profiles_stand_alone() -> None:
    assert Seccomp.parse({"defaultAction": "SCMP_ACT_ALLOW"}) == Seccomp(defaultAction="SCMP_ACT_ALLOW")
