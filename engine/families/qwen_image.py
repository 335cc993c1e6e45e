"""Qwen-Image and Qwen-Image-Edit: a transformer with two streams that attends to text and pictures
together, Alibaba's Qwen team (2025), arXiv:2508.02324. It predicts velocities
(`engine.denoise.flow`) and is told σ.

Its text encoder is Qwen2.5-VL, 7B, whose last layer is read (`engine.text_encode.qwen_vl`); its VAE
is Wan 2.1's (`engine.decode.qwen_vae`). A picture to edit is further tokens behind those of the
latents, by its own latents. Where diffusers, which the makers wrote the network for, and ComfyUI
differ, this is diffusers': padding of the text is masked, and grids with an odd side are centred
with the greater half before the centre.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from diffusers.models.transformers.transformer_qwenimage import (
    QwenEmbedRope,
    QwenImageTransformer2DModel,
)
from torch import Tensor

from engine.decode import qwen_vae
from engine.denoise.flow import FlowSchedule
from engine.families.flow_model import FlowModel, Parts
from engine.families.flux import ENTRIES, PATCH, pack, told_exactly, unpack
from engine.files.atomic import read_object
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX, Names, count, respelled
from engine.loading.model import Conditioning, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.model_files import ModelFiles
from engine.models.parts import NETWORK
from engine.models.weights import NETWORK_FOLDER
from engine.pictures.references import QWEN_EDIT, ReferenceSizes
from engine.text_encode import qwen_vl

MU: Final = 1.15  # ComfyUI's, for all sizes; the makers' grows with them
# At which Qwen2.5-VL sees pictures from 2509 on; before, as the network does.
SEEN: Final = ReferenceSizes(multiple=32, pixels=384 * 384, enlarges=True)
# Latents → red, green and blue, and the constant: ComfyUI's numbers.
PREVIEW: Final = (
    (-0.1299, -0.1692, 0.2932), (0.0671, 0.0406, 0.0442), (0.3568, 0.2548, 0.1747),
    (0.0372, 0.2344, 0.1420), (0.0313, 0.0189, -0.0328), (0.0296, -0.0956, -0.0665),
    (-0.3477, -0.4059, -0.2925), (0.0166, 0.1902, 0.1975), (-0.0412, 0.0267, -0.1364),
    (-0.1293, 0.0740, 0.1636), (0.0680, 0.3019, 0.1128), (0.0032, 0.0581, 0.0639),
    (-0.1251, 0.0927, 0.1699), (0.0060, -0.0633, 0.0005), (0.3477, 0.2275, 0.2950),
    (0.1984, 0.0913, 0.1861), (-0.1835, -0.0868, -0.3360),
)  # fmt: skip
THETA: Final = 10_000
NAMES: Final[Names] = {}  # the makers' names are diffusers'
# An empty tensor in ComfyUI's files of Edit from 2511 on: references are told as noiseless.
CLEAN_REFERENCES: Final = "__index_timestep_zero__"
CONFIG: Final = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenVaeModel(FlowModel):
    """A loaded model on latents of Qwen-Image's VAE."""

    def from_vae(self, mean: Tensor) -> Tensor:
        """Return latents, [1, 16, h, w] fp32, of the mean that the VAE encodes to."""
        return qwen_vae.from_vae(self.vae, mean)

    def to_vae(self, latents: Tensor) -> Tensor:
        """Return what the VAE decodes of latents [1, 16, h, w], in their dtype."""
        return qwen_vae.to_vae(self.vae, latents)

    def read_vae(self, name: str, path: Path) -> Any:
        """Read another VAE of its form, fp32 on the CPU, or raise `BrokenModel`."""
        return qwen_vae.read_vae(name, path)

    @property
    def preview_map(self) -> Tensor | None:
        """Return a linear map from latents and a constant to RGB in −1…1, [17, 3]."""
        return torch.tensor(PREVIEW)

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels, the same for all sizes: ComfyUI's."""
        return FlowSchedule(shift=math.exp(MU), entries=ENTRIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenImage(QwenVaeModel):
    """A loaded model of this family."""

    names: ClassVar[Names] = NAMES

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        its = parts.checkpoint
        config = read_object(its.parts.get(NETWORK, its.folder / NETWORK_FOLDER) / CONFIG)
        network = partial(network_of, clean_references=bool(config.get("zero_cond_t")))
        sees = partial(qwen_vl.encoder_of, sees=its.references > 0)
        encoders = parts.text_encoders(text_encoder=sees)
        tokenizer = parts.tokenizer("tokenizer")
        if qwen_vl.PAD in tokenizer.get_vocab():  # models without pictures to edit do not need it
            picture = tokenizer.convert_tokens_to_ids(qwen_vl.PAD)
            encoders["text_encoder"].config.image_token_id = picture
        return {
            "network": parts.network(network),
            "vae": parts.vae(qwen_vae.read_vae),
            "text_encoders": encoders,
            "tokenizers": {"tokenizer": tokenizer},
        }

    @property
    def reference_sizes(self) -> ReferenceSizes | None:
        """Return at which sizes models for edits take reference pictures."""
        return QWEN_EDIT if self.checkpoint.references else None

    @property
    def special_tokens(self) -> frozenset[str]:
        """Return the special tokens around prompts, and those of pictures for models for edits."""
        return qwen_vl.special_tokens(sees=self.checkpoint.references > 0)

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; Qwen knows no embeddings.

        Of the models for edits, those that take several pictures number them and see them smaller.
        """
        several = self.checkpoint.references > 1
        return qwen_vl.QwenVlEncoder(
            self.tokenizers["tokenizer"],
            self.encoders["text_encoder"],
            device=self.device,
            numbered=several,
            sizes=SEEN if several else None,
        )

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 16, h, w], in x's dtype; sigma: [n] fp32."""
        assert conditioning.mask is not None
        texts, mask = conditioning.embeds.to(x.dtype), conditioning.mask.to(x.device)
        return predict(self.network, x, sigma, texts, mask, references)


load = QwenImage.load


def predict(
    network: Any,
    x: Tensor,
    sigma: Tensor,
    embeds: Tensor,
    mask: Tensor | None = None,
    references: Sequence[Tensor] = (),
) -> Tensor:
    """Return the velocities of rows x, [n, 16, h, w], in x's dtype; h and w are even.

    sigma: of each row, [n] fp32; embeds: [n, tokens, width]; mask: which tokens there are,
    [n, tokens] bool (None: all); references: the pictures to edit, each [n, 16, h', w'].
    """
    if mask is None:
        mask = torch.ones(embeds.shape[:2], dtype=torch.bool, device=x.device)
    pictures = [x, *references]
    grids = [(1, *(side // PATCH for side in picture.shape[2:])) for picture in pictures]
    times = torch.cat([sigma, sigma * 0]) if network.config.zero_cond_t else sigma
    with told_exactly(network.time_text_embed, times, scale=1):
        answer = network(
            torch.cat([pack(picture) for picture in pictures], dim=1),
            embeds,
            mask,
            sigma,
            img_shapes=[grids] * len(x),
            return_dict=False,
        )[0]
    _, height, width = grids[0]
    return unpack(answer[:, : height * width], height, width)


def network_of(
    tensors: Mapping[str, Tensor], target: Target = IN_PLACE, *, clean_references: bool = False
) -> Any:
    """Return the network of a file's tensors, in their memory.

    clean_references: a folder's `zero_cond_t`, which no shape tells: references are noiseless.
    ComfyUI's files tell it by a tensor. Raises `BadFile` where tensors are missing or unknown.
    """
    marked = any(name.removeprefix(PREFIX) == CLEAN_REFERENCES for name in tensors)
    names = respelled(tensors, NAMES, (CLEAN_REFERENCES,))
    config = config_of(names)
    config["zero_cond_t"] = clean_references or marked
    network = build(QwenImageTransformer2DModel, config, names, target)
    # Tables that follow from the configuration: no weights, and on `meta` without values.
    network.pos_embed = QwenEmbedRope(THETA, config["axes_dims_rope"], scale_rope=True)
    return network


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    try:
        side = len(tensors["transformer_blocks.0.attn.norm_q.weight"])
        queries = len(tensors["transformer_blocks.0.attn.to_q.weight"])
        patch = tensors["img_in.weight"].shape[1]
        out = len(tensors["proj_out.weight"])
        width = len(tensors["txt_norm.weight"])
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Qwen-Image") from None
    eighth = side // 8  # of the head for the position among pictures, the rest for both sides
    return {
        "patch_size": PATCH,
        "in_channels": patch,
        "out_channels": out // PATCH**2,
        "num_layers": count(tensors, "transformer_blocks"),
        "attention_head_dim": side,
        "num_attention_heads": queries // side,
        "joint_attention_dim": width,
        "axes_dims_rope": [eighth, (side - eighth) // 2, (side - eighth) // 2],
    }
