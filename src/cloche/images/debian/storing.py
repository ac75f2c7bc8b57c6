"""From a tree that is ready to an image in the store: its layer, config and manifest, and the sources its apt has."""

from __future__ import annotations

from datetime import UTC, datetime

from cloche.images.debian import suites
from cloche.images.debian.configuring import PATH
from cloche.images.store import names
from cloche.images.store.crew import unpack_all
from cloche.images.store.incoming import Unnamed
from cloche.images.unpack.worker import Worker
from cloche.records import record
from cloche.spec import image
from cloche.spec.image import Descriptor
from cloche.spec.reader import write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cloche.images.debian.building import Recipe, Suite
    from cloche.images.debian.layering import Packed
    from cloche.images.debian.packages import Package
    from cloche.images.store.layout import Layout
    from cloche.images.unpack.worker import Unpacking

OFFICIAL = ("", *suites.KEYRINGS)
OCI, OWN = "org.opencontainers.image.", "cloche.debian."
CHECKED, UNCHECKED = "checked", "not checked"


@record
class About:
    """What an image is made of, and by what."""

    main: Suite
    all: list[Suite]
    recipe: Recipe
    packages: list[Package]
    date: int

    def files(self) -> list[tuple[str, bytes]]:
        """What is written into the tree at the end: apt's sources, where the image has an apt."""
        if not any(package.name == "apt" for package in self.packages):
            return []
        text = "\n".join(_sources(self.all, self.recipe))
        return [("etc/apt/sources.list.d/debian.sources", text.encode())]

    def notes(self) -> dict[str, str]:
        """The annotations of the manifest, which are the labels of the config as well."""
        release = self.main.release
        found = {
            f"{OCI}created": self.created(),
            f"{OCI}vendor": release.origin,
            f"{OCI}version": release.version or release.codename,
            f"{OCI}description": release.description,
            f"{OWN}codename": release.codename,
            f"{OWN}suites": " ".join(suite.source.suite for suite in self.all),
            f"{OWN}mirrors": " ".join(dict.fromkeys(suite.source.shown for suite in self.all)),
            f"{OWN}signatures": self.signatures(),
            f"{OWN}variant": self.recipe.variant,
        }
        return {key: value for key, value in found.items() if value}

    def signatures(self) -> str:
        """Whether somebody looked, and with whose keys; not which of them signed, as a newer keyring knows more."""
        if not self.recipe.check_signature:
            return UNCHECKED
        own = bool(self.recipe.keyring) or any(suite.source.signed_by not in OFFICIAL for suite in self.all)
        return f"{CHECKED}, with keys other than Debian's" if own else CHECKED

    def created(self) -> str:
        """The time of the image, of RFC 3339."""
        return datetime.fromtimestamp(self.date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def comment(self) -> str:
        """A sentence for the history."""
        release = self.main.release
        what = release.description or f"{release.origin} {release.codename}"
        if not self.recipe.check_signature:
            return f"{what}; whether the packages are {release.origin}'s was not checked (--no-check-gpg)"
        return what


def _sources(known: list[Suite], recipe: Recipe) -> list[str]:
    """A paragraph for each mirror; a directory of the machine that made the image is nothing to its apt."""
    local = any(suite.source.url.startswith(("file:", "copy:")) for suite in known)
    found = suites.default_sources(recipe.suite) if local else [suite.source for suite in known]
    lines: list[str] = []
    for url in dict.fromkeys(source.shown for source in found):
        own = [source for source in found if source.shown == url]
        lines += [
            "Types: deb",
            f"URIs: {url}",
            f"Suites: {' '.join(source.suite for source in own)}",
            f"Components: {' '.join(dict.fromkeys(name for source in own for name in source.components))}",
            f"Signed-By: {suites.KEYRINGS[-1]}",
            "",
        ]
    return lines


def store_image(layout: Layout, about: About, pack: Callable[[int], Packed]) -> tuple[Descriptor, tuple[str, str]]:
    """Store layer, config and manifest; returns the manifest, and (digest, diffID) of the layer."""
    packed = _store_layer(layout, pack)
    notes = about.notes()
    platform = about.recipe.platform
    config = {
        "created": about.created(),
        "architecture": platform.architecture,
        **({"variant": platform.variant} if platform.variant else {}),
        "os": platform.os,
        "config": {"Env": [f"PATH={PATH}"], "Cmd": ["bash"], "Labels": notes},
        "rootfs": {"type": "layers", "diff_ids": [packed.diff_id]},
        "history": [
            {"created": about.created(), "created_by": f"cloche image bootstrap debian:{about.recipe.said}"}
            | {"comment": about.comment()}
        ],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": image.OCI_MANIFEST,
        "config": _add(layout, image.OCI_CONFIG, config),
        "layers": [{"mediaType": f"{image.OCI_LAYER}+gzip", "digest": packed.digest, "size": packed.size}],
        "annotations": notes,
    }
    stored = _add(layout, image.OCI_MANIFEST, manifest)
    return Descriptor(**stored), (packed.digest, packed.diff_id)


def _add(layout: Layout, media_type: str, document: dict[str, Any]) -> dict[str, Any]:
    content = write_json(document).encode()
    return {"mediaType": media_type, "digest": layout.add(content), "size": len(content)}


def _store_layer(layout: Layout, pack: Callable[[int], Packed]) -> Packed:
    with Unnamed(layout, "debian") as blob:
        packed = pack(blob.file.number)
        blob.keep(packed.digest)
    return packed


def name_image(
    layout: Layout, name: str, manifest: Descriptor, layer: tuple[str, str], unpacking: Unpacking
) -> Descriptor:
    """Unpack the layer as any other, and give the image its name."""
    unpack_all(layout, [layer], lambda: Worker(unpacking.users), unpacking.powers)
    names.put(layout, names.Entry(name, manifest))
    return manifest
