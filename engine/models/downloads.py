"""Models that can be fetched from the Hugging Face hub: by a short name, or by their address."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import UserError, nearest
from engine.models.families import BY_KEY
from engine.models.folders import FOLDERS, SAFE
from engine.models.part_kinds import GEMMA, QWEN, T5
from engine.models.weights import variant

NOTE: Final = "hub.json"  # keeps a model's revision beside it
CHECKPOINTS: Final = "checkpoints"
NETWORKS: Final = "diffusion_models"
ENCODERS: Final = "text_encoders"
ENDINGS: Final = (SAFE[0], ".gguf")
APACHE: Final = "Apache 2.0"


class HubError(UserError):
    """Say why a model cannot be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Describe a model that may be fetched by name; without a file it is a whole folder.

    memory: GB of GPU memory that it needs, of which its largest part may take 0.8; folder: below
    the models folder, for a single file; parts: what is fetched with it; licence: what its makers
    call it; gated: they ask for agreement before; families: of which one must be one that Marble
    runs (none: it is offered anyway).
    """

    name: str
    repo: str
    file: str = ""
    title: str = ""
    memory: int = 0
    folder: str = CHECKPOINTS
    parts: tuple["Download", ...] = ()
    licence: str = ""
    gated: bool = False
    families: tuple[str, ...] = ()

    @property
    def home(self) -> str:
        """Return the folder below the models folder that its files go into."""
        return self.folder if self.file else f"diffusers/{self.repo}"

    @property
    def address(self) -> str:
        """Return its address on the hub, as `find` takes it."""
        return f"{self.repo}/{self.file}" if self.file else self.repo

    @property
    def note(self) -> str:
        """Return the name of the file that keeps its revision."""
        return f"{Path(self.file).stem}.{NOTE}" if self.file else NOTE

    @property
    def is_offered(self) -> bool:
        """Return whether Marble runs what it is for."""
        return not self.families or any(BY_KEY[key].loadable for key in self.families)

    def whole(self) -> Iterator["Download"]:
        """Yield it and all that is fetched with it."""
        yield self
        for part in self.parts:
            yield from part.whole()

    def saved(self, name: str) -> str:
        """Return where in its home a file of its repository is saved."""
        return name if self.folder == CHECKPOINTS else name.rpartition("/")[2]


def _part(repo: str, file: str, folder: str, *parts: Download) -> Download:
    return Download(name=file, repo=repo, file=file, folder=folder, parts=parts)


def _encoder(archive: str, file: str, tokenizer: Download) -> Download:
    return _part(archive, f"split_files/text_encoders/{file}", ENCODERS, tokenizer)


def _network(
    name: str,
    repo: str,
    file: str,
    title: str,
    *,
    memory: int,
    family: str,
    parts: tuple[Download, ...],
    licence: str = APACHE,
    gated: bool = False,
) -> Download:
    """Return the download of a network in a file of its own, with the parts that it needs."""
    return Download(
        name=name,
        repo=repo,
        file=file,
        title=title,
        memory=memory,
        folder=NETWORKS,
        parts=parts,
        licence=licence,
        gated=gated,
        families=(family,),
    )


def _tokenizer(kind: str, title: str, repo: str, *families: str, inside: str = "") -> Download:
    """Return the download of a tokenizer, with what tells its class.

    inside: the folder of a diffusers repository that holds it.
    """
    folder = f"tokenizers/{kind}"
    configs = ("tokenizer_config.json", "config.json")[: 1 if inside else 2]
    return Download(
        name=f"tokenizer-{kind}",
        repo=repo,
        file=f"{inside}tokenizer.json",
        title=title,
        folder=folder,
        parts=tuple(_part(repo, f"{inside}{name}", folder) for name in configs),
        licence=APACHE,
        families=families,
    )


# ComfyUI's own archives; those of makers who ask for agreement are open where they are repeated.
Z_ARCHIVE: Final = "Comfy-Org/z_image_turbo"
KLEIN_ARCHIVE: Final = "Comfy-Org/flux2-klein-4B"
LUMINA_ARCHIVE: Final = "Comfy-Org/Lumina_Image_2.0_Repackaged"
QWEN_ARCHIVE: Final = "Comfy-Org/Qwen-Image_ComfyUI"
EDIT_ARCHIVE: Final = "Comfy-Org/Qwen-Image-Edit_ComfyUI"
ANIMA_ARCHIVE: Final = "circlestone-labs/Anima"
KREA_ARCHIVE: Final = "Comfy-Org/Krea-2"
FLUX_ENCODERS: Final = "comfyanonymous/flux_text_encoders"
SD3_ENCODERS: Final = "Comfy-Org/stable-diffusion-3.5-fp8"
QWEN_TOKENIZER: Final = _tokenizer(
    QWEN,
    "tokenizer of Z-Image, FLUX.2 klein, Qwen-Image, Krea 2 and Anima, 11 MB",
    "Qwen/Qwen3-4B",
    *("z", "flux2", "qwen", "krea2", "anima"),
)
T5_TOKENIZER: Final = _tokenizer(
    T5,
    "tokenizer of FLUX.1, Chroma, Stable Diffusion 3.5 and Anima, 1 MB",
    "google-t5/t5-base",
    *("flux", "chroma", "sd3", "anima"),
)
GEMMA_TOKENIZER: Final = _tokenizer(
    GEMMA,
    "tokenizer of Lumina 2, 34 MB",
    "Alpha-VLLM/Lumina-Image-2.0",
    "lumina2",
    inside="tokenizer/",
)
T5_XXL: Final = _part(FLUX_ENCODERS, "t5xxl_fp16.safetensors", ENCODERS, T5_TOKENIZER)
CLIP_L: Final = _part(FLUX_ENCODERS, "clip_l.safetensors", ENCODERS)
CLIP_G: Final = _part(SD3_ENCODERS, "text_encoders/clip_g.safetensors", ENCODERS)
FLUX_VAE: Final = _part(Z_ARCHIVE, "split_files/vae/ae.safetensors", "vae")
QWEN_VAE: Final = _part(QWEN_ARCHIVE, "split_files/vae/qwen_image_vae.safetensors", "vae")
QWEN_PARTS: Final = (
    _encoder(QWEN_ARCHIVE, "qwen_2.5_vl_7b_fp8_scaled.safetensors", QWEN_TOKENIZER),
    QWEN_VAE,
)

# Small to large; each is one file in half precision, from its makers or ComfyUI's own archive, with
# the parts that it needs beside it. Then what may lie beside them.
DOWNLOADS: Final = (
    Download(
        name="sd15",
        repo="Comfy-Org/stable-diffusion-v1-5-archive",
        file="v1-5-pruned-emaonly-fp16.safetensors",
        title="Stable Diffusion 1.5, 2 GB",
        memory=4,
        licence="OpenRAIL-M",
    ),
    Download(
        name="sdxl-turbo",
        repo="stabilityai/sdxl-turbo",
        file="sd_xl_turbo_1.0_fp16.safetensors",
        title="SDXL Turbo: 512 pixels in one to four steps, 7 GB",
        memory=8,
        licence="Stability AI Community",
    ),
    Download(
        name="sdxl",
        repo="stabilityai/stable-diffusion-xl-base-1.0",
        file="sd_xl_base_1.0.safetensors",
        title="Stable Diffusion XL: 1024 pixels, 7 GB",
        memory=10,
        licence="OpenRAIL++-M",
    ),
    _network(
        "lumina2",
        LUMINA_ARCHIVE,
        "split_files/diffusion_models/lumina_2_model_bf16.safetensors",
        "Lumina 2, 11 GB with its text encoder",
        memory=10,
        family="lumina2",
        parts=(
            _encoder(LUMINA_ARCHIVE, "gemma_2_2b_fp16.safetensors", GEMMA_TOKENIZER),
            FLUX_VAE,
        ),
    ),
    _network(
        "anima",
        ANIMA_ARCHIVE,
        "split_files/diffusion_models/anima-base-v1.0.safetensors",
        "Anima: drawings and anime, 6 GB",
        memory=8,
        family="anima",
        parts=(
            _part(
                ANIMA_ARCHIVE,
                "split_files/text_encoders/qwen_3_06b_base.safetensors",
                ENCODERS,
                QWEN_TOKENIZER,
                T5_TOKENIZER,
            ),
            QWEN_VAE,
        ),
        licence="CircleStone, not commercial",
    ),
    _network(
        "flux2-klein-4b",
        KLEIN_ARCHIVE,
        "split_files/diffusion_models/flux-2-klein-4b.safetensors",
        "FLUX.2 klein 4B: four steps, edits pictures by words, 16 GB",
        memory=13,
        family="flux2",
        parts=(
            _encoder(KLEIN_ARCHIVE, "qwen_3_4b.safetensors", QWEN_TOKENIZER),
            _part(KLEIN_ARCHIVE, "split_files/vae/flux2-vae.safetensors", "vae"),
        ),
    ),
    Download(
        name="sd35-medium",
        repo="stabilityai/stable-diffusion-3.5-medium",
        file="sd3.5_medium.safetensors",
        title="Stable Diffusion 3.5 Medium, 17 GB with its text encoders",
        memory=15,
        parts=(CLIP_L, CLIP_G, T5_XXL),
        licence="Stability AI Community",
        gated=True,
        families=("sd3",),
    ),
    _network(
        "z-image-turbo",
        Z_ARCHIVE,
        "split_files/diffusion_models/z_image_turbo_bf16.safetensors",
        "Z-Image Turbo: eight steps, 21 GB",
        memory=16,
        family="z",
        parts=(_encoder(Z_ARCHIVE, "qwen_3_4b.safetensors", QWEN_TOKENIZER), FLUX_VAE),
    ),
    _network(
        "krea2-turbo",
        KREA_ARCHIVE,
        "diffusion_models/krea2_turbo_fp8_scaled.safetensors",
        "Krea 2 Turbo in fp8: eight steps, 22 GB",
        memory=16,
        family="krea2",
        parts=(
            _part(
                KREA_ARCHIVE,
                "text_encoders/qwen3vl_4b_bf16.safetensors",
                ENCODERS,
                QWEN_TOKENIZER,
            ),
            QWEN_VAE,
        ),
        licence="Krea 2 Community",
    ),
    Download(
        name="flux1-schnell",
        repo="Comfy-Org/flux1-schnell",
        file="flux1-schnell-fp8.safetensors",
        title="FLUX.1 schnell in fp8: four steps, all in one file of 17 GB",
        memory=16,
        parts=(T5_TOKENIZER,),
        licence=APACHE,
        families=("flux",),
    ),
    _network(
        "chroma",
        "lodestones/Chroma1-HD",
        "Chroma1-HD.safetensors",
        "Chroma, 28 GB with its text encoder",
        memory=23,
        family="chroma",
        parts=(T5_XXL, FLUX_VAE),
    ),
    _network(
        "qwen-image",
        QWEN_ARCHIVE,
        "split_files/diffusion_models/qwen_image_2512_fp8_e4m3fn.safetensors",
        "Qwen-Image in fp8: writes text in pictures, 30 GB",
        memory=26,
        family="qwen",
        parts=QWEN_PARTS,
    ),
    _network(
        "qwen-image-edit",
        EDIT_ARCHIVE,
        "split_files/diffusion_models/qwen_image_edit_2509_fp8_e4m3fn.safetensors",
        "Qwen-Image-Edit in fp8: edits pictures by words, 30 GB",
        memory=26,
        family="qwen",
        parts=QWEN_PARTS,
    ),
    _network(
        "flux1-dev",
        "black-forest-labs/FLUX.1-dev",
        "flux1-dev.safetensors",
        "FLUX.1 dev, 34 GB with its text encoders",
        memory=30,
        family="flux",
        parts=(CLIP_L, T5_XXL, FLUX_VAE),
        licence="FLUX.1 dev, not commercial",
        gated=True,
    ),
    Download(
        name="taesd",
        repo="madebyollin/taesd",
        file="taesd_decoder.safetensors",
        title="tiny VAE of Stable Diffusion 1 and 2: truer previews, 5 MB",
        folder="vae_approx",
        licence="MIT",
    ),
    Download(
        name="taesdxl",
        repo="madebyollin/taesdxl",
        file="taesdxl_decoder.safetensors",
        title="tiny VAE of Stable Diffusion XL: truer previews, 5 MB",
        folder="vae_approx",
        licence="MIT",
    ),
    QWEN_TOKENIZER,
    T5_TOKENIZER,
    GEMMA_TOKENIZER,
)
# Folders that a file's folder on the hub may mean.
HOMES: Final = frozenset(name for comfyui, _ in FOLDERS.values() for name in comfyui)


def offers() -> list[Download]:
    """Return what is offered: what Marble can run, and what lies beside it."""
    return [download for download in DOWNLOADS if download.is_offered]


def command_for(file: str) -> str | None:
    """Return the command that fetches a part of models by the usual name of its file, if any.

    It fetches the part in whatever precision is offered.
    """
    found = (each for each in _parts() if plain(Path(each.file).stem) == plain(Path(file).stem))
    part = next(found, None)
    return f"marble models get {part.address}" if part else None


def plain(name: str) -> str:
    """Return a file's name as letters and digits alone, without its precision."""
    return re.sub(r"[^a-z0-9]|(?:bf|fp)(?:8|16|32).*", "", name.lower())


def _parts() -> Iterator[Download]:
    for download in offers():
        yield from (part for each in download.parts for part in each.whole())


def find(name: str) -> Download:
    """Return the download of that name, or one of an address on the hub; raises `HubError`.

    An address is `owner/name` for a folder, or `owner/name/file.safetensors`.
    """
    for download in offers():
        if download.name == name:
            return download
    if part := next((each for each in _parts() if each.address == name), None):
        return part
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    if owner and repo and (not file or file.endswith(ENDINGS)):
        place = file.rpartition("/")[0].rpartition("/")[2]
        folder = place if place in HOMES and variant(file) is None else CHECKPOINTS
        return Download(
            name=name, repo=f"{owner}/{repo}", file=file, title=file or name, folder=folder
        )
    known = [download.name for download in offers()]
    raise HubError(
        f"There is no offer {name!r}{nearest(name, known)}; known are {', '.join(known)}, or "
        "write owner/name of a diffusers folder, or owner/name/file.safetensors."
    )
