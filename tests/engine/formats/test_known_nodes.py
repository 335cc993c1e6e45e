"""Every node that Marble claims to know, one row each: read for what it does, missed if spoilt."""

import copy
from typing import Any

import pytest

from engine.errors import GraphError
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.nodes import NODE_KINDS
from engine.formats.graphs.recipe import RULES
from engine.recipe.parts import Area, Control, Lora, Margins, Upscale
from engine.recipe.patches import Patch
from tests.engine.formats.test_comfy import default_graph
from tests.engine.recipes import IMAGE, MAP, MASK, read_graph
from tests.factories import make_recipe

Graph = dict[str, Any]
REST = "d" * 64  # what is black in the mask
LISTED = [
    "CheckpointLoaderSimple", "CLIPTextEncode", "CLIPTextEncodeSDXL", "CLIPSetLastLayer",
    "CLIPTextEncodeSDXLRefiner", "ConditioningConcat", "ConditioningCombine", "EmptyLatentImage",
    "LoadImage", "VAEEncode", "VAEEncodeForInpaint", "SetLatentNoiseMask", "KSampler",
    "KSamplerAdvanced", "LatentUpscale", "LatentUpscaleBy", "VAEDecode", "VAELoader",
    "LoraLoader", "ControlNetLoader", "ControlNetApply", "ControlNetApplyAdvanced", "ImageScale",
    "ImageScaleBy", "UpscaleModelLoader", "ImageUpscaleWithModel", "RepeatLatentBatch",
    "SaveImage", "PreviewImage",
]  # fmt: skip
FLOWS = [
    "UNETLoader", "CLIPLoader", "DualCLIPLoader", "TripleCLIPLoader", "UnetLoaderGGUF",
    "CLIPLoaderGGUF", "DualCLIPLoaderGGUF", "TripleCLIPLoaderGGUF", "T5TokenizerOptions",
    "LoraLoaderModelOnly", "ModelSamplingSD3", "ModelSamplingAuraFlow", "ModelSamplingFlux",
    "CFGNorm", "CFGZeroStar", "DifferentialDiffusion", "SkipLayerGuidanceSD3",
    "CLIPTextEncodeFlux", "CLIPTextEncodeSD3", "CLIPTextEncodeLumina2", "TextEncodeQwenImageEdit",
    "TextEncodeQwenImageEditPlus", "ConditioningZeroOut", "ConditioningSetTimestepRange",
    "FluxGuidance", "ReferenceLatent", "FluxKontextMultiReferenceLatentMethod",
    "InpaintModelConditioning", "EmptySD3LatentImage", "EmptyFlux2LatentImage", "SamplerCustom",
    "SamplerCustomAdvanced", "RandomNoise", "KSamplerSelect", "BasicGuider", "CFGGuider",
    "BasicScheduler", "Flux2Scheduler", "SplitSigmas", "SplitSigmasDenoise",
    "ImageScaleToTotalPixels", "FluxKontextImageScale",
]  # fmt: skip
BESIDE = [
    "ConditioningSetArea", "ConditioningSetAreaPercentage", "ConditioningSetAreaStrength",
    "ConditioningSetMask",
    "DisableNoise", "ImagePadForOutpaint", "Canny", "SolidMask", "InvertMask", "MaskToImage",
    "CheckpointLoader", "VAEDecodeTiled", "VAEEncodeTiled", "SDTurboScheduler",
    "BetaSamplingScheduler", "KarrasScheduler", "ExponentialScheduler", "PolyexponentialScheduler",
    "FreeU", "FreeU_V2", "PerturbedAttentionGuidance", "ModelSamplingDiscrete",
    "ModelSamplingContinuousEDM", "SelfAttentionGuidance", "HyperTile", "TomePatchModel",
    "PatchModelAddDownscale", "Automatic CFG",
    "DiffusersLoader", "RescaleCFG", "LatentFromBatch", "LoadImageMask", "ImageToMask",
    "ImageCompositeMasked", "LoadImageOutput", "ImageStitch", "GetImageSize", "PrimitiveInt",
    "PrimitiveFloat", "PrimitiveBoolean", "PrimitiveString", "PrimitiveStringMultiline",
]  # fmt: skip
PICTURES = {
    "cat.png": LoadedPicture(
        image=IMAGE,
        width=512,
        height=384,
        masks={"alpha": MASK, "red": MASK, "inverted alpha": REST, "inverted red": REST},
    )
}
LINKS = {"model": ["4", 0], "clip": ["4", 1], "vae": ["4", 2]}
DRAWN = {"positive": ["6", 0], "negative": ["7", 0]}
MADE = ["3", 0]


