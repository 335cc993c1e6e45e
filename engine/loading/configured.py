"""Make modules from configurations and mapped tensors, without the libraries' own loaders.

Those change torch's default dtype, or how every module registers its weights, for all threads while
they work; here nothing is changed outside the thread, so that a model can be loaded beside others
that draw. What comes out is the same, value for value
(`tests/engine/loading/test_configured.py`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from torch import Tensor

from engine.files.safetensors import BadFile, quoted
from engine.loading.modules import IN_PLACE, Target, check_shapes, fill, map_tensors
from engine.models.weights import component_files

# By the part's name: what gives a single file's tensors their names in diffusers.
CONVERT: Mapping[str, Callable[..., dict[str, Tensor | None]]] = {
    "unet": convert_ldm_unet_checkpoint,
    "vae": convert_ldm_vae_checkpoint,
}


def read_folder(kind: Any, folder: Path, target: Target = IN_PLACE) -> tuple[Any, list[str]]:
    """Return the module of a diffusers folder, and the tensors of its files that it does not use.

    kind: a class of diffusers'. Raises `BadFile` for weights that are missing or have another
    shape.
    """
    config = kind.load_config(str(folder))
    with torch.device("meta"):
        module = kind.from_config(config)
    module.register_to_config(_name_or_path=str(folder))  # as the library notes it
    tensors = map_folder(folder)
    module._fix_state_dict_keys_on_load(tensors)
    return fill_known(module, tensors, target)


def read_part(
    kind: Any,
    tensors: Mapping[str, Tensor],
    configs: Path,
    part: str,
    target: Target = IN_PLACE,
    **options: Any,
) -> Any:
    """Return the module of a part of a single file; raises as `read_folder` does.

    configs: folder of its family's configurations; options: values in place of theirs.
    """
    config = {**kind.load_config(str(configs), subfolder=part), **options}
    with torch.device("meta"):
        module = kind.from_config(config)
    if tensors.keys() != module.state_dict().keys():  # names by the original code
        try:
            converted = CONVERT[part](dict(tensors), config=config)
        except KeyError as error:  # the library looks up some without asking whether they are there
            raise BadFile(f"its weights lack {quoted(error.args[0])}") from error
        tensors = {name: each for name, each in converted.items() if each is not None}
    return fill_known(module, tensors, target)[0]


def map_folder(folder: Path) -> dict[str, Tensor]:
    """Map the tensors of a folder's files of weights into memory, or raise `BadFile`."""
    files = component_files(folder)
    if not files:
        raise BadFile("it holds no weights that Marble reads (*.safetensors)")
    found: dict[str, Tensor] = {}
    for file in files:
        found |= map_tensors(file, fp8=True)
    return found


def fill_known(
    module: Any, tensors: Mapping[str, Tensor], target: Target = IN_PLACE
) -> tuple[Any, list[str]]:
    """Give a module made on `meta` its tensors, all cast; return it and the names of those left.

    What is neither cast nor moved stays in the memory of the mapped file.
    """
    own = module.state_dict()
    known = {
        name: (each.to(target.dtype) if each.is_floating_point() else each).contiguous()
        for name, each in tensors.items()
        if name in own
    }
    check_shapes(known, own)  # of a smaller network, which lacks layers, this says more
    return fill(module, known, target), sorted(tensors.keys() - own.keys())
