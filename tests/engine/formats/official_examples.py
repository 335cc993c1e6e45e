"""Graphs in the shapes of ComfyUI's official examples and templates; all values are made up.

By https://comfyanonymous.github.io/ComfyUI_examples/ and the templates of the canvas.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.engine.formats import flow_graphs
from tests.engine.formats.test_comfy import default_graph
from tests.engine.formats.test_graphs import DEFAULT_WORKFLOW
from tests.engine.formats.test_known_nodes import default

Graph = dict[str, Any]
DRAWN: Final = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]}
HOW: Final = {
    "seed": 5, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal", "denoise": 1,
}  # fmt: skip
LOADED: Final = ("LoadImage", {"image": "cat.png"})


def sampler(latents: list[Any], **changes: Any) -> tuple[str, Graph]:
    return "KSampler", {**DRAWN, **HOW, "latent_image": latents, **changes}


def saved(result: list[Any]) -> dict[str, Graph]:
    """Return the change by which another node's picture is saved."""
    return {"9": {"images": result}}


def decoded(latents: str) -> dict[str, Graph]:
    """Return the change by which another sampler's latents are decoded."""
    return {"8": {"samples": [latents, 0]}}


def canvas_of_old() -> Graph:
    """Return the default canvas as it was before seeds had four ways to go on."""
    workflow: Graph = json.loads(json.dumps(DEFAULT_WORKFLOW))
    for node in workflow["nodes"]:
        if node["type"] == "KSampler":
            node["widgets_values"][1] = True
    return workflow


def from_picture() -> Graph:
    encoded = ("VAEEncode", {"pixels": ["20", 0], "vae": ["4", 2]})
    start = {"latent_image": ["21", 0], "denoise": 0.87}
    return default({"3": start}, n20=LOADED, n21=encoded)


def inpainted() -> Graph:
    encoded = {"pixels": ["20", 0], "mask": ["20", 1], "vae": ["4", 2], "grow_mask_by": 6}
    start = {"latent_image": ["21", 0]}
    return default({"3": start}, n20=LOADED, n21=("VAEEncodeForInpaint", encoded))


def inpainted_by_noise_mask() -> Graph:
    encoded = ("VAEEncode", {"pixels": ["20", 0], "vae": ["4", 2]})
    masked = ("SetLatentNoiseMask", {"samples": ["21", 0], "mask": ["20", 1]})
    start = {"latent_image": ["22", 0], "denoise": 0.7}
    return default({"3": start}, n20=LOADED, n21=encoded, n22=masked)


def outpainted() -> Graph:
    sides = {"left": 0, "top": 0, "right": 128, "bottom": 0, "feathering": 40}
    encoded = {"pixels": ["21", 0], "mask": ["21", 1], "vae": ["4", 2], "grow_mask_by": 8}
    start = {"latent_image": ["22", 0]}
    return default(
        {"3": start},
        n20=LOADED,
        n21=("ImagePadForOutpaint", {"image": ["20", 0], **sides}),
        n22=("VAEEncodeForInpaint", encoded),
    )


def two_passes() -> Graph:
    size = {"upscale_method": "nearest-exact", "width": 1024, "height": 1024, "crop": "disabled"}
    return default(
        decoded("21"),
        n20=("LatentUpscale", {"samples": ["3", 0], **size}),
        n21=sampler(["20", 0], steps=14, denoise=0.5),
    )


def two_passes_by_model() -> Graph:
    size = {"upscale_method": "bilinear", "width": 1024, "height": 1024, "crop": "disabled"}
    return default(
        saved(["26", 0]),
        n20=("UpscaleModelLoader", {"model_name": "4x.pth"}),
        n21=("ImageUpscaleWithModel", {"upscale_model": ["20", 0], "image": ["8", 0]}),
        n22=("ImageScale", {"image": ["21", 0], **size}),
        n23=("VAEEncode", {"pixels": ["22", 0], "vae": ["4", 2]}),
        n24=sampler(["23", 0], steps=10, denoise=0.5),
        n26=("VAEDecode", {"samples": ["24", 0], "vae": ["4", 2]}),
    )


