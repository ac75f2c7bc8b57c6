"""Several layers unpacked at once: each is a directory of its own, and none waits for another.

    layer ──▶ thread ──▶ worker ──▶ layers/sha256/HEX      as many pairs as there are cores, two to four

A worker has its files written to the disk and named before it takes the next layer (`layers.unpack_layer`), so that
what is done stays done when another layer turns out to be no good.
"""

from __future__ import annotations

import os
import queue
from concurrent.futures import ThreadPoolExecutor

from cloche.images.store.layers import has_layer, unpack_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Self

    from cloche.images.store.layout import Layout
    from cloche.images.unpack.apply import Powers
    from cloche.images.unpack.worker import Worker

LEAST, MOST = 2, 4  # workers: one may wait for the disk, and more than four wait for the same disk


class Crew:
    """Workers and the threads that wait for them, for so many layers; a context manager that waits for the end."""

    def __init__(self, layout: Layout, make_worker: Callable[[], Worker], powers: Powers, layers: int) -> None:
        self.layout, self.powers = layout, powers
        self._workers: list[Worker] = []
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        count = min(layers, MOST, max(LEAST, len(os.sched_getaffinity(0))))
        self._threads = ThreadPoolExecutor(count, "unpack")
        try:
            for _ in range(count):
                self._workers.append(make_worker())
                self._idle.put(self._workers[-1])
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            for worker in self._workers:
                worker.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._end()

    def _end(self) -> None:
        for worker in self._workers:
            worker.close()

    def unpack(self, digest: str, diff_id: str) -> Future[None]:
        """Begin to unpack a blob that is in the store; the future has what `unpack_layer` raises."""
        return self._threads.submit(self._unpack, digest, diff_id)

    def _unpack(self, digest: str, diff_id: str) -> None:
        worker = self._idle.get()
        try:
            unpack_layer(self.layout, digest, diff_id, worker, self.powers)
        finally:
            self._idle.put(worker)


def unpack_all(layout: Layout, items: list[tuple[str, str]], make_worker: Callable[[], Worker], powers: Powers) -> None:
    """Unpack the layers of an image that are not yet: (digest, diffID), the lowest first."""
    missing = [(digest, diff_id) for digest, diff_id in items if not has_layer(layout, diff_id)]
    if missing:
        with Crew(layout, make_worker, powers, len(missing)) as crew:
            for future in [crew.unpack(*item) for item in missing]:
                future.result()
