"""Load networks and text encoders of true size from files of random weights, and measure memory:
`make bench-big-models`, or `python -m tests.bench.big_models FOLDER [CASE …]`.

A file takes 4 to 12 GB and is deleted after its case; each case runs in a process of its own. What
counts is the process's resident memory, anonymous pages and those of the mapped file together, at
its highest (the kernel's `VmHWM`) and beyond what it was before loading, against the file's size.
Pages of the file are in it once they were read, which the look for values that are no numbers does;
under pressure the system takes them back, as it cannot anonymous ones. Linux only.
"""

import argparse
import gc
import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from torch import Tensor
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from engine.device.finite import check_weights
from engine.device.tensor_bytes import module_bytes
from engine.families import z_image
from engine.files.gguf import BLOCKS, read_weights
from engine.files.held_bytes import held_bytes
from engine.loading.weights import map_weights
from engine.text_encode import qwen3
from engine.text_encode.language_model import layer_states
from tests.bench.precision import makers_names
from tests.quantised import random_blocks

Z_IMAGE: Final[Mapping[str, Any]] = {
    "dim": 3840, "n_heads": 30, "n_kv_heads": 30, "n_layers": 30, "n_refiner_layers": 2,
    "cap_feat_dim": 2560, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512],
    "in_channels": 16,
}  # fmt: skip
QWEN3_4B: Final[Mapping[str, Any]] = {
    "vocab_size": 151_936, "hidden_size": 2560, "intermediate_size": 9728,
    "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip

Shapes = Mapping[str, torch.Size]


def main() -> None:
    """Write, load and delete the file of each case, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*", default=[*CASES])
    parser.add_argument("--load", action="store_true", help="load the file of one case alone")
    arguments = parser.parse_args()
    if arguments.load:
        print(json.dumps(measure(arguments.cases[0], arguments.folder)))  # noqa: T201
        return
    heads = ("file", "peak", "× file", "forecast", "held", "seconds", "call", "peak", "after")
    print(f"{'GB':24} " + " ".join(f"{head:>8}" for head in heads))  # noqa: T201
    for case in arguments.cases:
        kind, form = CASES[case]
        shapes = kind()
        file = arguments.folder / f"random{'.gguf' if form in BLOCKS else '.safetensors'}"
        try:
            write(file, shapes, form)
            print(f"{case:24} {row(load_alone(case, file), file.stat().st_size)}")  # noqa: T201
        finally:
            file.unlink(missing_ok=True)


def row(found: Mapping[str, float], size: int) -> str:
    """Return a case's figures as a row of the table."""
    peak = found["peak"]
    figures = [size, peak, peak / size * 1e9, *(found[key] for key in ("forecast", "held"))]
    shown = " ".join(f"{figure / 1e9:8.2f}" for figure in figures)
    shown += f" {found['seconds']:8.1f} {found['call']:8.1f}"
    return f"{shown} {found['call_peak'] / 1e9:8.2f} {found['after'] / 1e9:8.2f}"


def load_alone(case: str, file: Path) -> dict[str, float]:
    """Measure a case in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.big_models", "--load", str(file), case]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@torch.inference_mode()
def measure(case: str, file: Path) -> dict[str, float]:
    """Load a file as people's are loaded, look at its values, call it once, and drop it.

    Bytes are those beyond what the process had before: peak while it was loaded and looked at,
    forecast from its header, held by the module, call_peak of a call, after it was dropped.
    """
    import diffusers.quantizers.gguf.utils  # noqa: F401  # so that it counts as there before

    network, call = (z_image.network_of, call_z_image) if "Z-Image" in case else (
        qwen3.encoder_of, call_qwen3,
    )  # fmt: skip
    before, begun = resident(), time.perf_counter()
    restart_peak()
    module: Any = network(map_weights(case, file))
    check_weights(case, module)
    seconds, peak = time.perf_counter() - begun, resident("VmHWM") - before
    restart_peak()
    begun = time.perf_counter()
    call(module)
    called, call_peak = time.perf_counter() - begun, resident("VmHWM") - before
    held = module_bytes([module])
    forecast = held_bytes(read_weights(file).tensors.values(), size=4, room=0)
    del module
    gc.collect()
    return {
        "peak": peak, "seconds": seconds, "held": held, "forecast": forecast,
        "call": called, "call_peak": call_peak, "after": resident() - before,
    }  # fmt: skip


def call_z_image(network: Any) -> None:
    """Call the network for a picture of 128², with a short prompt."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn((1, 16, 16, 16), generator=random)
    text = torch.randn((20, 2560), generator=random)
    assert z_image.predict(network, x, torch.tensor([0.7]), [text]).isfinite().all()


def call_qwen3(encoder: Any) -> None:
    """Encode twenty tokens."""
    ids = range(1, 151_000, 7550)
    assert layer_states(encoder, ids, (-2,), device=torch.device("cpu")).isfinite().all()


def resident(what: str = "VmRSS") -> int:
    """Return bytes of this process's resident memory: now, or (VmHWM) at the highest."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"this system does not tell {what}")


def restart_peak() -> None:
    """Let the kernel forget how high resident memory was."""
    Path("/proc/self/clear_refs").write_text("5")


def z_image_shapes() -> Shapes:
    """Return the tensors of Z-Image by the makers' names."""
    with torch.device("meta"):
        return shapes_of(dict(makers_names(z_image.Network(**Z_IMAGE).state_dict())))


def qwen3_shapes() -> Shapes:
    """Return the tensors of Qwen3-4B by transformers' names."""
    with torch.device("meta"):
        own = Qwen3Model(Qwen3Config(**QWEN3_4B)).state_dict()
    return shapes_of({f"model.{name}": tensor for name, tensor in own.items()})


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes of tensors."""
    return {name: tensor.shape for name, tensor in tensors.items()}


CASES: Final[Mapping[str, tuple[Callable[[], Shapes], str]]] = {
    "Z-Image bf16": (z_image_shapes, "BF16"),
    "Z-Image fp8 scaled": (z_image_shapes, "F8_E4M3"),
    "Z-Image Q4_K": (z_image_shapes, "Q4_K"),
    "Qwen3-4B bf16": (qwen3_shapes, "BF16"),
    "Qwen3-4B Q8_0": (qwen3_shapes, "Q8_0"),
}


def write(file: Path, shapes: Shapes, form: str) -> None:
    """Write a file of random weights, a tensor at a time."""
    if form in BLOCKS:
        write_gguf(file, shapes, form)
    else:
        write_safetensors(file, shapes, form)


def write_safetensors(file: Path, shapes: Shapes, form: str) -> None:
    """Write a file of matrices in a dtype by the format's name, fp8 with scales, else in bf16."""
    listed: list[tuple[str, str, torch.Size]] = []
    for name, shape in shapes.items():
        matrix = len(shape) == 2 and name.endswith(".weight")
        listed.append((name, form if matrix else "BF16", shape))
        if matrix and form == "F8_E4M3":
            scale = f"{name.removesuffix('.weight')}.scale_weight"
            listed.append((scale, "F32", torch.Size()))
    header, at = {}, 0
    sizes = {"BF16": 2, "F8_E4M3": 1, "F32": 4}
    for name, dtype, shape in listed:
        end = at + shape.numel() * sizes[dtype]
        header[name] = {"dtype": dtype, "shape": [*shape], "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = torch.randn(2**22, generator=torch.Generator().manual_seed(0)) * 0.02
    blocks = {
        "BF16": random.bfloat16().view(torch.uint8).numpy().tobytes(),
        "F8_E4M3": (random * 50).to(torch.float8_e4m3fn).view(torch.uint8).numpy().tobytes(),
        "F32": struct.pack("<f", 0.02),
    }
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for _, dtype, shape in listed:
            repeat(stream, blocks[dtype], shape.numel() * sizes[dtype])


def repeat(stream: BinaryIO, block: bytes, size: int) -> None:
    """Write so many bytes by writing a block again and again."""
    for _ in range(size // len(block)):
        stream.write(block)
    stream.write(block[: size % len(block)])


def write_gguf(file: Path, shapes: Shapes, form: str) -> None:
    """Write a file of matrices that have whole blocks in a quantisation, all else in fp32."""
    writer = gguf.GGUFWriter(file, "random")
    written: list[np.ndarray[Any, Any] | tuple[int, int]] = []
    values, size = BLOCKS[form]
    for name, shape in shapes.items():
        if len(shape) == 2 and shape[1] % values == 0:
            rows, width = shape[0], shape[1] // values * size
            writer.add_tensor_info(
                name, (rows, width), np.dtype(np.uint8), rows * width, Kind[form]
            )
            written.append((rows, width))
        else:
            plain = np.full([*shape], 0.02, np.float32)
            writer.add_tensor_info(name, plain.shape, plain.dtype, plain.nbytes)
            written.append(plain)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    block = random_blocks(form, 2**14, 1)
    for it in written:
        writer.write_tensor_data(random_rows(block, *it) if isinstance(it, tuple) else it)
    writer.close()


def random_rows(block: np.ndarray[Any, Any], rows: int, width: int) -> np.ndarray[Any, Any]:
    """Return so many bytes of quantised rows by repeating blocks."""
    return np.resize(block.reshape(-1), rows * width).reshape(rows, width)


if __name__ == "__main__":
    main()
