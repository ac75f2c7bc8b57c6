"""`cloche.Engine`: containers that stay, images, volumes and events, as objects of a Python program.

    engine = cloche.Engine()
    box = engine.containers.run("debian:12", ["sleep", "60"], detach=True)
    box.exec(["hostname"]).stdout, box.status, box.attrs["State"]["Pid"]
    box.remove(force=True)

Names are those of docker's SDK for Python where people know them; what is done is what the verb of the same name does,
by the same functions, with the same supervisor. There is no daemon to connect to, and nothing to close. An engine may
be used from any thread. Each has its own directories, so that several in one program know nothing of each other.

    engine_containers   containers         engine_volumes   volumes
    engine_images       images             engine_waiting   what waits, for asyncio
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from cloche.engine.event_filters import make_test
from cloche.engine.event_log import read
from cloche.engine.records import state_dir, use_state
from cloche.images.store.layout import store_dir, use_store
from cloche.sandbox.engine_containers import Containers
from cloche.sandbox.engine_images import Images
from cloche.sandbox.engine_values import filter_texts, nanoseconds
from cloche.sandbox.engine_volumes import Volumes
from cloche.sandbox.engine_waiting import following, inside, paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from cloche.sandbox.engine_values import Filters, Moment

    Event = dict[str, Any]


class Engine:
    """A store of images, containers and volumes, and what is done with it.

    root        the directory of the store; None for the one the command line has: CLOCHE_ROOT, /var/lib/cloche for
                root, or ~/.local/share/cloche
    state_dir   the directory of run-time state; None for CLOCHE_STATE, /run/cloche, or $XDG_RUNTIME_DIR/cloche

    Both are looked up once, when the engine is made; nothing is made on the disk before it is needed.
    """

    def __init__(
        self, root: str | os.PathLike[str] | None = None, state_dir: str | os.PathLike[str] | None = None
    ) -> None:
        self._root = store_dir() if root is None else os.path.abspath(root)
        self._state = _usual_state() if state_dir is None else os.path.abspath(state_dir)
        self._containers, self._images, self._volumes = Containers(self), Images(self), Volumes(self)

    def __repr__(self) -> str:
        return f"<cloche.Engine: {self._root}>"

    @property
    def containers(self) -> Containers:
        """Its containers: create, run, get, list; `help(engine.containers)` has all."""
        return self._containers

    @property
    def images(self) -> Images:
        """Its images: get, list, inspect, pull, push, copy, tag, remove, save, load; `help(engine.images)` has all."""
        return self._images

    @property
    def volumes(self) -> Volumes:
        """Its volumes: create, get, list, prune; `help(engine.volumes)` has all."""
        return self._volumes

    @property
    def root(self) -> str:
        """The directory of the store."""
        return self._root

    @property
    def state_dir(self) -> str:
        """The directory of run-time state."""
        return self._state

    @contextmanager
    def here(self) -> Iterator[None]:
        """While inside, this thread's store and state are the engine's, for every function of cloche."""
        store, state = use_store(self._root), use_state(self._state)
        try:
            yield
        finally:
            use_store(store)
            use_state(state)

    def environment(self) -> dict[str, str]:
        """The variables by which a command of cloche's has the engine's directories."""
        return {"CLOCHE_ROOT": self._root, "CLOCHE_STATE": self._state}

    def events(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        filters: Filters | None = None,
        follow: bool = True,
    ) -> Iterator[Event]:
        """What happens, as `cloche events` tells it, with the members of docker's API (events.Message).

        since, until   seconds since 1970, or a datetime with its zone; without `since` those from now on, or all there
                       are where it does not follow
        filters        {"container": "web", "event": ["start", "die"], "label": "tier=web"}: docker's, as of `events`
        follow         wait for more, to `until` or for ever; False gives what has happened

        Raises SpecError for a filter that is none.
        """
        return inside(self, self._events(since, until, filters, follow=follow, leave=-1))

    def events_async(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        filters: Filters | None = None,
        follow: bool = True,
    ) -> AsyncIterator[Event]:
        """The same for `async for`; leaving the loop, and cancelling, ends it at once."""
        return following(self, lambda leave: paused(self._events(since, until, filters, follow=follow, leave=leave)))

    def _events(
        self, since: Moment | None, until: Moment | None, filters: Filters | None, *, follow: bool, leave: int
    ) -> Iterator[Event]:
        begin = nanoseconds(since)
        if begin is None and not follow:
            begin = 0
        test = make_test(filter_texts(filters))
        return read(begin, nanoseconds(until), follow=follow, leave=leave, is_meant=test)


def _usual_state() -> str:
    return state_dir()
