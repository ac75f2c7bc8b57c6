"""Configurations as docs/kubernetes.md has them, for the runtime under test.

Imported in the machines of software, too, where every import takes a while: nothing of an engine belongs here.
"""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/kubernetes.md"
INSTALLED = "/usr/bin/cloche-runtime"


def block(language: str, having: str, runtime: str) -> str:
    """The one block in this language that holds a word, for the runtime under test."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    (text,) = [each for each in found if having in each]
    assert INSTALLED in text
    return str(text).replace(INSTALLED, runtime)
