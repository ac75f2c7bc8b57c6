"""A registry in memory that speaks the whole of OCI distribution 1.1, with moods: what it refuses, where it breaks."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from tests.images.liar import INDEX, Liar, digest_of

if TYPE_CHECKING:
    from tests.images.liar import Handler

HTTP = "http:" + "//"


class Modern(Liar):
    """The registry. `largest` are the bytes of a request it takes, `least` those of a part (0: says nothing).

    `breaks` are the parts that break off half-way, counted from 1; with `forgets` it knows nothing of them afterwards.
    With `guarded` it wants tokens. Without `keeps` it has no list of referrers, without `filters` it gives all of them.
    `page` are entries of a page.
    """

    def __init__(self, **moods: Any) -> None:
        super().__init__()
        self.largest: int = moods.get("largest", 1 << 40)
        self.least: int = moods.get("least", 0)
        self.breaks: set[int] = moods.get("breaks", set())
        self.forgets: bool = moods.get("forgets", False)
        self.keeps: bool = moods.get("keeps", True)
        self.filters: bool = moods.get("filters", True)
        self.page: int = moods.get("page", 1000)
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.parts: list[tuple[str, str, int]] = []  # method, Content-Range, length of what came
        self.guarded: bool = moods.get("guarded", False)
        self.scopes: list[str] = []  # what tokens were asked for
        self._lock = threading.Lock()

    def answer(self, request: Handler) -> None:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        name, _, rest = parts.path.removeprefix("/v2/").rpartition("/")
        if parts.path == "/token":
            self.scopes.append(query["scope"])
            request.give(200, json.dumps({"token": digest_of(query["scope"].encode())}).encode())
            return
        if self.guarded and request.headers.get("Authorization", "").removeprefix("Bearer ") not in {
            digest_of(scope.encode()) for scope in self.scopes
        }:
            realm = f"{HTTP}{request.headers['Host']}/token"
            request.body()
            request.give(401, WWW_Authenticate=f'Bearer realm="{realm}",service="modern"')
            return
        with self._lock:
            if parts.path == "/v2/":
                request.give(200)
            elif parts.path == "/v2/_catalog":
                self._paged(request, "repositories", sorted({repo for repo, _ in self.manifests}), query)
            elif name.endswith("/tags"):
                known = sorted(ref for repo, ref in self.manifests if repo == name.removesuffix("/tags"))
                self._paged(request, "tags", [ref for ref in known if ":" not in ref], query)
            elif name.endswith("/referrers"):
                self._referrers(request, name.removesuffix("/referrers"), rest, query)
            elif name.endswith("/manifests"):
                self._manifest(request, name.removesuffix("/manifests"), rest)
            elif "/blobs/uploads" in parts.path:
                self._upload(request, parts.path.removeprefix("/v2/").partition("/blobs/")[0], rest, query)
            else:
                self._blob(request, name.removesuffix("/blobs"), rest)

    def _paged(self, request: Handler, key: str, known: list[str], query: dict[str, str]) -> None:
        after = [item for item in known if item > query.get("last", "")]
        content = json.dumps({key: after[: self.page]}).encode()
        path = request.path.partition("?")[0]
        more = {"Link": f'<{path}?n=9&last={quote(after[self.page - 1])}>; rel="next"'} if after[self.page :] else {}
        request.give(200, content, **more)

    def _referrers(self, request: Handler, name: str, digest: str, query: dict[str, str]) -> None:
        if not self.keeps:
            request.give(404, b"{}")
            return
        found = []
        for (repo, ref), (content, kind) in self.manifests.items():
            raw = json.loads(content)
            if repo == name and ":" in ref and (raw.get("subject") or {}).get("digest") == digest:
                own = raw.get("artifactType") or raw["config"]["mediaType"]
                found.append({"mediaType": kind, "digest": ref, "size": len(content), "artifactType": own})
        headers = {"Content_Type": INDEX}
        if self.filters and "artifactType" in query:
            found = [item for item in found if item["artifactType"] == query["artifactType"]]
            headers["OCI_Filters_Applied"] = "artifactType"
        request.give(200, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": found}).encode(), **headers)

    def _manifest(self, request: Handler, name: str, ref: str) -> None:
        content, kind = self.manifests.get((name, ref), (b"", ""))
        if request.command == "PUT":
            content = request.body()
            kind = request.headers["Content-Type"]
            for known in (ref, digest_of(content)):
                self.manifests[name, known] = content, kind
            subject: str = (json.loads(content).get("subject") or {}).get("digest", "")
            headers: dict[str, str] = {"OCI_Subject": subject} if subject and self.keeps else {}
            request.give(201, b"", **headers)
        elif not content:
            request.give(404, b"{}")
        elif request.command == "DELETE":
            self.manifests = {
                (repo, known): value
                for (repo, known), value in self.manifests.items()
                if repo != name or (known != ref and (":" not in ref or value[0] != content))
            }
            request.give(202)
        else:
            request.give(200, content, Content_Type=kind, Docker_Content_Digest=digest_of(content))

    def _blob(self, request: Handler, name: str, digest: str) -> None:
        content = self.blobs.get((name, digest))
        if content is None:
            request.give(404, b"{}")
        elif request.command == "DELETE":
            del self.blobs[name, digest]
            request.give(202)
        else:
            request.give(200, content)

    def _upload(self, request: Handler, name: str, upload: str, query: dict[str, str]) -> None:
        if request.command == "POST":
            held = self.blobs.get((query.get("from", ""), query.get("mount", "")))
            if held is not None:
                self.blobs[name, query["mount"]] = held
                request.give(201)
                return
            upload = str(len(self.uploads) + 1)
            self.uploads[upload] = bytearray()
            self._stands(request, name, upload, 202)
        elif upload not in self.uploads:
            request.give(404, b"{}")
        elif request.command == "GET":
            self._stands(request, name, upload, 204)
        else:
            self._take(request, name, upload, query)

    def _take(self, request: Handler, name: str, upload: str, query: dict[str, str]) -> None:
        length, have = int(request.headers.get("Content-Length", "0")), self.uploads[upload]
        said = request.headers.get("Content-Range", "")
        self.parts.append((request.command, said, length))
        if length > self.largest:
            request.give(413, b"<html>too large</html>", Connection="close")
            request.close_connection = True
            return
        if len(self.parts) in self.breaks:
            have += request.rfile.read(length // 2)
            if self.forgets:
                del self.uploads[upload]
            request.close_connection = True
            return
        content = request.body()
        if said and int(said.partition("-")[0]) != len(have):
            self._stands(request, name, upload, 416)
            return
        have += content
        if request.command == "PATCH":
            self._stands(request, name, upload, 202)
            return
        if digest_of(bytes(have)) != query.get("digest"):
            request.give(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
            return
        self.blobs[name, query["digest"]] = bytes(self.uploads.pop(upload))
        request.give(201)

    def _stands(self, request: Handler, name: str, upload: str, status: int) -> None:
        have = len(self.uploads[upload])
        headers = {"Location": f"/v2/{name}/blobs/uploads/{upload}", "Range": f"0-{max(have - 1, 0)}"}
        headers |= {"OCI_Chunk_Min_Length": str(self.least)} if self.least else {}
        request.give(status, b"", **headers)