def default(changes: Graph, **nodes: tuple[str, Graph]) -> Graph:
    """Return ComfyUI's default graph with more nodes, and some inputs of its own changed."""
    graph = default_graph()
    for name, (kind, inputs) in nodes.items():
        graph[name[1:]] = {"class_type": kind, "inputs": inputs}
    for name, inputs in changes.items():
        graph[name]["inputs"].update(inputs)
    return graph


def ours(**changes: Any) -> Graph:
    return to_graph(make_recipe(checkpoint="sd15.safetensors", **changes))


def replaced(graph: Graph, name: str, kind: str, **inputs: Any) -> Graph:
    graph[name] = {"class_type": kind, "inputs": {**graph[name]["inputs"], **inputs}}
    return graph


CAT = ("LoadImage", {"image": "cat.png"})
START = {"3": {"latent_image": ["21", 0], "denoise": 0.5}}
ENCODED = ("VAEEncode", {"pixels": ["20", 0], "vae": LINKS["vae"]})
INPAINT = {**ENCODED[1], "mask": ["20", 1], "grow_mask_by": 6}
SIZES = dict.fromkeys(("width", "height", "target_width", "target_height"), 512)
SDXL = {**SIZES, "crop_w": 0, "crop_h": 0, "text_g": "a cat", "text_l": "", "clip": ["4", 1]}
COMBINED = {"conditioning_1": ["6", 0], "conditioning_2": ["20", 0]}
ADVANCED = {"add_noise": "enable", "noise_seed": 5, "start_at_step": 0, "end_at_step": 10_000}
ADVANCED |= {"return_with_leftover_noise": "disable"}
SECOND = {**default_graph()["3"]["inputs"], "latent_image": ["20", 0], "denoise": 0.5, "steps": 10}
LARGE = {"samples": MADE, "upscale_method": "nearest-exact", "crop": "disabled"}
SHOWN = ("PreviewImage", {"images": ["8", 0]})
APPLIED = {"conditioning": ["6", 0], "control_net": ["21", 0], "image": ["20", 0], "strength": 0.9}
NET = ("ControlNetLoader", {"control_net_name": "pose.safetensors"})
POSE = Control(model="pose", image=IMAGE, strength=0.9)
LATENT = Upscale(factor=2, by="latent", strength=0.5)
CONTROL = Control(model="pose", image=MAP, strength=0.5)
TEXT = ("CLIPTextEncode", {"text": "at night", "clip": ["4", 1]})
ALPHA = ("LoadImageMask", {"image": "cat.png", "channel": "red"})
MASKED = ("SetLatentNoiseMask", {"samples": ["21", 0], "mask": ["22", 0]})
PADDED = {"image": ["20", 0], "left": 64, "top": 0, "right": 128, "bottom": 0, "feathering": 40}
TILES = {"tile_size": 512, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}
ENDS = {"sigma_max": 14.614642, "sigma_min": 0.0291675}
SCORED = {"ascore": 7, "width": 512, "height": 512, "text": "a cat", "clip": ["4", 1]}
SCENE = default_graph()["6"]["inputs"]["text"]


def by_model(kind: str, **inputs: Any) -> Graph:
    """Return the default graph with a node between its model and its sampler."""
    return default({"3": {"model": ["20", 0]}}, n20=(kind, {"model": ["4", 0], **inputs}))


def by_words(kind: str, **inputs: Any) -> Graph:
    """Return the default graph with a node between its prompt and its sampler."""
    inputs = {"conditioning": ["6", 0], **inputs}
    return default({"3": {"positive": ["20", 0]}}, n19=CAT, n21=ENCODED_19, n20=(kind, inputs))


def by_clip(kind: str, **inputs: Any) -> Graph:
    """Return the default graph with another node that reads its prompt."""
    graph = default({}, n19=CAT)
    graph["6"] = {"class_type": kind, "inputs": {"clip": ["4", 1], **inputs}}
    return graph


def of_parts(network: str, encoders: str, **files: Any) -> Graph:
    """Return the default graph with a model whose parts lie apart."""
    clip = {"clip": ["21", 0]}
    return default(
        {"3": {"model": ["20", 0]}, "6": clip, "7": clip, "8": {"vae": ["22", 0]}},
        n20=(network, {"unet_name": "net.safetensors", "weight_dtype": "default"}),
        n21=(encoders, files),
        n22=("VAELoader", {"vae_name": "ae.safetensors"}),
    )


def custom(**nodes: tuple[str, Graph]) -> Graph:
    """Return the default graph, drawn by SamplerCustomAdvanced, with some nodes changed."""
    graph = default(
        {},
        n20=("RandomNoise", {"noise_seed": 5}),
        n21=("CFGGuider", {"model": ["4", 0], **DRAWN, "cfg": 3.5}),
        n22=("KSamplerSelect", {"sampler_name": "heun"}),
        n23=("BasicScheduler", {"model": ["4", 0], "scheduler": "beta", "steps": 9, "denoise": 1}),
        **nodes,
    )
    links = {"noise": ["20", 0], "guider": ["21", 0], "sampler": ["22", 0], "sigmas": ["23", 0]}
    inputs = {**links, "latent_image": ["5", 0]}
    return {**graph, "3": {"class_type": "SamplerCustomAdvanced", "inputs": inputs}}


