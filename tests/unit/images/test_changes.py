"""Instructions of a Dockerfile as changes of a config: what each does, and what is wrong with those that cannot be."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import SpecError
from cloche.images.changes import KNOWN, apply_changes, nanoseconds
from cloche.images.words import expand, split
from cloche.spec.reader import read_json, write_json

SHELL = ["/bin/sh", "-c"]


@pytest.mark.parametrize(
    ("changes", "config"),
    [
        (['CMD ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
        (["cmd a $b"], {"Cmd": [*SHELL, "a $b"]}),
        (["CMD [ -e /x ]"], {"Cmd": [*SHELL, "[ -e /x ]"]}),
        (["CMD []"], {"Cmd": []}),
        (["CMD a", "ENTRYPOINT b"], {"Cmd": [*SHELL, "a"], "Entrypoint": [*SHELL, "b"]}),
        (
            ["ENV A=1 B='x $A' C=\"x y\"", "ENV D=$A-${B}-${E:-e}-${A:+a}"],
            {"Env": ["A=1", "B=x $A", "C=x y", "D=1-x $A-e-a"]},
        ),
        (["ENV A 1 2", "ENV B=x\\ y", "ENV A=3"], {"Env": ["A=3", "B=x y"]}),
        (["ENV A=a=b"], {"Env": ["A=a=b"]}),
        (
            ["EXPOSE 80 81/udp 8000-8002/tcp"],
            {"ExposedPorts": {f"{p}": {} for p in ("80/tcp", "8000/tcp", "8001/tcp", "8002/tcp", "81/udp")}},
        ),
        (["ENV P=9", "EXPOSE $P"], {"Env": ["P=9"], "ExposedPorts": {"9/tcp": {}}}),
        (['LABEL a=b "c d"="e f"', "LABEL a=g"], {"Labels": {"a": "g", "c d": "e f"}}),
        (["USER a:b"], {"User": "a:b"}),
        (["WORKDIR a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
        (["WORKDIR /a//b/", "WORKDIR /"], {"WorkingDir": "/"}),
        (['VOLUME ["/a b", "/c"]'], {"Volumes": {"/a b": {}, "/c": {}}}),
        (["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
        (["STOPSIGNAL SIGTERM"], {"StopSignal": "SIGTERM"}),
        (["STOPSIGNAL 9"], {"StopSignal": "9"}),
        (["STOPSIGNAL RTMIN+3"], {"StopSignal": "RTMIN+3"}),
        (["ONBUILD RUN make", "ONBUILD ADD . /"], {"OnBuild": ["RUN make", "ADD . /"]}),
        (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0s --retries=3 CMD a b"],
            {
                "Healthcheck": {
                    "Test": ["CMD-SHELL", "a b"],
                    "Interval": 90 * 10**9,
                    "Timeout": 5 * 10**8,
                    "StartPeriod": 0,
                    "Retries": 3,
                }
            },
        ),
        (['HEALTHCHECK CMD ["a"]'], {"Healthcheck": {"Test": ["CMD", "a"]}}),
        (["# a comment\nUSER a\n\n  WORKDIR /b"], {"User": "a", "WorkingDir": "/b"}),
        ([], {}),
    ],
)
def test_applied(changes: list[str], config: dict[str, Any]) -> None:
    assert apply_changes({}, changes) == config


def test_an_entrypoint_takes_away_a_command_from_before() -> None:
    assert apply_changes({"Cmd": ["x"]}, ["ENTRYPOINT y"]) == {"Entrypoint": [*SHELL, "y"]}
    assert apply_changes({"Cmd": ["x"]}, ["CMD z", "ENTRYPOINT y"])["Cmd"] == [*SHELL, "z"]


def test_what_was_given_is_not_changed() -> None:
    before = {"Env": ["A=1"], "Labels": {"a": "b"}}
    apply_changes(before, ["ENV A=2", "LABEL a=c"])
    assert before == {"Env": ["A=1"], "Labels": {"a": "b"}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("RUN make", "is no change that can be made"),
        ("CMD [1]", "an array of words has something else in it"),
        ("ENV", "needs NAME=VALUE"),
        ("ENV A", "A has no value"),
        ("ENV A=1 B", "B is not NAME=VALUE"),
        ("ENV A='x", "a single quote that does not end"),
        ('ENV A="x', "a double quote that does not end"),
        ("ENV A=${x", "a variable that is none"),
        ("ENV A=${x:-y", "has no '}' at the end"),
        ("ENV A=" + "${x:-" * 100, "without end"),
        ("EXPOSE", "needs a value"),
        ("EXPOSE 70000", "70000 is not a port"),
        ("EXPOSE 9-8", "9-8 is not a port"),
        ("EXPOSE 80/icmp", "80/icmp is not a port"),
        ("EXPOSE 99999999999999999999", "is not a port"),
        ("LABEL a", "a has no value"),
        ("USER", "needs a value"),
        ("WORKDIR", "needs a value"),
        ("VOLUME", "needs a value"),
        ('VOLUME [""]', "an empty name is no place"),
        ("VOLUME /proc", "/proc cannot be a volume"),
        ("VOLUME /a /a/../proc//sys/", "/a/../proc//sys/ cannot be a volume"),
        ('VOLUME ["/"]', "/ cannot be a volume"),
        ("VOLUME ../dev", "../dev cannot be a volume"),
        ("STOPSIGNAL NOTHING", "NOTHING is not a signal"),
        ("STOPSIGNAL 99", "99 is not a signal"),
        ("ONBUILD FROM x", "FROM cannot be done later"),
        ("ONBUILD", "nothing cannot be done later"),
        ("HEALTHCHECK", "neither NONE nor CMD"),
        ("HEALTHCHECK CMD", "neither NONE nor CMD"),
        ("HEALTHCHECK NONE x", "neither NONE nor CMD"),
        ("HEALTHCHECK --every=1s CMD x", "--every is unknown"),
        ("HEALTHCHECK --interval=1 CMD x", "'1' is not a time"),
        ("HEALTHCHECK --interval=1us CMD x", "shorter than a millisecond"),
        ("HEALTHCHECK --interval= CMD x", "a time that is empty"),
        ("HEALTHCHECK --retries=0 CMD x", "--retries 0 is no number above 0"),
    ],
)
def test_refused(change: str, says: str) -> None:
    with pytest.raises(SpecError, match=re.escape(says)) as caught:
        apply_changes({}, [change])
    assert repr(change) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("1h", 3600 * 10**9), ("1.5s", 1_500_000_000), (".5m", 30 * 10**9)]
)
def test_times(text: str, value: int) -> None:
    assert nanoseconds(text) == value


@given(st.sampled_from(list(KNOWN)), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_anything(word: str, text: str) -> None:
    """A config that is JSON, or an error of ours."""
    try:
        found = apply_changes({"Env": ["A=1"], "WorkingDir": "/w"}, [f"{word} {text}"])
    except SpecError:
        return
    assert read_json(write_json(found)) == found


@given(st.text("'\"\\\\${}:-+ Aa\t", max_size=40))
def test_any_words(text: str) -> None:
    for word in split(text):
        assert word
        try:
            expand(word, {"A": "value"})
        except SpecError:
            continue
