"""Options to a request: contradictions are refused, defaults put in, and only errors of ours come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.golden.machines import machine

from cloche.errors import ClocheError
from cloche.sandbox.config import build
from cloche.sandbox.options import Options

if TYPE_CHECKING:
    from cloche.runtime.request import Request

ID = "0123456789ab" * 6


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Build a request as root with a directory as the root file system."""
    host = machine("root", "v2", tmp_path_factory.mktemp("machine"))

    def request(**options: object) -> Request:
        given = Options(**{"image": "", "rootfs": "/usr", "command": ("true",), **options})  # type: ignore[arg-type]
        return build(given, host, ID, lease=None, find=lambda _: (1, 1))

    return request


def test_defaults(ask) -> None:  # type: ignore[no-untyped-def]
    config = ask().config
    assert config.hostname == ID[:12]
    assert config.process.noNewPrivileges is True
    assert config.process.user.umask == 0o022
    assert config.process.capabilities.inheritable == config.process.capabilities.ambient == []
    assert {item.type for item in config.linux.namespaces} == {
        "user",
        "mount",
        "pid",
        "network",
        "ipc",
        "uts",
        "cgroup",
    }
    assert dict(entry.split("=", 1) for entry in config.process.env)["container"] == "cloche"


@pytest.mark.parametrize(
    "options",
    [
        {"image": "host"},
        {"rootfs": "", "image": ""},
        {"rootfs": "/nowhere-at-all"},
        {"rootfs": "/etc/passwd"},
        {"userns": "host", "uidmap": ("0:1:1",)},
        {"userns": "keep-id", "uidmap": ("0:1:1",)},
        {"userns": "auto", "gidmap": ("0:1:1",)},
        {"userns": "odd"},
        {"cpus": 1, "cpu_quota": 10000},
        {"workdir": "relative"},
        {"hostname": "a b"},
        {"hostname": "x" * 65},
        {"domainname": "x" * 65},
        {"command": ("",)},
        {"umask": "999"},
        {"umask": -1},
        {"network": "odd"},
        {"network": "bridge"},
        {"network": "ns:/nowhere-at-all"},
        {"pid": "odd"},
        {"pid": "none"},
        {"uts": "none"},
        {"time_offset": "monotonic"},
        {"time_offset": "wall=1"},
        {"sysctl": ("vm.swappiness=1",)},
        {"sysctl": ("kernel.panic=1",)},
        {"userns": "host", "sysctl": ("kernel.panic=1",)},
        {"uts": "host", "userns": "host", "sysctl": ("kernel.domainname=x",)},
        {"sysctl": ("kernel.domainname=x",)},
        {"ipc": "host", "sysctl": ("kernel.msgmax=1",)},
        {"userns": "host", "sysctl": ("user.max_net_namespaces=1",)},
        {"sysctl": ("net.ipv4/../x=1",)},
        {"sysctl": ("net.ipv4.ip_forward",)},
        {"network": "host", "sysctl": ("net.ipv4.ip_forward=1",)},
        {"env": ("=x",)},
        {"env": ("A=\0",)},
        {"command": ("a\0b",)},
        {"command": ("a\ud800b",)},
        {"add_host": ("\udcff:10.0.0.5",)},
        {"dns_search": ("\ud800",)},
        {"annotation": ("x",)},
        {"stop_signal": "NOPE"},
        {"security_opt": ("seccomp=/nowhere-at-all",)},
        {"timeout": "soon"},
        {"shm_size": 0},
        {"oom_score_adj": 1001},
    ],
    ids=str,
)
def test_contradictions_and_nonsense(ask, options: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ClocheError) as caught:
        ask(**options)
    assert "\n" not in str(caught.value)


def test_a_variable_without_a_value_is_the_callers(ask, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("MINE", "yes")
    monkeypatch.delenv("NOT_MINE", raising=False)
    env = ask(env=("MINE", "NOT_MINE", "EMPTY=", "PATH=/x")).config.process.env
    assert "MINE=yes" in env
    assert "EMPTY=" in env
    assert "PATH=/x" in env
    assert not [entry for entry in env if entry.startswith("NOT_MINE")]


def test_parameters_of_its_own_namespaces(ask) -> None:  # type: ignore[no-untyped-def]
    texts = ("kernel.shm_rmid_forced=1", "fs.mqueue.msg_max=5", "net.core.somaxconn=9")
    assert ask(sysctl=texts).config.linux.sysctl.items() >= dict(text.split("=") for text in texts).items()


def test_of_two_limits_of_one_resource_the_last_counts(ask) -> None:  # type: ignore[no-untyped-def]
    limits = ask(ulimit=("nofile=5", "core=0", "nofile=7:8")).config.process.rlimits
    assert [(limit.type, limit.soft, limit.hard) for limit in limits] == [
        ("RLIMIT_NOFILE", 7, 8),
        ("RLIMIT_CORE", 0, 0),
    ]


@pytest.mark.parametrize("zero", ["0", 0])
def test_nought_is_not_set(ask, zero: object) -> None:  # type: ignore[no-untyped-def]
    limited = ask(memory="1g", memory_swap=zero, cpus=zero, blkio_weight=zero)
    resources = limited.config.linux.resources
    assert (resources.memory.swap, resources.cpu, resources.blockIO, limited.asked) == (None, None, None, ("memory",))


def test_bytes_that_are_no_text_can_be_arguments(ask) -> None:  # type: ignore[no-untyped-def]
    assert ask(command=("a\udcffb",)).config.process.args == ["a\udcffb"]


def test_a_negative_offset_has_positive_nanoseconds(ask) -> None:  # type: ignore[no-untyped-def]
    offset = ask(time_offset="boottime=-1.5").config.linux.timeOffsets["boottime"]
    assert (offset.secs, offset.nanosecs) == (-2, 500_000_000)


TEXTS = [
    name for name, kind in Options.__annotations__.items() if "str" in str(kind) and name not in {"rootfs", "image"}
]


@settings(deadline=None)
@given(name=st.sampled_from(TEXTS), text=st.text() | st.text("0123456789:=/.,-+abmksRTIN²٣", max_size=15))
def test_whatever_an_option_says_it_is_a_request_or_an_error_of_ours(ask, name: str, text: str) -> None:  # type: ignore[no-untyped-def]
    many = "tuple" in str(Options.__annotations__[name])
    try:
        request = ask(**{name: (text,) if many else text})
    except ClocheError:
        return
    assert request.config.process is not None