def larger() -> Graph:
    return default(
        saved(["21", 0]),
        n20=("UpscaleModelLoader", {"model_name": "4x.pth"}),
        n21=("ImageUpscaleWithModel", {"upscale_model": ["20", 0], "image": ["8", 0]}),
    )


def lora(model: str, name: str = "ink.safetensors") -> tuple[str, Graph]:
    weights = {"lora_name": name, "strength_model": 0.8, "strength_clip": 0.8}
    return "LoraLoader", {"model": [model, 0], "clip": [model, 1], **weights}


def with_lora() -> Graph:
    clip = {"clip": ["20", 1]}
    return default({"3": {"model": ["20", 0]}, "6": clip, "7": clip}, n20=lora("4"))


def with_loras() -> Graph:
    clip = {"clip": ["21", 1]}
    changes = {"3": {"model": ["21", 0]}, "6": clip, "7": clip}
    return default(changes, n20=lora("4"), n21=lora("20", "pen.safetensors"))


def embedded() -> Graph:
    return default({"6": {"text": "a cat, (embedding:ink:1.2)"}})


def control(words: list[Any], loader: str, image: str) -> tuple[str, Graph]:
    links = {"conditioning": words, "control_net": [loader, 0], "image": [image, 0]}
    return "ControlNetApply", {**links, "strength": 0.9}


def controlled() -> Graph:
    return default(
        {"3": {"positive": ["22", 0]}},
        n20=LOADED,
        n21=("ControlNetLoader", {"control_net_name": "scribble.pth"}),
        n22=control(["6", 0], "21", "20"),
    )


def controlled_twice() -> Graph:
    return default(
        {"3": {"positive": ["24", 0]}},
        n20=LOADED,
        n21=("ControlNetLoader", {"control_net_name": "pose.pth"}),
        n22=control(["6", 0], "21", "20"),
        n23=("ControlNetLoader", {"control_net_name": "scribble.pth"}),
        n24=control(["22", 0], "23", "20"),
    )


def areas() -> Graph:
    area = {"width": 512, "height": 256, "x": 0, "y": 256, "strength": 1}
    both = {"conditioning_1": ["6", 0], "conditioning_2": ["21", 0]}
    return default(
        {"3": {"positive": ["22", 0]}},
        n20=("CLIPTextEncode", {"clip": ["4", 1], "text": "night"}),
        n21=("ConditioningSetArea", {"conditioning": ["20", 0], **area}),
        n22=("ConditioningCombine", both),
    )


def advanced(model: str, words: tuple[str, str], latents: str, **changes: Any) -> tuple[str, Graph]:
    links = {"model": [model, 0], "positive": [words[0], 0], "negative": [words[1], 0]}
    how = {"noise_seed": 5, "steps": 25, "cfg": 8, "sampler_name": "euler", "scheduler": "normal"}
    return "KSamplerAdvanced", {**links, **how, "latent_image": [latents, 0], **changes}


def sdxl() -> Graph:
    return default(
        {"5": {"width": 1024, "height": 1024}, "4": {"ckpt_name": "sd_xl_base.safetensors"}}
    )


def refined() -> Graph:
    first = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 20}
    second = {"add_noise": "disable", "start_at_step": 20, "end_at_step": 10_000}
    words = {name: default_graph()[name]["inputs"]["text"] for name in ("6", "7")}
    return default(
        {"8": {"samples": ["24", 0], "vae": ["20", 2]}},
        n20=("CheckpointLoaderSimple", {"ckpt_name": "sd_xl_refiner.safetensors"}),
        n21=("CLIPTextEncode", {"clip": ["20", 1], "text": words["6"]}),
        n22=("CLIPTextEncode", {"clip": ["20", 1], "text": words["7"]}),
        n23=advanced("4", ("6", "7"), "5", **first, return_with_leftover_noise="enable"),
        n24=advanced("20", ("21", "22"), "23", **second, return_with_leftover_noise="disable"),
    )


