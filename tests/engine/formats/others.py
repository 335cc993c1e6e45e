"""What other programs write into pictures, each in its own form; all texts are made up."""

from __future__ import annotations

import gzip
import html
import io
import json
from typing import Any, Final

import numpy as np
from PIL import Image, PngImagePlugin

PROMPT, NEGATIVE, SEED, STEPS, SIZE = "a hut in fog", "rain", 11, 24, (512, 768)
WIDTH, HEIGHT = SIZE
LINE = f"Steps: {STEPS}, Sampler: Euler a, CFG scale: 6, Seed: {SEED}, Size: {WIDTH}x{HEIGHT}"


def line(settings: str, prompt: str = PROMPT) -> dict[str, str]:
    """Return the text of A1111 and its heirs."""
    return {"parameters": f"{prompt}\nNegative prompt: {NEGATIVE}\n{settings}"}


def as_json(key: str, **values: Any) -> dict[str, str]:
    return {key: json.dumps(values)}


DRAW_THINGS: Final = {
    "c": PROMPT, "uc": NEGATIVE, "seed": SEED, "seed_mode": "Scale Alike", "steps": STEPS,
    "scale": 6, "size": f"{WIDTH}x{HEIGHT}", "sampler": "Euler Ancestral", "strength": 1,
    "model": "any.ckpt", "lora": [{"model": "ink.ckpt", "weight": 0.5}],
    "v2": {
        "loras": [{"file": "ink.ckpt", "weight": 0.5, "mode": "all"}], "seed": SEED, "seedMode": 2,
        "width": WIDTH, "height": HEIGHT, "originalImageWidth": WIDTH, "targetImageHeight": HEIGHT,
        "hiresFix": False, "controls": [], "refinerModel": "", "upscaler": "", "strength": 1,
        "clipSkip": 1, "maskBlur": 1.5, "teaCache": False, "guidanceEmbed": 4.5,
    },
}  # fmt: skip


def in_xmp(said: str) -> dict[str, str]:
    """Return the text of Draw Things, which holds its JSON."""
    comment = html.escape(said, quote=False)
    return {
        "XML:com.adobe.xmp": "<x:xmpmeta><rdf:Description><dc:description><rdf:Alt>"
        f'<rdf:li xml:lang="x-default">{PROMPT}&#xA;-{NEGATIVE}</rdf:li></rdf:Alt>'
        "</dc:description><xmp:CreatorTool>Draw Things</xmp:CreatorTool><exif:UserComment>"
        f'<rdf:Alt><rdf:li xml:lang="x-default">{comment}</rdf:li></rdf:Alt></exif:UserComment>'
    }


NOVELAI: Final = {
    "prompt": PROMPT, "uc": NEGATIVE, "seed": SEED, "steps": STEPS, "width": WIDTH,
    "height": HEIGHT, "scale": 6.0, "sampler": "k_euler_ancestral", "noise_schedule": "karras",
    "cfg_rescale": 0.0, "sm": False, "n_samples": 1, "request_type": "PromptGenerateRequest",
    "uncond_scale": 1.0, "strength": 1.0,
    "v4_prompt": {
        "caption": {"base_caption": PROMPT, "char_captions": []}, "use_coords": False,
        "use_order": True,
    },
    "v4_negative_prompt": {
        "caption": {"base_caption": NEGATIVE, "char_captions": []}, "legacy_uc": False,
    },
}  # fmt: skip
SD_METADATA: Final[dict[str, Any]] = {
    "model": "stable diffusion", "model_weights": "any", "model_hash": "0x0",
    "app_id": "invoke-ai/InvokeAI", "app_version": "2.3.0",
    "image": {
        "prompt": [{"prompt": PROMPT, "weight": 1.0}], "steps": STEPS, "cfg_scale": 6, "seed": SEED,
        "width": WIDTH, "height": HEIGHT, "sampler": "k_euler_a", "type": "txt2img", "perlin": 0,
        "threshold": 0, "seamless": False, "hires_fix": False, "variations": [],
        "init_image_path": None, "strength": 1, "postprocessing": None,
    },
}  # fmt: skip
FIELDS: Final = {
    "prompt": PROMPT, "negative_prompt": NEGATIVE, "seed": SEED, "steps": STEPS, "width": WIDTH,
    "height": HEIGHT,
}  # fmt: skip

