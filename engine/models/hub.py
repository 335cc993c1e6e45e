"""Fetch models from the Hugging Face hub: a pinned revision, resumed where it broke off.

A single file goes into `checkpoints/`, or where its kind belongs, a folder in diffusers' layout
into `diffusers/OWNER/NAME/` with only what is needed to run it: half precision where it is
offered, never a pickle. Before anything else the revision is looked up and written beside it
(`NAME.hub.json`, `hub.json`); ever after the same one is asked for, until that file is removed.

`snapshot_download` of the hub's client (huggingface_hub 2.4) deletes what it has of a file when it
breaks off, which is bad at 7 GB, and does not compare contents with their hash. So the bytes go
into `FILE.HASH.part` first, and are checked before they get the file's name.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

from engine.errors import first_line
from engine.files.atomic import read_object
from engine.models.downloads import NOTE, Download, HubError
from engine.models.families import identify_folder
from engine.models.supported import LATER
from engine.models.weights import BRAIN, COMPONENTS, HALF, choose

INDEX: Final = "model_index.json"
# What a folder needs beside its weights.
CONFIGS: Final = ("scheduler", "tokenizer", "tokenizer_2", "tokenizer_3", "processor")
TEXTS: Final = (".json", ".txt", ".model")
RESERVE: Final = 2**30  # bytes that stay free on the disk
SHA256: Final = 64  # digits


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """Describe a file of a repository: its size in bytes, and the hash of its contents.

    hash: SHA-256, or Git's SHA-1 of a blob for small files.
    """

    name: str
    size: int
    hash: str

    def is_at(self, path: Path) -> bool:
        """Return whether a path holds this file's contents."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if len(self.hash) == SHA256:
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == self.hash
        blob = b"blob %d\0%b" % (self.size, path.read_bytes())
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == self.hash

    def part(self, path: Path) -> Path:
        """Return where its bytes go until all are there."""
        return path.with_name(f"{path.name}.{self.hash[:16]}.part")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is fetched of a repository: its files and where each goes."""

    download: Download
    folder: Path
    revision: str
    files: Mapping[Path, HubFile]
    url: Callable[[str], str]

    def fetch(self) -> None:
        note = self.folder / self.download.note
        with _as_hub_error(self.download):
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_note(note, self.download.repo, self.revision, whole=False)
            for path, file in self.files.items():
                _download(self.url(file.name), file, path)
            _write_note(note, self.download.repo, self.revision, whole=True)


def fetch(download: Download, models_dir: Path, endpoint: str | None = None) -> Path:
    """Fetch a model and its parts with the hub's own progress bars; return its file or folder.

    What is there already is not fetched again. Raises `HubError` in one sentence.
    """
    plans = [_plan(each, models_dir, endpoint) for each in download.whole()]
    with _as_hub_error(download):
        _check_room(models_dir, {path: file for p in plans for path, file in p.files.items()})
    for plan in plans:
        plan.fetch()
    return next(iter(plans[0].files)) if download.file else plans[0].folder


def _plan(download: Download, models_dir: Path, endpoint: str | None) -> _Plan:
    """Look up what is to be fetched; nothing is fetched yet."""
    from huggingface_hub import HfApi, hf_hub_url

    folder = models_dir / download.home
    with _as_hub_error(download):
        info = HfApi(endpoint=endpoint).model_info(
            download.repo,
            revision=_pinned(folder / download.note, download.repo),
            files_metadata=True,
        )
        assert info.sha  # the hub's answer always names it
        url = partial(hf_hub_url, download.repo, revision=info.sha, endpoint=endpoint)
        files = {each.rfilename: _describe(each) for each in info.siblings or ()}
        wanted = _wanted(download, files, url)
    places = {folder / download.saved(name): files[name] for name in wanted}
    return _Plan(download=download, folder=folder, revision=info.sha, files=places, url=url)


def half_fetched(folder: Path) -> str | None:
    """Return the repository that a folder is not wholly fetched from yet, or None."""
    data = read_object(folder / NOTE)
    return str(data.get("repo")) if data.get("whole") is False else None


def _describe(entry: Any) -> HubFile:
    found = entry.lfs.sha256 if entry.lfs else entry.blob_id
    return HubFile(name=entry.rfilename, size=int(entry.size or 0), hash=found or "")


def _wanted(
    download: Download, files: Mapping[str, HubFile], url: Callable[[str], str]
) -> Sequence[str]:
    if download.file:
        names = [download.file]
    elif INDEX in files:
        # Aside: nothing is to lie in the models folder of what cannot be run.
        with TemporaryDirectory() as aside:
            index = read_object(_download(url(INDEX), files[INDEX], Path(aside) / INDEX))
        names = _parts(download, index, files)
    else:
        single = [name for name in files if name.endswith(".safetensors") and "/" not in name]
        hint = f"; name one of its files, for example {download.repo}/{single[0]}" if single else ""
        raise HubError(f"{download.repo} is no diffusers folder: it holds no {INDEX}{hint}.")
    if missing := [name for name in names if name not in files]:
        raise HubError(f"{download.repo} holds no file {missing[0]!r}.")
    return names


def _parts(download: Download, index: Mapping[str, Any], files: Iterable[str]) -> list[str]:
    family = identify_folder(index)
    if family is None:
        kind = index.get("_class_name")
        raise HubError(f"{download.repo} is of a form that Marble does not know ({kind!r}).")
    if not family.loadable:
        raise HubError(f"{download.repo} is {family.named} model, {LATER}.")
    found = [INDEX]
    for part in (*CONFIGS, *COMPONENTS):
        if not (index.get(part) or [None])[0]:
            continue
        inside = [name for name in files if name.rpartition("/")[0] == part]
        if part in CONFIGS:
            found += [name for name in inside if name.endswith(TEXTS)]
            continue
        if not (weights := choose(inside, (BRAIN, HALF, "") if family.parts else (HALF, ""))):
            raise HubError(
                f"{download.repo} holds no safetensors file of its {part}: only pickles, which can "
                "run code, or nothing."
            )
        found += [f"{part}/config.json", *weights]
    return found


@contextmanager
def _as_hub_error(download: Download) -> Iterator[None]:
    """Turn whatever the hub's client raises into one sentence."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, again = download.repo, "what was fetched stays, and the same command goes on from there"
    reasons = {
        GatedRepoError: f"{repo} is given only to who accepts its terms: do so on its page, "
        f"https://huggingface.co/{repo}, then `hf auth login` or set HF_TOKEN.",
        RevisionNotFoundError: f"{repo} no longer has the revision that was fetched first; remove "
        f"{download.home}/{download.note} to take the newest.",
        RepositoryNotFoundError: f"The hub knows no {repo}, or it is private (then `hf auth login` "
        "or set HF_TOKEN).",
        # The client looked on the disk instead.
        LocalEntryNotFoundError: f"The hub cannot be reached; {again}.",
    }
    try:
        yield
    except (HTTPError, HFValidationError, OSError) as error:
        other = f"{repo} cannot be fetched: {first_line(error)}; {again}."
        known = (reason for kind, reason in reasons.items() if isinstance(error, kind))
        raise HubError(next(known, other)) from error


