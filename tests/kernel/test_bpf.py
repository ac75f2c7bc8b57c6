"""Device programs for real: loaded, attached to a group of the v2 tree, asked by opening and making devices."""

from __future__ import annotations

import os
import random
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche.linux import bpf
from cloche.linux.files import Fd
from cloche.runtime.cgroups.devices import Table, program_of, table_of
from cloche.stage import deciding
from tests.kernel.forked import in_child
from tests.unit.runtime.ebpf import allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

TOPS = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
TOP = next((top for top in TOPS if (top / "cgroup.controllers").exists()), None)
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or TOP is None, reason="needs root and a tree of cgroup v2")

NOTHING, EVERYTHING = program_of(Table(False, {})), program_of(Table(True, {}))


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of our own in the v2 tree."""
    assert TOP is not None
    path = TOP / f"cloche-bpf-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


def opens(group: Path, device: str, flags: int) -> bool:
    """Whether a process in the group may open a device."""

    def attempt() -> bool:
        (group / "cgroup.procs").write_text("0")
        try:
            os.close(os.open(device, flags))
        except PermissionError:
            return False
        return True

    return in_child(attempt)


def test_a_program_refuses_and_allows(group: Path) -> None:
    assert opens(group, "/dev/zero", os.O_RDONLY)
    deciding.attach_devices(str(group), NOTHING)
    assert not opens(group, "/dev/zero", os.O_RDONLY)
    deciding.attach_devices(str(group), EVERYTHING)
    assert opens(group, "/dev/zero", os.O_RDONLY)


def test_one_program_takes_the_place_of_the_other(group: Path) -> None:
    with Fd(os.open(group, os.O_RDONLY)) as directory:
        for code in (NOTHING, EVERYTHING, NOTHING):
            deciding.attach_devices(str(group), code)
            (number,) = bpf.attached(directory.number)
            with Fd(bpf.program_by_id(number)) as program:
                assert bpf.program_name(program.number) == "cloche_devices"
        deciding.detach_devices(str(group))
        assert bpf.attached(directory.number) == []


def test_programs_of_others_stay(group: Path) -> None:
    with Fd(os.open(group, os.O_RDONLY)) as directory, Fd(bpf.load_device_program(NOTHING, "other")) as other:
        bpf.attach(directory.number, other.number)
        deciding.attach_devices(str(group), EVERYTHING)
        assert len(bpf.attached(directory.number)) == 2
        assert not opens(group, "/dev/zero", os.O_RDONLY)
        deciding.attach_devices(str(group), EVERYTHING)
        assert len(bpf.attached(directory.number)) == 2
        bpf.detach(directory.number, other.number)
        assert opens(group, "/dev/zero", os.O_RDONLY)


def test_each_way_of_access_is_told_from_the_others(group: Path) -> None:
    deciding.attach_devices(str(group), program_of(Table(False, {("c", 1, 5): 2, ("c", 1, 3): 4, ("c", 1, -1): 1})))
    assert opens(group, "/dev/zero", os.O_RDONLY)
    assert not opens(group, "/dev/zero", os.O_WRONLY)
    assert not opens(group, "/dev/zero", os.O_RDWR), "one rule has to cover all that is asked"
    assert opens(group, "/dev/null", os.O_WRONLY)
    assert not opens(group, "/dev/null", os.O_RDONLY)


DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
FLAGS = {os.O_RDONLY: 2, os.O_WRONLY: 4, os.O_RDWR: 6}


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_decides_as_the_model(group: Path, seed: int) -> None:
    """A sample of the tables that the unit tests go through with an interpreter."""
    chance = random.Random(seed)
    keys = [("c", 1, minor) for minor in (-1, 3, 5, 7, 8)] + [("b", 1, 5), ("c", -1, 9), ("c", -1, -1)]
    exceptions = {key: chance.randrange(1, 8) for key in chance.sample(keys, chance.randrange(1, 6))}
    table = Table(seed % 2 == 1, exceptions)
    deciding.attach_devices(str(group), program_of(table))

    def attempts() -> list[str]:
        (group / "cgroup.procs").write_text("0")
        found = []
        for name in DEVICES:
            for flags in FLAGS:
                try:
                    os.close(os.open(f"/dev/{name}", flags))
                except PermissionError:
                    continue
                found.append(f"{name} {flags}")
        return found

    expected = [
        f"{name} {flags}"
        for name, minor in DEVICES.items()
        for flags, access in FLAGS.items()
        if allowed(table, "c", 1, minor, access)
    ]
    assert in_child(attempts) == expected


def test_what_every_container_may(group: Path) -> None:
    deciding.attach_devices(str(group), program_of(table_of(None)))
    for name in ("null", "zero", "full", "urandom"):
        assert opens(group, f"/dev/{name}", os.O_RDWR), name
    assert not opens(group, "/dev/kmsg", os.O_RDONLY)


def test_code_that_the_kernel_refuses_is_an_error_that_names_the_call() -> None:
    with pytest.raises(OSError, match=r"Invalid argument|Permission denied") as caught:
        bpf.load_device_program(NOTHING[:-8], "endless")
    assert caught.value.__notes__ == ["bpf(2)", "BPF_PROG_LOAD"]


def test_without_privilege_it_is_refused() -> None:
    def attempt() -> int:
        os.setuid(65534)
        try:
            bpf.load_device_program(EVERYTHING, "anybody")
        except OSError as error:
            return error.errno or 0
        return 0

    assert in_child(attempt) == 1
