"""Styles and scripts: read once, served under addresses that change with their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).with_name("static")
FOR_EVER: Final = "public, max-age=31536000, immutable"
TYPES: Final = {".js": "text/javascript", ".woff2": "font/woff2"}  # else the system's, which varies


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, and what tells its bytes from others."""

    body: bytes
    content_type: str
    version: str


class StaticFiles:
    """The files of the folder, by their paths in it; what is not among them is not there."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files: Mapping[str, StaticFile] = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    def url(self, name: str) -> str:
        """Return a file's address; raises `KeyError` for one that is not there."""
        return f"/static/{name}?v={self._files[name].version}"

    async def serve(self, http: web.Request) -> web.Response:
        """Answer with a file; browsers keep what they asked for by its version."""
        file = self._files.get(http.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        known = http.query.get("v") == file.version
        headers = {"Cache-Control": FOR_EVER if known else "no-cache"}
        headers["ETag"] = f'"{file.version}"'
        if has_already(http, file.version):
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=file.body, content_type=file.content_type, charset="utf-8", headers=headers
        )


def has_already(http: web.Request, tag: str) -> bool:
    """Return whether the browser keeps the file of an entity tag (RFC 9110, 13.1.2)."""
    return any(each.value == tag for each in http.if_none_match or ())


def _read(path: Path) -> StaticFile:
    body = path.read_bytes()
    kind = TYPES.get(path.suffix) or guess_type(path.name)[0] or "application/octet-stream"
    return StaticFile(body, kind, hashlib.sha256(body).hexdigest()[:16])