def _pinned(note: Path, repo: str) -> str | None:
    """Return the revision that was fetched first, None if none was."""
    data = read_object(note)
    return str(data["revision"]) if data.get("repo") == repo and "revision" in data else None


def _write_note(note: Path, repo: str, revision: str, *, whole: bool) -> None:
    text = json.dumps({"repo": repo, "revision": revision, "whole": whole})
    note.write_text(text, encoding="utf-8")


def _check_room(folder: Path, files: Mapping[Path, HubFile]) -> None:
    missing = sum(max(0, file.size - _present(path, file)) for path, file in files.items())
    there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if missing and free < missing + RESERVE:
        raise HubError(
            f"The disk has {free / 1e9:.1f} GB free; {missing / 1e9:.1f} GB and 1 GB beside it are "
            "needed."
        )


def _present(path: Path, file: HubFile) -> int:
    """Return the bytes of a file that are there, whole or where it broke off."""
    found = (each.stat().st_size for each in (path, file.part(path)) if each.is_file())
    return next(found, 0)


def _download(url: str, file: HubFile, path: Path) -> Path:
    """Fetch a file from the hub to a path, with a progress bar; return the path.

    Raises what the hub's client raises, or `HubError` if other contents came than were meant.
    """
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if file.is_at(path):
        return path
    location, headers = get_hf_file_metadata(url).location, build_hf_headers()
    if urlsplit(location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # it is the hub's, not its storage's
    path.parent.mkdir(parents=True, exist_ok=True)
    part = file.part(path)
    with part.open("ab") as stream:
        http_get(
            location,
            stream,
            resume_size=stream.tell(),
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.name,
        )
    if not file.is_at(part):
        part.unlink()
        raise HubError(f"{file.name} came damaged from the hub; fetch it again.")
    return part.replace(path)
