"""The volumes of an engine: `engine.volumes`, and one of them."""

from __future__ import annotations

from cloche.engine import volume_uses, volumes
from cloche.engine.trees import Remover
from cloche.engine.volume_filters import make_prune_test, make_test
from cloche.sandbox.engine_values import filter_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping
    from typing import Any

    from cloche.engine.volumes import Volume as Known
    from cloche.sandbox.engine import Engine
    from cloche.sandbox.engine_values import Filters


class Volume:
    """A volume of an engine: a directory that outlives containers."""

    def __init__(self, engine: Engine, known: Known) -> None:
        self._engine, self._known = engine, known

    def __repr__(self) -> str:
        return f"<cloche.Volume: {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volume) and self._known.folder == other._known.folder

    def __hash__(self) -> int:
        return hash(self._known.folder)

    @property
    def name(self) -> str:
        """Its name; 64 hexadecimal digits of one that nobody gave a name."""
        return self._known.name

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self._known.labels)

    @property
    def mountpoint(self) -> str:
        """The directory where its files are, on this machine."""
        return self._known.data

    @property
    def attrs(self) -> dict[str, Any]:
        """All there is to know, as `cloche volume inspect` prints it, with docker's names."""
        return volumes.describe(self._known)

    def remove(self, *, force: bool = False) -> None:
        """Remove it, with all that is in it; `force` takes it well where it is gone already.

        Raises ConflictError where a container uses it, and NotFoundError.
        """
        with self._engine.here(), Remover() as remover:
            volume_uses.sweep(remover)
            if force and volumes.load(self.name) is None:
                return
            volume_uses.remove(self.name, remover)


class Volumes:
    """`engine.volumes`: those there are, and new ones."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(
        self,
        name: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """The volume of this name, which is made where there is none; "" for one with a name that is made up.

        `options` are those of docker's local driver: type, o, device (docker volume create, "Driver-specific
        options"). Raises SpecError for a name or option that is none, ConflictError where there is one of this name
        with other options, UnsupportedError, and StageError where the disk is full.
        """
        with self._engine.here():
            return Volume(self._engine, volume_uses.create(name, dict(labels or {}), dict(options or {})))

    def get(self, name: str) -> Volume:
        """The volume of this name. Raises NotFoundError."""
        with self._engine.here():
            return Volume(self._engine, volumes.find(name))

    def list(self, filters: Filters | None = None) -> list[Volume]:
        """All of them by name, or those that are meant: {"dangling": "true", "label": "a=b", "name": "data"}.

        Raises SpecError for a filter that is none (docker volume ls, "Filtering").
        """
        with self._engine.here():
            test = make_test(filter_texts(filters))
            return [Volume(self._engine, known) for known in volumes.every() if test(known)]

    def prune(self, *, everything: bool = False, filters: Filters | None = None) -> tuple[builtins.list[str], int]:
        """Remove those without a name that no container uses, with `everything` those with one as well.

        Returns their names, and how many bytes they had. `filters` are label and label!.
        """
        with self._engine.here():
            return volume_uses.prune(make_prune_test(filter_texts(filters), everything=everything))
