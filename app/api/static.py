"""The files of the user interface, served from memory.

A hash over all files but the pages is their version. A page names its assets under it (`/ui/~5f0c…/css/base.css`), so
browsers keep assets for ever, ask about pages only, and never mix two releases; what scripts and styles import by
relative addresses stays under the same version by itself. Whatever is asked for in another way is compared with the
folder first, so that an edited file shows at once.
"""

import gzip
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Self

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

FRONTEND = Path(__file__).resolve().parents[2] / "frontend"
ADDRESS = "/ui"
START_PAGE = "index.html"
LOST_PAGE = "404.html"
NAMED_BY_RELEASE = "vendor/"
"""The folders in it carry the release of what they hold, so their addresses are as good as versions."""

FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"

MEDIA_TYPES: Mapping[str, str] = {
    "": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
COMPRESSIBLE = ("text/", "application/json", "image/svg+xml")
SHORTEST_COMPRESSED = 1024
LINK = re.compile(r'(?<=\s)(?P<attribute>href|src)="(?P<address>[^"?#]+)')
VERSIONED = re.compile(r"~(?P<version>[^/]*)/(?P<path>.*)", re.DOTALL)
NO_GZIP = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")

Signature = tuple[int, int]
"""When the file was last written, in nanoseconds, and its length."""


class FrontendFiles:
    def __init__(self, folder: Path = FRONTEND) -> None:
        self._folder = folder
        self._snapshot = Snapshot.of(folder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await WebSocketClose()(scope, receive, send)
        response = await self._answer(Request(scope))
        return await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
        version, path = _asked_for(request)
        if version != self._snapshot.version:
            self._snapshot = await to_thread.run_sync(Snapshot.of, self._folder, self._snapshot)
        snapshot = self._snapshot
        if path == "" and version is None:
            return RedirectResponse(f"{ADDRESS}/{START_PAGE}")
        if (file := snapshot.files.get(path)) is None:
            return await _lost(request, snapshot)
        if version is not None and _is_page(path):
            return RedirectResponse(str(request.url.replace(scheme="", netloc="", path=f"{ADDRESS}/{path}")))
        is_kept = version == snapshot.version or path.startswith(NAMED_BY_RELEASE)
        return await _found(request, file, FOR_EVER if is_kept else ASK_FIRST)


class File:
    """What is sent for one address."""

    def __init__(self, path: str, content: bytes) -> None:
        self.content = content
        self.media_type = MEDIA_TYPES.get(posixpath.splitext(path)[1], "application/octet-stream")
        self.digest = sha256(content).hexdigest()
        self.is_compressible = len(content) >= SHORTEST_COMPRESSED and self.media_type.startswith(COMPRESSIBLE)

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.content, mtime=0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The folder at one moment. Files are by path, pages with the addresses that their assets have in this version."""

    signatures: Mapping[str, Signature]
    files: Mapping[str, File]
    version: str

    @classmethod
    def of(cls, folder: Path, before: Self | None = None) -> Self:
        """Reads what has changed since the snapshot before. What cannot be read is as if it were not there."""
        signatures = dict(_signatures(folder))
        if before is not None and signatures == before.signatures:
            return before
        assets: dict[str, File] = {}
        pages: dict[str, bytes] = {}
        for path, signature in signatures.items():
            with suppress(OSError):
                if _is_page(path):
                    pages[path] = (folder / path).read_bytes()
                elif before is not None and before.signatures.get(path) == signature:
                    assets[path] = before.files[path]
                else:
                    assets[path] = File(path, (folder / path).read_bytes())
        version = _version_of(assets)
        files = assets | {path: File(path, _linked(path, html, assets, version)) for path, html in pages.items()}
        return cls({path: signatures[path] for path in files}, files, version)


def _signatures(folder: Path | str, prefix: str = "") -> Iterator[tuple[str, Signature]]:
    """Of every file that is not hidden, by path."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _signatures(entry.path, f"{prefix}{entry.name}/")
                continue
            with suppress(OSError):
                status = entry.stat()
                yield prefix + entry.name, (status.st_mtime_ns, status.st_size)


def _is_page(path: str) -> bool:
    return path.endswith(".html")


def _version_of(assets: Mapping[str, File]) -> str:
    contents = "".join(f"{path} {assets[path].digest}\n" for path in sorted(assets))
    return sha256(contents.encode()).hexdigest()[:12]


def _linked(page: str, html: bytes, assets: Mapping[str, File], version: str) -> bytes:
    """The page with the versioned address in every link to an asset."""

    def versioned(link: re.Match[str]) -> str:
        address = posixpath.normpath(posixpath.join(ADDRESS, posixpath.dirname(page), link["address"]))
        path = address.removeprefix(f"{ADDRESS}/")
        return f'{link["attribute"]}="{ADDRESS}/~{version}/{path}' if path in assets else link[0]

    return LINK.sub(versioned, html.decode()).encode()


def _asked_for(request: Request) -> tuple[str | None, str]:
    """Version, if the address has one, and path."""
    path: str = request.scope["path"].removeprefix(request.scope["root_path"]).removeprefix("/")
    versioned = VERSIONED.fullmatch(path)
    return (versioned["version"], versioned["path"]) if versioned else (None, path)


async def _found(request: Request, file: File, caching: str) -> Response:
    body, headers = await _encoded(request, file)
    headers |= {"Cache-Control": caching, "ETag": f'"{file.digest[:16]}-{headers.get("Content-Encoding", "plain")}"'}
    if _has(request, headers["ETag"]):
        of_the_body = ("Content-Encoding", "Content-Length", "Content-Type")
        kept = {name: value for name, value in headers.items() if name not in of_the_body}
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=kept)
    return Response(body, headers=headers)


async def _lost(request: Request, snapshot: Snapshot) -> Response:
    """A page for people; programs get the problem document."""
    page = snapshot.files.get(LOST_PAGE)
    if page is None or "text/html" not in request.headers.get("accept", ""):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    body, headers = await _encoded(request, page)
    return Response(body, HTTPStatus.NOT_FOUND, headers)


async def _encoded(request: Request, file: File) -> tuple[bytes, dict[str, str]]:
    """The body in the encoding that the client takes, empty where only the head is wanted, and what describes it."""
    body, headers = file.content, {"Content-Type": file.media_type}
    if file.is_compressible:
        headers["Vary"] = "Accept-Encoding"
    if file.is_compressible and _accepts_gzip(request):
        body = await to_thread.run_sync(lambda: file.compressed)
        headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(body))
    return b"" if request.method == "HEAD" else body, headers


def _accepts_gzip(request: Request) -> bool:
    weights = {}
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight
    weight_of_gzip = weights.get("gzip", weights.get("*"))
    return weight_of_gzip is not None and not NO_GZIP.fullmatch(weight_of_gzip)


def _has(request: Request, tag: str) -> bool:
    """Whether the client says that it has what this tag names."""
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return tag in known or known == ["*"]