def sdxl_turbo() -> Graph:
    words = {"positive": ["6", 0], "negative": ["7", 0]}
    how = {"add_noise": True, "noise_seed": 5, "cfg": 1, "sampler": ["20", 0], "sigmas": ["21", 0]}
    return default(
        decoded("22"),
        n20=("KSamplerSelect", {"sampler_name": "euler_ancestral"}),
        n21=("SDTurboScheduler", {"model": ["4", 0], "steps": 1, "denoise": 1}),
        n22=("SamplerCustom", {"model": ["4", 0], **words, **how, "latent_image": ["5", 0]}),
    )


def lcm() -> Graph:
    weight = {"lora_name": "lcm.safetensors", "strength_model": 1}
    levels = {"model": ["20", 0], "sampling": "lcm", "zsnr": False}
    how = {"model": ["21", 0], "steps": 4, "cfg": 1.5, "sampler_name": "lcm"}
    return default(
        {"3": {**how, "scheduler": "sgm_uniform"}},
        n20=("LoraLoaderModelOnly", {"model": ["4", 0], **weight}),
        n21=("ModelSamplingDiscrete", levels),
    )


def unclip() -> Graph:
    seen = {"conditioning": ["6", 0], "clip_vision_output": ["21", 0]}
    return default(
        {"3": {"positive": ["22", 0]}, "4": {"ckpt_name": "unclip.ckpt"}},
        n20=LOADED,
        n21=("CLIPVisionEncode", {"clip_vision": ["4", 3], "image": ["20", 0], "crop": "center"}),
        n22=("unCLIPConditioning", {**seen, "strength": 1, "noise_augmentation": 0}),
    )


def gligen() -> Graph:
    box = {"text": "a cat", "width": 144, "height": 200, "x": 8, "y": 8}
    links = {"conditioning_to": ["6", 0], "clip": ["4", 1], "gligen_textbox_model": ["20", 0]}
    return default(
        {"3": {"positive": ["21", 0]}},
        n20=("GLIGENLoader", {"gligen_name": "gligen.safetensors"}),
        n21=("GLIGENTextBoxApply", {**links, **box}),
    )


def composed() -> Graph:
    parts = {"samples_to": ["3", 0], "samples_from": ["20", 0]}
    return default(
        decoded("22"),
        n20=sampler(["5", 0], seed=6),
        n21=("LatentComposite", {**parts, "x": 0, "y": 0, "feather": 8}),
        n22=sampler(["21", 0], denoise=0.5),
    )


def on_the_model(kind: str, **inputs: Any) -> Callable[[], Graph]:
    """Return the default graph whose model goes through one more node."""
    return lambda: default({"3": {"model": ["20", 0]}}, n20=(kind, {"model": ["4", 0], **inputs}))


def merged() -> Graph:
    return default(
        {"3": {"model": ["21", 0]}},
        n20=("CheckpointLoaderSimple", {"ckpt_name": "other.safetensors"}),
        n21=("ModelMergeSimple", {"model1": ["4", 0], "model2": ["20", 0], "ratio": 0.5}),
    )


def cascade() -> Graph:
    size = {"width": 1024, "height": 1024, "compression": 42, "batch_size": 1}
    prior = {"conditioning": ["6", 0], "stage_c": ["3", 0]}
    second = {"model": ["21", 0], "positive": ["22", 0], "steps": 10, "cfg": 1.1}
    return default(
        {"3": {"latent_image": ["20", 0]}, "8": {"samples": ["23", 0], "vae": ["21", 2]}},
        n20=("StableCascade_EmptyLatentImage", size),
        n21=("CheckpointLoaderSimple", {"ckpt_name": "stable_cascade_b.safetensors"}),
        n22=("StableCascade_StageB_Conditioning", prior),
        n23=sampler(["20", 1], **second),
    )


