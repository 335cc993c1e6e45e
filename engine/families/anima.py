"""Anima: Cosmos-Predict2, 2B, for pictures, with words by Qwen3; CircleStone Labs (2026),
https://huggingface.co/circlestone-labs/Anima.

It predicts velocities (`engine.denoise.flow`) and is told σ. Its text encoder is Qwen3, 0.6B, whose
last layer is read; an adapter in the network's file turns it into what T5's tokens of the words
would say. Texts are padded with zeros, which nothing masks. Its VAE is Qwen-Image's. Queries and
keys are normed as in ComfyUI, which the makers wrote it for; diffusers adds 1e-5 to variances.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import torch
from diffusers.models.condition_embedders.condition_embedder_anima import (
    AnimaRotaryEmbedding,
    AnimaTextConditioner,
)
from diffusers.models.transformers.transformer_cosmos import CosmosTransformer3DModel
from torch import Tensor

from engine.decode import qwen_vae
from engine.denoise.flow import FlowSchedule
from engine.families.flow_model import FlowModel, Parts, joint_attention
from engine.families.qwen_image import QwenVaeModel
from engine.files.safetensors import BadFile
from engine.loading.makers_names import (
    DOTTED,
    JOINED,
    PREFIX,
    Names,
    count,
    in_blocks,
    respelled,
    same,
)
from engine.loading.model import Conditioning, LoraName, Prompts
from engine.loading.modules import IN_PLACE, Target, build
from engine.models.model_files import ModelFiles
from engine.pictures.start_image import Pixels
from engine.recipe.context_length import ContextRule, Joining
from engine.text_encode import language_model, qwen3, t5
from engine.text_encode.language_model import LEAST, MOST
from engine.text_encode.prompts import check_length, flat

SHIFT: Final = 3.0
PATCH: Final = 2  # latents on each side of a token
ROPE: Final = (1.0, 4.0, 4.0)  # by which positions are spread: frames, rows and columns
LONGEST: Final = 2048  # latents on a side
EPSILON: Final = 1e-6  # of the norms of queries and keys
PAD: Final = "<|endoftext|>"  # what Qwen3 reads where there are no words
ADAPTER: Final = "llm_adapter"
MODULATED: Final = ("self_attn", "cross_attn", "mlp")  # parts of a block, in their order
# The modules of a block by the makers' names, and diffusers'.
IN_BLOCK: Final[Names] = same(
    {
        **{
            f"{theirs}.{each}": f"{own}.{module}"
            for theirs, own in (("self_attn", "attn1"), ("cross_attn", "attn2"))
            for each, module in {
                "q_proj": "to_q",
                "k_proj": "to_k",
                "v_proj": "to_v",
                "output_proj": "to_out.0",
                "q_norm": "norm_q",
                "k_norm": "norm_k",
            }.items()
        },
        **{
            f"adaln_modulation_{part}.{layer}": f"norm{number}.linear_{layer}"
            for number, part in enumerate(MODULATED, 1)
            for layer in (1, 2)
        },
        "mlp.layer1": "ff.net.0.proj",
        "mlp.layer2": "ff.net.2",
    }
)
NAMES: Final[Names] = {
    **in_blocks("blocks", "transformer_blocks", IN_BLOCK),
    **same(
        {
            "x_embedder.proj.1": "patch_embed.proj",
            "t_embedder.1.linear_1": "time_embed.t_embedder.linear_1",
            "t_embedder.1.linear_2": "time_embed.t_embedder.linear_2",
            "t_embedding_norm": "time_embed.norm",
            "final_layer.adaln_modulation.1": "norm_out.linear_1",
            "final_layer.adaln_modulation.2": "norm_out.linear_2",
            "final_layer.linear": "proj_out",
        }
    ),
}
# The adapter, and what training leaves behind.
BESIDE: Final = re.compile(rf"(?:{re.escape(PREFIX)})?(?:{ADAPTER}|pos_embedder|accum_\w+)(?:\.|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anima(QwenVaeModel):
    """A loaded model of this family; the adapter is one of its text encoders."""

    names: ClassVar[Names] = NAMES

    @classmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""
        encoders = parts.text_encoders(text_encoder=partial(qwen3.encoder_of, cut=False))
        return {
            "network": parts.network(network_of),
            "vae": parts.vae(qwen_vae.read_vae),
            "text_encoders": {**encoders, ADAPTER: parts.network(adapter_of)},
            "tokenizers": {part: parts.tokenizer(part) for part in ("tokenizer", "tokenizer_2")},
        }

    def lora_names(self, part: str, modules: Sequence[str]) -> Iterator[LoraName]:
        """Yield each name by which LoRA files mean a module of a part, its own name, and its rows.

        They mean the adapter as a part of the network, and diffusers by a name of its own.
        """
        if part != ADAPTER:
            yield from FlowModel.lora_names(self, part, modules)
            return
        for module in modules:
            dotted = (f"{start}{ADAPTER}.{module}" for start in DOTTED)
            joined = (f"{start}{ADAPTER}_{module.replace('.', '_')}" for start in JOINED)
            for spelling in (*dotted, *joined, f"text_conditioner.{module}"):
                yield spelling, module, None

    def noise(self, width: int, height: int, steps: int) -> FlowSchedule:
        """Return its noise levels, the same for all sizes."""
        return FlowSchedule(shift=SHIFT)

    @property
    def special_tokens(self) -> frozenset[str]:
        """Return the special token that stands for no words."""
        return frozenset((PAD,))

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; Qwen knows no embeddings."""
        return _Prompts(self)

    def blank(self, rows: int) -> Conditioning:
        """Return zeros in the form of its conditioning, of the least length."""
        width = self.network.config.text_embed_dim
        return Conditioning(torch.zeros((rows, LEAST, width), device=self.device))

    def context_rule(self, width: int, height: int) -> ContextRule:
        """Return the rule of texts that are padded and not masked."""
        return joint_attention(Joining.EQUAL, width, height, LEAST)

    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, 16, h, w], in x's dtype; sigma: [n] fp32."""
        return predict(self.network, x, sigma, conditioning.embeds.to(x.dtype))


