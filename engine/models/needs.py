"""Which files of models a recipe needs, by names that engines of other machines can compare.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.models.folders import ModelKind
from engine.recipe.parts import LANCZOS, LATENT
from engine.recipe.recipe import Recipe

BUILT_IN: Final = frozenset({LANCZOS, LATENT})  # ways of upscaling without a file


def need(kind: ModelKind, name: str) -> str:
    """Return a file's name among the needs of jobs, as sentences say it too: `LoRA detail`."""
    return f"{kind} {name}"


def needs_of(recipe: Recipe) -> frozenset[str]:
    """Return what an engine must have to draw a recipe; embeddings are left out of it."""
    return frozenset(_needs(recipe))


def _needs(recipe: Recipe) -> Iterator[str]:
    yield from (need(ModelKind.CHECKPOINT, name) for name in recipe.models)
    yield from (need(ModelKind.LORA, lora.name) for lora in recipe.loras)
    yield from (need(ModelKind.CONTROLNET, control.model) for control in recipe.controls)
    if recipe.vae:
        yield need(ModelKind.VAE, recipe.vae)
    if recipe.upscale and recipe.upscale.by not in BUILT_IN:
        yield need(ModelKind.UPSCALER, recipe.upscale.by)
