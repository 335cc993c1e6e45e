"""Which files of a diffusers folder are its weights: half precision where it is, never pickles.

    variant("unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors")   # "fp16"

Standard library only.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

NETWORK_FOLDER: Final = "transformer"  # of models without a U-Net
COMPONENTS: Final = (
    *("unet", NETWORK_FOLDER, "vae"),
    *("text_encoder", "text_encoder_2", "text_encoder_3"),
)
HALF: Final = "fp16"
BRAIN: Final = "bf16"
# `model`, a variant, the number of a shard, a variant where older files had it; or their index.
_NAME: Final = re.compile(
    r"(?:model|diffusion_pytorch_model)(?:"
    r"(?:\.(\w+))?(?:-\d{5}-of-\d{5})?(?:\.(\w+))?\.safetensors|"
    r"\.safetensors\.index(?:\.(\w+))?\.json)"
)


def variant(name: str) -> str | None:
    """Return the variant of a file of weights or of their index, "" for the plain one.

    None for any other file.
    """
    found = _NAME.fullmatch(name.rpartition("/")[2])
    return (found[1] or found[2] or found[3] or "") if found else None


def choose(names: Iterable[str], order: tuple[str, ...]) -> list[str]:
    """Return the files of the first variant of `order` that is there, [] if none is."""
    known = [(variant(name), name) for name in names]
    there = {its for its, name in known if name.endswith(".safetensors")}
    for wanted in order:
        if wanted in there:
            return [name for its, name in known if its == wanted]
    return []


def state(path: Path) -> tuple[int, ...]:
    """Return what changes whenever a file, or the weights of a folder, do; () where it is gone."""
    try:
        stats = [file.stat() for file in ([path] if path.is_file() else component_files(path))]
    except OSError:
        return ()
    return tuple(n for stat in stats for n in (stat.st_mtime_ns, stat.st_size, stat.st_ino))


def component_files(part: Path) -> list[Path]:
    """Return the files of weights of a part that are loaded: the plain ones if they are there."""
    names = sorted(path.name for path in part.glob("*.safetensors"))
    return [part / name for name in choose(names, ("", BRAIN, HALF))]
