"""FLUX.1: a transformer that attends to text and picture together, Black Forest Labs (2024).

It predicts velocities (`engine.denoise.flow`) and is told σ, T5's embeddings of the words, CLIP's
pooled one and, dev alone, the guidance scale. Fill takes further channels, Kontext the latents of a
picture as further tokens (Labs et al. (2025), arXiv:2506.15742). Its VAE encodes to 16 channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from engine.denoise.flow import FlowSchedule, linear_mu
from engine.families.flow_model import FlowModel, Parts, joint_attention
from engine.files.safetensors import BadFile
from engine.loading.makers_names import SWAPPED, Names, Rows, count, respelled, same, thirds
from engine.loading.model import Conditioning, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.model_files import ModelFiles
from engine.pictures.references import KONTEXT, ReferenceSizes
from engine.pictures.start_image import Pixels
from engine.recipe.context_length import ContextRule, Joining
from engine.text_encode import clip, t5

LEAST: Final = 512  # tokens of a text, to which its makers pad it; of schnell's:
FEWER: Final = 256
PIXELS: Final = 16 * 16  # of a token
MUS: Final = (256, 0.5), (4096, 1.15)  # tokens of a picture, and μ
ENTRIES: Final = 10_000  # of ComfyUI's table of σ
PATCH: Final = 2  # latents on each side of a token
GRIDS: Final = 32  # of positions that are kept, 12 bytes a token; FLUX.2's have 32
MASK: Final = 8  # pixels on each side of a latent, all of whose masks fill is told
DOUBLE: Final = "transformer_blocks.#"
SINGLE: Final = "single_transformer_blocks.#"
# What the makers' names of modules mean, in Chroma's files as well.
BLOCKS: Final[Names] = {
    **same(
        {
            "img_in": "x_embedder",
            "txt_in": "context_embedder",
            "double_blocks.#.img_attn.norm.query_norm": f"{DOUBLE}.attn.norm_q",
            "double_blocks.#.img_attn.norm.key_norm": f"{DOUBLE}.attn.norm_k",
            "double_blocks.#.img_attn.proj": f"{DOUBLE}.attn.to_out.0",
            "double_blocks.#.img_mlp.0": f"{DOUBLE}.ff.net.0.proj",
            "double_blocks.#.img_mlp.2": f"{DOUBLE}.ff.net.2",
            "double_blocks.#.txt_attn.norm.query_norm": f"{DOUBLE}.attn.norm_added_q",
            "double_blocks.#.txt_attn.norm.key_norm": f"{DOUBLE}.attn.norm_added_k",
            "double_blocks.#.txt_attn.proj": f"{DOUBLE}.attn.to_add_out",
            "double_blocks.#.txt_mlp.0": f"{DOUBLE}.ff_context.net.0.proj",
            "double_blocks.#.txt_mlp.2": f"{DOUBLE}.ff_context.net.2",
            "single_blocks.#.norm.query_norm": f"{SINGLE}.attn.norm_q",
            "single_blocks.#.norm.key_norm": f"{SINGLE}.attn.norm_k",
            "single_blocks.#.linear2": f"{SINGLE}.proj_out",
            "final_layer.linear": "proj_out",
        }
    ),
    "double_blocks.#.img_attn.qkv": thirds(*(f"{DOUBLE}.attn.to_{x}" for x in "qkv")),
    "double_blocks.#.txt_attn.qkv": thirds(*(f"{DOUBLE}.attn.add_{x}_proj" for x in "qkv")),
    "single_blocks.#.linear1": {
        **{f"{SINGLE}.attn.to_{x}": Rows(7, (part,)) for part, x in enumerate("qkv")},
        f"{SINGLE}.proj_mlp": Rows(7, (3, 4, 5, 6)),
    },
}
# What LoRAs alone call modules; those of a processor are XLabs'.
QKV: Final = thirds(*(f"{SINGLE}.attn.to_{x}" for x in "qkv"))
IN_LORAS: Final[Names] = {
    "single_blocks.#.linear1_qkv": QKV,
    "single_blocks.#.processor.qkv_lora": QKV,
    "single_blocks.#.processor.proj_lora": BLOCKS["single_blocks.#.linear2"],
    "double_blocks.#.processor.qkv_lora1": BLOCKS["double_blocks.#.img_attn.qkv"],
    "double_blocks.#.processor.qkv_lora2": BLOCKS["double_blocks.#.txt_attn.qkv"],
    "double_blocks.#.processor.proj_lora1": BLOCKS["double_blocks.#.img_attn.proj"],
    "double_blocks.#.processor.proj_lora2": BLOCKS["double_blocks.#.txt_attn.proj"],
}
EMBEDDERS: Final = {"time_in": "timestep", "guidance_in": "guidance", "vector_in": "text"}
NAMES: Final[Names] = {
    **BLOCKS,
    **same(
        {
            f"{name}.{layer}": f"time_text_embed.{own}_embedder.{linear}"
            for name, own in EMBEDDERS.items()
            for layer, linear in (("in_layer", "linear_1"), ("out_layer", "linear_2"))
        }
    ),
    **same(
        {
            "double_blocks.#.img_mod.lin": f"{DOUBLE}.norm1.linear",
            "double_blocks.#.txt_mod.lin": f"{DOUBLE}.norm1_context.linear",
            "single_blocks.#.modulation.lin": f"{SINGLE}.norm.linear",
        }
    ),
    "final_layer.adaLN_modulation.1": {"norm_out.linear": SWAPPED},
}
LORA_NAMES: Final[Names] = {**NAMES, **IN_LORAS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flux(FlowModel):
    """A loaded model of this family.

    Conditioning's further tensors: pooled, CLIP's, [rows, P]; guidance, of dev, [rows].
    """

    names: ClassVar[Names] = LORA_NAMES

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        return {
            "network": parts.network(network_of),
            "vae": parts.vae(),
            "text_encoders": parts.text_encoders(
                text_encoder=clip.encoder_of, text_encoder_2=t5.encoder_of
            ),
            "tokenizers": {
                "tokenizer": parts.clip_tokenizer("tokenizer"),
                "tokenizer_2": parts.tokenizer("tokenizer_2"),
            },
        }

    @property
    def least(self) -> int:
        """Return the tokens to which texts are padded: its makers' number, for schnell 256.

        Longer texts are read whole, up to `t5.MOST`: its makers cut them, ComfyUI does not, whose
        least is 256 for all.
        """
        return LEAST if self.takes_guidance else FEWER

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels: of dev by size, of schnell the same for all."""
        if not self.takes_guidance:
            return FlowSchedule()
        mu = linear_mu(width * height / PIXELS, *MUS)
        return FlowSchedule(shift=math.exp(mu), entries=ENTRIES)

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; embeddings: those that CLIP knows."""
        return _Prompts(self, embeddings)

    def blank(self, rows: int) -> Conditioning:
        """Return zeros in the form of its conditioning, of the least length."""
        config = self.network.config
        texts = torch.zeros((rows, self.least, config.joint_attention_dim), device=self.device)
        pooled = torch.zeros((rows, config.pooled_projection_dim), device=self.device)
        return self.conditions(Conditioning(texts, None, {"pooled": pooled}), 0, 0, 1.0)

    def context_rule(self, width: int, height: int) -> ContextRule:
        """Return the rule of texts that are padded and not masked."""
        return joint_attention(Joining.EQUAL, width, height, self.least)

    @property
    def reference_sizes(self) -> ReferenceSizes | None:
        """Return at which sizes Kontext takes reference pictures."""
        return KONTEXT if self.checkpoint.references else None

    @property
    def extra_channels(self) -> int:
        """Return how many channels fill takes beside the noised latents."""
        return int(self.network.config.in_channels) // PATCH**2 - self.latent_channels

    def inpainting_input(self, seen: Tensor, painted: Tensor) -> Tensor:
        """Return what fill is told of a picture, [1, 80, h, w]."""
        return fill_channels(seen, painted)

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, C, h, w], in x's dtype; sigma: [n] fp32."""
        texts, pooled = (
            each.to(x.dtype) for each in (conditioning.embeds, conditioning.others["pooled"])
        )
        guidance = conditioning.others.get("guidance")
        return predict(self.network, x, sigma, texts, pooled, guidance, references)


