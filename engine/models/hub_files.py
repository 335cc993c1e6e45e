"""Fetch one file of the hub, going on where it broke off, and keep what was fetched beside it.

The hub's own client begins a file anew each time it is called (huggingface_hub 2.4), which is bad
at 7 GB. So the bytes go into `FILE.TAG.part` first; the tag is the hash of the contents, which
holds that nothing of two versions is mixed, and that what came is what was meant.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from engine.errors import UserError

NOTE: Final = "hub.json"
RESERVE: Final = 2**30  # bytes that stay free on the disk
SHA256: Final = 64  # digits


class HubError(UserError):
    """Say why a model cannot be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """Describe a file of a repository: its size in bytes, and the hash of its contents."""

    name: str
    size: int
    tag: str


def pinned(note: Path, repo: str) -> str | None:
    """Return the revision that was fetched first, None if none was."""
    data = read(note)
    return str(data["revision"]) if data.get("repo") == repo and "revision" in data else None


def write(note: Path, repo: str, revision: str, *, whole: bool) -> None:
    """Keep a model's revision, and whether all of it is there."""
    text = json.dumps({"repo": repo, "revision": revision, "whole": whole})
    note.write_text(text, encoding="utf-8")


def half_fetched(folder: Path) -> str | None:
    """Return the repository that a folder is not wholly fetched from yet, or None."""
    data = read(folder / NOTE)
    return str(data.get("repo")) if data.get("whole") is False else None


def read(path: Path) -> dict[str, Any]:
    """Return a file's JSON object, {} if it holds none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def check_room(folder: Path, files: Sequence[HubFile]) -> None:
    """Raise `HubError` where the disk has no room for what is not there yet."""
    missing = sum(max(0, file.size - _present(folder, file)) for file in files)
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if missing and free < missing + RESERVE:
        raise HubError(
            f"The disk has {free / 1e9:.1f} GB free; {missing / 1e9:.1f} GB and 1 GB beside it are "
            "needed."
        )


def _present(folder: Path, file: HubFile) -> int:
    """Return the bytes of a file that are there, whole or where it broke off."""
    whole = folder / file.name
    for path in (whole, _part(whole, file)):
        if path.is_file():
            return path.stat().st_size
    return 0


def download(place: str, file: HubFile, path: Path) -> Path:
    """Fetch a file from its place on the hub to a path, with a progress bar; return the path.

    Raises what the hub's client raises, or `HubError` if other contents came than were meant.
    """
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if holds(path, file):
        return path
    at = get_hf_file_metadata(place).location
    headers = build_hf_headers()
    if urlsplit(at).netloc != urlsplit(place).netloc:
        headers.pop("authorization", None)  # it is the hub's, not its storage's
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path, file)
    with part.open("ab") as stream:
        http_get(
            at,
            stream,
            resume_size=stream.tell(),
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.name,
        )
    if not holds(part, file):
        part.unlink()
        raise HubError(f"{file.name} came damaged from the hub; fetch it again.")
    return part.replace(path)


def holds(path: Path, file: HubFile) -> bool:
    """Say whether a path holds a file's contents: SHA-256, or Git's hash of small files."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if len(file.tag) == SHA256:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.tag
    blob = b"blob %d\0%b" % (file.size, path.read_bytes())
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == file.tag


def _part(path: Path, file: HubFile) -> Path:
    return path.with_name(f"{path.name}.{file.tag[:16]}.part")
