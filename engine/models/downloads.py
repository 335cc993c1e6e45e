"""Models that can be fetched from the Hugging Face hub: by a short name, or by their address."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import UserError, nearest

NOTE: Final = "hub.json"  # keeps a model's revision beside it


class HubError(UserError):
    """Say why a model cannot be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Describe a model that may be fetched by name; without a file it is a whole folder."""

    name: str
    repo: str
    file: str = ""
    title: str = ""
    memory: int = 0  # GB of GPU memory that it needs
    folder: str = "checkpoints"  # below the models folder, for a single file

    @property
    def home(self) -> str:
        """Return the folder below the models folder that its files go into."""
        return self.folder if self.file else f"diffusers/{self.repo}"

    @property
    def note(self) -> str:
        """Return the name of the file that keeps its revision."""
        return f"{Path(self.file).stem}.{NOTE}" if self.file else NOTE


# Small to large; each is one file in half precision, from its makers or ComfyUI's own archive.
# Then what may lie beside them.
DOWNLOADS: Final = (
    Download(
        name="sd15",
        repo="Comfy-Org/stable-diffusion-v1-5-archive",
        file="v1-5-pruned-emaonly-fp16.safetensors",
        title="Stable Diffusion 1.5, 2 GB",
        memory=4,
    ),
    Download(
        name="sdxl-turbo",
        repo="stabilityai/sdxl-turbo",
        file="sd_xl_turbo_1.0_fp16.safetensors",
        title="SDXL Turbo: 512 pixels in one to four steps, 7 GB",
        memory=8,
    ),
    Download(
        name="sdxl",
        repo="stabilityai/stable-diffusion-xl-base-1.0",
        file="sd_xl_base_1.0.safetensors",
        title="Stable Diffusion XL: 1024 pixels, 7 GB",
        memory=10,
    ),
    Download(
        name="taesd",
        repo="madebyollin/taesd",
        file="taesd_decoder.safetensors",
        title="tiny VAE of Stable Diffusion 1 and 2: truer previews, 5 MB",
        folder="vae_approx",
    ),
    Download(
        name="taesdxl",
        repo="madebyollin/taesdxl",
        file="taesdxl_decoder.safetensors",
        title="tiny VAE of Stable Diffusion XL: truer previews, 5 MB",
        folder="vae_approx",
    ),
)


def find(name: str) -> Download:
    """Return the download of that name, or one of an address on the hub; raises `HubError`.

    An address is `owner/name` for a folder, or `owner/name/file.safetensors`.
    """
    for download in DOWNLOADS:
        if download.name == name:
            return download
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    if owner and repo and (not file or file.endswith(".safetensors")):
        return Download(name=name, repo=f"{owner}/{repo}", file=file, title=file or name)
    known = [download.name for download in DOWNLOADS]
    raise HubError(
        f"There is no offer {name!r}{nearest(name, known)}; known are {', '.join(known)}, or "
        "write owner/name of a diffusers folder, or owner/name/file.safetensors."
    )
