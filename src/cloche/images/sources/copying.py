"""From any source to any sink: each blob is checked before it is handed on, and the manifest comes last."""

from __future__ import annotations

import tempfile

from cloche.images.sources.source import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cloche.images.sources.source import Image, Sink
    from cloche.spec.image import Descriptor

IN_MEMORY = 1 << 20  # bytes of a blob that are not worth a file


def copy(image: Image, sink: Sink, selector: str) -> str:
    """Put an image into a sink under this tag or name; returns the digest of its manifest. Raises ClocheError."""
    for item in (*(layer.descriptor for layer in image.layers), image.manifest.config):
        _copy_blob(image, item, sink)
    return sink.push_manifest(selector, image.manifest_bytes, image.media_type)


def _copy_blob(image: Image, item: Descriptor, sink: Sink) -> None:
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        for part in checked(image.source, item):
            file.write(part)
        file.seek(0)
        sink.push_blob(item.digest, item.size, file)
