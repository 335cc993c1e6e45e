"""Qwen2.5-VL as a text encoder, Bai et al. (2025), arXiv:2502.13923, and with pictures to edit as
well. Qwen-Image reads its last layer, behind its norm.

A picture is tokens among those of the words, each of 28 × 28 pixels; their positions have rows and
columns. diffusers leaves these out with versions of transformers from 5 on, which take them only
from whoever says which tokens are pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2Model
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from engine.files.safetensors import BadFile
from engine.loading.makers_names import count
from engine.loading.model import Conditioning
from engine.loading.modules import IN_PLACE, Target, fill
from engine.pictures.images import fit
from engine.pictures.references import ReferenceSizes
from engine.pictures.start_image import Pixels
from engine.text_encode.conditioning import padded
from engine.text_encode.language_model import (
    MOST,
    QWEN_SPECIAL,
    made,
    rotary,
    shapes_of,
    template_ids,
)
from engine.text_encode.prompts import check_length

# The makers' templates around a prompt, and around one with pictures before it. What precedes the
# person's words is not read.
TEMPLATE: Final = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity,"
    " text, spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}"
    "<|im_end|>\n<|im_start|>assistant\n"
)
EDIT: Final = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture,"
    " objects, background), then explain how the user's text instruction should alter or modify the"
    " image. Generate a new image that meets the user's requirements while maintaining consistency"
    " with the original input where appropriate.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
PICTURE: Final = "<|vision_start|><|image_pad|><|vision_end|>"
PAD: Final = "<|image_pad|>"
# How names begin in ComfyUI's files and in folders of several versions of transformers, and here.
STARTS: Final = (
    ("model.language_model.", "language_model."),
    ("model.visual.", "visual."),
    ("model.", "language_model."),
)
UNUSED: Final = re.compile(r"(language_model\.)?lm_head\.")  # what would choose the next word
THETA: Final = 1_000_000.0
TITLE: Final = "Qwen2.5-VL"
SIDE: Final = 128  # of a head, which no shape tells
HEADS: Final = 16  # of what sees, likewise
WHOLE: Final = 8  # of so many layers of what sees one sees the whole picture, the others windows
# Pixels of a picture that it sees, at least and at most.
SEEN: Final = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 16384}


class QwenVlEncoder:
    """Qwen2.5-VL with its tokenizer, which encodes prompts.

    numbered: whether the words say which picture is which, as for Qwen-Image-Edit from 2509 on;
    sizes: at which it sees pictures (None: as they are).
    """

    size = 0  # it loads nothing

    def __init__(
        self,
        tokenizer: Any,
        encoder: Any,
        *,
        device: torch.device,
        numbered: bool = True,
        sizes: ReferenceSizes | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._device = device
        self._numbered = numbered
        self._sizes = sizes

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row; raises `PromptError`."""
        seen = see([self._resized(each) for each in pictures]) if pictures else {}
        ids, dropped = self.tokens(prompt, seen["image_grid_thw"].tolist() if pictures else [])
        check_length(len(ids) - dropped - ids.count(self._pad), MOST)
        states = hidden_state(self._encoder, torch.tensor([ids], device=self._device), seen)
        return padded(states[:, dropped:])

    def _resized(self, picture: Pixels) -> Pixels:
        if self._sizes is None:
            return picture
        image = Image.fromarray(picture)
        return np.asarray(fit(image, *self._sizes.of(*image.size), "resize"))

    @property
    def _pad(self) -> int:
        """Return the token that stands for a part of a picture."""
        found: int = self._tokenizer.convert_tokens_to_ids(PAD)
        return found

    def tokens(self, prompt: str, grids: Sequence[Sequence[int]] = ()) -> tuple[list[int], int]:
        """Return a prompt's ids with those of its pictures, and how many of them are not read.

        grids: of each picture frames, rows and columns of patches, of which 2 × 2 are a token.
        """
        template = EDIT if grids else TEMPLATE
        before = template_ids(self._tokenizer, template.partition("{}")[0], "")
        names = (f"Picture {number}: " * self._numbered for number in range(1, len(grids) + 1))
        pictures = "".join(f"{name}{PICTURE}" for name in names)
        found = template_ids(self._tokenizer, template.replace("{}", f"{pictures}{{}}"), prompt)
        sizes = iter(rows * columns // 4 for _, rows, columns in grids)
        ids = [
            each for token in found for each in [token] * (next(sizes) if token == self._pad else 1)
        ]
        return ids, len(before)


def special_tokens(*, sees: bool) -> frozenset[str]:
    """Return the special tokens around prompts; sees: with those of pictures."""
    return frozenset(QWEN_SPECIAL.findall(f"{EDIT}{PICTURE}" if sees else TEMPLATE))


def see(pictures: Sequence[Pixels]) -> dict[str, Tensor]:
    """Return the patches of pictures, each [H, W, 3], and the grid of each, as transformers does.

    Sides become multiples of 28 pixels.
    """
    processor = Qwen2VLImageProcessorPil(size=SEEN)
    return dict(processor(images=list(pictures), return_tensors="pt"))


def hidden_state(encoder: Any, ids: Tensor, seen: Mapping[str, Tensor] | None = None) -> Tensor:
    """Return the last layer's normed output for ids [1, tokens], [1, tokens, width] fp32.

    seen: what `see` returns of the pictures whose tokens are among them.
    """
    given = {name: each.to(ids.device) for name, each in (seen or {}).items()}
    if given:
        given["mm_token_type_ids"] = (ids == encoder.config.image_token_id).int()
    found: Tensor = encoder(ids, use_cache=False, **given).last_hidden_state.float()
    return found


def encoder_of(
    tensors: Mapping[str, Tensor], target: Target = IN_PLACE, *, sees: bool = False
) -> Any:
    """Return the encoder of a file's tensors; raises `BadFile`.

    sees: with what sees pictures, which words do not need.
    """
    names = {_respelled(name): each for name, each in tensors.items() if not UNUSED.match(name)}
    return _seeing(names, target) if sees else _reading(names, target)


def _respelled(name: str) -> str:
    for theirs, own in STARTS:
        if name.startswith(theirs):
            return own + name.removeprefix(theirs)
    return name


def _reading(tensors: Mapping[str, Tensor], target: Target) -> Qwen2Model:
    words = {
        name.removeprefix("language_model."): each
        for name, each in tensors.items()
        if not name.startswith("visual.")
    }
    return made(Qwen2Model, Qwen2Config(**config_of(tensors)), words, target)


def _seeing(tensors: Mapping[str, Tensor], target: Target) -> Qwen2_5_VLModel:
    config = Qwen2_5_VLConfig(
        text_config=config_of(tensors), vision_config=vision_config_of(tensors)
    )
    with torch.device("meta"):
        encoder = Qwen2_5_VLModel(config)
    encoder = fill(encoder, tensors, target)
    words, eyes = encoder.language_model, encoder.visual
    words.rotary_emb = type(words.rotary_emb)(words.config).to(device=target.device)
    eyes.rotary_pos_emb = type(eyes.rotary_pos_emb)(eyes.config).to(device=target.device)
    return encoder


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the language model's configuration by shapes, in transformers' names."""
    return {
        **shapes_of(tensors, TITLE, SIDE, "language_model."),
        **rotary(THETA),
        "max_position_embeddings": 128_000,
        "rms_norm_eps": 1e-6,
    }


def vision_config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the configuration of what sees by shapes, in transformers' names."""
    try:
        width, channels, frames, patch, _ = tensors["visual.patch_embed.proj.weight"].shape
        inner = tensors["visual.blocks.0.mlp.gate_proj.weight"].shape[0]
        merged = tensors["visual.merger.mlp.0.weight"].shape[1]
        out = tensors["visual.merger.mlp.2.weight"].shape[0]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of {TITLE}") from None
    depth = count(tensors, "visual.blocks")
    return {
        "depth": depth,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_heads": HEADS,
        "in_channels": channels,
        "patch_size": patch,
        "spatial_merge_size": isqrt(merged // width),
        "temporal_patch_size": frames,
        "out_hidden_size": out,
        "fullatt_block_indexes": list(range(WHOLE - 1, depth, WHOLE)),
    }
