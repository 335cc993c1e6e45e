"""Graphs of flow models in the form in which ComfyUI's own templates have them."""

from typing import Any

from engine.formats.graphs.nodes import NODE_KINDS

Graph = dict[str, Any]


def node(kind: str, **inputs: Any) -> Graph:
    """Return a node as ComfyUI sends it; links are given as "3" or "3.1", for output 1."""
    return {"class_type": kind, "inputs": {name: _linked(value) for name, value in inputs.items()}}


def _linked(value: Any) -> Any:
    if isinstance(value, Link):
        return [value.name, value.slot]
    return value


class Link:
    """A link to an output of a node."""

    def __init__(self, name: int | str, slot: int = 0) -> None:
        self.name, self.slot = str(name), slot


def text(clip: int, words: str) -> Graph:
    return node("CLIPTextEncode", clip=Link(clip), text=words)


def network(file: str) -> Graph:
    return node("UNETLoader", unet_name=file, weight_dtype="default")


def encoders(first: str, second: str, **more: Any) -> Graph:
    """Return the node that loads FLUX.1's text encoders."""
    return node("DualCLIPLoader", clip_name1=first, clip_name2=second, type="flux", **more)


def sampler(
    model: int,
    positive: int,
    negative: int,
    latents: int,
    *,
    seed: int,
    steps: int,
    cfg: float = 1,
    name: str = "euler",
    scheduler: str = "simple",
) -> Graph:
    links = {"model": model, "positive": positive, "negative": negative, "latent_image": latents}
    return node(
        "KSampler",
        **{name: Link(number) for name, number in links.items()},
        seed=seed,
        steps=steps,
        cfg=cfg,
        sampler_name=name,
        scheduler=scheduler,
        denoise=1,
    )


def custom(*links: int) -> Graph:
    """Return the node that draws by noise, guider, sampler, sigmas and latents of others."""
    names = ("noise", "guider", "sampler", "sigmas", "latent_image")
    return node("SamplerCustomAdvanced", **dict(zip(names, map(Link, links), strict=True)))


def saved(samples: int, vae: int) -> Graph:
    """Return the nodes that decode and save what another one drew."""
    return {
        "8": node("VAEDecode", samples=Link(samples), vae=Link(vae)),
        "9": node("SaveImage", images=Link(8), filename_prefix="ComfyUI"),
    }


def z_image_turbo() -> Graph:
    return {
        "28": network("z_image_turbo_bf16.safetensors"),
        "30": node(
            "CLIPLoader", clip_name="qwen_3_4b.safetensors", type="lumina2", device="default"
        ),
        "29": node("VAELoader", vae_name="ae.safetensors"),
        "11": node("ModelSamplingAuraFlow", model=Link(28), shift=3),
        "27": text(30, "a lighthouse at dusk"),
        "33": node("ConditioningZeroOut", conditioning=Link(27)),
        "13": node("EmptySD3LatentImage", width=1024, height=768, batch_size=1),
        "3": sampler(11, 27, 33, 13, seed=42, steps=8, name="res_multistep"),
        **saved(3, 29),
    }


def flux_dev() -> Graph:
    return {
        "38": network("flux1-dev.safetensors"),
        "40": encoders("clip_l.safetensors", "t5xxl_fp16.safetensors", device="default"),
        "39": node("VAELoader", vae_name="ae.safetensors"),
        "27": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        "45": text(40, "a fox in the snow"),
        "35": node("FluxGuidance", conditioning=Link(45), guidance=3.5),
        "42": node("ConditioningZeroOut", conditioning=Link(45)),
        "31": sampler(38, 35, 42, 27, seed=5, steps=20),
        **saved(31, 39),
    }


