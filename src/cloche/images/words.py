"""Words of a Dockerfile's instructions: how they are parted, and what quotes, backslashes and variables in them mean.

FOO=a\\ b "c d" $HOME       three words, parted where a space is in no quotes and has no backslash before it
$NAME ${NAME}              a variable, nothing where it is not set; none in single quotes
${NAME:-word}              word where it is not set or empty        ${NAME:+word}   word where it is neither
"""

from __future__ import annotations

from cloche.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SPACE = " \t"
FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
FOLLOWING = FIRST | frozenset("0123456789")
DEEPEST = 16  # ${A:-${B:-…}}


def split(text: str) -> list[str]:
    """The words, with their quotes and backslashes."""
    words: list[str] = []
    word, quote, at = "", "", 0
    while at < len(text):
        one = text[at]
        at += 1
        if one == "\\" and quote != "'":
            one += text[at : at + 1]
            at += 1
        elif quote:
            quote = "" if one == quote else quote
        elif one in "'\"":
            quote = one
        elif one in SPACE:
            words += [word] if word else []
            word = ""
            continue
        word += one
    return [*words, word] if word else words


def expand(word: str, variables: Mapping[str, str]) -> str:
    """What a word means. Raises SpecError for quotes or braces that do not end, and what is no variable."""
    return _Expansion(word, variables, 0).until("")


class _Expansion:
    def __init__(self, text: str, variables: Mapping[str, str], depth: int) -> None:
        self.text, self.variables, self.depth, self.at = text, variables, depth, 0

    def until(self, end: str) -> str:
        """Up to this character, which is left behind, or to the end of the text."""
        found = ""
        while self.at < len(self.text):
            one = self._next()
            if one == end:
                return found
            if one == "'":
                found += self._quoted()
            elif one == '"':
                found += self._in_double_quotes()
            elif one == "$":
                found += self._variable()
            elif one == "\\" and self.at < len(self.text):
                found += self._next()
            else:
                found += one
        if end:
            raise SpecError(f"{self.text!r} has no {end!r} at the end")
        return found

    def _next(self) -> str:
        self.at += 1
        return self.text[self.at - 1]

    def _quoted(self) -> str:
        end = self.text.find("'", self.at)
        if end < 0:
            raise SpecError(f"{self.text!r} has a single quote that does not end")
        found, self.at = self.text[self.at : end], end + 1
        return found

    def _in_double_quotes(self) -> str:
        found = ""
        while self.at < len(self.text):
            one = self._next()
            if one == '"':
                return found
            if one == "$":
                one = self._variable()
            elif one == "\\" and self.text[self.at : self.at + 1] in {'"', "$", "\\"}:
                one = self._next()
            found += one
        raise SpecError(f"{self.text!r} has a double quote that does not end")

    def _variable(self) -> str:
        if self.text[self.at : self.at + 1] != "{":
            name = self._name()
            return self.variables.get(name, "") if name else "$"
        self.at += 1
        name = self._name()
        rest = self.text[self.at : self.at + 2]
        if not name or not (rest.startswith("}") or rest in {":-", ":+"}):
            raise SpecError(
                f"{self.text!r} has a variable that is none", hint="${NAME}, ${NAME:-word} or ${NAME:+word}"
            )
        if rest.startswith("}"):
            self.at += 1
            return self.variables.get(name, "")
        if self.depth == DEEPEST:
            raise SpecError(f"{self.text[:80]!r} has variables in variables without end")
        inner = _Expansion(self.text, self.variables, self.depth + 1)
        inner.at = self.at + 2
        word, self.at = inner.until("}"), inner.at
        value = self.variables.get(name, "")
        return (word if value else "") if rest == ":+" else value or word

    def _name(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in (FOLLOWING if self.at > start else FIRST):
            self.at += 1
        return self.text[start : self.at]
