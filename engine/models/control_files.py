"""Which models a ControlNet fits, read from its configuration or its tensors' shapes.

A ControlNet fits the family of models that it was trained beside, and no other.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from engine.errors import BrokenModel, UserError, reading_a
from engine.files.safetensors import as_broken_model, read_header
from engine.models.catalogue import Checkpoint
from engine.models.families import FAMILIES
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.recipe.parts import Control
from engine.sentences import Sentence

CONTEXT: Final = "attn2.to_k.weight"  # [inner, width of the text embeddings]
CLASSES: Final = ("ControlNetModel", "ControlNetUnionModel")
# What marks a union, one network for several types of images: a key of a folder's configuration
# (whatever class it names), and a file's tensors.
UNION_KEY: Final = "num_control_type"
TYPES: Final = "control_add_embedding.linear_1.weight"
TASKS: Final = "task_embedding"
PROJECTION: Final = "spatial_ch_projs.weight"
# A preprocessor → the index of its images among a union's types: edges, line art, straight lines.
CONTROL_TYPES: Final = {"canny": 3}


def find_control(model_files: ModelFiles, control: Control, checkpoint: Checkpoint) -> Control:
    """Return a control with its model's full name, after checking that it fits a checkpoint.

    Raises `UnknownPart`, `BrokenModel`, or `UserError` for one of another family or type.
    """
    name = model_files.resolve(control.model)
    path = model_files.path(name)
    check_family(name, path, checkpoint)
    if is_union(name, path):
        check_control_type(name, control.preprocessor)
    return replace(control, model=name)


@reading_a(ModelKind.CONTROLNET)
def is_union(name: str, path: Path) -> bool:
    """Return whether a folder or file is a union ControlNet; raises `BrokenModel`."""
    if path.is_dir():
        return bool(read_config(name, path).get(UNION_KEY))
    with as_broken_model(name):
        return {TYPES, TASKS, PROJECTION} <= read_header(path).tensors.keys()


def check_control_type(name: str, preprocessor: str) -> None:
    """Raise `UserError` for a preprocessor whose images no type of a union stands for."""
    if preprocessor not in CONTROL_TYPES:
        finds = " or ".join(f"find={each}" for each in sorted(CONTROL_TYPES))
        raise UserError(Sentence("unknown_map_kind", name=name, finds=finds))


def check_family(name: str, path: Path, checkpoint: Checkpoint) -> None:
    """Raise `UserError` where a ControlNet is made for other models; `BrokenModel`."""
    width, wanted = context_width(name, path), checkpoint.family.context_width
    if width is not None and wanted is not None and width != wanted:
        made, its = family_title(width), checkpoint.family.title
        what = Sentence("wrong_family", name=name, family=made, model=checkpoint.name, its=its)
        raise UserError(what)


@reading_a(ModelKind.CONTROLNET)
def context_width(name: str, path: Path) -> int | None:
    """Return the width of the text embeddings that it takes, None if its files do not say."""
    if path.is_dir():
        config = read_config(name, path)
        kind, width = config.get("_class_name"), config.get("cross_attention_dim")
        if kind not in CLASSES:
            raise BrokenModel(name, f"it is a {kind}, not a {CLASSES[0]}.")
        return width if isinstance(width, int) else None
    with as_broken_model(name):
        header = read_header(path)
    if "lora_controlnet" in header.tensors:
        raise BrokenModel(name, "it is a Control-LoRA, which Marble cannot run yet.")
    found = [tensor.shape for key, tensor in header.tensors.items() if key.endswith(CONTEXT)]
    if not found or not any("zero_convs" in k or "controlnet_down" in k for k in header.tensors):
        raise BrokenModel(name, "it is no ControlNet.")
    if len(found[0]) != 2:
        raise BrokenModel(name, f"its layers that read text have the shape {[*found[0]]}.")
    return found[0][1]


def read_config(name: str, path: Path) -> dict[str, Any]:
    """Return a folder's configuration, or raise `BrokenModel`."""
    try:
        return dict(json.loads((path / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise BrokenModel(name, "its config.json cannot be read.") from None


def family_title(width: int) -> str:
    """Return the title of the family with text embeddings of that width."""
    titles = [family.title for family in FAMILIES if family.context_width == width]
    return titles[0] if titles else f"models with text embeddings {width:,} wide"
