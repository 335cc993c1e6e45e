"""Read weights of networks and text encoders from files in every precision that people have.

bf16, fp16 and fp32, fp8 with ComfyUI's scales and without, and GGUF. They are mapped, not read: a
tensor's bytes lie in the file until it is computed with, or moved. What is quantised comes as
`StoredWeight`, which may be cut and joined by its rows as any tensor: whoever renames a file's
tensors needs not know.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from engine.device.stored_weights import FP8, StoredWeight
from engine.files.gguf import BLOCKS, ENDING, read_weights
from engine.files.safetensors import BadFile, Header, as_broken_model, quantised, quoted
from engine.loading.modules import read_tensors
from engine.models.llama_names import REORDERED, by_transformers
from engine.models.quantised import (
    MARK,
    SCALES,
    WEIGHT,
    check_formats,
    check_scales,
    is_mark_of_all,
    metadata_marks,
    read_mark,
)
from engine.models.weights import component_files

# Scales of inputs, for products of fp8 with fp8; Marble casts weights instead.
UNUSED: Final = (".input_scale", ".scale_input")
# GGUF's plain forms.
DTYPES: Final = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
}  # fmt: skip


def map_weights(name: str, path: Path) -> dict[str, Tensor]:
    """Map the tensors of a file, or of all in a folder, or raise `BrokenModel`.

    A folder's files hold one module's tensors, as diffusers and transformers save large ones.
    """
    found: dict[str, Tensor] = {}
    marks: dict[str, Any] = {}
    with as_broken_model(name):
        files = component_files(path) if path.is_dir() else [path]
        if not files:
            raise BadFile("it holds no weights")
        for file in files:
            header = read_weights(file)
            if file.suffix.lower() == ENDING:
                found |= _map_gguf(header)
            else:
                found |= read_tensors(name, file, fp8=True)
                marks |= metadata_marks(header.metadata)
        return join_scales(found, marks)


def _map_gguf(header: Header) -> dict[str, Tensor]:
    """Map the tensors of a GGUF file into memory; text encoders' have transformers' names."""
    if (kind := header.metadata.get("general.architecture")) in REORDERED:
        raise BadFile(f"its rows are in llama.cpp's order for {kind}, which Marble cannot read yet")
    file = torch.from_file(
        str(header.path), size=header.path.stat().st_size, dtype=torch.uint8, shared=False
    )
    found = {}
    for name, tensor in header.tensors.items():
        held = file[tensor.start : tensor.end]
        if tensor.dtype not in BLOCKS:
            dtype = DTYPES[tensor.dtype]
            held = held.clone() if tensor.start % dtype.itemsize else held
            found[name] = held.view(dtype).view(tensor.shape)
            continue
        values, size = BLOCKS[tensor.dtype]
        if tensor.shape and tensor.shape[-1] % values == 0:
            found[name] = StoredWeight(held.view(*tensor.shape[:-1], -1), kind=tensor.dtype)
        else:  # a convolution, which was reshaped to whole blocks
            blocks = StoredWeight(held.view(-1, size), kind=tensor.dtype)
            found[name] = blocks.unpacked().view(tensor.shape)
    return by_transformers(found)


def join_scales(tensors: Mapping[str, Tensor], marks: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return tensors without fp8's scales and marks: fp8 ones are `StoredWeight` with their scales.

    marks: the forms of layers, as metadata give them. Raises `BadFile` for a form that is not
    known, and for a scale that is missing or has another shape.
    """
    marks = dict(marks)
    found = {}
    for name, tensor in tensors.items():
        layer, end = name.rpartition(".")[0], f".{name.rpartition('.')[2]}"
        if end == MARK:
            marks[layer] = read_mark(tensor.flatten().tolist())
        elif is_mark_of_all(name) or end in UNUSED:
            continue
        elif not (end in SCALES and f"{layer}{WEIGHT}" in tensors):
            found[name] = tensor
    check_formats(marks)
    fp8 = {name: each.ndim for name, each in found.items() if each.dtype in FP8}
    check_scales(tensors, fp8, marks)
    for name, tensor in found.items():
        layer = name.removesuffix(WEIGHT)
        scale = next(
            (tensors[f"{layer}{end}"] for end in SCALES if f"{layer}{end}" in tensors), None
        )
        if scale is not None and layer != name:
            if not tensor.is_floating_point():
                raise BadFile(quantised(str(tensor.dtype).removeprefix("torch.")))
            found[name] = StoredWeight(tensor, _shaped(name, tensor, scale))
        elif tensor.dtype in FP8:
            found[name] = StoredWeight(tensor)
    return found


def _shaped(name: str, weight: Tensor, scale: Tensor) -> Tensor:
    """Return a scale as [] or [rows, 1], fp32."""
    if scale.numel() == 1:
        return scale.float().reshape(())
    if weight.ndim == 2 and scale.numel() == len(weight):
        return scale.float().reshape(-1, 1)
    raise BadFile(
        f"its weight {quoted(name)} has scales of the shape {[*scale.shape]}, where one is due, or "
        "one for each row"
    )
