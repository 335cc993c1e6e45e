"""Where models lie: a folder laid out as ComfyUI's `models`, ComfyUI's own, or A1111's.

One setting, `MARBLE_MODELS_DIR`, names any of the three; each kind of file is looked for wherever
one of the layouts keeps it, and where ComfyUI's `extra_model_paths.yaml` says.
"""

import os
from collections import deque
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from stat import S_ISDIR
from typing import Final

from engine.files.gguf import ENDING as GGUF
from engine.models.extra_paths import extra_folders
from engine.models.weights import variant


class ModelKind(StrEnum):
    """Name the kinds of model files."""

    CHECKPOINT = "checkpoint"
    LORA = "LoRA"
    VAE = "VAE"
    TINY_VAE = "tiny VAE"
    CONTROLNET = "control model"
    UPSCALER = "upscaler"
    EMBEDDING = "embedding"
    NETWORK = "diffusion model"
    TEXT_ENCODER = "text encoder"
    TOKENIZER = "tokenizer"


# What ComfyUI calls the folders of a kind, in `extra_model_paths.yaml` too, and what A1111 does.
FOLDERS: Final[dict[ModelKind, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    ModelKind.CHECKPOINT: (("checkpoints", "diffusers"), ("Stable-diffusion",)),
    ModelKind.LORA: (("loras",), ("Lora", "LyCORIS")),
    ModelKind.VAE: (("vae",), ("VAE",)),
    ModelKind.TINY_VAE: (("vae_approx",), ("VAE-approx",)),
    ModelKind.CONTROLNET: (("controlnet",), ("ControlNet",)),
    ModelKind.UPSCALER: (("upscale_models",), ("ESRGAN", "RealESRGAN")),
    ModelKind.EMBEDDING: (("embeddings",), ()),
    ModelKind.NETWORK: (("diffusion_models", "unet"), ()),
    ModelKind.TEXT_ENCODER: (("text_encoders", "clip"), ("text_encoder",)),
    ModelKind.TOKENIZER: (("tokenizers",), ()),
}
SAFE: Final = (".safetensors", ".sft")
# Pickles can run code when they are read, and the known guards have known holes.
PICKLES: Final = (".ckpt", ".pt", ".pth", ".bin")
WEIGHTS: Final = (*SAFE, GGUF, *PICKLES)


def folders(root: Path, kind: ModelKind) -> list[Path]:
    """Return the folders of `root` that hold files of a kind, each once."""
    found: dict[tuple[int, int], Path] = {}
    comfyui, a1111 = FOLDERS[kind]
    own = [root] if kind is ModelKind.CHECKPOINT else []
    # In ComfyUI's `models`, then in ComfyUI's and A1111's roots.
    inside = [place / name for place in (root, root / "models") for name in (*comfyui, *a1111)]
    for folder in (*own, *inside, *extra_folders(root, comfyui)):
        with suppress(OSError):  # it is not there, or not for us
            stat = folder.stat()
            if S_ISDIR(stat.st_mode) and os.access(folder, os.R_OK | os.X_OK):
                # Where names' case does not matter, `vae` and `VAE` are one folder.
                found.setdefault((stat.st_dev, stat.st_ino), folder)
    return list(found.values())


def below(folder: Path) -> list[Path]:
    """Return everything in a folder, however deep; blocks.

    Links to folders are followed, as ComfyUI follows them; each folder is looked into once, by its
    own place where that is below, too.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    own, linked = [folder], deque[Path]()
    while own or linked:
        here = own.pop() if own else linked.popleft()
        with suppress(OSError):  # it is gone, or not for us
            stat = here.stat()
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            with os.scandir(here) as entries:
                for entry in entries:
                    path = here / entry.name
                    found.append(path)
                    if entry.is_dir():
                        (linked if entry.is_symlink() else own).append(path)
    return found


def checkpoints(root: Path) -> dict[str, Path]:
    """Return name → path of all files of weights, pickles included, and diffusers folders.

    A name is a path below its folder, as ComfyUI's, `sd15/dreamshaper.safetensors`, and the hub's,
    `OWNER/NAME`; of files the first of a name counts. Networks whose other parts lie apart are
    among them.
    """
    single: dict[str, Path] = {}
    whole: dict[str, Path] = {}
    homes = folders(root, ModelKind.CHECKPOINT) + folders(root, ModelKind.NETWORK)
    for folder in homes:
        # Directly in the root only files are checkpoints: its folders are other kinds' places.
        everything = folder.iterdir() if folder == root else below(folder)
        for path in sorted(everything):
            if is_weights(path) and not _part_of_a_folder(path, folder):
                single.setdefault(path.relative_to(folder).as_posix(), path)
        deeper = [] if folder == root else folder.glob("*/*/model_index.json")
        for index in sorted([*folder.glob("*/model_index.json"), *deeper]):
            whole[index.parent.relative_to(folder).as_posix()] = index.parent
    return {**single, **whole}


def is_weights(path: Path) -> bool:
    """Return whether a path is a file of weights, pickles included."""
    return path.suffix.lower() in WEIGHTS and path.is_file()


def is_diffusers(path: Path) -> bool:
    """Return whether a file has a name that diffusers gives to weights."""
    return variant(f"{path.stem}{SAFE[0]}") is not None or path.stem.startswith("pytorch_model")


def _part_of_a_folder(path: Path, top: Path) -> bool:
    """Return whether a file belongs to a model in diffusers' layout: it lies in one of its parts.

    What lies beside `model_index.json` is a file of its own, unless it has a part's name.
    """
    above = [path.parent, *path.parents[1 : len(path.relative_to(top).parts)]]
    indexed = [folder for folder in above if (folder / "model_index.json").exists()]
    return any(folder not in (path.parent, top) for folder in indexed) or (
        bool(indexed) and is_diffusers(path)
    )
