"""Flow models' files are told by names and shapes; what these cannot tell, a name suggests."""

from typing import Any

import diffusers
import pytest
import torch

from engine.files.safetensors import BadFile
from engine.models.families import BY_KEY
from engine.models.other_models import family_of
from engine.models.part_kinds import KINDS, needed, told
from engine.models.parts import network_tensors
from engine.models.variants import choose, sampling_of
from tests.flow_files import NEEDED, PREFIX, encoder, header, network, prefixed, vae

# Networks of `signatures.json` → family, variant, and what it lacks beside clip_skip and controls.
TOLD = {"negative_prompt", "guidance_rescale"}
DISTILLED = TOLD | {"guidance_scale"}
NETWORKS: dict[str, tuple[str, str, set[str]]] = {
    "sd3_medium": ("sd3", "Stable Diffusion 3 Medium", set()),
    "sd35_large": ("sd3", "Stable Diffusion 3.5 Large", set()),
    "sd35_medium": ("sd3", "Stable Diffusion 3.5 Medium", set()),
    "flux_dev": ("flux", "FLUX.1 dev", TOLD),
    "flux_schnell": ("flux", "FLUX.1 schnell", DISTILLED),
    "flux_fill": ("flux", "FLUX.1 Fill", TOLD),
    "flux2_dev": ("flux2", "FLUX.2 dev", TOLD),
    "chroma": ("chroma", "Chroma", set()),
    "lumina2": ("lumina2", "Lumina 2", set()),
    "zimage": ("z", "Z-Image", set()),
    "qwen_image": ("qwen", "Qwen-Image", set()),
}


@NEEDED
@pytest.mark.parametrize("prefix", ["", PREFIX, "net."])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_at_full_size_is_told_by_names_and_shapes(name: str, prefix: str) -> None:
    key, title, lacks = NETWORKS[name]
    found = header(prefixed(network(name), prefix))
    family = family_of(found)
    assert family is BY_KEY[key]
    variant = choose(family, ["it.safetensors"], network_tensors(found))
    assert variant.title == title
    assert variant.lacks == lacks


@NEEDED
def test_a_model_that_follows_edges_or_depth_is_refused() -> None:
    shapes = network("flux_depth_or_canny")
    with pytest.raises(BadFile, match=r"it is a FLUX\.1 model that follows edges or depth, which"):
        choose(BY_KEY["flux"], [], header(shapes).tensors)


# Sizes of FLUX.2 that the JSON does not have: width, and three layers of the text encoder.
@pytest.mark.parametrize(
    ("width", "text", "title", "text_encoder"),
    [
        (3072, 7680, "FLUX.2 klein 4B", "qwen3_4b"),
        (4096, 12288, "FLUX.2 klein 9B", "qwen3_8b"),
    ],
)
def test_the_sizes_of_klein_are_told_by_their_width(
    width: int, text: int, title: str, text_encoder: str
) -> None:
    shapes = {"img_in.weight": (width, 128), "txt_in.weight": (width, text)}
    tensors = header(shapes).tensors
    variant = choose(BY_KEY["flux2"], ["flux-2-klein.safetensors"], tensors)
    assert variant.title == title
    parts = needed(BY_KEY["flux2"], variant.parts or {}, tensors)
    assert parts == {"text_encoder": KINDS[text_encoder]}
    assert variant.lacks == DISTILLED
    base = choose(BY_KEY["flux2"], ["flux-2-klein-base-4b"], header(shapes).tensors)
    assert (base.title, base.lacks) == (f"{title} base", frozenset())


