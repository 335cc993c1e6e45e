"""Check that Marble can read how a file's weights are quantised, by its header.

ComfyUI marks fp8 files in two ways: by a tensor `scaled_fp8`, and then each layer X whose weights
have 8 bits has a scale `X.scale_weight`; or, layer by layer, by a text in JSON, `X.comfy_quant`,
that names the format, and a scale `X.weight_scale` (or by one text for all in the metadata).
Without a mark weights of 8 bits are numbers as they are. Standard library only.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.files.safetensors import FP8, BadFile, Header, quantised

SCALED: Final = "scaled_fp8"
LAYER: Final = ".comfy_quant"
ALL: Final = "_quantization_metadata"
FORMATS: Final = ("float8_e4m3fn", "float8_e5m2")
WEIGHT: Final = ".weight"
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


def check_quantised(header: Header) -> None:
    """Refuse weights in a format that is not read, and fp8 files that lack scales."""
    names = "\n".join(header.tensors)
    if found := next((what for mark, what in OTHERS.items() if mark in names), None):
        raise BadFile(quantised(found))
    for layer, how in _layers(header):
        if how not in FORMATS:
            raise BadFile(quantised(how))
        _require(header, layer, f"{layer}.weight_scale")
    for start in [name.removesuffix(SCALED) for name in header.tensors if name.endswith(SCALED)]:
        for name, tensor in header.tensors.items():
            matrix = tensor.dtype in FP8 and len(tensor.shape) == 2 and name.endswith(WEIGHT)
            if matrix and name.startswith(start):
                layer = name.removesuffix(WEIGHT)
                _require(header, layer, f"{layer}.scale_weight")
    for name, tensor in header.tensors.items():
        if tensor.dtype in BYTES and len(tensor.shape) == 2 and name.endswith(WEIGHT):
            raise BadFile(quantised(tensor.dtype))


def _require(header: Header, layer: str, scale: str) -> None:
    if scale not in header.tensors:
        raise BadFile(f"it is marked as scaled fp8, and lacks the scale of {layer!r} ({scale})")


def _layers(header: Header) -> Iterator[tuple[str, str]]:
    """Yield each layer that is marked, and its format."""
    if ALL in header.metadata:
        layers = _read(header.metadata[ALL]).get("layers")
        for layer, how in (layers if isinstance(layers, dict) else {}).items():
            yield layer, str(how.get("format") if isinstance(how, dict) else how)
    marks = [name for name in header.tensors if name.endswith(LAYER)]
    for name in marks:
        how = _read(header.contents(name).decode("utf-8", "replace"))
        yield name.removesuffix(LAYER), str(how.get("format"))


def _read(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BadFile("its marks of quantisation are damaged")
    return data
