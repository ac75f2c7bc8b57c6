"""The receipt: every layer of isolation, enforced or not, and why.

A plan comes with one that says what its steps enforce. When the container was made it is completed
with what came out weaker (`with_notes`) and what the kernel itself said was in force (`attest`).
"""

from __future__ import annotations

from cloche.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Self


@record
class Layer:
    """One layer: `enforced` or not, and `detail`: how, or why not."""

    name: str
    enforced: bool
    detail: str


class Receipt:
    """The layers in the order they were decided, by name."""

    __slots__ = ("layers",)

    def __init__(self, layers: Iterable[Layer] = ()) -> None:
        self.layers = {layer.name: layer for layer in layers}

    def add(self, name: str, enforced: bool, detail: str) -> None:
        """Say how it is with one layer; the last word counts."""
        self.layers[name] = Layer(name, enforced, detail)

    def __getitem__(self, name: str) -> Layer:
        return self.layers[name]

    def __contains__(self, name: object) -> bool:
        return name in self.layers

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers.values())

    def __repr__(self) -> str:
        return f"<Receipt: {len(self.enforced)} of {len(self.layers)} layers enforced>"

    def __str__(self) -> str:
        width = max((len(name) for name in self.layers), default=0)
        marks = {True: "yes", False: "NO "}
        return "\n".join(f"{layer.name:<{width}}  {marks[layer.enforced]}  {layer.detail}" for layer in self)

    @property
    def enforced(self) -> list[str]:
        """Names of the layers that are enforced."""
        return [layer.name for layer in self if layer.enforced]

    @property
    def missing(self) -> list[str]:
        """Names of the layers that are not."""
        return [layer.name for layer in self if not layer.enforced]

    def copy(self) -> Receipt:
        """A receipt of its own with the same layers."""
        return Receipt(self)

    @classmethod
    def of(cls, value: dict[str, dict[str, Any]]) -> Self:
        """The receipt that `to_dict` was asked of."""
        return cls(Layer(name, layer["enforced"], layer["detail"]) for name, layer in value.items())

    def to_dict(self) -> dict[str, dict[str, object]]:
        """For JSON: {layer: {"enforced": bool, "detail": str}}."""
        return {layer.name: {"enforced": layer.enforced, "detail": layer.detail} for layer in self}

    def with_notes(self, notes: Iterable[tuple[str, str]]) -> Receipt:
        """This receipt with what came out weaker than planned."""
        result = self.copy()
        for name, text in notes:
            result.add(name, False, text)
        return result

    def attest(self, status: dict[str, str]) -> Receipt:
        """This receipt checked against /proc/PID/status of the running command.

        `status` is empty when the command had ended before it could be asked.
        """
        result = self.copy()
        if not status:
            return result
        claims = (("seccomp", "Seccomp", "2"), ("no_new_privs", "NoNewPrivs", "1"))
        for name, field, expected in claims:
            if name in result and result[name].enforced:
                self._compare(result, name, status.get(field) == expected)
        return result

    @staticmethod
    def _compare(result: Receipt, name: str, holds: bool) -> None:
        detail = result[name].detail
        if holds:
            result.add(name, True, f"{detail}; the kernel confirms it")
        else:
            result.add(name, False, "planned, but the kernel says it is not in force")