def halves() -> Graph:
    """Return the graph of `custom`, drawn by two samplers: the second adds no noise."""
    graph = custom(n26=("SplitSigmas", {"sigmas": ["23", 0], "step": 4}), n27=("DisableNoise", {}))
    inputs = graph["3"]["inputs"]
    second = {**inputs, "noise": ["27", 0], "sigmas": ["26", 1], "latent_image": ["3", 0]}
    inputs["sigmas"] = ["26", 0]
    graph["28"] = {"class_type": "SamplerCustomAdvanced", "inputs": second}
    graph["8"]["inputs"]["samples"] = ["28", 0]
    return graph


def started(kind: str, **inputs: Any) -> Graph:
    """Return a graph that draws on the last steps of a schedule of 20."""
    whole = ("Flux2Scheduler", {"steps": 20, "width": 512, "height": 384})
    cut = (kind, {"sigmas": ["26", 0], **inputs})
    graph = custom(n19=CAT, n24=ENCODED_19, n26=whole, n27=cut)
    graph["3"]["inputs"] |= {"latent_image": ["24", 0], "sigmas": ["27", 1]}
    return graph


def spaced(kind: str, **inputs: Any) -> Graph:
    """Return the default graph, drawn on noise levels that a node spaces."""
    return {**custom(), "23": {"class_type": kind, "inputs": inputs}}


def masked(**nodes: tuple[str, Graph]) -> Graph:
    """Return a graph that draws under a mask of node 22."""
    return default({"3": {"latent_image": ["23", 0]}}, n20=CAT, n21=ENCODED, n23=MASKED, **nodes)


def scaled(kind: str, **inputs: Any) -> Graph:
    """Return a graph that draws on a scaled start image."""
    pixels = {**ENCODED[1], "pixels": ["22", 0]}
    node = (kind, {"image": ["20", 0], **inputs})
    return default(START, n20=CAT, n22=node, n21=("VAEEncode", pixels))


def given(kind: str, value: object, name: str, option: str) -> Graph:
    """Return the default graph with a value of a node given by another node."""
    return default({name: {option: ["20", 0]}}, n20=(kind, {"value": value}))


ENCODED_19 = ("VAEEncode", {"pixels": ["19", 0], "vae": ["4", 2]})
TWO = {"clip_name1": "clip_l.safetensors", "clip_name2": "t5xxl_fp16.safetensors"}
THREE = {**TWO, "clip_name3": "clip_g.safetensors"}
QWEN3 = {"clip_name": "qwen_3_4b.safetensors", "type": "lumina2"}
SD3_TEXTS = {"clip_l": "a cat", "clip_g": "a cat", "t5xxl": "", "empty_padding": "none"}
PART = {"start_percent": 0.01, "end_percent": 0.2}

