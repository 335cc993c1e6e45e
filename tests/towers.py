"""Make small CLIP and SigLIP models from true configurations: real files for the real loader."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
from transformers.utils import logging as transformers_logging

from engine.models.catalogue import STARTER_FOLDER

SIDE = 32
WIDTH = 24
TOKENS = 1896  # of the bundled tokenizer
_SIZE = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.5,
}
_TEXT = {
    **_SIZE,
    "vocab_size": TOKENS,
    "max_position_embeddings": 77,
    "bos_token_id": TOKENS - 2,
    "eos_token_id": TOKENS - 1,
    "pad_token_id": TOKENS - 1,
}
_VISION = {**_SIZE, "image_size": SIDE, "patch_size": 8}
_MEAN, _STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
_PREPARED: dict[str, dict[str, Any]] = {
    "clip": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": SIDE},
        "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE},
    },
    "siglip": {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": SIDE, "width": SIDE},
    },
}


def make_towers(folder: Path, kind: str = "clip", *, seed: int = 0) -> Path:
    """Write a CLIP or SigLIP (`kind`) with random weights and whole files; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "clip":
            config = CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=16)
            model = CLIPModel(config)
        else:
            model = SiglipModel(SiglipConfig(text_config=_TEXT, vision_config=_VISION))
        for parameter in model.parameters():  # biases too, which would be zero
            torch.nn.init.normal_(parameter, std=0.3)
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    prepared = {
        **_PREPARED[kind],
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": _MEAN,
        "image_std": _STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared), encoding="utf-8")
    shutil.copytree(STARTER_FOLDER / "tokenizer", folder, dirs_exist_ok=True)
    return folder
