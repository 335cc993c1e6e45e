"""The kinds of nodes that Marble knows, as ComfyUI describes them: one table, no code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Describe a kind of node: its links in, values and links out, in the order of its slots.

    links: name → type; size: width and height on the canvas; optional: links that may be left out.
    """

    links: Mapping[str, str]
    values: tuple[str, ...]
    outputs: tuple[str, ...]
    size: tuple[int, int] = (315, 130)
    optional: tuple[str, ...] = ()


# Two values exist on the canvas only: what to do with the seed after a run, and a button.
AFTER_RUN: Final = "control_after_generate"
NOISE: Final = "noise"  # among what says more of a sampler's node: whose numbers its noise is
UPLOAD: Final = "upload"

IMAGE: Final = {"image": "IMAGE"}
MASK: Final = {"mask": "MASK"}
SAMPLES: Final = {"samples": "LATENT"}
PIXELS: Final = {"pixels": "IMAGE", "vae": "VAE"}
BOTH: Final = {"positive": "CONDITIONING", "negative": "CONDITIONING"}
ONE: Final = {"conditioning": "CONDITIONING"}
MODEL: Final = {"model": "MODEL"}
CLIP: Final = {"clip": "CLIP"}
SIGMAS: Final = {"sigmas": "SIGMAS"}
CONTROL: Final = {"control_net": "CONTROL_NET", "image": "IMAGE"}
DRAWN: Final = {**MODEL, **BOTH, "latent_image": "LATENT"}
CUSTOM: Final = {"sampler": "SAMPLER", **SIGMAS, "latent_image": "LATENT"}
PARTS: Final = ("MODEL", "CLIP", "VAE")
WORDS: Final = ("CONDITIONING",)
FACTORS: Final = ("b1", "b2", "s1", "s2")
TWO: Final = ("clip_name1", "clip_name2")
EDITED: Final = ("image1", "image2", "image3")
MARGINS: Final = ("left", "top", "right", "bottom")
TILES: Final = ("tile_size", "overlap", "temporal_size", "temporal_overlap")
SPACED: Final = ("steps", "sigma_max", "sigma_min")
PLACED: Final = ("width", "height", "x", "y", "strength")
SIZED: Final = ("width", "height", "batch_size")
PLAIN: Final = ("INT", "FLOAT", "STRING", "BOOLEAN")  # types of outputs that stand for plain values