def auraflow() -> Graph:
    levels = {"model": ["4", 0], "shift": 1.73}
    changes = {"3": {"model": ["20", 0], "cfg": 3.5}, "4": {"ckpt_name": "aura_flow.safetensors"}}
    return default(changes, n20=("ModelSamplingAuraFlow", levels))


def flux_fill() -> Graph:
    node, link = flow_graphs.node, flow_graphs.Link
    links = {"pixels": link(17), "mask": link(17, 1), "vae": link(32), "noise_mask": False}
    words = {"positive": link(26), "negative": link(46)}
    return {
        "17": node("LoadImage", image="cat.png"),
        "31": flow_graphs.network("flux1-fill-dev.safetensors"),
        "34": flow_graphs.encoders("clip_l.safetensors", "t5xxl_fp16.safetensors"),
        "32": node("VAELoader", vae_name="ae.safetensors"),
        "23": flow_graphs.text(34, "a cat"),
        "26": node("FluxGuidance", conditioning=link(23), guidance=30),
        "46": node("ConditioningZeroOut", conditioning=link(23)),
        "38": node("InpaintModelConditioning", **words, **links),
        "39": node("DifferentialDiffusion", model=link(31)),
        "3": node(
            "KSampler", model=link(39), positive=link(38), negative=link(38, 1),
            latent_image=link(38, 2), seed=5, steps=20, cfg=1, sampler_name="euler",
            scheduler="normal", denoise=1,
        ),
        **flow_graphs.saved(3, 32),
    }  # fmt: skip


def redux() -> Graph:
    graph = flow_graphs.flux_dev()
    (words,) = (name for name, node in graph.items() if node["class_type"] == "FluxGuidance")
    seen = {"conditioning": [words, 0], "style_model": ["81", 0], "clip_vision_output": ["83", 0]}
    graph |= {
        "81": {"class_type": "StyleModelLoader", "inputs": {"style_model_name": "redux"}},
        "82": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
        "83": {"class_type": "CLIPVisionEncode", "inputs": {"image": ["82", 0]}},
        "84": {"class_type": "StyleModelApply", "inputs": seen},
    }
    for node in graph.values():
        if node["class_type"] == "KSampler":
            node["inputs"]["positive"] = ["84", 0]
    return graph


def hidream() -> Graph:
    files = {f"clip_name{number}": f"{number}.safetensors" for number in range(1, 5)}
    clip = {"clip": ["20", 0]}
    return default({"6": clip, "7": clip}, n20=("QuadrupleCLIPLoader", files))


def instructed() -> Graph:
    links = {"positive": ["6", 0], "negative": ["7", 0], "vae": ["4", 2], "pixels": ["20", 0]}
    made = {"positive": ["21", 0], "negative": ["21", 1], "latent_image": ["21", 2]}
    return default({"3": made}, n20=LOADED, n21=("InstructPixToPixConditioning", links))


def video() -> Graph:
    """Return a picture that moves, as Stable Video Diffusion draws it."""
    size = {"width": 1024, "height": 576, "video_frames": 14, "motion_bucket_id": 127, "fps": 6}
    links = {"clip_vision": ["4", 1], "init_image": ["20", 0], "vae": ["4", 2]}
    made = {"positive": ["21", 0], "negative": ["21", 1], "latent_image": ["21", 2]}
    graph = default(
        {"3": {**made, "model": ["22", 0], "cfg": 2.5}},
        n20=LOADED,
        n21=("SVD_img2vid_Conditioning", {**links, **size, "augmentation_level": 0}),
        n22=("VideoLinearCFGGuidance", {"model": ["4", 0], "min_cfg": 1}),
    )
    graph["4"]["class_type"] = "ImageOnlyCheckpointLoader"
    graph["9"] = {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["8", 0], "fps": 10}}
    return graph