# By the programs' names, as a reading calls them.
TEXTS: Final[dict[str, dict[str, str]]] = {
    "A1111": line(f"{LINE}, Model hash: 0123456789, Model: any, Version: v1.10.1"),
    "Forge": line(
        f"{LINE}, Model: any, Version: f2.0.1v1.10.1-previous-669-gdfdcbab6, Module 1: ae"
    ),
    "reForge": line(f"{LINE}, Model: any, Version: f1.0.5v2-v1.10.1RC-latest-2244-g4c9a4f5d"),
    "Forge Neo": line(f"{LINE}, Model: any, Version: neo"),
    "SD.Next": line(
        f"Steps: {STEPS}, Size: {WIDTH}x{HEIGHT}, Sampler: Euler a, Seed: {SEED}, CFG scale: 6, "
        "App: SD.Next, Version: 8b73cb6, Model: any, Model hash: 847403d47a"
    ),
    "stable-diffusion.cpp": line(
        f"Steps: {STEPS}, CFG scale: 6.000000, Guidance: 3.500000, Eta: 0.000000, Seed: {SEED}, "
        f"Size: {WIDTH}x{HEIGHT}, Model: any.safetensors, RNG: cuda, Sampler: euler_a karras, "
        "Version: stable-diffusion.cpp"
    ),
    "Civitai": line(
        f"{LINE}, Clip skip: 2, Created Date: 2025-01-02T0304, Civitai resources: "
        '[{"type":"checkpoint","modelVersionId":1,"modelName":"any","modelVersionName":"v1"},'
        '{"type":"lora","weight":0.5,"modelVersionId":2,"modelName":"ink"}], Civitai metadata: {}'
    ),
    "Krita AI": line(
        f"Steps: {STEPS}, Sampler: Default - Euler A, CFG scale: 6.0, Seed: {SEED}, "
        f"Size: {WIDTH}x{HEIGHT}, Model hash: unknown, Model: any.safetensors",
        f"{PROMPT} <lora:ink:0.5>",
    ),
    "SwarmUI": as_json(
        "parameters",
        sui_image_params={
            "prompt": PROMPT, "negativeprompt": NEGATIVE, "model": "any", "seed": SEED,
            "steps": STEPS, "cfgscale": 6.0, "width": WIDTH, "height": HEIGHT, "images": 1,
            "sampler": "euler_ancestral", "scheduler": "karras", "loras": ["ink"],
            "loraweights": ["0.5"], "swarm_version": "0.9.5.0",
        },
        sui_extra_data={"date": "2025-01-02", "generation_time": "1.00 sec"},
        sui_models=[{"name": "any.safetensors", "param": "model", "hash": "0x0"}],
    ),
    "InvokeAI": as_json(
        "invokeai_metadata",
        generation_mode="txt2img", positive_prompt=PROMPT, negative_prompt=NEGATIVE, seed=SEED,
        steps=STEPS, width=WIDTH, height=HEIGHT, cfg_scale=6.0, scheduler="euler_a",
        rand_device="cpu", app_version="5.0.0", positive_style_prompt=PROMPT,
        negative_style_prompt="", vae={"key": "v", "name": "clear"}, strength=0.5,
        model={"key": "k", "name": "any", "base": "sd-1", "type": "main"},
        loras=[{"model": {"key": "l", "name": "ink"}, "weight": 0.5}],
    ),
    "Fooocus": {
        **as_json(
            "parameters",
            prompt=PROMPT, negative_prompt=NEGATIVE, seed=str(SEED), steps=STEPS,
            resolution=f"({WIDTH}, {HEIGHT})", guidance_scale=6.0, sampler="dpmpp_2m_sde_gpu",
            scheduler="karras", base_model="any", base_model_hash="0123456789",
            loras=[["ink", 0.5, "abcdef"]], styles="['Fooocus V2']", performance="Speed",
            metadata_scheme="fooocus", version="Fooocus v2.5.5",
        ),
        "fooocus_scheme": "fooocus",
    },
    "RuinedFooocus": as_json(
        "parameters",
        Prompt=PROMPT, Negative=NEGATIVE, steps=STEPS, cfg=6, width=WIDTH, height=HEIGHT, seed=SEED,
        sampler_name="euler_ancestral", scheduler="karras", base_model_name="any", clip_skip=1,
        loras=[{"name": "ink", "weight": 0.5}], software="RuinedFooocus",
    ),
    "NovelAI": {
        "Title": "NovelAI generated image", "Description": PROMPT, "Software": "NovelAI",
        "Source": "NovelAI Diffusion V4 37442FCA", "Comment": json.dumps(NOVELAI),
    },
    "Draw Things": in_xmp(json.dumps(DRAW_THINGS)),
    "TensorArt": {
        "generation_data": json.dumps({
            "models": [{"label": "ink", "type": "LORA", "modelFileName": "ink", "weight": 0.5}],
            "prompt": PROMPT, "negativePrompt": NEGATIVE, "width": WIDTH, "height": HEIGHT,
            "imageCount": 1, "samplerName": "Euler a", "steps": STEPS, "cfgScale": 6,
            "seed": str(SEED), "clipSkip": 2, "baseModel": {"label": "any", "modelFileName": "any"},
        }) + "\0",
    },
    "Easy Diffusion": as_json(
        "Comment",
        prompt=PROMPT, negative_prompt=NEGATIVE, seed=SEED, num_inference_steps=STEPS, width=WIDTH,
        height=HEIGHT, guidance_scale=6, sampler_name="euler_a", use_stable_diffusion_model="any",
    ),
}  # fmt: skip


