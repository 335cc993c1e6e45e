"""Draw many pictures with the bundled model through Marble's own engine, in batches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.checkpoints import STARTER, STARTER_FOLDER, describe
from engine.conditioning import TextEncoder
from engine.decode import decode
from engine.denoise import Denoising, evaluate
from engine.loading import Model, load
from engine.recipe import Recipe

_BATCH = 20
SIDE = 128  # px


def load_starter(folder: Path = STARTER_FOLDER) -> Model:
    """Load the starter model to the CPU."""
    return load(describe(STARTER, folder), torch.device("cpu"))


@torch.inference_mode()
def draw(
    model: Model,
    prompts: Sequence[str],
    *,
    negative: str = "",
    steps: int = 20,
    guidance_scale: float = 3.0,
    sampler: str = "dpmpp_2m",
    first_seed: int = 1,
) -> NDArray[np.uint8]:
    """Draw one picture a prompt, seeds counting from the first: `[n, 128, 128, 3]`."""
    text = TextEncoder(model)
    drawings = [
        Denoising(
            model,
            Recipe(
                prompt=prompt,
                negative_prompt=negative,
                seed=first_seed + index,
                steps=steps,
                guidance_scale=guidance_scale,
                width=SIDE,
                height=SIDE,
                sampler=sampler,
                schedule="normal",
                checkpoint=STARTER,
            ),
            0,
            text.encode(prompt),
            text.encode(negative),
        )
        for index, prompt in enumerate(prompts)
    ]
    for start in range(0, len(drawings), _BATCH):
        _finish(model, drawings[start : start + _BATCH])
    return np.stack([decode(model, drawing.latents) for drawing in drawings])


def _finish(model: Model, batch: list[Denoising]) -> None:
    while any(drawing.request for drawing in batch):
        for drawing, denoised in zip(batch, evaluate(model, batch), strict=True):
            drawing.advance(denoised)
