"""Compare one call of Z-Image's network in each precision with fp32: `python -m
tests.bench.precision`.

The network has the true architecture, a fifth of the true width, three layers, and random weights
of the size that keeps values' spread from layer to layer; each precision is written to a file by
the makers' names, and loaded as people's files are. Errors are those of the output, as the root of
the mean square divided by the output's own.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.device.tensor_bytes import module_bytes
from engine.families import z_image
from engine.loading.modules import Target
from engine.loading.weights import map_weights
from engine.models.quantised import MARKS
from tests.quantised import write_quantised

CONFIG: Final[Mapping[str, Any]] = {
    "dim": 768, "n_heads": 6, "n_kv_heads": 6, "n_layers": 1, "n_refiner_layers": 1,
    "cap_feat_dim": 512, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512],
    "in_channels": 16,
}  # fmt: skip
FP8: Final = {"e4m3fn": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
GGUF: Final = (
    "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "Q3_K", "Q2_K",
)  # fmt: skip
FORMS: Final = (
    "fp32", "bf16", "fp16", "fp8 e4m3fn", "fp8 e5m2", "fp8 e4m3fn scaled", "fp8 e5m2 scaled",
    "fp8 e4m3fn scaled anew", "fp8 e4m3fn scaled by rows", *GGUF,
)  # fmt: skip


def main() -> None:
    """Measure each precision, and print a table."""
    with tempfile.TemporaryDirectory() as home, torch.inference_mode():
        weights = random_weights()
        wanted = call(z_image.network_of(weights))
        print(f"{'':26} {'error':>9} {'MB':>7} {'seconds':>8}")  # noqa: T201
        for form in FORMS:
            network = z_image.network_of(map_weights(form, write(Path(home), form, weights)))
            begun = time.perf_counter()
            error = relative(call(network), wanted)
            seconds = time.perf_counter() - begun
            held = module_bytes([network]) / 1e6
            print(f"{form:26} {error:9.1e} {held:7.1f} {seconds:8.2f}")  # noqa: T201
        half = z_image.network_of(weights, Target(torch.bfloat16))
        error = relative(call(half, torch.bfloat16), wanted)
        print(f"{'computed in bf16':26} {error:9.1e}")  # noqa: T201


def random_weights() -> dict[str, Tensor]:
    """Return weights by the makers' names, fp32."""
    with torch.device("meta"):
        shapes = {name: own.shape for name, own in z_image.Network(**CONFIG).state_dict().items()}
    random = torch.Generator().manual_seed(0)
    own = {}
    for name, shape in shapes.items():
        if "norm" in name and name.endswith("weight"):
            own[name] = torch.ones(shape)
        else:
            own[name] = torch.randn(shape, generator=random) / shape[-1] ** 0.5
    return dict(makers_names(own))


def makers_names(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors with queries, keys and values in one matrix, as ComfyUI's files have them."""
    for name, tensor in tensors.items():
        if ".to_k." in name or ".to_v." in name:
            continue
        if ".to_q." in name:
            parts = [tensors[name.replace(".to_q.", f".to_{part}.")] for part in "qkv"]
            yield name.replace(".to_q.", ".qkv."), torch.cat(parts)
            continue
        yield name, tensor


def write(folder: Path, form: str, weights: Mapping[str, Tensor]) -> Path:
    """Write weights in a precision, as people's files have them; return the file."""
    if form in GGUF:
        arrays = {name: tensor.numpy() for name, tensor in weights.items()}
        return write_quantised(folder / f"{form}.gguf", arrays, form)
    path = folder / f"{form}.safetensors"
    if not form.startswith("fp8"):
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[form]
        save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, path)
        return path
    _, kind, *scaled = form.split(" ")
    found, metadata = scale_fp8(weights, FP8[kind], " ".join(scaled))
    save_file(found, path, metadata)
    return path


def scale_fp8(
    weights: Mapping[str, Tensor], dtype: torch.dtype, scaled: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and metadata of an fp8 file.

    scaled: "": plainly cast; "scaled": in ComfyUI's older form; "scaled anew": in its newer one,
    one half of the layers marked by tensors, the other by metadata; "scaled by rows".
    """
    found, layers = {}, {}
    for number, (name, tensor) in enumerate(weights.items()):
        if tensor.ndim != 2 or not name.endswith(".weight"):
            found[name] = tensor.bfloat16()
            continue
        layer, form = name.removesuffix(".weight"), {"format": str(dtype).removeprefix("torch.")}
        scale = torch.tensor(1.0)
        if scaled:
            largest = tensor.abs().amax(1, keepdim=True) if "rows" in scaled else tensor.abs().max()
            scale = largest / torch.finfo(dtype).max
        found[name] = (tensor / scale).to(dtype)
        if scaled == "scaled":
            found[f"{layer}.scale_weight"] = scale
            found[f"{layer}.scale_input"] = torch.tensor(1.0)
        elif scaled:
            found[f"{layer}.weight_scale"] = scale
            if number % 2:
                layers[layer] = form
            else:
                mark = list(json.dumps(form).encode())
                found[f"{layer}.comfy_quant"] = torch.tensor(mark, dtype=torch.uint8)
    if scaled == "scaled":
        found["scaled_fp8"] = torch.zeros(2, dtype=dtype)
    return found, {MARKS: json.dumps({"layers": layers})} if layers else {}


def call(network: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the network's answer for one row of noise."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn((1, 16, 16, 16), generator=random).to(dtype)
    text = torch.randn((20, CONFIG["cap_feat_dim"]), generator=random).to(dtype)
    return z_image.predict(network, x, torch.tensor([0.7]), [text]).float()


def relative(found: Tensor, wanted: Tensor) -> float:
    """Return the error's root mean square, divided by that of what is wanted."""
    return float((found - wanted).norm() / wanted.norm())


if __name__ == "__main__":
    main()
