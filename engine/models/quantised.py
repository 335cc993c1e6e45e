"""Check that Marble can read how a file's weights are quantised, by its header.

ComfyUI marks fp8 files in two ways: by a tensor `PREFIX.scaled_fp8`, and then each layer X whose
weights have 8 bits and whose name begins with the prefix, if any, has a scale `X.scale_weight`; or,
layer by layer, by a text in JSON, `X.comfy_quant`, that names the format, and a scale
`X.weight_scale` (or by one text for all in the metadata). `engine.loading.weights` reads the
weights by the same names and marks. Without a mark weights of 8 bits are numbers as they are.
Standard library only.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from engine.files.safetensors import FP8, BadFile, Header, Tensor, quantised

SCALED: Final = "scaled_fp8"  # says that fp8 weights are scaled whose names begin as its own
MARK: Final = ".comfy_quant"  # a layer's format, JSON as bytes
MARKS: Final = "_quantization_metadata"  # the same for all layers, in the file's metadata
FORMATS: Final = ("float8_e4m3fn", "float8_e5m2")
WEIGHT: Final = ".weight"
# How a layer's scale is called beside its weight, newer files first.
SCALES: Final = (".weight_scale", ".scale_weight")
# What other programs' quantisations leave in tensors' names.
OTHERS: Final[Mapping[str, str]] = {
    ".quant_state.": "bitsandbytes",
    ".absmax": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".wscales": "SVDQuant",
    ".qweight": "GPTQ",
    ".weight._data": "quanto",
}
BYTES: Final = ("I8", "U8")  # in which others are packed


def check_quantised(*headers: Header) -> None:
    """Refuse weights in a format that is not read, and fp8 files that lack scales.

    headers: of the files that hold one module; a layer's scale may lie in another than the layer.
    """
    tensors, marks = dict[str, Tensor](), dict[str, Any]()
    for header in headers:
        tensors |= header.tensors
        marks |= metadata_marks(header.metadata)
        for name in header.tensors:
            if name.endswith(MARK):
                marks[name.removesuffix(MARK)] = read_mark(header.contents(name))
    names = "\n".join(tensors)
    if found := next((what for mark, what in OTHERS.items() if mark in names), None):
        raise BadFile(quantised(found))
    check_formats(marks)
    fp8 = {name: len(each.shape) for name, each in tensors.items() if each.dtype in FP8}
    check_scales(tensors, fp8, marks)
    for name, tensor in tensors.items():
        if tensor.dtype in BYTES and len(tensor.shape) == 2 and name.endswith(WEIGHT):
            raise BadFile(quantised(tensor.dtype))


def metadata_marks(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the marks of layers that a file's metadata give; raises `BadFile`."""
    try:
        return dict(json.loads(metadata.get(MARKS, "{}")).get("layers", {}))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BadFile(f"its metadata {MARKS!r} are damaged") from None


def read_mark(data: Iterable[int]) -> Any:
    """Return a layer's mark of its bytes; raises `BadFile`."""
    try:
        return json.loads(bytes(data))
    except (ValueError, TypeError, RecursionError):
        raise BadFile(f"its mark {MARK!r} of a layer is damaged") from None


def is_mark_of_all(name: str) -> bool:
    """Return whether a tensor says that the fp8 weights are scaled whose names begin as its own."""
    return name.rpartition(".")[2] == SCALED


def check_formats(marks: Mapping[str, Any]) -> None:
    """Refuse marks of layers that name a format that is not read."""
    for mark in marks.values():
        how = mark.get("format") if isinstance(mark, dict) else mark
        if how not in FORMATS:
            raise BadFile(quantised(str(how)[:40]))


def check_scales(names: Collection[str], fp8: Mapping[str, int], layers: Collection[str]) -> None:
    """Refuse fp8 weights that are marked as scaled, and lack their scales.

    names: of all tensors; fp8: of those in fp8, and how many dimensions each has; layers: those
    that have a mark of their own.
    """
    starts = tuple(name.removesuffix(SCALED) for name in names if is_mark_of_all(name))
    for name, dimensions in fp8.items():
        if not name.endswith(WEIGHT):
            continue
        layer = name.removesuffix(WEIGHT)
        by_all = dimensions == 2 and name.startswith(starts)
        scales = [f"{layer}{end}" for end in SCALES]
        if (by_all or layer in layers) and not any(scale in names for scale in scales):
            raise BadFile(
                f"it is marked as scaled fp8, and lacks the scale of {layer!r} ({scales[by_all]})"
            )