# Family, a network's name among the signatures, what it is called → variant, steps, guidance,
# pictures that it edits.
NAMES: list[tuple[str, str, str, str, int, float, int]] = [
    ("z", "zimage", "z_image_turbo_bf16.safetensors", "Z-Image Turbo", 8, 1, 0),
    ("z", "zimage", "ZImageTurboNSFW_v2", "Z-Image Turbo", 8, 1, 0),
    ("z", "zimage", "Z-Image/turbo.safetensors", "Z-Image Turbo", 8, 1, 0),
    ("z", "zimage", "z_image_bf16", "Z-Image", 30, 5, 0),
    ("flux", "flux_dev", "flux1-dev.safetensors", "FLUX.1 dev", 20, 3.5, 0),
    ("flux", "flux_dev", "flux1-dev-kontext_fp8_scaled", "FLUX.1 Kontext", 20, 2.5, 1),
    ("flux", "flux_dev", "flux1-krea-dev", "FLUX.1 Krea", 28, 4.5, 0),
    ("flux", "flux_dev", "flux-hyper-12steps", "FLUX.1 dev, few steps", 12, 3.5, 0),
    ("flux", "flux_dev", "hyperrealFlux", "FLUX.1 dev", 20, 3.5, 0),
    ("flux", "flux_dev", "hyper-realFlux", "FLUX.1 dev", 20, 3.5, 0),
    ("flux", "flux_schnell", "dev", "FLUX.1 schnell", 4, 1, 0),
    ("chroma", "chroma", "Chroma1-HD-Flash", "Chroma Flash", 8, 1, 0),
    ("chroma", "chroma", "Chroma1-HD", "Chroma", 26, 4, 0),
    ("sd3", "sd35_large", "sd3.5_large_turbo", "Stable Diffusion 3.5 Large Turbo", 4, 1, 0),
    ("sd3", "sd35_large", "sd3.5_large", "Stable Diffusion 3.5 Large", 28, 4.5, 0),
    ("qwen", "qwen_image", "qwen_image_2512_fp8_e4m3fn", "Qwen-Image", 30, 4, 0),
    ("qwen", "qwen_image", "qwen_image_edit_fp8_e4m3fn", "Qwen-Image-Edit", 30, 4, 1),
    ("qwen", "qwen_image", "qwen_image_edit_2509_bf16", "Qwen-Image-Edit Plus", 30, 4, 3),
    ("qwen", "qwen_image", "QwenImageEditPlusPipeline", "Qwen-Image-Edit Plus", 30, 4, 3),
    ("qwen", "qwen_image", "Qwen-Image-Lightning-8steps", "Qwen-Image Lightning", 8, 1, 0),
    (
        *("qwen", "qwen_image", "qwen-edit-2511-lightning-4step"),
        *("Qwen-Image-Edit Plus Lightning", 4, 1, 3),
    ),
]  # fmt: skip


@NEEDED
@pytest.mark.parametrize(
    ("key", "signature", "name", "title", "steps", "guidance", "references"), NAMES
)
def test_what_shapes_cannot_tell_a_name_suggests(
    key: str, signature: str, name: str, title: str, steps: int, guidance: float, references: int
) -> None:
    variant = choose(BY_KEY[key], [name], header(network(signature)).tensors)
    sampling = sampling_of(variant, [name])
    found = variant.title, sampling.steps, sampling.guidance_scale, variant.references
    assert found == (title, steps, guidance, references)


@NEEDED
def test_an_owner_says_which_variant_it_is() -> None:
    tensors = header(network("flux_dev")).tensors
    assert choose(BY_KEY["flux"], ["x"], tensors, "kontext").references == 1
    with pytest.raises(BadFile, match=r"^variant must be one of kontext, krea, few, dev$"):
        choose(BY_KEY["flux"], ["x"], tensors, "schnell")  # which its tensors rule out
    marked = header({**network("qwen_image"), "__index_timestep_zero__": (0,)}).tensors
    assert choose(BY_KEY["qwen"], ["x"], marked).title == "Qwen-Image-Edit 2511"


# diffusers' own modules at a depth of one, with the settings that tell a variant.
CLASSES: list[tuple[str, dict[str, Any], str, str]] = [
    ("FluxTransformer2DModel", {"guidance_embeds": True}, "flux", "FLUX.1 dev"),
    ("FluxTransformer2DModel", {}, "flux", "FLUX.1 schnell"),
    (
        "FluxTransformer2DModel",
        {"in_channels": 384, "guidance_embeds": True},
        "flux",
        "FLUX.1 Fill",
    ),
    ("Flux2Transformer2DModel", {}, "flux2", "FLUX.2 dev"),
    (
        "Flux2Transformer2DModel",
        {"num_attention_heads": 24, "joint_attention_dim": 7680},
        "flux2",
        "FLUX.2 klein 4B",
    ),
    ("ChromaTransformer2DModel", {}, "chroma", "Chroma"),
    ("QwenImageTransformer2DModel", {}, "qwen", "Qwen-Image"),
    ("Krea2Transformer2DModel", {}, "krea2", "Krea 2"),
    (
        "SD3Transformer2DModel",
        {"num_attention_heads": 38, "qk_norm": "rms_norm", "sample_size": 128},
        "sd3",
        "Stable Diffusion 3.5 Large",
    ),
    (
        "SD3Transformer2DModel",
        {"num_attention_heads": 24, "dual_attention_layers": (0,), "qk_norm": "rms_norm"},
        "sd3",
        "Stable Diffusion 3.5 Medium",
    ),
]


@pytest.mark.filterwarnings("ignore:`FluxPosEmbed`:FutureWarning")
@pytest.mark.parametrize(("kind", "config", "key", "title"), CLASSES)
def test_variants_are_told_by_diffusers_names(
    kind: str, config: dict[str, Any], key: str, title: str
) -> None:
    layers = (
        {"num_layers": 2}
        if key in ("sd3", "qwen", "krea2")
        else dict.fromkeys(("num_layers", "num_single_layers"), 1)
    )
    with torch.device("meta"):
        module = getattr(diffusers, kind)(**layers, **config)
    found = header({name: tuple(each.shape) for name, each in module.state_dict().items()})
    family = family_of(found)
    assert family is BY_KEY[key]
    assert choose(family, [], network_tensors(found)).title == title