def flux_custom() -> Graph:
    """Return FLUX.1-dev drawn by SamplerCustomAdvanced, its noise shifted by the picture's size."""
    return {
        "12": network("flux1-dev.safetensors"),
        "11": encoders("t5xxl_fp16.safetensors", "clip_l.safetensors"),
        "10": node("VAELoader", vae_name="ae.safetensors"),
        "34": node("PrimitiveInt", value=768),
        "35": node("PrimitiveInt", value=1344),
        "27": node("EmptySD3LatentImage", width=Link(34), height=Link(35), batch_size=1),
        "30": node(
            "ModelSamplingFlux",
            model=Link(12),
            max_shift=1.15,
            base_shift=0.5,
            width=Link(34),
            height=Link(35),
        ),
        "6": text(11, "a lizard on a tile roof"),
        "26": node("FluxGuidance", conditioning=Link(6), guidance=2.5),
        "22": node("BasicGuider", model=Link(30), conditioning=Link(26)),
        "25": node("RandomNoise", noise_seed=219670278747233),
        "16": node("KSamplerSelect", sampler_name="euler"),
        "17": node("BasicScheduler", model=Link(30), scheduler="beta", steps=24, denoise=1),
        "13": custom(25, 22, 16, 17, 27),
        **saved(13, 10),
    }


def kontext() -> Graph:
    return {
        "37": network("flux1-kontext.safetensors"),
        "38": encoders(
            "clip_l.safetensors", "t5xxl_fp8_e4m3fn_scaled.safetensors", device="default"
        ),
        "39": node("VAELoader", vae_name="ae.safetensors"),
        "142": node("LoadImageOutput", image="cat.png"),
        "146": node(
            "ImageStitch",
            image1=Link(142),
            direction="right",
            match_image_size=True,
            spacing_width=0,
            spacing_color="white",
        ),
        "42": node("FluxKontextImageScale", image=Link(146)),
        "173": node("PreviewImage", images=Link(42)),
        "124": node("VAEEncode", pixels=Link(42), vae=Link(39)),
        "6": text(38, "make it bronze"),
        "177": node("ReferenceLatent", conditioning=Link(6), latent=Link(124)),
        "35": node("FluxGuidance", conditioning=Link(177), guidance=2.5),
        "135": node("ConditioningZeroOut", conditioning=Link(6)),
        "31": sampler(37, 35, 135, 124, seed=8, steps=20),
        **saved(31, 39),
    }


def flux2_klein() -> Graph:
    """Return an edit of two pictures by FLUX.2 klein, at the first one's size."""
    graph = {
        "70": network("flux-2-klein-4b.safetensors"),
        "71": node("CLIPLoader", clip_name="qwen_3_4b.safetensors", type="flux2"),
        "72": node("VAELoader", vae_name="flux2-vae.safetensors"),
        "74": text(71, "the first one in the second one's colours"),
        "82": node("ConditioningZeroOut", conditioning=Link(74)),
        "81": node("GetImageSize", image=Link("scale0")),
        "66": node("EmptyFlux2LatentImage", width=Link(81), height=Link(81, 1), batch_size=1),
        "62": node("Flux2Scheduler", steps=4, width=Link(81), height=Link(81, 1)),
        "61": node("KSamplerSelect", sampler_name="euler"),
        "73": node("RandomNoise", noise_seed=432262096973502),
    }
    words = [Link(74), Link(82)]
    for number, file in enumerate(("cat.png", "pose.png")):
        graph |= {
            f"load{number}": node("LoadImage", image=file),
            f"scale{number}": node(
                "ImageScaleToTotalPixels",
                image=Link(f"load{number}"),
                upscale_method="nearest-exact",
                megapixels=1,
                resolution_steps=16,
            ),
            f"latent{number}": node("VAEEncode", pixels=Link(f"scale{number}"), vae=Link(72)),
        }
        for at, side in enumerate(("positive", "negative")):
            name = f"{side}{number}"
            graph[name] = node(
                "ReferenceLatent", conditioning=words[at], latent=Link(f"latent{number}")
            )
            words[at] = Link(name)
    graph["63"] = node("CFGGuider", model=Link(70), positive=words[0], negative=words[1], cfg=1)
    graph["64"] = custom(73, 63, 61, 62, 66)
    return {**graph, **saved(64, 72)}


def qwen_image() -> Graph:
    return {
        "37": network("qwen_image_fp8_e4m3fn.safetensors"),
        "38": node(
            "CLIPLoader",
            clip_name="qwen_2.5_vl_7b_fp8_scaled.safetensors",
            type="qwen_image",
            device="default",
        ),
        "39": node("VAELoader", vae_name="qwen_image_vae.safetensors"),
        "58": node("EmptySD3LatentImage", width=1328, height=1328, batch_size=1),
        "6": text(38, "a neon sign that says open"),
        "7": text(38, "blurry"),
        "73": node(
            "LoraLoaderModelOnly",
            model=Link(37),
            lora_name="Qwen-Image-Lightning-4steps-V1.0.safetensors",
            strength_model=1,
        ),
        "66": node("ModelSamplingAuraFlow", model=Link(73), shift=3.1),
        "3": sampler(66, 6, 7, 58, seed=1, steps=20, cfg=2.5),
        **saved(3, 39),
    }