def video_of_words() -> Graph:
    """Return a video of words alone, as Hunyuan Video, Wan and LTXV draw it."""
    size = {"width": 832, "height": 480, "length": 33, "batch_size": 1}
    graph = default(
        {"3": {"latent_image": ["20", 0]}},
        n20=("EmptyHunyuanLatentVideo", size),
        n21=("CreateVideo", {"images": ["8", 0], "fps": 16}),
        n22=("SaveVideo", {"video": ["21", 0], "filename_prefix": "video"}),
    )
    del graph["9"]
    return graph


def audio() -> Graph:
    graph = default(
        {"3": {"latent_image": ["20", 0]}},
        n20=("EmptyLatentAudio", {"seconds": 47, "batch_size": 1}),
        n21=("VAEDecodeAudio", {"samples": ["3", 0], "vae": ["4", 2]}),
        n22=("SaveAudio", {"audio": ["21", 0], "filename_prefix": "audio"}),
    )
    del graph["8"], graph["9"]
    return graph


def turned() -> Graph:
    """Return another view of a thing, as Stable Zero123 draws it."""
    links = {"clip_vision": ["4", 1], "init_image": ["20", 0], "vae": ["4", 2]}
    how = {"width": 256, "height": 256, "batch_size": 1, "elevation": 10, "azimuth": 142}
    made = {"positive": ["21", 0], "negative": ["21", 1], "latent_image": ["21", 2]}
    graph = default({"3": made}, n20=LOADED, n21=("StableZero123_Conditioning", {**links, **how}))
    graph["4"]["class_type"] = "ImageOnlyCheckpointLoader"
    return graph


EXAMPLES: Final[Mapping[str, Callable[[], Graph]]] = {
    "default, canvas": lambda: DEFAULT_WORKFLOW,
    "default, canvas of 2023": canvas_of_old,
    "default, API": default_graph,
    "image to image": from_picture,
    "inpainting, VAEEncodeForInpaint": inpainted,
    "inpainting, SetLatentNoiseMask": inpainted_by_noise_mask,
    "outpainting": outpainted,
    "two passes, latents": two_passes,
    "two passes, upscale model": two_passes_by_model,
    "upscale model": larger,
    "LoRA": with_lora,
    "several LoRAs": with_loras,
    "embeddings": embedded,
    "ControlNet": controlled,
    "several ControlNets": controlled_twice,
    "areas": areas,
    "noisy latent composition": composed,
    "GLIGEN": gligen,
    "hypernetworks": on_the_model("HypernetworkLoader", hypernetwork_name="pen.pt", strength=1),
    "model merging": merged,
    "unCLIP": unclip,
    "SDXL": sdxl,
    "SDXL with its refiner": refined,
    "SDXL Turbo": sdxl_turbo,
    "LCM": lcm,
    "Stable Cascade": cascade,
    "SD3.5": flow_graphs.sd35,
    "AuraFlow": auraflow,
    "FLUX.1-dev": flow_graphs.flux_dev,
    "FLUX.1-dev, nodes apart": flow_graphs.flux_custom,
    "FLUX.1 Fill": flux_fill,
    "FLUX.1 Redux": redux,
    "FLUX.1 Kontext": flow_graphs.kontext,
    "FLUX.2 klein": flow_graphs.flux2_klein,
    "Chroma": flow_graphs.chroma,
    "HiDream": hidream,
    "Z-Image": flow_graphs.z_image_turbo,
    "Z-Image, canvas with a subgraph": flow_graphs.z_image_on_canvas,
    "Qwen-Image": flow_graphs.qwen_image,
    "Qwen-Image-Edit": flow_graphs.qwen_edit,
    "InstructPix2Pix": instructed,
    "Stable Video Diffusion": video,
    "video of words": video_of_words,
    "audio": audio,
    "3D (Stable Zero123)": turned,
}
