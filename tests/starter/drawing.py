"""Draw many pictures with the bundled model through Marble's own engine, in batches."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.checkpoints import STARTER, STARTER_FOLDER, describe
from engine.denoise import Denoising, evaluate
from engine.loading import Model, load
from engine.recipe import Recipe
from engine.resident import Resident

_BATCH = 20


def load_starter(folder: Path = STARTER_FOLDER) -> Model:
    """Load the starter model to the CPU."""
    return load(describe(STARTER, folder), torch.device("cpu"))


@torch.inference_mode()
def draw(
    model: Model,
    prompts: Sequence[str],
    *,
    negative: str = "",
    first_seed: int = 1,
    **values: Any,
) -> NDArray[np.uint8]:
    """Draw one picture a prompt, seeds counting from the first: `[n, 128, 128, 3]`.

    Other values of the recipe are the model's own defaults, unless they are given.
    """
    resident = Resident(model)
    settings = {**asdict(model.checkpoint.defaults), **values}
    recipes = [
        Recipe(
            prompt=prompt,
            negative_prompt=negative,
            seed=first_seed + index,
            checkpoint=STARTER,
            **settings,
        )
        for index, prompt in enumerate(prompts)
    ]
    drawings = [picture for recipe in recipes for picture in resident.begin(recipe)]
    for start in range(0, len(drawings), _BATCH):
        _finish(model, drawings[start : start + _BATCH])
    return np.stack([resident.decode(drawing.latents) for drawing in drawings])


def _finish(model: Model, batch: list[Denoising]) -> None:
    while any(drawing.request for drawing in batch):
        for drawing, denoised in zip(batch, evaluate(model, batch), strict=True):
            drawing.advance(denoised)
