"""Training of the second tower: pictures beside the text encoder's vectors, by captions alone.

n pictures and their n captions give n × n cosines, of which those of the diagonal shall be large:
by a softmax over rows and columns (CLIP: Radford et al., 2021, arXiv:2103.00020) or a sigmoid of
each (SigLIP: Zhai et al., 2023, arXiv:2303.15343). The text encoder is frozen; a projection of its
state at the end mark is trained.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTextModel

from engine.starter.captions import draw_caption
from engine.starter.form import new_towers
from engine.starter.recipe import Recipe, TowerRecipe
from engine.starter.tokens import load_tokenizer
from engine.starter.training.log import Log
from engine.starter.training.loop import Draw, Schedule, pick_device, train
from engine.starter.training.optim import Average, Optimisers
from engine.starter.training.pictures import Pictures, spec_of, to_signed
from engine.starter.training.text import to_ids

_OUTER = (
    "towers.vision_model.embeddings",
    "towers.visual_projection",
    "towers.text_projection",
    "towers.logit_scale",
    "bias",
)
_STEEPEST = math.log(100)  # of the cosines' factor, as in CLIP


class _Pairs(nn.Module):
    """The towers with the sigmoid's bias, which nobody needs after training."""

    def __init__(self, towers: CLIPModel) -> None:
        super().__init__()
        self.towers = towers
        self.bias = nn.Parameter(torch.tensor(-10.0))


def softmax_loss(cosines: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Give the mean cross-entropy of rows and columns of `[n, n]` cosines."""
    truth = torch.arange(len(cosines), device=cosines.device)
    logits = cosines * scale
    rows = functional.cross_entropy(logits, truth)
    return (rows + functional.cross_entropy(logits.T, truth)) / 2


def sigmoid_loss(cosines: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Give the sum over a row of `[n, n]` pairs' losses, each matching or not, on average."""
    signs = 2 * torch.eye(len(cosines), device=cosines.device) - 1
    return -functional.logsigmoid(signs * (cosines * scale + bias)).sum(1).mean()


LOSSES: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "softmax": softmax_loss,
    "sigmoid": sigmoid_loss,
}


def train_towers(recipe: Recipe, pictures: Pictures, work: Path, log: Log) -> None:
    """Train the image tower and both projections, and write `work/tower`, a whole CLIP model."""
    device = pick_device()
    tokenizer = load_tokenizer(work / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(work / "text_encoder", dtype=torch.float32)
    torch.manual_seed(recipe.tower.seed)  # weights are drawn by the libraries' own initialisers
    pairs = _Pairs(new_towers(recipe.tower, encoder)).to(device)
    towers, loss_of = pairs.towers, LOSSES[recipe.tower.loss]
    specs = [spec_of(recipe.render, index) for index in range(len(pictures))]
    small = shrink(pictures, recipe.tower.small)

    def step_loss(step: int, draw: Draw) -> tuple[Tensor, dict[str, float]]:
        chosen = draw.numpy.integers(0, len(specs), recipe.tower.batch)
        texts = [
            draw_caption(
                specs[index], draw.numpy, full=draw.numpy.random() < recipe.tower.full
            ).text
            for index in chosen
        ]
        ids = without_padding(to_ids(tokenizer, texts), int(tokenizer.eos_token_id)).to(device)
        pixels = disturb(recipe.tower, to_signed(small[chosen]), draw).to(device)
        # Not in bf16: at this size its backward pass takes twice as long as fp32's on a CPU.
        seen = towers.get_image_features(pixel_values=pixels).pooler_output
        read = towers.get_text_features(input_ids=ids).pooler_output
        cosines = functional.normalize(seen.float()) @ functional.normalize(read.float()).T
        scale = towers.logit_scale.clamp(max=_STEEPEST).exp()
        loss = loss_of(cosines, scale, pairs.bias)
        first = (cosines.argmax(0) == torch.arange(len(cosines), device=device)).float().mean()
        return loss, {"loss": loss.item(), "first": first.item(), "scale": scale.item()}

    train(
        pairs,
        Optimisers(pairs, _OUTER, half=recipe.half),
        Average(pairs, recipe.tower.average),
        Schedule(
            rate=recipe.tower.rate,
            floor=0.01,
            steps=recipe.tower.steps,
            constant=recipe.tower.constant,
        ),
        step_loss,
        seed=recipe.tower.seed,
        checkpoint=work / "tower.pt",
        every_seconds=recipe.checkpoint_seconds,
        log=log,
    )
    towers.half().cpu().save_pretrained(work / "tower")
    (work / "tower" / "model.safetensors").chmod(0o644)
    shutil.copytree(work / "tokenizer", work / "tower", dirs_exist_ok=True)
    prepared = json.dumps(preprocessor(recipe), indent=1) + "\n"
    (work / "tower" / "preprocessor_config.json").write_text(prepared, encoding="utf-8")


def shrink(pictures: Pictures, side: int) -> NDArray[np.uint8]:
    """Shrink all pictures to `[n, side, side, 3]` as the preprocessor does."""
    how = Image.Resampling.BICUBIC
    return np.stack(
        [
            np.asarray(Image.fromarray(pictures.numpy(index)).resize((side, side), how))
            for index in range(len(pictures))
        ]
    )


def without_padding(ids: Tensor, end: int) -> Tensor:
    """Cut `[n, 77]` behind the longest caption: the encoder is causal, so its state stays."""
    return ids[:, : int((ids == end).int().argmax(1).max()) + 1]


def disturb(recipe: TowerRecipe, pictures: Tensor, draw: Draw) -> Tensor:
    """Cut, blur, noise and light `[n, 3, s, s]` otherwise: what the model draws is no render."""
    count, side = len(pictures), recipe.side
    corners = draw.numpy.integers(0, pictures.shape[-1] - side + 1, (count, 2))
    pictures = torch.stack(
        [
            picture[:, y : y + side, x : x + side]
            for picture, (y, x) in zip(pictures, corners, strict=True)
        ]
    )
    blurred = torch.from_numpy(draw.numpy.random(count) < recipe.blurred).view(-1, 1, 1, 1)
    pictures = torch.where(blurred, functional.avg_pool2d(pictures, 3, 1, 1), pictures)
    noise = torch.from_numpy(draw.numpy.uniform(0, recipe.noise, (count, 1, 1, 1))).float()
    light = torch.from_numpy(
        draw.numpy.uniform(-recipe.light, recipe.light, (count, 1, 1, 1))
    ).float()
    return pictures + noise * draw.normal(*pictures.shape) + light


def preprocessor(recipe: Recipe) -> dict[str, object]:
    """Give the configuration that resizes pictures, cuts out their middle, and brings it to ±1."""
    side = recipe.tower.side
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": recipe.tower.small},
        "resample": int(Image.Resampling.BICUBIC),
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
