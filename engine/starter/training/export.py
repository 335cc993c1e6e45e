"""Putting the trained parts together as the model folder that Marble and others load."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.nn import functional
from transformers import CLIPTextModel

from engine.starter.form import save_model
from engine.starter.training.pictures import Pictures

_FITTED_ON = 512  # pictures the preview map is fitted on

# What the model draws well with; read by Marble, ignored by other software.
_DEFAULTS = {"steps": 12, "guidance_scale": 3.0, "sampler": "dpmpp_2m", "schedule": "normal"}
_DETAIL = 0.15  # above, the second pass at 256 pixels breaks smooth stone into pebbles
_NOTES = {
    "en": "This small model knows statues only: people, animals and things.",
    "zh": "这个小模型只会画雕像：人物、动物和器物。",
}


def export(pictures: Pictures, work: Path, out: Path) -> int:
    """Put the trained parts of a work folder together as a model folder; give its bytes.

    The folder appears at once, complete: it is written beside its place and renamed.
    """
    polished = work / "vae-polished"
    unfinished = out.with_name(out.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    save_model(
        unfinished,
        work / "tokenizer",
        CLIPTextModel.from_pretrained(work / "text_encoder"),
        AutoencoderKL.from_pretrained(polished if polished.exists() else work / "vae"),
        UNet2DConditionModel.from_pretrained(work / "unet"),
    )
    latents = np.load(work / "latents.npy", mmap_mode="r")
    own = {
        "defaults": _DEFAULTS,
        "detail": _DETAIL,
        "notes": _NOTES,
        "preview": fit_preview(pictures, latents),
    }
    text = json.dumps(own, ensure_ascii=False, indent=1) + "\n"
    (unfinished / "marble.json").write_text(text, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    unfinished.rename(out)
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def fit_preview(pictures: Pictures, latents: Any) -> dict[str, list[Any]]:
    """Fit latents `[n, c, 16, 16]` to RGB in -1 … 1 at an eighth of the size, by least squares."""
    chosen = np.arange(min(_FITTED_ON, len(latents)))
    small = functional.avg_pool2d(pictures.batch(chosen), 8)
    clean = torch.from_numpy(np.asarray(latents[chosen])).float()
    rows = clean.movedim(1, -1).flatten(0, -2)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    found = torch.linalg.lstsq(rows, small.movedim(1, -1).flatten(0, -2)).solution
    rounded = [[round(float(value), 4) for value in row] for row in found]
    return {"weights": rounded[:-1], "bias": rounded[-1]}
