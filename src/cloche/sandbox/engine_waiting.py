"""What waits, for programs: iterators that know their engine, and the same on an event loop.

    async for record in …        event loop ── next ──▶ one thread of this iterator's own ── reads, waits
                                      ◀──── items, many at once ────┘
    cancelled, or left           a descriptor becomes readable, by which the thread stops waiting; it has ended when
                                 the caller goes on

A thread is there as long as somebody iterates. Nothing is read ahead of what was taken but what is there already.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from cloche.sandbox.engine import Engine

T = TypeVar("T")
MANY = 512  # items that are handed over at once


def inside(engine: Engine, found: Iterator[T | None]) -> Iterator[T]:
    """The same items, each of them looked for with the engine's directories; a None is none of them."""
    try:
        while True:
            with engine.here():
                try:
                    item = next(found)
                except StopIteration:
                    return
            if item is not None:
                yield item
    finally:
        _close(found)


def paused(found: Iterator[T]) -> Iterator[T | None]:
    """The items of an iterator that does not say when it waits: each is handed over by itself."""
    try:
        for item in found:
            yield item
            yield None
    finally:
        _close(found)


async def awaited(engine: Engine, work: Callable[[int], T]) -> T:
    """What comes of work that waits, which is done in a thread; cancelling it ends it.

    `work` is given the descriptor that is readable when nobody wants it any more.
    """
    thread = _Thread(engine)
    try:
        return await thread.do(work)
    finally:
        thread.close()


async def following(engine: Engine, begin: Callable[[int], Iterator[T | None]]) -> AsyncIterator[T]:
    """The items of an iterator that waits, which is made and asked in a thread.

    `begin` is given the same descriptor. A None says that the next item may have to be waited for.
    """
    thread = _Thread(engine)
    parts = _Parts(begin)
    try:
        while not parts.over:
            for item in await thread.do(parts.some):
                yield item
    finally:
        parts.close()
        thread.close()


class _Thread:
    """A thread of somebody's own, and the descriptor by which it is told to wait no longer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._executor = ThreadPoolExecutor(1, "cloche")
        self._leave, self._told = os.pipe2(os.O_CLOEXEC)

    async def do(self, work: Callable[[int], T]) -> T:
        """Have it done, and wait for it; whoever is cancelled goes on when the thread is free."""
        asked = asyncio.get_running_loop().run_in_executor(self._executor, self._here, work)
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            os.write(self._told, b".")
            while not asked.done():
                try:
                    await asyncio.wait([asked])
                except asyncio.CancelledError:
                    continue
            asked.exception()
            raise

    def _here(self, work: Callable[[int], T]) -> T:
        with self._engine.here():
            return work(self._leave)

    def close(self) -> None:
        """End the thread, which does nothing now."""
        self._executor.shutdown()
        os.close(self._leave)
        os.close(self._told)


class _Parts(Generic[T]):
    """An iterator, asked for what there is."""

    def __init__(self, begin: Callable[[int], Iterator[T | None]]) -> None:
        self._begin = begin
        self._found: Iterator[T | None] | None = None
        self.over = False

    def some(self, leave: int) -> list[T]:
        """The next items, one at least, or none where it is over."""
        if self._found is None:
            self._found = self._begin(leave)
        items: list[T] = []
        for item in self._found:
            if item is not None:
                items.append(item)
            elif items:
                return items
            if len(items) >= MANY:
                return items
        self.over = True
        return items

    def close(self) -> None:
        """Let go of what it holds."""
        if self._found is not None:
            _close(self._found)


def _close(found: Iterator[T]) -> None:
    close = getattr(found, "close", None)
    if close is not None:
        close()