# kind → a graph with it, and what it says in the recipe
ROWS: dict[str, tuple[Graph, dict[str, Any]]] = {
    "CheckpointLoaderSimple": (default_graph(), {"checkpoint": "v1-5-pruned-emaonly.ckpt"}),
    "CheckpointLoader": (
        replaced(default_graph(), "4", "CheckpointLoader", config_name="anything_v3.yaml"),
        {"checkpoint": "v1-5-pruned-emaonly.ckpt", "clip_skip": 2},
    ),
    "DiffusersLoader": (to_graph(make_recipe()), {"checkpoint": "starter"}),
    "CLIPTextEncode": (default_graph(), {"prompt": SCENE, "negative_prompt": "text, watermark"}),
    "CLIPTextEncodeSDXL": (
        default({"3": {"positive": ["20", 0]}}, n20=("CLIPTextEncodeSDXL", SDXL)),
        {"prompt": "a cat"},
    ),
    "CLIPTextEncodeSDXLRefiner": (
        default({"3": {"positive": ["20", 0]}}, n20=("CLIPTextEncodeSDXLRefiner", SCORED)),
        {"prompt": "a cat", "aesthetic_score": 7.0, "negative_aesthetic_score": 2.5},
    ),
    "CLIPSetLastLayer": (ours(clip_skip=2), {"clip_skip": 2}),
    "ConditioningConcat": (ours(prompt="a BREAK b BREAK c"), {"prompt": "a BREAK b BREAK c"}),
    "ConditioningCombine": (
        default(
            {"3": {"positive": ["21", 0]}}, n20=TEXT, n21=("ConditioningCombine", COMBINED)
        ),
        {"prompt": SCENE, "areas": (Area(prompt="at night"),)},
    ),
    "EmptyLatentImage": (default_graph(), {"width": 512, "height": 512, "count": 1}),
    "LoadImage": (default(START, n20=CAT, n21=ENCODED), {"image": IMAGE, "width": 512}),
    "LoadImageMask": (
        default({"3": {"latent_image": ["23", 0]}}, n20=CAT, n21=ENCODED, n22=ALPHA, n23=MASKED),
        {"mask": MASK, "image": IMAGE},
    ),
    "ImageToMask": (ours(image=IMAGE, strength=1, mask=MASK), {"mask": MASK}),
    "SolidMask": (
        masked(n22=("SolidMask", {"value": 1.0, "width": 512, "height": 384})),
        {"mask": None, "image": IMAGE},
    ),
    "InvertMask": (
        masked(n22=("InvertMask", {"mask": ["20", 1]})), {"mask": REST, "image": IMAGE}
    ),
    "MaskToImage": (
        masked(
            n24=("MaskToImage", {"mask": ["20", 1]}),
            n22=("ImageToMask", {"image": ["24", 0], "channel": "green"}),
        ),
        {"mask": MASK},
    ),
    "ImagePadForOutpaint": (
        default(
            START,
            n20=CAT,
            n22=("ImagePadForOutpaint", PADDED),
            n21=("VAEEncodeForInpaint", {**INPAINT, "pixels": ["22", 0], "mask": ["22", 1]}),
        ),
        {"margins": Margins(left=64, right=128), "width": 704, "height": 384, "mask": None},
    ),
    "Canny": (
        default(
            {"3": {"positive": ["22", 0]}},
            n20=CAT,
            n21=NET,
            n23=("Canny", {"image": ["20", 0], "low_threshold": 0.4, "high_threshold": 0.8}),
            n22=("ControlNetApply", {**APPLIED, "image": ["23", 0]}),
        ),
        {"controls": (Control(model="pose", image=IMAGE, strength=0.9, preprocessor="canny"),)},
    ),
    "ImageCompositeMasked": (ours(image=IMAGE, strength=1, mask=MASK), {"mask": MASK}),
    "VAEEncode": (default(START, n20=CAT, n21=ENCODED), {"strength": 0.5, "height": 384}),
    "VAEEncodeTiled": (
        default(START, n20=CAT, n21=("VAEEncodeTiled", {**ENCODED[1], **TILES})),
        {"image": IMAGE, "strength": 0.5, "height": 384},
    ),
    "VAEEncodeForInpaint": (
        default(START, n20=CAT, n21=("VAEEncodeForInpaint", INPAINT)),
        {"mask": MASK, "image": IMAGE},
    ),
    "SetLatentNoiseMask": (ours(image=IMAGE, strength=0.7, mask=MASK), {"mask": MASK}),
    "KSampler": (ours(seed=2**64 - 1, steps=9), {"seed": 2**64 - 1, "steps": 9}),
    "KSamplerAdvanced": (
        replaced(default_graph(), "3", "KSamplerAdvanced", **ADVANCED),
        {"seed": 5, "steps": 20, "strength": None},
    ),
    "LatentFromBatch": (ours(count=4, picture=2), {"count": 4, "picture": 2}),
    "RepeatLatentBatch": (ours(image=IMAGE, strength=0.5, count=3), {"count": 3}),
    "LatentUpscale": (
        default(
            {"8": {"samples": ["21", 0]}},
            n20=("LatentUpscale", {**LARGE, "width": 1024, "height": 1024}),
            n21=("KSampler", SECOND),
        ),
        {"upscale": LATENT},
    ),
    "LatentUpscaleBy": (ours(upscale=LATENT), {"upscale": LATENT}),
    "VAEDecode": (default_graph(), {"vae": None}),
    "VAEDecodeTiled": (
        replaced(default_graph(), "8", "VAEDecodeTiled", **TILES), {"vae": None, "width": 512}
    ),
    "VAELoader": (ours(vae="mse"), {"vae": "mse"}),
    "LoraLoader": (
        ours(loras=(Lora(name="ink", weight=0.8, text_weight=0.5),)),
        {"loras": (Lora(name="ink", weight=0.8, text_weight=0.5),)},
    ),
    "RescaleCFG": (ours(guidance_rescale=0.7), {"guidance_rescale": 0.7}),
    "ControlNetLoader": (ours(controls=(CONTROL,)), {"controls": (CONTROL,)}),
    "ControlNetApply": (
        default(
            {"3": {"positive": ["22", 0]}}, n20=CAT, n21=NET, n22=("ControlNetApply", APPLIED)
        ),
        {"controls": (POSE,)},
    ),
    "ControlNetApplyAdvanced": (ours(controls=(CONTROL,)), {"controls": (CONTROL,)}),
    "ImageScale": (ours(image=IMAGE, strength=0.5, fit="resize"), {"fit": "resize", "width": 64}),
    "ImageScaleBy": (ours(upscale=Upscale(factor=1.5)), {"upscale": Upscale(factor=1.5)}),
    "UpscaleModelLoader": (
        ours(upscale=Upscale(factor=4, by="4x-UltraSharp")),
        {"upscale": Upscale(factor=4, by="4x-UltraSharp")},
    ),
    "ImageUpscaleWithModel": (
        ours(upscale=Upscale(factor=3, by="4x-UltraSharp", strength=0.5)),
        {"upscale": Upscale(factor=3, by="4x-UltraSharp", strength=0.5)},
    ),
    "UNETLoader": (
        of_parts("UNETLoader", "CLIPLoader", **QWEN3), {"checkpoint": "net.safetensors"}
    ),
    "UnetLoaderGGUF": (
        of_parts("UnetLoaderGGUF", "CLIPLoader", **QWEN3), {"checkpoint": "net.safetensors"}
    ),
    "CLIPLoader": (of_parts("UNETLoader", "CLIPLoader", **QWEN3), {"vae": None}),
    "CLIPLoaderGGUF": (of_parts("UNETLoader", "CLIPLoaderGGUF", **QWEN3), {"prompt": SCENE}),
    "DualCLIPLoader": (
        of_parts("UNETLoader", "DualCLIPLoader", **TWO, type="flux"), {"guidance_scale": 8}
    ),
    "DualCLIPLoaderGGUF": (
        of_parts("UNETLoader", "DualCLIPLoaderGGUF", **TWO, type="flux"), {"prompt": SCENE}
    ),
    "TripleCLIPLoader": (of_parts("UNETLoader", "TripleCLIPLoader", **THREE), {"prompt": SCENE}),
    "TripleCLIPLoaderGGUF": (
        of_parts("UNETLoader", "TripleCLIPLoaderGGUF", **THREE), {"prompt": SCENE}
    ),
    "T5TokenizerOptions": (
        default(
            {"6": {"clip": ["20", 0]}},
            n20=("T5TokenizerOptions", {"clip": ["4", 1], "min_padding": 1, "min_length": 0}),
        ),
        {"prompt": SCENE},
    ),
    "LoraLoaderModelOnly": (
        by_model("LoraLoaderModelOnly", lora_name="ink.safetensors", strength_model=0.8),
        {"loras": (Lora(name="ink", weight=0.8, text_weight=0),)},
    ),
    "ModelSamplingSD3": (by_model("ModelSamplingSD3", shift=2.5), {"shift": 2.5}),
    "ModelSamplingAuraFlow": (by_model("ModelSamplingAuraFlow", shift=3.1), {"shift": 3.1}),
    "ModelSamplingFlux": (
        by_model("ModelSamplingFlux", max_shift=1.15, base_shift=0.5, width=512, height=512),
        {"shift": None},
    ),
    "CFGNorm": (by_model("CFGNorm", strength=1), {"checkpoint": "v1-5-pruned-emaonly.ckpt"}),
    "CFGZeroStar": (by_model("CFGZeroStar"), {"steps": 20}),
    "FreeU": (
        by_model("FreeU", b1=1.1, b2=1.2, s1=0.9, s2=0.2),
        {"patches": (Patch(kind="freeu", numbers=(1.1, 1.2, 0.9, 0.2)),)},
    ),
    "FreeU_V2": (
        by_model("FreeU_V2", b1=1.3, b2=1.4, s1=0.9, s2=0.2),
        {"patches": (Patch(kind="freeu_v2", numbers=(1.3, 1.4, 0.9, 0.2)),)},
    ),
    "PerturbedAttentionGuidance": (
        by_model("PerturbedAttentionGuidance", scale=3),
        {"patches": (Patch(kind="perturbed_attention", numbers=(3,)),)},
    ),
    "ModelSamplingDiscrete": (
        by_model("ModelSamplingDiscrete", sampling="v_prediction", zsnr=True),
        {"patches": (Patch(kind="v_prediction", numbers=(1,)),)},
    ),
    "ModelSamplingContinuousEDM": (
        by_model("ModelSamplingContinuousEDM", sampling="v_prediction", sigma_max=120, sigma_min=0),
        {"patches": ()},
    ),
    "SelfAttentionGuidance": (
        by_model("SelfAttentionGuidance", scale=0.5, blur_sigma=2), {"patches": ()}
    ),
    "HyperTile": (
        by_model("HyperTile", tile_size=256, swap_size=2, max_depth=0, scale_depth=False),
        {"patches": ()},
    ),
    "TomePatchModel": (by_model("TomePatchModel", ratio=0.3), {"patches": ()}),
    "PatchModelAddDownscale": (
        by_model("PatchModelAddDownscale", block_number=3, downscale_factor=2), {"patches": ()}
    ),
    "Automatic CFG": (by_model("Automatic CFG", hard_mode=True, boost=True), {"patches": ()}),
    "DifferentialDiffusion": (by_model("DifferentialDiffusion", strength=1), {"steps": 20}),
    "SkipLayerGuidanceSD3": (
        by_model("SkipLayerGuidanceSD3", layers="7, 8, 9", scale=3, **PART), {"steps": 20}
    ),
    "CLIPTextEncodeFlux": (
        by_clip("CLIPTextEncodeFlux", clip_l="", t5xxl="a cat", guidance=2.5),
        {"prompt": "a cat", "guidance_scale": 2.5},
    ),
    "CLIPTextEncodeSD3": (
        by_clip("CLIPTextEncodeSD3", **SD3_TEXTS),
        {"prompt": "a cat"},
    ),
    "CLIPTextEncodeLumina2": (
        by_clip("CLIPTextEncodeLumina2", system_prompt="superior", user_prompt="a cat"),
        {"prompt": "a cat"},
    ),
    "TextEncodeQwenImageEdit": (
        by_clip("TextEncodeQwenImageEdit", prompt="a hat", image=["19", 0], vae=["4", 2]),
        {"prompt": "a hat", "references": (IMAGE,)},
    ),
    "TextEncodeQwenImageEditPlus": (
        by_clip("TextEncodeQwenImageEditPlus", prompt="a hat", image2=["19", 0]),
        {"prompt": "a hat", "references": (IMAGE,)},
    ),
    "ConditioningZeroOut": (
        default(
            {"3": {"negative": ["20", 0]}}, n20=("ConditioningZeroOut", {"conditioning": ["6", 0]})
        ),
        {"negative_prompt": ""},
    ),
    "ConditioningSetTimestepRange": (
        by_words("ConditioningSetTimestepRange", start=0, end=0.5),
        {"prompt": SCENE, "areas": (Area(end=0.5),)},
    ),
    "ConditioningSetArea": (
        by_words("ConditioningSetArea", x=128, y=260, width=256, height=1024, strength=0.5),
        {"areas": (Area(left=0.25, top=0.5, width=0.5, strength=0.5),)},
    ),
    "ConditioningSetAreaPercentage": (
        by_words("ConditioningSetAreaPercentage", x=0.1, y=0, width=0.3, height=1, strength=1),
        {"areas": (Area(left=0.1, width=0.3),)},
    ),
    "ConditioningSetAreaStrength": (
        by_words("ConditioningSetAreaStrength", strength=2),
        {"areas": (Area(strength=2),)},
    ),
    "ConditioningSetMask": (
        {
            **by_words(
                "ConditioningSetMask", mask=["22", 0], strength=0.8, set_cond_area="mask bounds"
            ),
            "22": {"class_type": ALPHA[0], "inputs": ALPHA[1]},
        },
        {"areas": (Area(mask=MASK, bounds=True, strength=0.8),)},
    ),
    "FluxGuidance": (by_words("FluxGuidance", guidance=3), {"guidance_scale": 3}),
    "ReferenceLatent": (by_words("ReferenceLatent", latent=["21", 0]), {"references": (IMAGE,)}),
    "FluxKontextMultiReferenceLatentMethod": (
        by_words("FluxKontextMultiReferenceLatentMethod", reference_latents_method="index"),
        {"prompt": SCENE},
    ),
    "InpaintModelConditioning": (
        default(
            {"3": {"positive": ["21", 0], "negative": ["21", 1], "latent_image": ["21", 2]}},
            n20=CAT,
            n21=(
                "InpaintModelConditioning",
                {**DRAWN, **ENCODED[1], "mask": ["20", 1], "noise_mask": True},
            ),
        ),
        {"image": IMAGE, "mask": MASK, "strength": 1, "prompt": SCENE},
    ),
    "EmptySD3LatentImage": (
        replaced(default_graph(), "5", "EmptySD3LatentImage", width=640), {"width": 640}
    ),
    "EmptyFlux2LatentImage": (
        replaced(default_graph(), "5", "EmptyFlux2LatentImage", batch_size=3), {"count": 3}
    ),
    "SamplerCustom": (
        custom() | {"3": {"class_type": "SamplerCustom", "inputs": {
            "model": ["4", 0], **DRAWN, "sampler": ["22", 0], "sigmas": ["23", 0],
            "latent_image": ["5", 0], "add_noise": True, "noise_seed": 6, "cfg": 2}}},
        {"seed": 6, "guidance_scale": 2, "steps": 9, "sampler": "heun", "schedule": "beta"},
    ),
    "SamplerCustomAdvanced": (custom(), {"prompt": SCENE, "negative_prompt": "text, watermark"}),
    "RandomNoise": (custom(), {"seed": 5}),
    "DisableNoise": (halves(), {"seed": 5, "steps": 9, "schedule": "beta", "strength": None}),
    "KSamplerSelect": (custom(), {"sampler": "heun"}),
    "CFGGuider": (custom(), {"guidance_scale": 3.5}),
    "BasicGuider": (
        custom() | {"21": {"class_type": "BasicGuider", "inputs": {
            "model": ["4", 0], "conditioning": ["6", 0]}}},
        {"guidance_scale": 1, "prompt": SCENE, "negative_prompt": ""},
    ),
    "BasicScheduler": (custom(), {"schedule": "beta", "steps": 9, "strength": None}),
    "SDTurboScheduler": (
        spaced("SDTurboScheduler", model=["4", 0], steps=1, denoise=1),
        {"schedule": "simple", "steps": 1, "strength": None},
    ),
    "BetaSamplingScheduler": (
        spaced("BetaSamplingScheduler", model=["4", 0], steps=8, alpha=0.6, beta=0.6),
        {"schedule": "beta", "steps": 8},
    ),
    "KarrasScheduler": (
        spaced("KarrasScheduler", steps=12, **ENDS, rho=7.0), {"schedule": "karras", "steps": 12}
    ),
    "ExponentialScheduler": (
        spaced("ExponentialScheduler", steps=11, **ENDS), {"schedule": "exponential", "steps": 11}
    ),
    "PolyexponentialScheduler": (
        spaced("PolyexponentialScheduler", steps=11, **ENDS, rho=1),
        {"schedule": "exponential", "steps": 11},
    ),
    "Flux2Scheduler": (started("SplitSigmas", step=8), {"schedule": "simple", "shift": None}),
    "SplitSigmas": (started("SplitSigmas", step=8), {"steps": 12, "strength": 0.6}),
    "SplitSigmasDenoise": (
        started("SplitSigmasDenoise", denoise=0.61), {"steps": 12, "strength": 0.6}
    ),
    "ImageScaleToTotalPixels": (
        scaled("ImageScaleToTotalPixels", upscale_method="lanczos", megapixels=0.5),
        {"width": 832, "height": 624},
    ),
    "FluxKontextImageScale": (scaled("FluxKontextImageScale"), {"width": 1184, "height": 880}),
    "LoadImageOutput": (
        default(START, n20=("LoadImageOutput", {"image": "cat.png"}), n21=ENCODED),
        {"image": IMAGE},
    ),
    "ImageStitch": (
        default(
            START,
            n20=CAT,
            n22=("ImageStitch", {"image1": ["20", 0], "direction": "right"}),
            n21=("VAEEncode", {**ENCODED[1], "pixels": ["22", 0]}),
        ),
        {"image": IMAGE, "width": 512},
    ),
    "GetImageSize": (
        default(
            {"5": {"width": ["21", 0], "height": ["21", 1]}},
            n20=CAT,
            n21=("GetImageSize", {"image": ["20", 0]}),
        ),
        {"width": 512, "height": 384, "image": None},
    ),
    "PrimitiveInt": (given("PrimitiveInt", 12, "3", "steps"), {"steps": 12}),
    "PrimitiveFloat": (given("PrimitiveFloat", 5.5, "3", "cfg"), {"guidance_scale": 5.5}),
    "PrimitiveBoolean": (
        custom(n24=("PrimitiveBoolean", {"value": True})) | {
            "3": {"class_type": "SamplerCustom", "inputs": {
                "model": ["4", 0], **DRAWN, "sampler": ["22", 0], "sigmas": ["23", 0],
                "latent_image": ["5", 0], "add_noise": ["24", 0], "noise_seed": 6, "cfg": 2}}},
        {"seed": 6},
    ),
    "PrimitiveString": (given("PrimitiveString", "heun", "3", "sampler_name"), {"sampler": "heun"}),
    "PrimitiveStringMultiline": (
        given("PrimitiveStringMultiline", "a cat", "6", "text"), {"prompt": "a cat"}
    ),
    "SaveImage": (default_graph(), {"prompt": SCENE}),
    "PreviewImage": (
        {**{k: v for k, v in default_graph().items() if k != "9"}, "9": {
            "class_type": SHOWN[0], "inputs": SHOWN[1]}},
        {"prompt": SCENE},
    ),
}  # fmt: skip


