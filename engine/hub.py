"""Fetch models from the Hugging Face hub: a pinned revision, resumed where it broke off.

The first time a model is fetched its revision is looked up and written beside it
(`NAME.hub.json`); ever after the same revision is asked for, until that file is removed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import UserError, nearest

RESERVE: Final = 2**30  # bytes that stay free on the disk


class HubError(UserError):
    """Say why a model cannot be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Describe a model that may be fetched by name."""

    name: str
    repo: str
    file: str
    title: str
    memory: int  # GB of the GPU's memory that it wants


# Small to large; each is one file in half precision, from its makers or ComfyUI's own archive.
OFFERS: Final = (
    Offer(
        name="sd15",
        repo="Comfy-Org/stable-diffusion-v1-5-archive",
        file="v1-5-pruned-emaonly-fp16.safetensors",
        title="Stable Diffusion 1.5, 2 GB",
        memory=4,
    ),
    Offer(
        name="sdxl-turbo",
        repo="stabilityai/sdxl-turbo",
        file="sd_xl_turbo_1.0_fp16.safetensors",
        title="SDXL Turbo: 512 pixels in one to four steps, 7 GB",
        memory=8,
    ),
    Offer(
        name="sdxl",
        repo="stabilityai/stable-diffusion-xl-base-1.0",
        file="sd_xl_base_1.0.safetensors",
        title="Stable Diffusion XL: 1024 pixels, 7 GB",
        memory=10,
    ),
)


def find(name: str) -> Offer:
    """Return the offer of that name, or what `owner/repository/file.safetensors` means."""
    for offer in OFFERS:
        if offer.name == name:
            return offer
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    if owner and repo and file.endswith(".safetensors"):
        return Offer(name=name, repo=f"{owner}/{repo}", file=file, title=file, memory=0)
    known = [offer.name for offer in OFFERS]
    raise HubError(
        f"There is no offer {name!r}{nearest(name, known)}; known are {', '.join(known)}, or "
        "write owner/repository/file.safetensors."
    )


def fetch(offer: Offer, models_dir: Path, endpoint: str | None = None) -> Path:
    """Fetch a model into `checkpoints/`, with the hub's own progress bar; return its file.

    Raises `HubError` in one sentence.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    folder = models_dir / "checkpoints"
    note = folder / f"{Path(offer.file).stem}.hub.json"
    try:
        pinned = _pinned(note, offer)
        info = HfApi(endpoint=endpoint).model_info(offer.repo, revision=pinned, files_metadata=True)
        _check_room(folder, _size(info, offer))
        path = hf_hub_download(
            offer.repo, offer.file, revision=info.sha, local_dir=folder, endpoint=endpoint
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200].rstrip(".")
        raise HubError(f"{offer.repo} cannot be fetched: {reason}.") from error
    note.write_text(json.dumps({"repo": offer.repo, "file": offer.file, "revision": info.sha}))
    return Path(path)


def _pinned(note: Path, offer: Offer) -> str | None:
    try:
        data = json.loads(note.read_text(encoding="utf-8"))
        return str(data["revision"]) if data["repo"] == offer.repo else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _size(info: Any, offer: Offer) -> int:
    for each in info.siblings or ():
        if each.rfilename == offer.file:
            return int(each.size or 0)
    raise HubError(f"{offer.repo} holds no file {offer.file!r}.")


def _check_room(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size + RESERVE:
        raise HubError(
            f"The disk has {free / 1e9:.1f} GB free; {size / 1e9:.1f} GB and 1 GB beside it are "
            "needed."
        )
