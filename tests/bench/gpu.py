"""Measure large models' networks on a GPU: `python -m tests.bench.gpu [--compile] [--flow]`.

Random weights in the shapes of SD1.5 and SDXL, fp16 and bf16, at 512² and 1024², 1 to 16 rows:
seconds a call and a row, whether a row is the same at one number of rows whatever its neighbours
and slot, and the rows of exact and throughput mode that follow. The same for the networks of flow
models (`tests.bench.gpu_flow`). Then, in SD1.5's shape, the table of `tests.bench.engine`:
diffusers' pipeline beside Marble. Without a GPU it says so and ends.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from engine.device.probe import Measurements, Probe, finished, software
from engine.families.stable_diffusion import StableDiffusion, load
from engine.models.catalogue import describe
from tests.bench.engine import bench, say
from tests.bench.gpu_flow import bench_flow
from tests.models import make_model

ROWS: Final = (1, 2, 4, 8, 16)
SD15: Final[dict[str, Any]] = {"sample_size": 64, "cross_attention_dim": 768}
SDXL: Final[dict[str, Any]] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE: Final[dict[str, Any]] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}
Inputs = tuple[Tensor, Tensor, Tensor, dict[str, Tensor] | None]


def make_unet(form: dict[str, Any], dtype: torch.dtype, device: torch.device) -> Any:
    """Return a U-Net of that form with random weights."""
    with torch.device(device):
        unet = UNet2DConditionModel(**form)
    return unet.to(dtype, memory_format=torch.channels_last).eval().requires_grad_(False)


def make_inputs(unet: Any, rows: int, side: int, dtype: torch.dtype, seed: int) -> Inputs:
    """Return latents [rows, 4, side, side], timesteps, contexts and what SDXL adds."""
    generator = torch.Generator().manual_seed(seed)
    device = unet.device
    latents = torch.randn((rows, 4, side, side), generator=generator).to(device, dtype)
    context = torch.randn((rows, 77, unet.config.cross_attention_dim), generator=generator)
    timesteps = torch.randint(0, 1000, (rows,), generator=generator).to(device)
    pooled = torch.randn((rows, 1280), generator=generator).to(device, dtype)
    sizes = torch.full((rows, 6), 1024.0, device=device, dtype=dtype)
    added = {"text_embeds": pooled, "time_ids": sizes}
    uses = unet.config.addition_embed_type
    return latents, timesteps, context.to(device, dtype), added if uses else None


@torch.inference_mode()
def call(unet: Any, inputs: Inputs) -> Tensor:
    """Return the U-Net's answer, [rows, 4, side, side]."""
    latents, timesteps, context, added = inputs
    output: Tensor = unet(latents, timesteps, context, added_cond_kwargs=added, return_dict=False)[
        0
    ]
    return output


def is_exact(unet: Any, rows: int, side: int, dtype: torch.dtype) -> bool:
    """Tell whether a row is the same in every slot and beside any neighbours."""
    lone = make_inputs(unet, 1, side, dtype, seed=0)
    answers = []
    for slot in range(rows):
        inputs = make_inputs(unet, rows, side, dtype, seed=slot + 1)
        for mine, theirs in zip(lone[:3], inputs[:3], strict=True):
            assert isinstance(mine, Tensor)
            assert isinstance(theirs, Tensor)
            theirs[slot] = mine[0]
        if lone[3] and inputs[3]:
            for name, value in lone[3].items():
                inputs[3][name][slot] = value[0]
        answers.append(call(unet, inputs)[slot])
    return all(torch.equal(answer, answers[0]) for answer in answers)


def measure(name: str, unet: Any, side: int, dtype: torch.dtype) -> None:
    """Print what calls cost by their rows, and what follows."""
    inputs = {rows: make_inputs(unet, rows, side, dtype, 0) for rows in ROWS}

    def work(rows: int) -> Tensor:
        return call(unet, inputs[rows])

    buckets = finished(Probe(Measurements(None)).buckets(unet.device, name, work))
    for rows, seconds in buckets.seconds.items():
        exact = "same bits" if is_exact(unet, rows, side, dtype) else "DIFFERS"
        say(f"{name}, {rows} rows", f"{seconds * 1e3:.1f} ms", f"{seconds / rows * 1e3:.1f}", exact)
    say(f"{name}: exact {buckets.canonical(2)} rows, throughput {buckets.widest()} rows")


def make_sd15(folder: Path, device: torch.device) -> StableDiffusion:
    """Return a model of SD1.5's shape; its text encoder is small, which changes no step."""
    tiny = load(describe("SD1.5 shape", make_model(folder / "tiny")), torch.device("cpu"))
    form = {**SD15, "cross_attention_dim": tiny.unet.config.cross_attention_dim}
    with torch.device(device):
        vae = AutoencoderKL(**VAE).to(memory_format=torch.channels_last).eval()
    return StableDiffusion(
        checkpoint=describe("SD1.5 shape", folder / "tiny"),
        device=device,
        dtype=torch.float16,
        tokenizer=tiny.tokenizer,
        text_encoder=tiny.text_encoder.to(device, torch.float16),
        network=make_unet(form, torch.float16, device),
        vae=vae.requires_grad_(False),
        noise_schedule=tiny.noise_schedule,
    )


def bench_unets(device: torch.device, *, compiled: bool) -> None:
    """Print what calls of each U-Net cost; compiled: with compiled blocks, too."""
    for form, name in ((SD15, "SD1.5"), (SDXL, "SDXL")):
        for dtype in (torch.float16, torch.bfloat16):
            unet = make_unet(form, dtype, device)
            ways = [("", unet)]
            if compiled:
                again = make_unet(form, dtype, device)
                again.compile_repeated_blocks(dynamic=False)
                ways.append((" compiled", again))
            for way, one in ways:
                for side in (64, 128):
                    measure(
                        f"{name} {dtype} {side * 8}²{way}".replace("torch.", ""), one, side, dtype
                    )
            del unet, ways
            torch.cuda.empty_cache()


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--compile", action="store_true", help="compiled blocks of U-Nets, too")
    parser.add_argument("--flow", action="store_true", help="flow models alone")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.stdout.write("There is no GPU here that torch can use; nothing was measured.\n")
        return
    device = torch.device("cuda")
    torch.backends.cudnn.deterministic = True
    say(software(device), "a call", "ms a row", "bits")
    if not arguments.flow:
        bench_unets(device, compiled=arguments.compile)
    bench_flow(device)
    if not arguments.flow:
        with tempfile.TemporaryDirectory() as folder:
            bench(make_sd15(Path(folder), device), quick=False, repeat=1, side=512)


if __name__ == "__main__":
    main()