def test_there_is_a_row_for_every_node_that_is_listed_or_known() -> None:
    assert ROWS.keys() == {*LISTED, *FLOWS, *BESIDE} == NODE_KINDS.keys()


def test_every_output_of_a_known_node_has_its_rule() -> None:
    assert RULES.keys() == {kind for kind, node in NODE_KINDS.items() if node.outputs} - {
        "ControlNetLoader",  # whoever needs these asks the loader for its file
        "UpscaleModelLoader",
    }


@pytest.mark.parametrize("kind", ROWS)
def test_a_node_says_what_it_does(kind: str) -> None:
    graph, wanted = ROWS[kind]
    assert kind in {node["class_type"] for node in graph.values()}
    recipe = read_graph(graph, PICTURES).recipe
    assert {name: getattr(recipe, name) for name in wanted} == wanted


@pytest.mark.parametrize("kind", ROWS)
def test_a_node_that_is_not_known_is_named_in_its_place(kind: str) -> None:
    graph = copy.deepcopy(ROWS[kind][0])
    for node in graph.values():
        if node["class_type"] == kind:
            node["class_type"] = "SomebodysNode"
    said = (
        "saves nothing: it has none of these nodes: SaveImage"
        if kind in ("SaveImage", "PreviewImage")
        else "SomebodysNode"
    )
    with pytest.raises(GraphError, match=said):
        read_graph(graph, PICTURES)


