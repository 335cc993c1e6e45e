"""Training of the picture codec: crops first, whole pictures after, then the decoder alone."""

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor
from torch.nn import functional

from engine.starter.form import new_vae
from engine.starter.recipe import Recipe, VaeRecipe
from engine.starter.training.log import Log
from engine.starter.training.loop import Draw, Schedule, half_precision, pick_device, train
from engine.starter.training.optim import Average, Optimisers
from engine.starter.training.pictures import Pictures

_OUTER = ("encoder.conv_in", "decoder.conv_in", "decoder.conv_out", "quant_conv", "post_quant_conv")


def train_vae(recipe: Recipe, pictures: Pictures, work: Path, log: Log) -> None:
    """Train encoder and decoder together and write `work/vae`, scaled to unit latents."""
    torch.manual_seed(recipe.vae.seed)  # weights are drawn by the libraries' own initialisers
    device = pick_device()
    vae, known = new_vae(recipe).to(device), len(pictures) - recipe.render.held_out

    def step_loss(step: int, draw: Draw) -> tuple[Tensor, dict[str, float]]:
        whole = step >= recipe.vae.crop_steps
        picture = draw_pictures(recipe.vae, pictures, known, draw, whole=whole).to(device)
        with half_precision(device, wanted=recipe.half):
            moments = vae.quant_conv(vae.encoder(picture)).float()
        posterior = DiagonalGaussianDistribution(moments)
        noise = draw.normal(*posterior.mean.shape).to(device)
        latents = posterior.mean + posterior.std * noise
        spread = recipe.vae.noise * posterior.mean.detach().std()
        with half_precision(device, wanted=recipe.half):
            restored = vae.decode(latents + spread * draw.normal(*latents.shape).to(device)).sample
        loss, figures = reconstruction_loss(recipe.vae, restored.float(), picture)
        divergence = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        return loss + recipe.vae.kl * divergence, figures

    train(
        vae,
        Optimisers(vae, _OUTER, half=recipe.half),
        Average(vae, 0.998),
        Schedule(
            rate=recipe.vae.rate,
            floor=recipe.vae.floor,
            steps=recipe.vae.steps,
            constant=recipe.vae.constant,
        ),
        step_loss,
        seed=recipe.vae.seed,
        checkpoint=work / "vae.pt",
        every_seconds=recipe.checkpoint_seconds,
        log=log,
    )
    held_out = torch.arange(known, len(pictures)).numpy()
    vae.register_to_config(scaling_factor=1 / latent_deviation(vae, pictures.batch(held_out)))
    log.write(f"held-out pictures: {decibels(vae, pictures, recipe):.2f} dB")
    vae.save_pretrained(work / "vae")


def polish_decoder(recipe: Recipe, pictures: Pictures, work: Path, log: Log) -> None:
    """Train the decoder alone on the encoder's final latents and write `work/vae-polished`.

    The denoiser needs only the encoder, so this may run beside its training.
    """
    device = pick_device()
    vae = AutoencoderKL.from_pretrained(work / "vae").to(device)
    latents = np.load(work / "latents.npy", mmap_mode="r")
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)

    def step_loss(step: int, draw: Draw) -> tuple[Tensor, dict[str, float]]:
        chosen = draw.numpy.integers(0, len(latents), recipe.vae.polish_batch)
        picture = pictures.batch(chosen).to(device)
        clean = torch.from_numpy(latents[chosen]).float()
        noisy = clean + recipe.vae.noise * draw.normal(*clean.shape)
        with half_precision(device, wanted=recipe.half):
            restored = vae.decode(noisy.to(device) / vae.config.scaling_factor).sample
        return reconstruction_loss(recipe.vae, restored.float(), picture)

    train(
        vae,
        Optimisers(vae, _OUTER, half=recipe.half),
        Average(vae, 0.998),
        Schedule(
            rate=recipe.vae.polish_rate,
            floor=recipe.vae.floor,
            steps=recipe.vae.polish_steps,
            constant=recipe.vae.polish_constant,
        ),
        step_loss,
        seed=recipe.vae.seed + 100,
        checkpoint=work / "polish.pt",
        every_seconds=recipe.checkpoint_seconds,
        log=log,
    )
    log.write(f"held-out pictures: {decibels(vae, pictures, recipe):.2f} dB")
    vae.save_pretrained(work / "vae-polished")


def draw_pictures(
    recipe: VaeRecipe, pictures: Pictures, known: int, draw: Draw, *, whole: bool
) -> Tensor:
    """Draw a batch, each half of the time mirrored: whole pictures or one crop each."""
    count = recipe.batch if whole else recipe.crop_batch
    batch = pictures.batch(draw.numpy.integers(0, known, count))
    if not whole:
        corners = draw.numpy.integers(0, batch.shape[-1] - recipe.crop + 1, (count, 2))
        batch = torch.stack(
            [
                picture[:, y : y + recipe.crop, x : x + recipe.crop]
                for picture, (y, x) in zip(batch, corners, strict=True)
            ]
        )
    mirrored = torch.from_numpy(draw.numpy.random(count) < 0.5).view(-1, 1, 1, 1)
    return torch.where(mirrored, batch.flip(-1), batch)


def reconstruction_loss(
    recipe: VaeRecipe, restored: Tensor, picture: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Weigh absolute, squared and edge errors; both tensors are `[n, 3, h, w]` in -1 … 1."""
    absolute = functional.l1_loss(restored, picture)
    squared = functional.mse_loss(restored, picture)
    edges = _edge_loss(restored, picture) + _edge_loss(
        functional.avg_pool2d(restored, 2), functional.avg_pool2d(picture, 2)
    )
    figures = {"l1": absolute.item(), "dB": 10 * math.log10(4 / squared.item())}
    return absolute + recipe.mse * squared + recipe.gradient * edges, figures


def _edge_loss(restored: Tensor, picture: Tensor) -> Tensor:
    across = functional.l1_loss(restored.diff(dim=-1), picture.diff(dim=-1))
    return across + functional.l1_loss(restored.diff(dim=-2), picture.diff(dim=-2))


@torch.no_grad()
def latent_deviation(vae: AutoencoderKL, pictures: Tensor) -> float:
    """Give the standard deviation of the latents of `[n, 3, 128, 128]` pictures."""
    return float(
        torch.cat(
            [vae.encode(p.to(vae.device)).latent_dist.mean for p in torch.split(pictures, 32)]
        ).std()
    )


@torch.no_grad()
def decibels(vae: AutoencoderKL, pictures: Pictures, recipe: Recipe) -> float:
    """Measure the codec on the held-out pictures: peak signal to noise of their mean error."""
    first = len(pictures) - recipe.render.held_out
    errors = []
    for start in range(first, len(pictures), 32):
        picture = pictures.batch(torch.arange(start, min(start + 32, len(pictures))).numpy()).to(
            vae.device
        )
        restored = vae.decode(vae.encode(picture).latent_dist.mean).sample.clamp(-1, 1)
        errors.append((restored - picture).square().mean((1, 2, 3)))
    return 10 * math.log10(4 / float(torch.cat(errors).mean()))
