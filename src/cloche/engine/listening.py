"""Waiting for changes in folders, in place of looking again and again; where that cannot be had, for a while.

clear ──▶ read what is there ──▶ wait ──▶ clear …      what changes after `clear` ends the wait
"""

from __future__ import annotations

from cloche.linux import inotify

CHANGES = (
    inotify.IN_MODIFY
    | inotify.IN_CREATE
    | inotify.IN_MOVED_FROM
    | inotify.IN_MOVED_TO
    | inotify.IN_DELETE_SELF
    | inotify.IN_ONLYDIR
)
IMPATIENCE = 0.2  # seconds after which a reader looks where nobody can call it


class Ear:
    """Hears of changes in `folders`, of which some may not be there yet, and of the descriptor `leave`, -1 for none.

    That it can be read says that nobody wants to hear more.
    """

    def __init__(self, folders: list[str], leave: int) -> None:
        self._missing, self._leave = list(folders), leave
        self._watch: inotify.Watch | None = None
        if not folders:
            return
        try:
            self._watch = inotify.Watch()
        except OSError:
            pass  # this user has too many already

    def clear(self) -> None:
        """Forget what was heard until now, and listen to what is there by now."""
        if self._watch is None:
            return
        self._watch.read()
        for folder in self._missing[:]:
            try:
                self._watch.add(folder, CHANGES)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:  # this user listens to too many already
                self.__exit__()
                return
            self._missing.remove(folder)

    def wait(self, seconds: float) -> None:
        """Until something has changed, or for so long, or less."""
        if self._watch is None:
            inotify.wait_for([self._leave], min(seconds, IMPATIENCE))
        else:
            self._watch.wait(seconds, self._leave)

    def is_left(self) -> bool:
        """Whether nobody wants to hear more."""
        return self._leave >= 0 and inotify.wait_for([self._leave], 0)

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