NODE_KINDS: Final[Mapping[str, NodeKind]] = {
    # models and what changes them
    "CheckpointLoaderSimple": NodeKind({}, ("ckpt_name",), PARTS, (315, 98)),
    "CheckpointLoader": NodeKind({}, ("config_name", "ckpt_name"), PARTS, (315, 122)),
    "DiffusersLoader": NodeKind({}, ("model_path",), PARTS, (315, 98)),
    "LoraLoader": NodeKind(
        {"model": "MODEL", "clip": "CLIP"},
        ("lora_name", "strength_model", "strength_clip"),
        ("MODEL", "CLIP"),
        (315, 126),
    ),
    "LoraLoaderModelOnly": NodeKind(MODEL, ("lora_name", "strength_model"), ("MODEL",), (315, 82)),
    "CLIPSetLastLayer": NodeKind(CLIP, ("stop_at_clip_layer",), ("CLIP",), (315, 58)),
    "RescaleCFG": NodeKind(MODEL, ("multiplier",), ("MODEL",), (315, 58)),
    "VAELoader": NodeKind({}, ("vae_name",), ("VAE",), (315, 58)),
    # parts of models that lie apart
    "UNETLoader": NodeKind({}, ("unet_name", "weight_dtype"), ("MODEL",), (315, 82)),
    "UnetLoaderGGUF": NodeKind({}, ("unet_name",), ("MODEL",), (315, 58)),
    "CLIPLoader": NodeKind({}, ("clip_name", "type", "device"), ("CLIP",), (315, 106)),
    "CLIPLoaderGGUF": NodeKind({}, ("clip_name", "type"), ("CLIP",), (315, 82)),
    "DualCLIPLoader": NodeKind({}, (*TWO, "type", "device"), ("CLIP",), (315, 130)),
    "DualCLIPLoaderGGUF": NodeKind({}, (*TWO, "type"), ("CLIP",), (315, 106)),
    "TripleCLIPLoader": NodeKind({}, (*TWO, "clip_name3"), ("CLIP",), (315, 106)),
    "TripleCLIPLoaderGGUF": NodeKind({}, (*TWO, "clip_name3"), ("CLIP",), (315, 106)),
    "T5TokenizerOptions": NodeKind(CLIP, ("min_padding", "min_length"), ("CLIP",), (315, 82)),
    # how noise is spaced, and what changes guidance
    "ModelSamplingSD3": NodeKind(MODEL, ("shift",), ("MODEL",), (315, 58)),
    "ModelSamplingAuraFlow": NodeKind(MODEL, ("shift",), ("MODEL",), (315, 58)),
    "ModelSamplingFlux": NodeKind(
        MODEL, ("max_shift", "base_shift", "width", "height"), ("MODEL",), (315, 130)
    ),
    "CFGNorm": NodeKind(MODEL, ("strength",), ("MODEL",), (315, 58)),
    "CFGZeroStar": NodeKind(MODEL, (), ("MODEL",), (315, 46)),
    "DifferentialDiffusion": NodeKind(MODEL, ("strength",), ("MODEL",), (315, 58)),
    "SkipLayerGuidanceSD3": NodeKind(
        MODEL, ("layers", "scale", "start_percent", "end_percent"), ("MODEL",), (315, 130)
    ),
    "FreeU": NodeKind(MODEL, FACTORS, ("MODEL",), (315, 130)),
    "FreeU_V2": NodeKind(MODEL, FACTORS, ("MODEL",), (315, 130)),
    "PerturbedAttentionGuidance": NodeKind(MODEL, ("scale",), ("MODEL",), (315, 58)),
    "ModelSamplingDiscrete": NodeKind(MODEL, ("sampling", "zsnr"), ("MODEL",), (315, 82)),
    "ModelSamplingContinuousEDM": NodeKind(
        MODEL, ("sampling", "sigma_max", "sigma_min"), ("MODEL",), (315, 106)
    ),
    "SelfAttentionGuidance": NodeKind(MODEL, ("scale", "blur_sigma"), ("MODEL",), (315, 82)),
    "HyperTile": NodeKind(
        MODEL, ("tile_size", "swap_size", "max_depth", "scale_depth"), ("MODEL",), (315, 130)
    ),
    "TomePatchModel": NodeKind(MODEL, ("ratio",), ("MODEL",), (315, 58)),
    "PatchModelAddDownscale": NodeKind(
        MODEL,
        (
            "block_number", "downscale_factor", "start_percent", "end_percent",
            "downscale_after_skip", "downscale_method", "upscale_method",
        ),
        ("MODEL",),
        (315, 202),
    ),
    "Automatic CFG": NodeKind(MODEL, ("hard_mode", "boost"), ("MODEL", "STRING"), (315, 102)),
    # words
    "CLIPTextEncode": NodeKind(CLIP, ("text",), WORDS, (425, 180)),
    "CLIPTextEncodeFlux": NodeKind(CLIP, ("clip_l", "t5xxl", "guidance"), WORDS, (400, 280)),
    "CLIPTextEncodeSD3": NodeKind(
        CLIP, ("clip_l", "clip_g", "t5xxl", "empty_padding"), WORDS, (400, 280)
    ),
    "CLIPTextEncodeLumina2": NodeKind(CLIP, ("system_prompt", "user_prompt"), WORDS, (400, 200)),
    "TextEncodeQwenImageEdit": NodeKind(
        {**CLIP, "vae": "VAE", "image": "IMAGE"}, ("prompt",), WORDS, (400, 180), ("vae", "image")
    ),
    "TextEncodeQwenImageEditPlus": NodeKind(
        {**CLIP, "vae": "VAE", **dict.fromkeys(EDITED, "IMAGE")},
        ("prompt",),
        WORDS,
        (400, 180),
        ("vae", *EDITED),
    ),
    "CLIPTextEncodeSDXL": NodeKind(
        CLIP,
        (
            "width", "height", "crop_w", "crop_h", "target_width", "target_height",
            "text_g", "text_l",
        ),
        WORDS,
        (400, 280),
    ),
    "CLIPTextEncodeSDXLRefiner": NodeKind(
        CLIP, ("ascore", "width", "height", "text"), WORDS, (400, 200)
    ),
    "ConditioningConcat": NodeKind(
        {"conditioning_to": "CONDITIONING", "conditioning_from": "CONDITIONING"},
        (),
        WORDS,
        (315, 46),
    ),
    "ConditioningCombine": NodeKind(
        {"conditioning_1": "CONDITIONING", "conditioning_2": "CONDITIONING"}, (), WORDS, (315, 46)
    ),
    "ConditioningZeroOut": NodeKind(ONE, (), WORDS, (315, 46)),
    "ConditioningSetArea": NodeKind(ONE, PLACED, WORDS, (315, 154)),
    "ConditioningSetAreaPercentage": NodeKind(ONE, PLACED, WORDS, (315, 154)),
    "ConditioningSetAreaStrength": NodeKind(ONE, ("strength",), WORDS, (315, 58)),
    "ConditioningSetMask": NodeKind(
        {**ONE, **MASK}, ("strength", "set_cond_area"), WORDS, (315, 102)
    ),
    "ConditioningSetTimestepRange": NodeKind(ONE, ("start", "end"), WORDS, (315, 82)),
    "FluxGuidance": NodeKind(ONE, ("guidance",), WORDS, (315, 58)),
    "ReferenceLatent": NodeKind({**ONE, "latent": "LATENT"}, (), WORDS, (315, 46), ("latent",)),
    "FluxKontextMultiReferenceLatentMethod": NodeKind(
        ONE, ("reference_latents_method",), WORDS, (315, 58)
    ),
    "InpaintModelConditioning": NodeKind(
        {**BOTH, "vae": "VAE", "pixels": "IMAGE", "mask": "MASK"},
        ("noise_mask",),
        ("CONDITIONING", "CONDITIONING", "LATENT"),
        (315, 138),
    ),
    # controls
    "ControlNetLoader": NodeKind({}, ("control_net_name",), ("CONTROL_NET",), (315, 58)),
    "ControlNetApply": NodeKind(
        {**ONE, **CONTROL}, ("strength",), WORDS, (315, 98)
    ),
    "ControlNetApplyAdvanced": NodeKind(
        {**BOTH, **CONTROL},
        ("strength", "start_percent", "end_percent"),
        ("CONDITIONING", "CONDITIONING"),
        (315, 186),
    ),
    # latents
    "EmptyLatentImage": NodeKind({}, SIZED, ("LATENT",), (315, 106)),
    "EmptySD3LatentImage": NodeKind({}, SIZED, ("LATENT",), (315, 106)),
    "EmptyFlux2LatentImage": NodeKind({}, SIZED, ("LATENT",), (315, 106)),
    "VAEEncode": NodeKind(PIXELS, (), ("LATENT",), (210, 46)),
    "VAEEncodeTiled": NodeKind(PIXELS, TILES, ("LATENT",), (315, 150)),
    "VAEEncodeForInpaint": NodeKind(
        {**PIXELS, "mask": "MASK"}, ("grow_mask_by",), ("LATENT",), (315, 98)
    ),
    "SetLatentNoiseMask": NodeKind({**SAMPLES, "mask": "MASK"}, (), ("LATENT",), (210, 46)),
    "LatentFromBatch": NodeKind(SAMPLES, ("batch_index", "length"), ("LATENT",), (315, 82)),
    "RepeatLatentBatch": NodeKind(SAMPLES, ("amount",), ("LATENT",), (315, 58)),
    "LatentUpscale": NodeKind(
        SAMPLES, ("upscale_method", "width", "height", "crop"), ("LATENT",), (315, 130)
    ),
    "LatentUpscaleBy": NodeKind(SAMPLES, ("upscale_method", "scale_by"), ("LATENT",), (315, 82)),
    # drawing
    "KSampler": NodeKind(
        DRAWN,
        ("seed", AFTER_RUN, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
        ("LATENT",),
        (315, 262),
    ),
    "KSamplerAdvanced": NodeKind(
        DRAWN,
        (
            "add_noise", "noise_seed", AFTER_RUN, "steps", "cfg", "sampler_name", "scheduler",
            "start_at_step", "end_at_step", "return_with_leftover_noise",
        ),
        ("LATENT",),
        (315, 334),
    ),
    "SamplerCustom": NodeKind(
        {**MODEL, **BOTH, **CUSTOM},
        ("add_noise", "noise_seed", AFTER_RUN, "cfg"),
        ("LATENT", "LATENT"),
        (315, 230),
    ),
    "SamplerCustomAdvanced": NodeKind(
        {"noise": "NOISE", "guider": "GUIDER", **CUSTOM}, (), ("LATENT", "LATENT"), (315, 106)
    ),
    "RandomNoise": NodeKind({}, ("noise_seed", AFTER_RUN), ("NOISE",), (315, 82)),
    "DisableNoise": NodeKind({}, (), ("NOISE",), (210, 26)),
    "KSamplerSelect": NodeKind({}, ("sampler_name",), ("SAMPLER",), (315, 58)),
    "BasicGuider": NodeKind({**MODEL, **ONE}, (), ("GUIDER",), (315, 46)),
    "CFGGuider": NodeKind({**MODEL, **BOTH}, ("cfg",), ("GUIDER",), (315, 98)),
    "BasicScheduler": NodeKind(MODEL, ("scheduler", "steps", "denoise"), ("SIGMAS",), (315, 106)),
    "SDTurboScheduler": NodeKind(MODEL, ("steps", "denoise"), ("SIGMAS",), (315, 82)),
    "BetaSamplingScheduler": NodeKind(MODEL, ("steps", "alpha", "beta"), ("SIGMAS",), (315, 106)),
    "KarrasScheduler": NodeKind({}, (*SPACED, "rho"), ("SIGMAS",), (315, 130)),
    "ExponentialScheduler": NodeKind({}, SPACED, ("SIGMAS",), (315, 106)),
    "PolyexponentialScheduler": NodeKind({}, (*SPACED, "rho"), ("SIGMAS",), (315, 130)),
    "Flux2Scheduler": NodeKind({}, ("steps", "width", "height"), ("SIGMAS",), (315, 106)),
    "SplitSigmas": NodeKind(SIGMAS, ("step",), ("SIGMAS", "SIGMAS"), (315, 78)),
    "SplitSigmasDenoise": NodeKind(SIGMAS, ("denoise",), ("SIGMAS", "SIGMAS"), (315, 78)),
    "VAEDecode": NodeKind({**SAMPLES, "vae": "VAE"}, (), ("IMAGE",), (210, 46)),
    "VAEDecodeTiled": NodeKind({**SAMPLES, "vae": "VAE"}, TILES, ("IMAGE",), (315, 150)),
    # pictures and masks
    "LoadImage": NodeKind({}, ("image", UPLOAD), ("IMAGE", "MASK"), (315, 314)),
    "LoadImageOutput": NodeKind({}, ("image", UPLOAD), ("IMAGE", "MASK"), (315, 314)),
    "LoadImageMask": NodeKind({}, ("image", "channel", UPLOAD), ("MASK",), (315, 318)),
    "ImageToMask": NodeKind(IMAGE, ("channel",), ("MASK",), (315, 58)),
    "SolidMask": NodeKind({}, ("value", "width", "height"), ("MASK",), (315, 106)),
    "InvertMask": NodeKind(MASK, (), ("MASK",), (210, 46)),
    "MaskToImage": NodeKind(MASK, (), ("IMAGE",), (210, 46)),
    "ImageScale": NodeKind(IMAGE, ("upscale_method", "width", "height", "crop"), ("IMAGE",)),
    "ImageScaleBy": NodeKind(IMAGE, ("upscale_method", "scale_by"), ("IMAGE",), (315, 82)),
    "ImageScaleToTotalPixels": NodeKind(
        IMAGE, ("upscale_method", "megapixels", "resolution_steps"), ("IMAGE",), (315, 106)
    ),
    "ImagePadForOutpaint": NodeKind(
        IMAGE, (*MARGINS, "feathering"), ("IMAGE", "MASK"), (315, 174)
    ),
    "Canny": NodeKind(IMAGE, ("low_threshold", "high_threshold"), ("IMAGE",), (315, 82)),
    "FluxKontextImageScale": NodeKind(IMAGE, (), ("IMAGE",), (315, 46)),
    "ImageStitch": NodeKind(
        dict.fromkeys(EDITED[:2], "IMAGE"),
        ("direction", "match_image_size", "spacing_width", "spacing_color"),
        ("IMAGE",),
        (315, 150),
        EDITED[1:2],
    ),
    "GetImageSize": NodeKind(IMAGE, (), ("INT", "INT", "INT"), (315, 66)),
    "UpscaleModelLoader": NodeKind({}, ("model_name",), ("UPSCALE_MODEL",), (315, 58)),
    "ImageUpscaleWithModel": NodeKind(
        {"upscale_model": "UPSCALE_MODEL", "image": "IMAGE"}, (), ("IMAGE",), (315, 46)
    ),
    "ImageCompositeMasked": NodeKind(
        {"destination": "IMAGE", "source": "IMAGE", "mask": "MASK"},
        ("x", "y", "resize_source"),
        ("IMAGE",),
        (315, 146),
    ),
    "SaveImage": NodeKind({"images": "IMAGE"}, ("filename_prefix",), (), (315, 270)),
    "PreviewImage": NodeKind({"images": "IMAGE"}, (), (), (315, 270)),
    # values for other nodes
    "PrimitiveInt": NodeKind({}, ("value", AFTER_RUN), ("INT",), (315, 82)),
    "PrimitiveFloat": NodeKind({}, ("value",), ("FLOAT",), (315, 58)),
    "PrimitiveBoolean": NodeKind({}, ("value",), ("BOOLEAN",), (315, 58)),
    "PrimitiveString": NodeKind({}, ("value",), ("STRING",), (315, 58)),
    "PrimitiveStringMultiline": NodeKind({}, ("value",), ("STRING",), (400, 200)),
}  # fmt: skip
OUTPUTS: Final = ("SaveImage", "PreviewImage")
