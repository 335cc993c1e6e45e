"""Draw many pictures with the bundled model through Marble's own engine, in batches."""

from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.denoise.denoising import Denoising, evaluate
from engine.families.stable_diffusion import StableDiffusion, load
from engine.models.catalogue import STARTER, STARTER_FOLDER, describe
from engine.pictures.start_image import StartImage
from engine.recipe.recipe import Recipe
from tests.engine.ticks import make_loaded_model

_BATCH = 20


def load_starter(folder: Path = STARTER_FOLDER) -> StableDiffusion:
    """Load the starter model to the CPU."""
    return load(describe(STARTER, folder), torch.device("cpu"))


@torch.inference_mode()
def draw(
    model: StableDiffusion,
    prompts: Sequence[str],
    *,
    negative: str = "",
    first_seed: int = 1,
    on: NDArray[np.uint8] | None = None,
    **values: Any,
) -> NDArray[np.uint8]:
    """Draw one picture a prompt, seeds counting from the first: `[n, 128, 128, 3]`.

    `on` holds a start image each, `[n, 128, 128, 3]`, to be noised by the recipe's strength. Other
    values of the recipe are the model's own defaults, unless they are given.
    """
    loaded_model = make_loaded_model(model)
    settings = {**asdict(model.checkpoint.defaults), **values}
    recipes = [
        Recipe(
            prompt=prompt,
            negative_prompt=negative,
            seed=first_seed + index,
            checkpoint=STARTER,
            image=None if on is None else sha256(on[index].tobytes()).hexdigest(),
            **settings,
        )
        for index, prompt in enumerate(prompts)
    ]
    canvases = [None] * len(recipes) if on is None else [StartImage(pixels) for pixels in on]
    drawings = [
        picture
        for recipe, canvas in zip(recipes, canvases, strict=True)
        for picture in loaded_model.begin(recipe, canvas)
    ]
    for start in range(0, len(drawings), _BATCH):
        _finish(model, drawings[start : start + _BATCH])
    return np.stack([loaded_model.decode(drawing.latents) for drawing in drawings])


def _finish(model: StableDiffusion, batch: list[Denoising]) -> None:
    while any(drawing.request for drawing in batch):
        for drawing, denoised in zip(batch, evaluate(model, batch), strict=True):
            drawing.advance(denoised)
