"""What containers take up: what they have written, and their images."""

from __future__ import annotations

import posix as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.engine.containers import Container


def written(container: Container) -> int:
    """Bytes of the files in a container's own layer, a file with several names once; 0 for a throwaway one."""
    if not container.folder:
        return 0
    seen: set[tuple[int, int]] = set()
    total = 0
    for status in _files(f"{container.folder}/layer/upper"):
        key = status.st_dev, status.st_ino
        if key not in seen:
            seen.add(key)
            total += status.st_size
    return total


def _files(top: str) -> Iterator[os.stat_result]:
    """All below that are no directories; what cannot be looked at, as it is another user's, is left out."""
    left = [top]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    else:
                        yield entry.stat(follow_symlinks=False)
        except OSError:
            continue  # removed meanwhile, or not ours to see


def image_sizes() -> dict[str, int]:
    """Bytes of the unpacked layers of each image in the store, by its ID."""
    from cloche.images.listing import rows
    from cloche.images.store.layout import Layout, store_dir

    return {row.id: row.size for row in rows(Layout(store_dir()))}
