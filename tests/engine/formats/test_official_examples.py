"""ComfyUI's official examples, rebuilt in their shapes: what of each is drawn, and what is said."""

import re
from typing import Any, Final

import pytest

from engine.errors import OptionError
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import from_graph
from engine.formats.reading import Reading
from tests.conftest import ROOT
from tests.engine.formats.official_examples import EXAMPLES
from tests.engine.formats.test_known_nodes import PICTURES
from tests.engine.recipes import IMAGE, MAP, MASK

DOCS: Final = ROOT / "docs" / "comfyui-and-a1111.md"
LOADED: Final = PICTURES | {
    name: LoadedPicture(image=MAP, width=512, height=768) for name in ("pose.png", "hat.png")
}
DEFAULT: Final = {
    "seed": "156680208700286", "steps": 20, "guidance_scale": 8, "width": 512, "height": 512,
    "sampler": "euler", "schedule": "normal", "checkpoint": "v1-5-pruned-emaonly.ckpt",
    "prompt": "beautiful scenery nature glass bottle landscape",
    "negative_prompt": "text, watermark",
}  # fmt: skip
START: Final = {"image": IMAGE, "width": 512, "height": 384}


def of(
    checkpoint: str,
    steps: int,
    guidance: float,
    size: tuple[int, int],
    sampler: str,
    schedule: str,
    **more: Any,
) -> dict[str, Any]:
    """Return the main values of a recipe."""
    sides = dict(zip(("width", "height"), size, strict=True))
    how = {"steps": steps, "guidance_scale": guidance, "sampler": sampler, "schedule": schedule}
    return {"checkpoint": checkpoint, **how, **sides, **more}


# The main values of each example that is drawn.
VALUES: Final[dict[str, dict[str, Any]]] = {
    "default, canvas": DEFAULT,
    "default, canvas of 2023": DEFAULT,
    "default, API": DEFAULT,
    "image to image": START | {"strength": 0.87},
    "inpainting, VAEEncodeForInpaint": START | {"mask": MASK, "strength": 1},
    "inpainting, SetLatentNoiseMask": START | {"mask": MASK, "strength": 0.7},
    "outpainting": {
        "image": IMAGE,
        "width": 640,
        "height": 384,
        "strength": 1,
        "margins": {"left": 0, "top": 0, "right": 128, "bottom": 0},
    },
    "two passes, latents": {
        "upscale": {"factor": 2, "by": "latent", "strength": 0.5, "tile": None}
    },
    "two passes, upscale model": {
        "upscale": {"factor": 2, "by": "4x", "strength": 0.5, "tile": None}
    },
    "upscale model": {"upscale": {"factor": 4, "by": "4x", "strength": None, "tile": None}},
    "LoRA": {"loras": [{"name": "ink", "weight": 0.8, "text_weight": None}]},
    "several LoRAs": {
        "loras": [
            {"name": "ink", "weight": 0.8, "text_weight": None},
            {"name": "pen", "weight": 0.8, "text_weight": None},
        ]
    },
    "embeddings": {"prompt": "a cat, (embedding:ink:1.2)"},
    "ControlNet": {"controls": ["scribble"]},
    "several ControlNets": {"controls": ["pose", "scribble"]},
    "SDXL": {"width": 1024, "height": 1024, "checkpoint": "sd_xl_base.safetensors"},
    "SDXL with its refiner": {
        "checkpoint": "v1-5-pruned-emaonly.ckpt",
        "refiner": "sd_xl_refiner.safetensors",
        "refiner_at": None,  # after 0.8 of the steps, as usual
        "steps": 25,
    },
    "SDXL Turbo": {
        "steps": 1,
        "guidance_scale": 1,
        "sampler": "euler_ancestral",
        "noise": "gpu",
        "seed": "5",
    },
    "LCM": {
        "loras": [{"name": "lcm", "weight": 1, "text_weight": 0}],
        "steps": 4,
        "sampler": "lcm",
    },
    "SD3.5": of("sd3.5_large.safetensors", 28, 4.5, (1024, 1024), "dpmpp_2m", "sgm_uniform"),
    "AuraFlow": of("aura_flow.safetensors", 20, 3.5, (512, 512), "euler", "normal", shift=1.73),
    "FLUX.1-dev": of("flux1-dev.safetensors", 20, 3.5, (1024, 1024), "euler", "simple"),
    "FLUX.1-dev, nodes apart": of("flux1-dev.safetensors", 24, 2.5, (768, 1344), "euler", "beta"),
    "FLUX.1 Fill": of(
        "flux1-fill-dev.safetensors", 20, 30, (512, 384), "euler", "normal", mask=MASK
    ),
    "FLUX.1 Kontext": of(
        "flux1-kontext.safetensors", 20, 2.5, (1184, 880), "euler", "simple", references=[IMAGE]
    ),
    "FLUX.2 klein": of(
        "flux-2-klein-4b.safetensors", 4, 1, (1184, 880), "euler", "simple", references=[IMAGE, MAP]
    ),
    "Chroma": of("chroma1-hd-Q8_0.gguf", 26, 3.5, (1024, 1024), "euler", "beta", shift=1.0),
    "Z-Image": of("z_image_turbo_bf16.safetensors", 8, 1, (1024, 768), "res_multistep", "simple"),
    "Z-Image, canvas with a subgraph": of(
        "z_image_turbo_bf16.safetensors", 8, 1, (768, 1024), "res_multistep", "simple"
    ),
    "Qwen-Image": of(
        "qwen_image_fp8_e4m3fn.safetensors", 20, 2.5, (1328, 1328), "euler", "simple", shift=3.1
    ),
    "Qwen-Image-Edit": of(
        "qwen_image_fp8_e4m3fn.safetensors",
        20,
        2.5,
        (1176, 880),
        "euler",
        "simple",
        shift=3.1,
        references=[IMAGE, MAP],
    ),
}


def read(name: str) -> Reading:
    return from_graph(EXAMPLES[name](), LOADED)


def told(reading: Reading) -> str:
    """Return what becomes of a graph, as the page's table says it."""
    if reading.refused is not None:
        return f"shown. {reading.refused}"
    notes = "; ".join(reading.ignored)
    return f"drawn; {notes}" if notes else "drawn"


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_says_what_becomes_of_each_example(name: str) -> None:
    page = DOCS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+?) \| ((?:drawn|shown)[^|]*?) \|$", page, re.M))
    assert rows[name] == told(read(name))


def test_the_page_names_no_other_example() -> None:
    page = DOCS.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| (?:drawn|shown)[^|]*? \|$", page, re.M)
    assert rows == list(EXAMPLES)


@pytest.mark.parametrize("name", VALUES)
def test_an_example_is_drawn_by_its_own_values(name: str) -> None:
    said = read(name).recipe.to_dict()
    if "controls" in VALUES[name]:
        said["controls"] = [each["model"] for each in said["controls"]]
    assert {field: said.get(field) for field in VALUES[name]} == VALUES[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_of_every_example_the_seed_and_the_words_are_shown(name: str) -> None:
    reading = read(name)
    assert isinstance(reading.values["seed"], int)
    assert reading.values["steps"]
    assert reading.values["checkpoint"]
    if reading.refused is None:
        assert reading.missing == ()
    assert not any(isinstance(error, OptionError) for error in reading.unfit.values())