def qwen_edit() -> Graph:
    graph = qwen_image()
    graph |= {
        "78": node("LoadImage", image="cat.png"),
        "93": node(
            "ImageScaleToTotalPixels", image=Link(78), upscale_method="lanczos", megapixels=1.0
        ),
        "106": node("LoadImage", image="pose.png"),
        "75": node("CFGNorm", model=Link(66), strength=1),
        "88": node("VAEEncode", pixels=Link(93), vae=Link(39)),
    }
    for name, words in (("6", "give him a hat"), ("7", "")):
        graph[name] = node(
            "TextEncodeQwenImageEditPlus",
            clip=Link(38),
            prompt=words,
            vae=Link(39),
            image1=Link(93),
            image2=Link(106),
        )
    graph["3"]["inputs"] |= {"model": ["75", 0], "latent_image": ["88", 0]}
    del graph["58"]
    return graph


def sd35() -> Graph:
    """Return SD3.5, whose file has no text encoders, with the negative prompt of its examples."""
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd3.5_large.safetensors"),
        "11": node(
            "TripleCLIPLoader",
            clip_name1="clip_g.safetensors",
            clip_name2="clip_l.safetensors",
            clip_name3="t5xxl_fp8_e4m3fn.safetensors",
        ),
        "13": node("ModelSamplingSD3", model=Link(4), shift=3),
        "16": text(11, "a glass teapot"),
        "71": text(11, "ugly"),
        "67": node("ConditioningZeroOut", conditioning=Link(71)),
        "68": node("ConditioningSetTimestepRange", conditioning=Link(67), start=0.1, end=1),
        "70": node("ConditioningSetTimestepRange", conditioning=Link(71), start=0, end=0.1),
        "69": node("ConditioningCombine", conditioning_1=Link(68), conditioning_2=Link(70)),
        "33": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=2),
        "3": sampler(
            13, 16, 69, 33, seed=3, steps=28, cfg=4.5, name="dpmpp_2m", scheduler="sgm_uniform"
        ),
        **saved(3, 4) | {"8": node("VAEDecode", samples=Link(3), vae=Link(4, 2))},
    }


def chroma() -> Graph:
    return {
        "731": node("UnetLoaderGGUF", unet_name="chroma1-hd-Q8_0.gguf"),
        "733": node("CLIPLoader", clip_name="t5xxl_fp16.safetensors", type="chroma"),
        "741": node("T5TokenizerOptions", clip=Link(733), min_padding=0, min_length=0),
        "710": node("VAELoader", vae_name="ae.safetensors"),
        "701": node("ModelSamplingAuraFlow", model=Link(731), shift=1),
        "748": text(741, "the eye of a tiger"),
        "749": text(741, "low quality"),
        "694": node("CFGGuider", model=Link(701), positive=Link(748), negative=Link(749), cfg=3.5),
        "718": node("RandomNoise", noise_seed=798004928304404),
        "700": node("KSamplerSelect", sampler_name="euler"),
        "734": node("BasicScheduler", model=Link(701), scheduler="beta", steps=26, denoise=1),
        "737": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        "747": custom(718, 694, 700, 734, 737),
        **saved(747, 710),
    }


def placed(number: int, kind: str, *values: Any, mode: int = 0, **links: Any) -> Graph:
    """Return a node as the canvas saves it: values by position, links as name=(type, link)."""
    inputs = [{"name": name, "type": each[0], "link": each[1]} for name, each in links.items()]
    outputs = [{"name": each, "type": each} for each in NODE_KINDS[kind].outputs]
    more = {"mode": mode, "inputs": inputs, "outputs": outputs}
    return {"id": number, "type": kind, "widgets_values": list(values), **more}


def linked(*links: tuple[int, int, int, int, int, str]) -> list[Graph]:
    """Return links as subgraphs have them: number, from, output, to, input, type."""
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return [dict(zip(names, link, strict=True)) for link in links]


