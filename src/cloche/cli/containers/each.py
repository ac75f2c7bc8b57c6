"""A verb for several containers: each is done, and what went wrong is said of each."""

from __future__ import annotations

import _thread
import sys

from cloche.errors import ClocheError

AT_ONCE = 50  # as docker does

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def for_each(words: list[str], work: Callable[[str], str | None]) -> int:
    """Do it for each, and print what it returns (None: nothing); returns 1 if one of them failed."""
    return sum(_told(word, work) for word in words) and 1


def for_all(words: list[str], work: Callable[[str], str | None]) -> int:
    """The same for what takes its time: up to AT_ONCE at the same time; what they return is printed in their order."""
    failed = 0
    for at in range(0, len(words), AT_ONCE):
        begun = [_Begun(word, work) for word in words[at : at + AT_ONCE]]
        failed += sum(_told(each.word, each.end) for each in begun)
    return failed and 1


class _Begun:
    """Something that is being done, in a thread of its own."""

    def __init__(self, word: str, work: Callable[[str], str | None]) -> None:
        self.word, self._work = word, work
        self._text: str | None = None
        self._error: BaseException | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._text = self._work(self.word)
        except BaseException as error:
            self._error = error
        finally:
            self._done.release()

    def end(self, _word: str) -> str | None:
        """Wait for it; what it has returned, or raised."""
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self._text


def _told(word: str, work: Callable[[str], str | None]) -> int:
    """Do it, and print what came of it; returns 1 if it failed."""
    try:
        text = work(word)
    except ClocheError as error:
        from cloche.cli.output import print_error

        print_error(error)
        return 1
    if text is not None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    return 0
