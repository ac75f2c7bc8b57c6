"""The images of an engine: `engine.images` has what `cloche.images` has, for the engine's own store."""

from __future__ import annotations

from cloche.sandbox import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from typing import IO, Any

    from cloche.images.archives import Loaded
    from cloche.images.listing import Row
    from cloche.images.sources.source import Image
    from cloche.sandbox.engine import Engine
    from cloche.sandbox.images import Login


class Images:
    """`engine.images`: what `cloche.images` does, in the store of this engine. Names are docker's, or IDs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, name: str) -> Image:
        """The image of this name or ID. Raises NotFoundError."""
        with self._engine.here():
            return images.open_image(name)

    def list(self) -> builtins.list[Row]:
        """What there is, each with one of its names, the newest first."""
        with self._engine.here():
            return images.list_images()

    def inspect(self, name: str) -> dict[str, Any]:
        """All there is to know of an image, as `cloche image inspect` prints it. Raises NotFoundError."""
        with self._engine.here():
            return images.inspect(name)

    def pull(
        self, name: str, *, platform: str = "", tls_verify: bool | None = None, login: Login | None = None
    ) -> Image:
        """Have an image here, unpacked, as its registry or another place has it now (`cloche.images.pull`)."""
        with self._engine.here():
            return images.pull(name, platform=platform, tls_verify=tls_verify, login=login)

    def push(self, name: str, to: str = "", *, tls_verify: bool | None = None, login: Login | None = None) -> str:
        """Send an image to its registry, or another place; returns the digest of its manifest."""
        with self._engine.here():
            return images.push(name, to, tls_verify=tls_verify, login=login)

    def copy(
        self,
        source: str | Image,
        to: str,
        *,
        platform: str = "",
        tls_verify: bool | None = None,
        login: Login | None = None,
    ) -> str:
        """Copy an image between places, of which a name alone is this store; returns the digest of its manifest."""
        with self._engine.here():
            return images.copy(source, to, platform=platform, tls_verify=tls_verify, login=login)

    def tag(self, name: str, new: str) -> None:
        """Give an image one more name. Raises NotFoundError, SpecError."""
        with self._engine.here():
            images.tag(name, new)

    def remove(self, name: str) -> None:
        """Take a name away, and what no other leads to. Raises NotFoundError, ConflictError where it is in use."""
        with self._engine.here():
            images.remove(name)

    def save(self, names: builtins.list[str], out: IO[bytes]) -> None:
        """Write images into a file, as an OCI archive that is docker's at once."""
        with self._engine.here():
            images.save(names, out)

    def load(self, source: IO[bytes], *, platform: str = "") -> builtins.list[Loaded]:
        """Take in the images of an archive; returns (name, ID) of each."""
        with self._engine.here():
            return images.load(source, platform=platform)