@pytest.mark.parametrize("kind", ROWS)
def test_a_missing_input_is_named_with_its_node(kind: str) -> None:
    graph = ROWS[kind][0]
    name = next(name for name, node in graph.items() if node["class_type"] == kind)
    for link in NODE_KINDS[kind].links.keys() - set(NODE_KINDS[kind].optional):
        broken = copy.deepcopy(graph)
        del broken[name]["inputs"][link]
        with pytest.raises(GraphError, match=f"'{link}' of {kind} .* is not connected"):
            read_graph(broken, PICTURES)


@pytest.mark.parametrize("kind", ROWS)
def test_an_input_of_another_type_is_named_with_its_node(kind: str) -> None:
    graph = ROWS[kind][0]
    name = next(name for name, node in graph.items() if node["class_type"] == kind)
    for link, wanted in NODE_KINDS[kind].links.items():
        broken = {"4": default_graph()["4"], **copy.deepcopy(graph)}
        given = ("4", 2) if wanted != "VAE" else ("4", 0)
        broken[name]["inputs"][link] = list(given)
        with pytest.raises(GraphError, match=f"'{link}' of {kind} .* not {wanted}"):
            read_graph(broken, PICTURES)


LORA = {"lora_name": "ink.safetensors", "strength_model": 50, "strength_clip": 1}
EXCESSIVE = {
    "FreeU": (
        by_model("FreeU", b1=11, b2=1.2, s1=0.9, s2=0.2),
        "patches",
        "FreeU (node 20): left out: freeu must be between 0 and 10, not 11.",
    ),
    "FreeU_V2": (
        by_model("FreeU_V2", b1=1.1, b2="many", s1=0.9, s2=0.2),
        "patches",
        "FreeU_V2 (node 20): left out: freeu_v2 must be between 0 and 10, not 'many'.",
    ),
    "PerturbedAttentionGuidance": (
        by_model("PerturbedAttentionGuidance", scale=float("nan")),
        "patches",
        "PerturbedAttentionGuidance (node 20): left out: "
        "perturbed_attention must be between 0 and 100, not nan.",
    ),
    "LoraLoader": (
        default(
            {"3": {"model": ["20", 0]}, "6": {"clip": ["20", 1]}, "7": {"clip": ["20", 1]}},
            n20=("LoraLoader", {"model": ["4", 0], "clip": ["4", 1], **LORA}),
        ),
        "loras",
        "LoraLoader (node 20): left out: lora_weight must be between -4 and 4, not 50.0.",
    ),
    "ControlNetApply": (
        {
            **by_words("ControlNetApply", control_net=["22", 0], image=["19", 0], strength=-1),
            "22": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "c"}},
        },
        "controls",
        "ControlNetApply (node 20): left out: control_strength must be between 0 and 2, not -1.0.",
    ),
    "ConditioningSetArea": (
        by_words("ConditioningSetArea", x=0, y=0, width=256, height=512, strength=11),
        "areas",
        "KSampler (node 3): a text for a part of the picture is left out: area_strength must be "
        "between 0 and 10, not 11.0.",
    ),
}


@pytest.mark.parametrize("kind", EXCESSIVE)
def test_a_part_with_a_number_that_it_cannot_have_is_left_out_and_named(kind: str) -> None:
    graph, field, said = EXCESSIVE[kind]
    recipe, ignored = read_graph(graph, PICTURES)
    assert (getattr(recipe, field), recipe.prompt, recipe.steps) == ((), SCENE, 20)
    assert said in ignored
