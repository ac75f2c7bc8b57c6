"""What lists show of images, remembered: to find it anew for 200 of them, 1,000 files are read.

    STORE/summaries.json    {"sha256:…": [ID, created, size, labels], …} by the digest of the manifest

Content with a digest never changes, so neither does this. There is nothing in it that cannot be found again: it is not
synced to the disk, one that cannot be read counts as empty, and one that cannot be written is left as it is.
"""

from __future__ import annotations

import posix as os

from cloche.errors import SpecError
from cloche.images.store.layout import create, unique
from cloche.linux import files
from cloche.linux.reading import read_bytes
from cloche.records import record, values
from cloche.spec.reader import read_json, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.store.layout import Layout


@record
class Summary:
    """An image's ID, when it was made (RFC 3339 or ""), bytes of its layers unpacked, and its labels."""

    id: str
    created: str
    size: int
    labels: dict[str, str]


def read(layout: Layout) -> dict[str, Summary]:
    """All of them, by the digest of the manifest."""
    try:
        raw = read_json(read_bytes(_path(layout)) or b"{}")
        assert isinstance(raw, dict)
        return {digest: _summary(*item) for digest, item in raw.items()}
    except (OSError, SpecError, AssertionError, TypeError):
        return {}


def _summary(id_: object, created: object, size: object, labels: object) -> Summary:
    assert isinstance(id_, str)
    assert isinstance(created, str)
    assert isinstance(size, int)
    assert isinstance(labels, dict)
    return Summary(id_, created, size, labels)


def write(layout: Layout, found: dict[str, Summary]) -> None:
    """Have these and no others."""
    path = _path(layout)
    temporary = unique(f"{layout.path}/incoming/summaries")
    try:
        if not found:
            os.unlink(path)
            return
        with create(temporary) as file:
            files.write_all(file.number, write_json({digest: values(item) for digest, item in found.items()}).encode())
        os.rename(temporary, path)
    except OSError:
        return  # a store that is only to be read


def _path(layout: Layout) -> str:
    return f"{layout.path}/summaries.json"
