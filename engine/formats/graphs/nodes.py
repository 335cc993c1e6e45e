"""The kinds of nodes that Marble knows, as ComfyUI describes them: one table, no code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Describe a kind of node: its links in, values and links out, in the order of its slots.

    links: name → type; size: width and height on the canvas.
    """

    links: Mapping[str, str]
    values: tuple[str, ...]
    outputs: tuple[str, ...]
    size: tuple[int, int] = (315, 130)


# Two values exist on the canvas only: what to do with the seed after a run, and a button.
AFTER_RUN: Final = "control_after_generate"
UPLOAD: Final = "upload"

IMAGE: Final = {"image": "IMAGE"}
SAMPLES: Final = {"samples": "LATENT"}
PIXELS: Final = {"pixels": "IMAGE", "vae": "VAE"}
BOTH: Final = {"positive": "CONDITIONING", "negative": "CONDITIONING"}
CONTROL: Final = {"control_net": "CONTROL_NET", "image": "IMAGE"}
DRAWN: Final = {"model": "MODEL", **BOTH, "latent_image": "LATENT"}
PARTS: Final = ("MODEL", "CLIP", "VAE")
WORDS: Final = ("CONDITIONING",)

NODE_KINDS: Final[Mapping[str, NodeKind]] = {
    # models and what changes them
    "CheckpointLoaderSimple": NodeKind({}, ("ckpt_name",), PARTS, (315, 98)),
    "DiffusersLoader": NodeKind({}, ("model_path",), PARTS, (315, 98)),
    "LoraLoader": NodeKind(
        {"model": "MODEL", "clip": "CLIP"},
        ("lora_name", "strength_model", "strength_clip"),
        ("MODEL", "CLIP"),
        (315, 126),
    ),
    "CLIPSetLastLayer": NodeKind({"clip": "CLIP"}, ("stop_at_clip_layer",), ("CLIP",), (315, 58)),
    "RescaleCFG": NodeKind({"model": "MODEL"}, ("multiplier",), ("MODEL",), (315, 58)),
    "VAELoader": NodeKind({}, ("vae_name",), ("VAE",), (315, 58)),
    # words
    "CLIPTextEncode": NodeKind({"clip": "CLIP"}, ("text",), WORDS, (425, 180)),
    "CLIPTextEncodeSDXL": NodeKind(
        {"clip": "CLIP"},
        (
            "width", "height", "crop_w", "crop_h", "target_width", "target_height",
            "text_g", "text_l",
        ),
        WORDS,
        (400, 280),
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
    # controls
    "ControlNetLoader": NodeKind({}, ("control_net_name",), ("CONTROL_NET",), (315, 58)),
    "ControlNetApply": NodeKind(
        {"conditioning": "CONDITIONING", **CONTROL}, ("strength",), WORDS, (315, 98)
    ),
    "ControlNetApplyAdvanced": NodeKind(
        {**BOTH, **CONTROL},
        ("strength", "start_percent", "end_percent"),
        ("CONDITIONING", "CONDITIONING"),
        (315, 186),
    ),
    # latents
    "EmptyLatentImage": NodeKind({}, ("width", "height", "batch_size"), ("LATENT",), (315, 106)),
    "VAEEncode": NodeKind(PIXELS, (), ("LATENT",), (210, 46)),
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
    "VAEDecode": NodeKind({**SAMPLES, "vae": "VAE"}, (), ("IMAGE",), (210, 46)),
    # pictures and masks
    "LoadImage": NodeKind({}, ("image", UPLOAD), ("IMAGE", "MASK"), (315, 314)),
    "LoadImageMask": NodeKind({}, ("image", "channel", UPLOAD), ("MASK",), (315, 318)),
    "ImageToMask": NodeKind(IMAGE, ("channel",), ("MASK",), (315, 58)),
    "ImageScale": NodeKind(IMAGE, ("upscale_method", "width", "height", "crop"), ("IMAGE",)),
    "ImageScaleBy": NodeKind(IMAGE, ("upscale_method", "scale_by"), ("IMAGE",), (315, 82)),
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
}  # fmt: skip
OUTPUTS: Final = ("SaveImage", "PreviewImage")