def png(texts: dict[str, str], image: Image.Image | None = None) -> bytes:
    """Return a PNG with texts, in the kind of chunk that Pillow takes for them."""
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        if text.isascii() and not key.startswith("XML"):
            info.add_text(key, text)
        else:
            info.add_itxt(key, text)
    file = io.BytesIO()
    (image or Image.new("RGB", (8, 8))).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def jpeg(comment: bytes) -> bytes:
    """Return a JPEG with a user comment."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def hiding(text: str, *, packed: bool) -> bytes:
    """Return a PNG without texts that hides one in its alpha channel."""
    return hidden(text.encode(), packed=packed)


def hidden(body: bytes, *, packed: bool, ready: bool = False, colours: bool = False) -> bytes:
    """Return a PNG that hides bytes in its alpha channel or colours; ready: they are packed."""
    return png({}, hiding_pixels(body, packed=packed, ready=ready, colours=colours))


def hiding_pixels(
    body: bytes, *, packed: bool, ready: bool = False, colours: bool = False
) -> Image.Image:
    """Return a picture, 64 pixels wide, whose lowest bits hold bytes, column by column."""
    if packed and not ready:
        body = gzip.compress(body, mtime=0)
    kind = ("rgb" if colours else "png") + ("comp" if packed else "info")
    data = f"stealth_{kind}".encode() + (8 * len(body)).to_bytes(4, "big") + body
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    channels = 3 if colours else 1
    rows = max(128, -(-len(bits) // (64 * channels)))
    found = np.full((64, rows, channels), 254, np.uint8)  # [columns, rows, channels]
    found.reshape(-1)[: len(bits)] |= bits
    if colours:
        return Image.fromarray(found.transpose(1, 0, 2).copy(), "RGB")
    pixels = np.zeros((rows, 64, 4), np.uint8)
    pixels[..., 3] = found[..., 0].T
    return Image.fromarray(pixels, "RGBA")