load = Anima.load


class _Prompts:
    """Encode prompts by Qwen3's last layer, and by T5's tokens, whose weights scale embeddings."""

    size = 0  # it loads nothing

    def __init__(self, model: Anima) -> None:
        self._model = model
        # For its tokens alone.
        self._t5 = t5.T5Encoder(model.tokenizers["tokenizer_2"], None, device=model.device)

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row; raises `PromptError`."""
        model, tokens = self._model, self._t5.tokens(prompt)
        tokenizer, device = model.tokenizers["tokenizer"], model.device
        words = [token for token, _ in flat(prompt, self._ids)]
        check_length(max(len(tokens), len(words)), MOST)
        words = words or [tokenizer.convert_tokens_to_ids(PAD)]
        encoder, adapter = model.encoders["text_encoder"], model.encoders[ADAPTER]
        states = language_model.layer_states(encoder, words, (-1,), device=device)
        ids = torch.tensor([[token for token, _ in tokens]], device=device)
        weights = torch.tensor([weight for _, weight in tokens], device=device)
        embeds = adapter(states.to(model.dtype), ids).float()
        embeds[:, : len(tokens)] *= weights[:, None]
        return Conditioning(embeds)

    def _ids(self, text: str) -> Iterator[Sequence[int]]:
        """Yield a text's ids of Qwen3; names of special tokens in it stay text."""
        tokenizer = self._model.tokenizers["tokenizer"]
        yield tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids


def predict(network: Any, x: Tensor, sigma: Tensor, texts: Tensor) -> Tensor:
    """Return the velocities of rows x, [n, 16, h, w], in x's dtype; h and w are even.

    sigma: of each row, [n] fp32; texts: embeddings, [n, tokens, width], of 512 tokens or more.
    """
    whole = x.new_zeros(len(x), 1, *x.shape[2:])  # the mask of what is no picture: nothing
    frame = torch.cat([x, whole], 1).unsqueeze(2)
    velocities: Tensor = network(frame, sigma, texts, return_dict=False)[0]
    return velocities.squeeze(2)


def network_of(
    tensors: Mapping[str, Tensor], target: Target = IN_PLACE
) -> CosmosTransformer3DModel:
    """Return the network of a file's tensors, by the makers' names or diffusers'; in their memory.

    Raises `BadFile` where tensors are missing or unknown.
    """
    its = {name: each for name, each in tensors.items() if not BESIDE.match(name)}
    names = respelled(its, NAMES)
    network = build(CosmosTransformer3DModel, config_of(names), names, target)
    for block in network.transformer_blocks:
        for attention in (block.attn1, block.attn2):
            attention.norm_q.eps = attention.norm_k.eps = EPSILON
    return network


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the network's configuration by the shapes of its tensors, in diffusers' names."""
    block = "transformer_blocks.0"
    try:
        width, patch = tensors["patch_embed.proj.weight"].shape
        side = len(tensors[f"{block}.attn1.norm_q.weight"])
        inner = len(tensors[f"{block}.ff.net.0.proj.weight"])
        narrow = len(tensors[f"{block}.norm1.linear_1.weight"])
        words = tensors[f"{block}.attn2.to_k.weight"].shape[1]
        out = len(tensors["proj_out.weight"])
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Anima") from None
    return {
        # The mask is a channel as others, which `predict` adds.
        "in_channels": patch // PATCH**2,
        "concat_padding_mask": False,
        "out_channels": out // PATCH**2,
        "num_attention_heads": width // side,
        "attention_head_dim": side,
        "num_layers": count(tensors, "transformer_blocks"),
        "mlp_ratio": inner / width,
        "text_embed_dim": words,
        "adaln_lora_dim": narrow,
        "max_size": (1, LONGEST, LONGEST),
        "patch_size": (1, PATCH, PATCH),
        "rope_scale": ROPE,
        "extra_pos_embed_type": None,
    }


def adapter_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> AnimaTextConditioner:
    """Return the adapter in the tensors of a network's file, in their memory; raises `BadFile`."""
    start = f"{ADAPTER}."
    whole = respelled(tensors, {})
    its = {name.removeprefix(start): whole[name] for name in whole if name.startswith(start)}
    try:
        vocabulary, out = its["embed.weight"].shape
        side = len(its["blocks.0.self_attn.q_norm.weight"])
        heads, width = its["blocks.0.self_attn.q_proj.weight"].shape
        words = its["blocks.0.cross_attn.k_proj.weight"].shape[1]
        inner = len(its["blocks.0.mlp.0.weight"])
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {start + error.args[0]!r} of Anima") from None
    config = {
        "source_dim": words,
        "target_dim": out,
        "model_dim": width,
        "num_layers": count(its, "blocks"),
        "num_attention_heads": heads // side,
        "mlp_ratio": inner / width,
        "target_vocab_size": vocabulary,
        "min_sequence_length": LEAST,
    }
    adapter = build(AnimaTextConditioner, config, its, target)
    # Not a weight: a table that follows from the configuration, and was not computed on `meta`.
    adapter.rotary_emb = AnimaRotaryEmbedding(side).to(device=target.device)
    return adapter
