"""Write LoRAs with random weights for a model's modules, in the forms of several trainers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.loading.layer_names import original_name

RANK: Final = 2
ALPHA: Final = 3.0
Pairs = dict[str, dict[str, tuple[Tensor, Tensor]]]  # part → module → down and up


def random_lora(
    parts: Mapping[str, Any],
    *,
    convolutions: bool = False,
    seed: int = 0,
    size: float = 0.3,
    skipped: tuple[str, ...] = (),
    attention: bool = False,
    rank: int = RANK,
) -> Pairs:
    """Return a pair for each linear layer of the parts.

    convolutions: for each of those, too; attention: for those of transformers alone.
    """
    generator = torch.Generator().manual_seed(seed)

    def pair(layer: Any) -> tuple[Tensor, Tensor]:
        out, into, *kernel = layer.weight.shape
        down = torch.randn((rank, into, *kernel), generator=generator) / down_scale(layer)
        up = torch.randn((out, rank, *[1] * len(kernel)), generator=generator)
        return down, size * up

    def wanted(name: str, layer: Any) -> bool:
        right = isinstance(
            layer, (torch.nn.Linear, torch.nn.Conv2d) if convolutions else torch.nn.Linear
        )
        inside = "transformer_blocks" in name or "encoder.layers" in name
        return right and not name.startswith(skipped) and (inside or not attention)

    return {
        part: {name: pair(layer) for name, layer in module.named_modules() if wanted(name, layer)}
        for part, module in parts.items()
    }


def down_scale(layer: Any) -> float:
    """Return what keeps a random projection's answer at its input's size."""
    return float(layer.weight[0].numel() ** 0.5)


def write_kohya(path: Path, pairs: Pairs, unet: Any, *, original: bool = False) -> Path:
    """Write as kohya's trainers do; `original`: with the original U-Net's names, as for SDXL."""
    prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}
    if "text_encoder_2" in pairs:
        prefixes["text_encoder"] = "lora_te1_"
    tensors: dict[str, Tensor] = {}
    for part, layers in pairs.items():
        for name, (down, up) in layers.items():
            if part == "unet":
                spelled = str(original_name(name, unet.config)) if original else name
            else:
                spelled = f"text_model.{name.removeprefix('text_model.')}"
            key = prefixes[part] + spelled.replace(".", "_")
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
            tensors[f"{key}.alpha"] = torch.tensor(ALPHA)
    return save(path, tensors)


def write_diffusers(
    path: Path, pairs: Pairs, endings: Sequence[str] = ("lora_A", "lora_B")
) -> Path:
    """Write as diffusers does; the alpha is the rank then."""
    tensors = {
        f"{part}.{name}.{ending}.weight": tensor
        for part, layers in pairs.items()
        for name, pair in layers.items()
        for ending, tensor in zip(endings, pair, strict=True)
    }
    return save(path, tensors)


def save(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> Path:
    """Write tensors as a file; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}, path)
    return path