def z_image_on_canvas() -> Graph:
    """Return a workflow whose nodes lie in a subgraph, those that zero the prompt in one within.

    The subgraph's node shows the prompt and the width; a LoRA is bypassed.
    """
    shown = [["-1", "text"], ["-1", "width"], ["3", "seed"], ["3", "control_after_generate"]]
    box = {
        "id": 57,
        "type": "f2fdebf6-dfaf-43b6-9eb2-7f70613cfdc1",
        "inputs": [{"name": "text", "type": "STRING", "widget": {"name": "text"}, "link": None}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [62]}],
        "properties": {"proxyWidgets": shown},
        "widgets_values": ["a {lighthouse} at dusk // or dawn", 768, None, None],
    }
    zeros = {
        "id": 33,
        "type": "6007e698-2ebd-4917-84d8-299b35d7b7ab",
        "inputs": [{"name": "conditioning", "type": "CONDITIONING", "link": 32}],
        "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING", "links": [33]}],
    }
    model, clip, vae = ("MODEL", 13), ("CLIP", 28), ("VAE", 27)
    words: Graph = {"positive": ("CONDITIONING", 30), "negative": ("CONDITIONING", 33)}
    outer = {
        "id": box["type"],
        "name": "Text to Image (Z-Image-Turbo)",
        "inputs": [{"name": "text", "type": "STRING"}, {"name": "width", "type": "INT"}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE"}],
        "nodes": [
            placed(30, "CLIPLoader", "qwen_3_4b.safetensors", "lumina2", "default"),
            placed(29, "VAELoader", "ae.safetensors"),
            placed(28, "UNETLoader", "z_image_turbo_bf16.safetensors", "default"),
            placed(5, "LoraLoaderModelOnly", "x.safetensors", 1, mode=4, model=("MODEL", 26)),
            placed(11, "ModelSamplingAuraFlow", 3, model=("MODEL", 25)),
            placed(27, "CLIPTextEncode", "old words", clip=clip, text=("STRING", 34)),
            zeros,
            placed(13, "EmptySD3LatentImage", 1024, 1024, 1, width=("INT", 35)),
            placed(
                3, "KSampler", 42, "randomize", 8, 1, "res_multistep", "simple", 1,
                model=model, **words, latent_image=("LATENT", 17),
            ),
            placed(8, "VAEDecode", samples=("LATENT", 14), vae=vae),
        ],
        "links": linked(
            (26, 28, 0, 5, 0, "MODEL"), (25, 5, 0, 11, 0, "MODEL"), (13, 11, 0, 3, 0, "MODEL"),
            (28, 30, 0, 27, 0, "CLIP"), (34, -10, 0, 27, 1, "STRING"), (35, -10, 1, 13, 0, "INT"),
            (30, 27, 0, 3, 1, "CONDITIONING"), (32, 27, 0, 33, 0, "CONDITIONING"),
            (33, 33, 0, 3, 2, "CONDITIONING"), (17, 13, 0, 3, 3, "LATENT"),
            (14, 3, 0, 8, 0, "LATENT"), (27, 29, 0, 8, 1, "VAE"), (16, 8, 0, -20, 0, "IMAGE"),
        ),
    }  # fmt: skip
    inner = {
        "id": zeros["type"],
        "name": "Nothing",
        "inputs": [{"name": "conditioning", "type": "CONDITIONING"}],
        "outputs": [{"name": "CONDITIONING", "type": "CONDITIONING"}],
        "nodes": [placed(3, "ConditioningZeroOut", conditioning=("CONDITIONING", 13))],
        "links": linked((13, -10, 0, 3, 0, "CONDITIONING"), (14, 3, 0, -20, 0, "CONDITIONING")),
    }
    return {
        "nodes": [
            placed(9, "SaveImage", "z-image-turbo", images=("IMAGE", 62)),
            placed(10, "SaveImage", "off", mode=4, images=("IMAGE", 63)),
            {"id": 35, "type": "MarkdownNote", "widgets_values": ["## Models"]},
            box,
        ],
        "links": [[62, 57, 0, 9, 0, "IMAGE"]],
        "definitions": {"subgraphs": [outer, inner]},
        "version": 0.4,
    }


ALL = (
    z_image_turbo, flux_dev, flux_custom, kontext, flux2_klein, qwen_image, qwen_edit, sd35, chroma,
    z_image_on_canvas,
)  # fmt: skip