load = Flux.load


class _Prompts:
    """Encode prompts by T5, and by CLIP for the pooled embedding."""

    def __init__(self, model: Flux, embeddings: ModelFiles) -> None:
        (first, second), device = model.encoders.values(), model.device
        tokenizer, tokenizer_2 = model.tokenizers.values()
        self._clip = clip.ClipEncoder(
            tokenizer,
            first,
            embeddings,
            0,
            device=device,
            last_layer=1,
            normed=False,
            breaks=False,
        )
        self._t5 = t5.T5Encoder(tokenizer_2, second, device=device, least=model.least)

    @property
    def size(self) -> int:
        """Return the bytes of loaded embeddings."""
        return self._clip.embeddings.size

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row; raises `PromptError`."""
        return Conditioning(self._t5.encode(prompt), None, {"pooled": self._clip.pooled(prompt)})


def predict(
    network: Any,
    x: Tensor,
    sigma: Tensor,
    texts: Tensor,
    pooled: Tensor,
    guidance: Tensor | None = None,
    references: Sequence[Tensor] = (),
) -> Tensor:
    """Return the velocities of rows x, [n, C, h, w] with even sides, in x's dtype.

    C: 16, for fill also what `fill_channels` makes. sigma: of each row, [n] fp32; texts: T5's
    embeddings, [n, tokens, width]; pooled: CLIP's, [n, width]; guidance: of each row, [n] fp32,
    None for schnell; references: the latents of pictures to edit, [n, 16, h', w'] each.
    """
    height, width = x.shape[2] // PATCH, x.shape[3] // PATCH
    tokens, positions = tokens_of(x, references)
    with told_exactly(network.time_text_embed, sigma, guidance):
        velocities = network(
            hidden_states=tokens,
            encoder_hidden_states=texts,
            pooled_projections=pooled,
            timestep=sigma,
            guidance=guidance,
            img_ids=positions,
            txt_ids=positions.new_zeros(texts.shape[1], 3),
            return_dict=False,
        )[0]
    return unpack(velocities[:, : height * width], height, width)


@contextmanager
def told_exactly(embedder: Any, *times: Tensor | None, scale: float = 1000.0) -> Iterator[None]:
    """Let a network embed σ and guidance, [n] fp32, as they are, in this order; as in ComfyUI.

    diffusers rounds 1000·σ to the network's dtype first: in bf16 to multiples of 4. scale: by which
    its forward multiplies before it embeds.
    """
    exact = iter([each * scale for each in times if each is not None])
    hook = embedder.time_proj.register_forward_pre_hook(lambda *_: (next(exact),))
    try:
        yield
    finally:
        hook.remove()


def tokens_of(x: Tensor, references: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
    """Return the tokens of latents and of references, [n, tokens, C·4], and their positions.

    Positions, [tokens, 3] fp32, are picture, row and column: picture 0 is drawn, and all references
    are in picture 1, each below or to the right of those before, as in ComfyUI.
    """
    tokens, positions = [pack(x)], [grid(x, 0)]
    rows = columns = 0
    for latents in references:
        height, width = latents.shape[2] // PATCH, latents.shape[3] // PATCH
        below = rows + height <= columns + width
        tokens.append(pack(latents))
        positions.append(grid(latents, 1, (rows, 0) if below else (0, columns)))
        rows = max(rows, height + (rows if below else 0))
        columns = max(columns, width + (0 if below else columns))
    return torch.cat(tokens, 1), torch.cat(positions)


def pack(latents: Tensor) -> Tensor:
    """Return latents [n, C, h, w] as tokens [n, h/2·w/2, C·4], the channel slowest."""
    return pixel_unshuffle(latents, PATCH).flatten(2).mT


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Return tokens [n, height·width, C·4] as latents."""
    return pixel_shuffle(tokens.mT.reshape(len(tokens), -1, height, width), PATCH)


