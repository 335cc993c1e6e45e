"""The model's form: a plain, small Stable Diffusion 1.x, built empty from the recipe."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from engine.starter.recipe import Recipe, TextRecipe, TowerRecipe
from engine.starter.tokens import load_tokenizer

BETAS: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
}
"""Noise levels of Stable Diffusion 1.x; the model predicts v (Salimans and Ho, 2022)."""


def alphas_cumprod() -> torch.Tensor:
    """Give the signal's share of variance at each of the 1000 timesteps, fp32 `[1000]`."""
    start, end, count = (BETAS[key] for key in ("beta_start", "beta_end", "num_train_timesteps"))
    betas = torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


def new_text_encoder(recipe: TextRecipe, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Build a text encoder with random weights for the tokenizer's vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=recipe.hidden,
            projection_dim=recipe.width,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            max_position_embeddings=recipe.positions,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_towers(recipe: TowerRecipe, encoder: CLIPTextModel) -> CLIPModel:
    """Build CLIP of a frozen text encoder and a random image tower for pictures."""
    vision = {
        "hidden_size": recipe.width,
        "intermediate_size": recipe.hidden,
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads,
        "image_size": recipe.side,
        "patch_size": recipe.patch,
    }
    text = {**encoder.config.to_dict(), "_name_or_path": ""}
    towers = CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=recipe.vector)
    )
    towers.text_model.load_state_dict(encoder.state_dict())
    towers.text_model.requires_grad_(False)
    return towers


def new_vae(recipe: Recipe) -> AutoencoderKL:
    """Build a picture codec with random weights: `[n, 3, s, s]` to `[n, c, s/8, s/8]`."""
    levels = len(recipe.vae.channels)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        block_out_channels=recipe.vae.channels,
        layers_per_block=1,
        norm_num_groups=recipe.vae.groups,
        latent_channels=recipe.vae.latent_channels,
        sample_size=recipe.picture_size,
    )


def new_unet(recipe: Recipe) -> UNet2DConditionModel:
    """Build a denoiser with random weights, whose first answer is zero."""
    unet = UNet2DConditionModel(
        sample_size=recipe.picture_size // 8,
        in_channels=recipe.vae.latent_channels,
        out_channels=recipe.vae.latent_channels,
        block_out_channels=recipe.unet.channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=recipe.text.width,
        attention_head_dim=recipe.unet.heads,  # diffusers' name for the number of heads
        norm_num_groups=recipe.unet.groups,
    )
    torch.nn.init.zeros_(unet.conv_out.weight)
    torch.nn.init.zeros_(unet.conv_out.bias)
    return unet


def new_scheduler() -> DDIMScheduler:
    """Build the scheduler that the folder names for other software."""
    return DDIMScheduler(
        **BETAS,
        clip_sample=False,  # latents are not bounded by 1: clipping them gives garbage
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def save_model(
    folder: Path,
    tokenizer: Path,
    text_encoder: CLIPTextModel,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
) -> None:
    """Write the model folder in diffusers' layout, weights as fp16 safetensors.

    `tokenizer` is the folder that `train_tokenizer` wrote: its files are copied as they are,
    because transformers' own save leaves out vocab.json and merges.txt.
    """
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=load_tokenizer(tokenizer),
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    for path in folder.glob("*/config.json"):
        _drop_origin(path)
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(tokenizer, folder / "tokenizer")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes them readable by their owner alone


def _drop_origin(path: Path) -> None:
    """Take out of a configuration where its weights were loaded from: a place of this machine."""
    content = json.loads(path.read_text("utf-8"))
    content.pop("_name_or_path", None)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
