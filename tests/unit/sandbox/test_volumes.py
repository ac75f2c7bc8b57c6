"""-v, --mount, --tmpfs and --device as mounts: in which order, with which options, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import ClocheError
from cloche.sandbox.options import Options
from cloche.sandbox.volumes import devices_of, mounts_of

if TYPE_CHECKING:
    from pathlib import Path


def test_outer_mounts_come_before_inner_ones(tmp_path: Path) -> None:
    options = Options(
        volume=(f"{tmp_path}:/a/b/c", f"{tmp_path}:/a"), tmpfs=("/a/b",), mount=("type=tmpfs,dst=/x/y/z/w",)
    )
    assert [item.destination for item in mounts_of(options)] == ["/a", "/a/b", "/a/b/c", "/x/y/z/w"]


def test_a_bind_is_careful_unless_asked(tmp_path: Path) -> None:
    (plain, frozen) = mounts_of(Options(volume=(f"{tmp_path}:/a", f"{tmp_path}:/b:ro,bind,rslave")))
    assert {"rbind", "rw", "rnosuid", "rnodev", "idmap"} == set(plain.options or ())
    assert {"bind", "rro", "rnosuid", "rnodev", "idmap", "rslave"} == set(frozen.options or ())


def test_memory_as_a_directory() -> None:
    (item,) = mounts_of(Options(tmpfs=("/a:size=1m,mode=700,exec",)))
    assert item.type == "tmpfs"
    assert set(item.options or ()) == {"nosuid", "nodev", "mode=700", "size=1048576"}


@pytest.mark.parametrize(
    "options",
    [
        {"volume": ("/nowhere-at-all:/a",)},
        {"volume": ("/etc:/a", "/usr:/a/")},
        {"tmpfs": ("/a", "/a")},
        {"tmpfs": ("a",)},
        {"tmpfs": ("/",)},
        {"tmpfs": ("//",)},
        {"tmpfs": ("/a/../..",)},
        {"tmpfs": ("/a:loud",)},
        {"tmpfs": ("/a:size=",)},
        {"tmpfs": ("/a:mode=8",)},
        {"tmpfs": ("/a:uid=٣",)},
        {"tmpfs": ("/a:ro,rw",)},
        {"tmpfs": ("/a:exec,noexec",)},
        {"mount": ("type=bind,dst=/a",)},
        {"mount": ("type=tmpfs,dst=/a,ro=maybe",)},
        {"mount": ("type=tmpfs,dst=/a,tmpfs-mode=888",)},
        {"mount": ("type=bind,src=/etc,dst=//",)},
        {"mount": ("type=bind,src=/etc,dst=/a,bind-propagation=foo",)},
        {"mount": ("type=bind,src=/etc,dst=/a,bind-propagation=",)},
        {"mount": ("type=bind,src=/etc,dst=/a,bind-recursive=flase",)},
        {"mount": ("type=bind,src=/etc,dst=/a,bind-recursive=readonly",)},
        {"mount": ("type=bind,src=/etc,dst=/a,bind-nonrecursive=maybe",)},
        {"mount": ("type=bind,src=/etc,dst=/a,bind-nonrecursive,bind-recursive=enabled",)},
    ],
)
def test_what_makes_no_sense(options: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ClocheError):
        mounts_of(Options(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("bind-nonrecursive", "bind"),
        ("bind-nonrecursive=true", "bind"),
        ("bind-nonrecursive=false", "rbind"),
        ("bind-recursive=disabled,bind-nonrecursive=1", "bind"),
        ("bind-recursive=readonly,ro", "rbind"),
    ],
)
def test_what_is_mounted_below_comes_along_unless_said_otherwise(words: str, kind: str) -> None:
    (item,) = mounts_of(Options(mount=(f"type=bind,src=/etc,dst=/a,{words}",)))
    assert (item.options or [])[0] == kind


def test_devices() -> None:
    (full, brim) = devices_of(Options(device=("/dev/full", "/dev/full:/dev/brim:r")))
    assert full == ("/dev/full", "/dev/full", 0o020666, 1, 7, "rwm")
    assert brim == ("/dev/full", "/dev/brim", 0o020444, 1, 7, "r")


@pytest.mark.parametrize(
    "text", ["", "/dev/none", "/etc/passwd", "/dev/full:relative:r", "/dev/full:/a:x", "/dev/full:/a:r:w"]
)
def test_no_devices(text: str) -> None:
    with pytest.raises(ClocheError):
        devices_of(Options(device=(text,)))


words = st.text() | st.text("/:.,=rwabtmpfsdo19k", max_size=20)


@given(st.lists(words, max_size=2), st.lists(words, max_size=2), st.lists(words, max_size=2))
def test_whatever_is_written_it_is_mounts_or_an_error_of_ours(one: list[str], two: list[str], three: list[str]) -> None:
    options = Options(volume=tuple(one), mount=tuple(two), tmpfs=tuple(three))
    try:
        found = mounts_of(options)
    except ClocheError:
        return
    except ValueError as error:  # a NUL byte, which `config` refuses before it comes here
        assert "null byte" in str(error)  # noqa: PT017
        return
    assert all(item.destination.startswith("/") and ".." not in item.destination.split("/") for item in found)