def grid(latents: Tensor, picture: int, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """Return the positions of the tokens of latents, [tokens, 3] fp32, on their device.

    corner: row and column of the first. It is made once for each size, and must not be changed.
    """
    height, width = (side // PATCH for side in latents.shape[2:])
    return _grid(picture, height, width, corner, latents.device)


@lru_cache(maxsize=GRIDS)
@torch.inference_mode(False)
def _grid(
    picture: int, height: int, width: int, corner: tuple[int, int], device: torch.device
) -> Tensor:
    sides = (
        torch.arange(first, first + side, dtype=torch.float32)
        for first, side in zip(corner, (height, width), strict=True)
    )
    return torch.cartesian_prod(torch.tensor([float(picture)]), *sides).to(device)


def fill_channels(masked: Tensor, mask: Tensor) -> Tensor:
    """Return what fill is told beside the noised latents, [1, 80, h, w].

    masked: the latents of the picture without what is drawn anew, [1, 16, h, w]; mask: of each of
    its pixels, [1, 1, 8·h, 8·w], 1: drawn anew.
    """
    return torch.cat([masked, pixel_unshuffle(mask, MASK).to(masked)], 1)


def network_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> FluxTransformer2DModel:
    """Return the network of a file's tensors, by the makers' names or diffusers'; in their memory.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = respelled(tensors, NAMES)
    return build(FluxTransformer2DModel, config_of(names), names, target)


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    try:
        pooled = tensors["time_text_embed.text_embedder.linear_1.weight"].shape[1]
        config = blocks_of(tensors)
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of FLUX.1") from None
    guided = "time_text_embed.guidance_embedder.linear_1.weight" in tensors
    return {**config, "pooled_projection_dim": pooled, "guidance_embeds": guided}


def blocks_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what FLUX.1's and Chroma's configurations have in common; raises `KeyError`."""
    side = tensors["transformer_blocks.0.attn.norm_q.weight"].shape[0]
    width, channels = tensors["x_embedder.weight"].shape
    picture = 4 * -(-side // 32)  # of a head, for the picture; the rest for the row and the column
    return {
        "patch_size": 1,
        "in_channels": channels,
        "out_channels": tensors["proj_out.weight"].shape[0],
        "num_layers": count(tensors, "transformer_blocks"),
        "num_single_layers": count(tensors, "single_transformer_blocks"),
        "attention_head_dim": side,
        "num_attention_heads": width // side,
        "joint_attention_dim": tensors["context_embedder.weight"].shape[1],
        "axes_dims_rope": (picture, (side - picture) // 2, (side - picture) // 2),
    }