@NEEDED
@pytest.mark.parametrize("prefix", ["", "text_encoders.x.transformer."])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("clip_l", "clip_l"),
        ("clip_g", "clip_g"),
        ("t5xxl", "t5xxl"),
        ("qwen3_4b", "qwen3_4b"),
        ("qwen25_7b", "qwen25_7b"),
        ("mistral3_24b", "mistral3"),
        ("gemma2_2b", "gemma2_2b"),
    ],
)
def test_a_text_encoder_is_told_by_names_and_shapes(name: str, kind: str, prefix: str) -> None:
    found = told("text_encoder", header(prefixed(encoder(name), prefix)).tensors)
    assert found is KINDS[kind]


@NEEDED
@pytest.mark.parametrize("prefix", ["", "vae.", "first_stage_model."])
@pytest.mark.parametrize(
    ("name", "kind"), [("flux1_sd3", "flux"), ("flux2", "flux2"), ("qwen_image", "qwen_image")]
)
def test_a_vae_is_told_by_names_and_shapes(name: str, kind: str, prefix: str) -> None:
    assert told("vae", header(prefixed(vae(name), prefix)).tensors) is KINDS[kind]


@pytest.mark.parametrize(
    ("kind", "config", "key"),
    [
        ("AutoencoderKL", {"latent_channels": 16, "block_out_channels": (128, 512)}, "flux"),
        ("AutoencoderKL", {"latent_channels": 4, "block_out_channels": (128, 512)}, "sd"),
        ("AutoencoderKL", {"latent_channels": 8, "block_out_channels": (128, 512)}, None),
        ("AutoencoderKLFlux2", {}, "flux2"),
        ("AutoencoderKLQwenImage", {}, "qwen_image"),
    ],
)
def test_a_vae_is_told_by_diffusers_names(
    kind: str, config: dict[str, Any], key: str | None
) -> None:
    if "block_out_channels" in config:
        blocks = "down_block_types", "up_block_types"
        kinds = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
        config = config | dict(zip(blocks, kinds, strict=True))
    with torch.device("meta"):
        module = getattr(diffusers, kind)(**config)
    shapes = {name: tuple(each.shape) for name, each in module.state_dict().items()}
    assert told("vae", header(shapes).tensors) is (KINDS[key] if key else None)


# Of other sizes, and of others' form: by Hugging Face's names, a layer of each.
LAYER = "model.layers.0."


@pytest.mark.parametrize(
    ("width", "name", "title"),
    [
        (1024, "self_attn.q_norm.weight", "Qwen3-0.6B"),
        (2048, "self_attn.q_norm.weight", "Qwen3-1.7B"),
        (4096, "self_attn.q_norm.weight", "Qwen3-8B"),
        (1234, "self_attn.q_norm.weight", "Qwen3, 1,234 wide"),
        (2048, "self_attn.k_proj.bias", "Qwen2.5-VL-3B"),
    ],
)
def test_text_encoders_of_other_sizes_are_told(width: int, name: str, title: str) -> None:
    shapes = {f"{LAYER}{name}": (128,), f"{LAYER}input_layernorm.weight": (width,)}
    found = told("text_encoder", header(shapes).tensors)
    assert found
    assert found.title == title
    if title == "Qwen3-8B":
        shapes["model.visual.deepstack_merger_list.0.norm.weight"] = (4096,)
        assert told("text_encoder", header(shapes).tensors) is KINDS["qwen3vl_8b"]


@NEEDED
def test_a_network_needs_encoders_as_wide_as_what_it_reads() -> None:
    for name, key in {
        "zimage": "z",
        "lumina2": "lumina2",
        "flux_dev": "flux",
        "chroma": "chroma",
        "sd35_large": "sd3",
        "qwen_image": "qwen",
        "flux2_dev": "flux2",
    }.items():
        parts = dict(BY_KEY[key].parts)
        found = needed(BY_KEY[key], parts, header(network(name)).tensors)
        assert found == {part: KINDS[kind] for part, kind in parts.items()}
    small = header({"cap_embedder.0.weight": (32,)}).tensors
    its = needed(BY_KEY["z"], {"text_encoder": "qwen3_4b"}, small)["text_encoder"]
    assert (its.title, its.width, its.tokenizer) == ("Qwen3, 32 wide", 32, "qwen")


@NEEDED
def test_umt5_is_not_taken_for_t5() -> None:
    bias = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"
    shapes = {**encoder("t5xxl"), bias: (32, 64), "shared.weight": (256384, 4096)}
    assert told("text_encoder", header(shapes).tensors) is KINDS["umt5xxl"]
