"""Which files of a diffusers folder are its weights: half precision where it is, never pickles.

    variant("unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors")   # "fp16"

Standard library only.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

COMPONENTS: Final = ("unet", "vae", "text_encoder", "text_encoder_2")
HALF: Final = "fp16"
# `model`, a variant, the number of a shard, a variant where older files had it.
_NAME: Final = re.compile(
    r"(?:model|diffusion_pytorch_model)(?:\.(\w+))?(?:-\d{5}-of-\d{5})?(?:\.(\w+))?\.safetensors"
)
_INDEX: Final = re.compile(
    r"(?:model|diffusion_pytorch_model)\.safetensors\.index(?:\.(\w+))?\.json"
)


def variant(name: str) -> str | None:
    """Return the variant of a file of weights or of their index, "" for the plain one.

    None for any other file.
    """
    name = name.rpartition("/")[2]
    if found := _NAME.fullmatch(name):
        return found[1] or found[2] or ""
    found = _INDEX.fullmatch(name)
    return (found[1] or "") if found else None


def choose(names: Iterable[str], order: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the first variant of `order` that is there, and its files; None and [] if none is."""
    known = [(variant(name), name) for name in names]
    there = {its for its, name in known if name.endswith(".safetensors")}
    for wanted in order:
        if wanted in there:
            return wanted, [name for its, name in known if its == wanted]
    return None, []


def component_variant(part: Path) -> str | None:
    """Return which variant of a part's folder is loaded: the plain one if it is there."""
    return choose((path.name for path in part.glob("*.safetensors")), ("", HALF))[0]


def component_files(part: Path) -> list[Path]:
    """Return the files of weights of a part that are loaded."""
    names = sorted(path.name for path in part.glob("*.safetensors"))
    return [part / name for name in choose(names, ("", HALF))[1]]
