"""cloche.runtime.seccomp.features: every word it lists is understood, and no other."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from cloche.errors import SpecError
from cloche.runtime.seccomp.compile import compile_filter
from cloche.runtime.seccomp.features import features
from cloche.spec import seccomp as documents
from cloche.spec.features import SeccompFeatures

WORDS: dict[str, Any] = {
    "actions": documents.SeccompAction,
    "operators": documents.SeccompOperator,
    "archs": documents.SeccompArch,
    "knownFlags": documents.SeccompFlag,
}


def using(kind: str, word: str) -> dict[str, Any]:
    """A profile with one word in it."""
    rule: dict[str, Any] = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}
    profile: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    if kind == "actions":
        rule["action"] = word
        profile["listenerPath"] = "/run/agent"
    elif kind == "operators":
        rule["args"] = [{"index": 0, "op": word, "value": 1}]
    else:
        profile["architectures" if kind == "archs" else "flags"] = [word]
    return profile


@pytest.mark.parametrize("kind", WORDS)
def test_every_word_compiles(kind: str) -> None:
    words = features()[kind]
    assert words == sorted(set(words))
    for word in words:
        assert compile_filter(using(kind, word)).instructions
    with pytest.raises(SpecError):
        compile_filter(using(kind, words[0] + "X"))


@pytest.mark.parametrize("kind", WORDS)
def test_they_are_the_words_of_the_specification(kind: str) -> None:
    namespace = {**vars(documents), "Literal": __import__("typing").Literal}
    assert set(features()[kind]) == set(get_args(eval(WORDS[kind], namespace)))


def test_the_document() -> None:
    found = features()
    assert SeccompFeatures.parse(found, "").to_dict() == found
    assert found["enabled"]
    assert set(found["supportedFlags"]) <= set(found["knownFlags"])
    assert "SECCOMP_FILTER_FLAG_LOG" in found["supportedFlags"]
