"""Training of the denoiser on the codec's latents, with captions drawn anew every step."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from engine.starter.captions import draw_caption
from engine.starter.form import alphas_cumprod, new_unet
from engine.starter.recipe import Recipe, UnetRecipe
from engine.starter.tokens import load_tokenizer
from engine.starter.training.log import Log
from engine.starter.training.loop import Draw, Schedule, half_precision, pick_device, train
from engine.starter.training.optim import Average, Optimisers
from engine.starter.training.pictures import Pictures, spec_of
from engine.starter.training.text import to_ids

_OUTER = ("conv_in", "conv_out", "time_embedding")
_TIMESTEPS = 1000


@torch.no_grad()
def encode_pictures(recipe: Recipe, pictures: Pictures, work: Path, log: Log) -> None:
    """Write `work/latents.npy`, fp16 `[n, c, 16, 16]` of deviation 1.

    No picture is mirrored: with the sword in either hand in training, the model drew two.
    """
    device = pick_device()
    vae = AutoencoderKL.from_pretrained(work / "vae").to(device)
    known = min(recipe.unet.pictures, len(pictures) - recipe.render.held_out)
    batches = []
    for start in range(0, known, 32):
        batch = pictures.batch(np.arange(start, min(start + 32, known))).to(device)
        with half_precision(device, wanted=recipe.half):
            mean = vae.encode(batch).latent_dist.mean
        batches.append(mean.float().cpu() * vae.config.scaling_factor)
    latents = torch.cat(batches)
    np.save(work / "latents.npy", latents.half().numpy())
    log.write(f"{known} latents, deviation {latents.std().item():.3f}")


def train_unet(recipe: Recipe, work: Path, log: Log) -> None:
    """Train the denoiser from `work/unet-start`, or from nothing, and write `work/unet`."""
    device = pick_device()
    latents = np.load(work / "latents.npy", mmap_mode="r")
    specs = [spec_of(recipe.render, index) for index in range(len(latents))]
    tokenizer = load_tokenizer(work / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(work / "text_encoder", dtype=torch.float32)
    text_encoder.to(device).eval()
    text_encoder.requires_grad_(False)
    torch.manual_seed(recipe.unet.seed)  # weights are drawn by the libraries' own initialisers
    start = work / "unet-start"
    unet = UNet2DConditionModel.from_pretrained(start) if start.exists() else new_unet(recipe)
    unet.to(device)
    signal = alphas_cumprod().to(device)
    weight = (recipe.unet.snr * (1 - signal)).clamp(max=1.0)  # snr / (SNR + 1), at most 1

    def step_loss(step: int, draw: Draw) -> tuple[Tensor, dict[str, float]]:
        count = recipe.unet.batch
        chosen = draw.numpy.integers(0, len(latents), count)
        clean = torch.from_numpy(latents[chosen]).float().to(device)
        texts = [
            ""
            if draw.numpy.random() < recipe.unet.empty
            else draw_caption(specs[index], draw.numpy).text
            for index in chosen
        ]
        ids = to_ids(tokenizer, texts).to(device)
        timesteps = draw_timesteps(recipe.unet, draw).to(device)
        noise = draw.normal(*clean.shape).to(device)
        share = signal[timesteps].view(-1, 1, 1, 1)
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        velocity = share.sqrt() * noise - (1 - share).sqrt() * clean
        with half_precision(device, wanted=recipe.half):
            context = text_encoder(ids).last_hidden_state
            answer = unet(noisy, timesteps, encoder_hidden_states=context).sample
        error = (answer.float() - velocity).square().mean((1, 2, 3))
        loss = (error * weight[timesteps]).mean()
        return loss, {"loss": loss.item(), "v error": error.mean().item()}

    average = Average(unet, recipe.unet.average)
    train(
        unet,
        Optimisers(unet, _OUTER, half=recipe.half, adam_share=0.5),
        average,
        Schedule(
            rate=recipe.unet.rate,
            floor=recipe.unet.floor,
            steps=recipe.unet.steps,
            constant=recipe.unet.constant,
        ),
        step_loss,
        seed=recipe.unet.seed,
        checkpoint=work / "unet.pt",
        every_seconds=recipe.checkpoint_seconds,
        log=log,
    )
    unet.save_pretrained(work / "unet")


def draw_timesteps(recipe: UnetRecipe, draw: Draw) -> Tensor:
    """Draw one timestep a sample, spread evenly over the batch, most of them early."""
    count = recipe.batch
    even = (torch.arange(count) + torch.rand(count, generator=draw.torch)) / count
    early = even / recipe.early * recipe.early_below
    late = recipe.early_below + (even - recipe.early) / (1 - recipe.early) * (
        _TIMESTEPS - recipe.early_below
    )
    return torch.where(even < recipe.early, early, late).long().clamp(max=_TIMESTEPS - 1)
