"""cloche.stage.units: where its library and the managers are found. What it says is tested in tests/vm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jeepney
import pytest
from tests.conftest import SOURCE, system_python

from cloche.stage import units

SCRIPT = "import sys; sys.path.append(sys.argv[2]); from cloche.stage import units; print(units._jeepney().__file__)"


def test_the_library_is_found_beside_the_command_by_an_interpreter_from_elsewhere(tmp_path: Path) -> None:
    # as root's command is run, by a copy of the interpreter that has no site-packages (stage/kept.py)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / f"lib/{version}").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / f"lib/{version}/site-packages").symlink_to(Path(jeepney.__file__).parents[1])
    script = tmp_path / "bin/cloche-runtime"
    script.write_text(SCRIPT)
    words = [system_python(), "-I", "-S", str(script), "create", str(SOURCE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("address", "buses"),
    [
        ("", ["/run/there/bus"]),
        ("unix:path=/run/bus,guid=1f", ["/run/bus"]),
        ("unix:guid=1f,path=/run/a%20bus", ["/run/a bus"]),
        ("unix:abstract=/tmp/dbus-x,guid=1f", ["\0/tmp/dbus-x"]),
        ("tcp:host=localhost,port=1;unix:path=/one;unix:path=/two", ["/one", "/two"]),
        ("tcp:host=localhost,port=1", ["/run/there/bus"]),
        ("unix:path=/100%zz", ["/100%zz"]),
    ],
)
def test_a_users_bus_is_where_its_address_says(monkeypatch: pytest.MonkeyPatch, address: str, buses: list[str]) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/there")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    private, *others = units.places_of(user=True)
    assert private == ("/run/there/systemd/private", False)
    assert others == [(place, True) for place in buses]


def test_a_users_manager_without_a_runtime_directory_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    for text in (None, ""):
        if text is None:
            monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        else:
            monkeypatch.setenv("XDG_RUNTIME_DIR", text)
        above = f"/run/user/{os.geteuid()}"
        assert units.places_of(user=True) == [(f"{above}/systemd/private", False), (f"{above}/bus", True)]


def test_a_user_namespaces_root_asks_the_manager_of_who_made_it() -> None:
    # as text, for the checkout may be out of that user's reach
    script = f"{Path(units.__file__).read_text()}\nprint(_uid_outside())"
    words = ["unshare", "--user", "--map-root-user", system_python(), "-I", "-S", "-c", script]
    made = subprocess.run(
        words, capture_output=True, text=True, check=False, user=1234 if os.geteuid() == 0 else None, cwd="/"
    )
    assert made.returncode == 0, made.stderr
    assert int(made.stdout) == (1234 if os.geteuid() == 0 else os.geteuid())
