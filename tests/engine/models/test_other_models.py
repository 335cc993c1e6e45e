"""Files of other families and kinds: each is named by what it is, by its tensors' true names."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders.single_file_utils import (
    CHECKPOINT_KEY_NAMES,
)

from engine.files.safetensors import BadFile, Header, Tensor
from engine.models.families import BY_KEY, FAMILIES
from engine.models.other_models import describe_other, family_of
from engine.models.signatures import identify_file

PREFIX = "model.diffusion_model."


def header(names: Iterable[str] | Mapping[str, tuple[int, ...]]) -> Header:
    shapes = names if isinstance(names, Mapping) else dict.fromkeys(names, (4, 4))
    tensors = {name: Tensor("F16", tuple(shape), 0, 0) for name, shape in shapes.items()}
    return Header(Path("it.safetensors"), tensors, {})


# Names of the makers' own files, a few of each block. Sources: the makers' repositories and
# diffusers' conversions from them (`diffusers.loaders.single_file_utils`).
FLUX = [
    "double_blocks.0.img_attn.norm.key_norm.scale",
    "double_blocks.0.img_attn.qkv.weight",
    "double_blocks.0.img_mod.lin.weight",
    "double_blocks.0.txt_attn.qkv.weight",
    "single_blocks.0.linear1.weight",
    "final_layer.adaLN_modulation.1.weight",
    "guidance_in.in_layer.weight",
    "img_in.weight",
    "time_in.in_layer.weight",
    "txt_in.weight",
    "vector_in.in_layer.weight",
]
LUMINA2 = [
    "cap_embedder.0.weight",
    "cap_embedder.1.weight",
    "context_refiner.0.attention.qkv.weight",
    "final_layer.adaLN_modulation.1.weight",
    "layers.0.adaLN_modulation.1.weight",
    "layers.0.attention.qkv.weight",
    "noise_refiner.0.adaLN_modulation.1.weight",
    "noise_refiner.0.attention.qkv.weight",
    "t_embedder.mlp.0.weight",
    "x_embedder.weight",
]
PIXART = [
    "blocks.0.attn.qkv.weight",
    "blocks.0.cross_attn.kv_linear.weight",
    "blocks.0.cross_attn.q_linear.weight",
    "blocks.0.mlp.fc1.weight",
    "blocks.0.scale_shift_table",
    "final_layer.scale_shift_table",
    "t_block.1.weight",
    "t_embedder.mlp.0.weight",
    "x_embedder.proj.weight",
    "y_embedder.y_proj.fc1.weight",
]
ORIGINAL: dict[str, tuple[str, list[str]]] = {
    "FLUX.1": ("flux", FLUX),
    "Chroma": (
        "chroma",
        [
            *FLUX[:2],
            "distilled_guidance_layer.in_proj.bias",
            "distilled_guidance_layer.norms.0.scale",
        ],
    ),
    "FLUX.2": (
        "flux2",
        [
            "double_blocks.0.img_attn.norm.key_norm.scale",
            "double_blocks.0.img_attn.qkv.weight",
            "double_stream_modulation_img.lin.weight",
            "single_stream_modulation.lin.weight",
        ],
    ),
    "HunyuanVideo": (
        "hunyuan_video",
        [
            "double_blocks.0.img_attn_qkv.weight",
            "double_blocks.0.img_attn_q_norm.weight",
            "single_blocks.0.linear1.weight",
            "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias",
            "vector_in.in_layer.weight",
        ],
    ),
    "HunyuanVideo as ComfyUI writes it": (
        "hunyuan_video",
        [*FLUX[:5], "txt_in.individual_token_refiner.blocks.0.norm1.weight"],
    ),
    "SD3": (
        "sd3",
        ["joint_blocks.0.context_block.attn.qkv.weight", "joint_blocks.0.x_block.mlp.fc1.weight"],
    ),
    "Qwen-Image": (
        "qwen",
        ["transformer_blocks.0.img_mod.1.weight", "transformer_blocks.0.attn.add_q_proj.weight"],
    ),
    "Lumina 2": ("lumina2", LUMINA2),
    "Z-Image": (
        "z",
        [
            "cap_embedder.0.weight",
            "cap_embedder.1.weight",
            "cap_pad_token",
            "context_refiner.0.attention.qkv.weight",
            "layers.0.adaLN_modulation.0.weight",
            "noise_refiner.0.adaLN_modulation.0.weight",
            "noise_refiner.0.attention.qkv.weight",
            "x_pad_token",
        ],
    ),
    "Lumina-Next": ("lumina", ["cap_embedder.0.weight", "layers.0.attention.wk_y.weight"]),
    "AuraFlow": ("auraflow", ["cond_seq_linear.weight", "double_layers.0.attn.w1q.weight"]),
    "PixArt": ("pixart", PIXART),
    "Sana": (
        "sana",
        [
            *PIXART[:3],
            *PIXART[4:],
            "attention_y_norm.weight",
            "blocks.0.mlp.inverted_conv.conv.weight",
        ],
    ),
    "Hunyuan-DiT": ("hunyuan", ["blocks.0.attn1.Wqkv.weight", "mlp_t5.0.weight"]),
    "Cascade, stage C": (
        "cascade",
        ["clf.1.weight", "clip_txt_mapper.weight", "down_blocks.0.0.channelwise.0.weight"],
    ),
    "Cascade, stage B": (
        "cascade",
        ["clf.1.weight", "clip_mapper.weight", "down_blocks.1.0.channelwise.0.weight"],
    ),
    "Wan": ("wan", ["blocks.0.modulation", "head.modulation", "patch_embedding.weight"]),
    "LTX": (
        "ltx",
        [
            "adaln_single.emb.timestep_embedder.linear_1.bias",
            "patchify_proj.weight",
            "transformer_blocks.0.scale_shift_table",
        ],
    ),
    "Mochi": ("mochi", ["blocks.0.attn.qkv_x.weight", "t5_yproj.weight"]),
    "HiDream": ("hidream", ["double_stream_blocks.0.block.adaLN_modulation.1.bias"]),
    "OmniGen 2": (
        "omnigen2",
        ["noise_refiner.0.attn.to_q.weight", "ref_image_refiner.0.attn.to_q.weight"],
    ),
    "Cosmos": ("cosmos", ["blocks.0.self_attn.q_proj.weight", "x_embedder.proj.1.weight"]),
    "Anima": (
        "anima",
        [
            "blocks.0.mlp.layer1.weight",
            "llm_adapter.blocks.0.cross_attn.q_proj.weight",
            "x_embedder.proj.1.weight",
        ],
    ),
    "FLUX.3": (
        "flux3",
        [
            "early_stream_modulations.image.lin.weight",
            "single_blocks.0.q_proj.weight",
            "time_in.in_layer.weight",
        ],
    ),
    "Krea 2": ("krea2", ["blocks.0.attn.wq.weight", "first.weight", "txtfusion.projector.weight"]),
    "ERNIE": ("ernie", ["layers.0.mlp.linear_fc2.weight", "x_embedder.proj.weight"]),
    "Ideogram 4": (
        "ideogram4",
        ["embed_image_indicator.weight", "input_proj.weight", "layers.0.attention.qkv.weight"],
    ),
    "HiDream O1": ("hidream", ["t_embedder1.mlp.0.weight", "x_embedder.proj1.weight"]),
    "Qwen-Image 2.1": (
        "qwen21",
        [
            "modulation.1.weight",
            "transformer_blocks.0.img_mlp.proj.weight",
            "txt_in.text_norm.weight",
        ],
    ),
    "Qwen-Image-Layered": (
        "layered",
        [
            "time_text_embed.addition_t_embedding.weight",
            "transformer_blocks.0.img_mod.1.weight",
        ],
    ),
    "Lens": ("lens", ["transformer_blocks.0.img_mlp.w1.weight", "txt_norm.weight"]),
    "Chroma Radiance": (
        "radiance",
        [*FLUX[:2], "distilled_guidance_layer.norms.0.scale", "nerf_blocks.0.norm.scale"],
    ),
    "Ovis": ("ovis", [*FLUX[:2], "double_blocks.0.img_mlp.gate_proj.weight", "txt_norm.scale"]),
}
# Of FLUX.1's blocks, and of Qwen-Image's: told by the width of their text.
WIDTHS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "LongCat": (
        "longcat",
        {"double_blocks.0.img_attn.qkv.weight": (9216, 3072), "txt_in.weight": (3072, 3584)},
    ),
    "Mage-Flow": (
        "mage",
        {"transformer_blocks.0.img_mod.1.weight": (4, 4), "txt_norm.weight": (2560,)},
    ),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_a_relative_is_known_by_a_width(name: str) -> None:
    key, shapes = WIDTHS[name]
    assert family_of(header(shapes)) is BY_KEY[key]


@pytest.mark.parametrize("name", ORIGINAL)
@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_a_family_is_known_by_the_makers_names(name: str, prefix: str) -> None:
    key, names = ORIGINAL[name]
    found = header(prefix + each for each in names)
    assert family_of(found) is BY_KEY[key]
    what = re.escape(BY_KEY[key].named)
    with pytest.raises(BadFile, match=f"^it is {what} model, which Marble cannot"):
        identify_file(found)


# diffusers' own modules, whose names are those of a folder's `transformer/`.
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "FluxTransformer2DModel": ("flux", {"num_layers": 1, "num_single_layers": 1}),
    "Flux2Transformer2DModel": ("flux2", {"num_layers": 1, "num_single_layers": 1}),
    "ChromaTransformer2DModel": ("chroma", {"num_layers": 1, "num_single_layers": 1}),
    "SD3Transformer2DModel": ("sd3", {"num_layers": 2}),
    "QwenImageTransformer2DModel": ("qwen", {"num_layers": 1}),
    "ZImageTransformer2DModel": ("z", {"n_layers": 1}),
    "Lumina2Transformer2DModel": ("lumina2", {"num_layers": 1}),
    "AuraFlowTransformer2DModel": (
        "auraflow",
        {"num_mmdit_layers": 1, "num_single_dit_layers": 1},
    ),
    "PixArtTransformer2DModel": ("pixart", {"num_layers": 1}),
    "SanaTransformer2DModel": ("sana", {"num_layers": 1}),
    "HunyuanDiT2DModel": ("hunyuan", {"num_layers": 2, "in_channels": 4, "patch_size": 2}),
    "HunyuanVideoTransformer3DModel": ("hunyuan_video", {"num_layers": 1, "num_single_layers": 1}),
    "WanTransformer3DModel": ("wan", {"num_layers": 1}),
    "LTXVideoTransformer3DModel": ("ltx", {"num_layers": 1}),
    "MochiTransformer3DModel": ("mochi", {"num_layers": 2}),
    "CogVideoXTransformer3DModel": ("cogvideo", {"num_layers": 1}),
    "Flux3Transformer2DModel": ("flux3", {"num_layers": 1, "num_single_layers": 1}),
    "Krea2Transformer2DModel": ("krea2", {"num_layers": 1}),
    "ErnieImageTransformer2DModel": ("ernie", {"num_layers": 1}),
    "Ideogram4Transformer2DModel": ("ideogram4", {"num_layers": 1}),
    "QwenImage21Transformer2DModel": ("qwen21", {"num_layers": 1}),
    "OvisImageTransformer2DModel": ("ovis", {"num_layers": 1, "num_single_layers": 1}),
    "LongCatImageTransformer2DModel": ("longcat", {"num_layers": 1, "num_single_layers": 1}),
    "HiDreamImageTransformer2DModel": (
        "hidream",
        {
            "num_layers": 1,
            "num_single_layers": 1,
            "patch_size": 2,
            "in_channels": 16,
            "caption_channels": [4096, 4096],
            "llama_layers": [0],
        },
    ),
    "StableCascadeUNet": ("cascade", {"clip_text_in_channels": 1280, "conditioning_dim": 64}),
}


@pytest.mark.filterwarnings("ignore:`FluxPosEmbed`:FutureWarning")  # diffusers' own, in Chroma
@pytest.mark.parametrize("kind", CLASSES)
def test_a_family_is_known_by_diffusers_names(kind: str) -> None:
    key, config = CLASSES[kind]
    with torch.device("meta"):
        module = getattr(diffusers, kind)(**config)
    shapes = {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
    assert family_of(header(shapes)) is BY_KEY[key]


# diffusers' key of a family's telltale names → ours.
TELLTALES = {
    "auraflow": "auraflow",
    "flux": None,  # one name, which Chroma's files hold, too
    "hunyuan-video": "hunyuan_video",
    "flux2": None,  # named by another tensor
    "chroma": "chroma",
    "stable_cascade_stage_b": "cascade",
    "stable_cascade_stage_c": "cascade",
}


@pytest.mark.parametrize("theirs", [key for key, ours in TELLTALES.items() if ours])
def test_diffusers_telltales_are_known(theirs: str) -> None:
    names, ours = CHECKPOINT_KEY_NAMES[theirs], TELLTALES[theirs]
    assert ours
    assert family_of(header([names] if isinstance(names, str) else names)) is BY_KEY[ours]


@pytest.mark.parametrize(
    ("width", "more", "key"),
    [
        (2304, [], "lumina2"),
        (2304, ["clip_text_pooled_proj.0.weight"], "newbie"),
        (3840, ["cap_pad_token", "x_pad_token"], "z"),
        (3840, ["cap_pad_token", "siglip_embedder.0.weight"], "z_edit"),
        (3840, ["cap_pad_token", "dec_net.cond_embed.weight"], "z_pixel"),
        (3840, [], "ming"),
    ],
)
def test_those_of_lumina_2s_blocks_are_told_apart(width: int, more: list[str], key: str) -> None:
    shapes = {
        "noise_refiner.0.attention.qkv.weight": (8, width),
        "cap_embedder.1.weight": (width, 2560),
        **dict.fromkeys(more, (1, width)),
    }
    assert family_of(header(shapes)) is BY_KEY[key]


def test_every_family_that_is_only_named_can_be_told_by_a_file() -> None:
    named = {family.key for family in FAMILIES if not family.loadable} - {"refiner"}
    tested = {key for key, _ in (*ORIGINAL.values(), *WIDTHS.values(), *CLASSES.values())}
    assert named - tested == {"kolors", "video", "newbie", "ming", "z_edit", "z_pixel"}


def test_a_kolors_unet_is_no_part_of_sdxl() -> None:
    names = ["add_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight"]
    assert "one part of a diffusers folder" in describe_other(header(names))
    assert "Kolors" in describe_other(header([*names, "encoder_hid_proj.weight"]))


def test_stable_video_diffusion_is_named_though_its_unet_is_spelled_as_stabilitys() -> None:
    shapes = {
        f"{PREFIX}input_blocks.0.0.weight": (320, 8, 3, 3),
        f"{PREFIX}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
        f"{PREFIX}input_blocks.1.1.time_stack.0.attn1.to_q.weight": (320, 320),
        f"{PREFIX}time_embed.0.weight": (1280, 320),
        f"{PREFIX}label_emb.0.0.weight": (1280, 768),
    }
    with pytest.raises(BadFile, match="it is a Stable Video Diffusion model"):
        identify_file(header(shapes))


OTHERS = {
    "vision_model.embeddings.patch_embedding.weight vision_model.encoder.layers.0.x": "image encod",
    "text_model.encoder.layers.0.mlp.fc1.weight": "a text encoder; it belongs into",
    "encoder.block.0.layer.0.SelfAttention.q.weight": "a text encoder; it belongs into",
    "transformer_blocks.0.attn.to_q.lora_A.weight": "a LoRA",
    "unet.down_blocks.0.attentions.0.to_q.lora.down.weight": "a LoRA",
    "controlnet_x_embedder.weight transformer_blocks.0.attn.add_k_proj.weight pos_embed.proj.w": (
        "a ControlNet"
    ),
    "ip_adapter.1.to_k_ip.weight image_proj.norm.weight": "an IP-Adapter",
    "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight": "a motion module",
    "encoder.down.0.block.0.conv1.weight": "a VAE",
    "decoder.middle.0.residual.0.gamma encoder.conv1.weight": "a VAE",
    "control_layers.0.attention.qkv.weight control_noise_refiner.0.x": "a ControlNet",
    "abc": "nothing in it is known",
}


@pytest.mark.parametrize("names", OTHERS)
def test_files_of_other_kinds_are_named(names: str) -> None:
    assert OTHERS[names] in describe_other(header(names.split()))
