"""Ctrl-C where Python cannot raise anything."""

from __future__ import annotations

import subprocess
import sys

# a finalizer, as the import system has some: what is raised there is told on standard error, and lost
LOST = """
import os, signal, sys, time
from cloche.cli import main

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))

def wait(name, argv):
    late = Late()
    del late
    time.sleep(20)
    return 0

main._call = wait
sys.argv = ["cloche", "wait"]
main.entry()
"""


def test_one_that_comes_in_a_finalizer_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr == ""
