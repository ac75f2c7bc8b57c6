"""cloche.stage.units: where its library is found. What it says to systemd is tested where one runs, in tests/vm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jeepney
from tests.conftest import SOURCE, system_python

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
