"""Files that cannot be used: each job that names one ends with one sentence, and no other does."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.device.out_of_memory import Ladder
from engine.errors import UserError
from engine.events import Ended
from engine.families.registry import load
from engine.loading.model import Model
from engine.models.catalogue import Catalogue, Checkpoint
from engine.pipeline.residency import Residency
from engine.recipe.parts import Lora
from engine.recipe.recipe import Recipe
from tests.engine.ticks import draw, pipeline_on, pngs, unmeasured
from tests.factories import make_recipe
from tests.flow_models import make_flux, make_flux_vae, make_lumina2, make_z_image
from tests.gguf_files import write_gguf

CPU = torch.device("cpu")
WEIGHTS = "diffusion_pytorch_model.safetensors"
# What a job names → what its sentence says, from its beginning to its end.
SAID: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "a split file without its text encoder": (
        {"checkpoint": "flux.safetensors"},
        "its text encoder is missing from text_encoders/: put CLIP, 64 wide into text_encoders/.",
    ),
    "a split file without its VAE": (
        {"checkpoint": "no_vae.safetensors"},
        "its VAE is missing from vae/: put FLUX.1's VAE (ae.safetensors) into vae/, or `marble "
        "models get Comfy-Org/z_image_turbo/split_files/vae/ae.safetensors` fetches it.",
    ),
    "an encoder of another size": (
        {"checkpoint": "wide.safetensors"},
        "its text encoder is missing from text_encoders/ (qwen is Qwen3, 32 wide, of another size)"
        ": put Qwen3, 48 wide into text_encoders/.",
    ),
    "a file of Lumina 2": (
        {"checkpoint": "lumina.safetensors"},
        "its text encoder is missing from text_encoders/: put Gemma 2, 64 wide into "
        "text_encoders/.",
    ),
    "a GGUF file that is cut short": (
        {"checkpoint": "cut.gguf"},
        "it is cut short: … of … bytes are there.",
    ),
    "a GGUF file of a quantisation that is not read": (
        {"checkpoint": "odd.gguf"},
        "its weights are quantised (IQ2_XXS), which Marble cannot run yet.",
    ),
    "a GGUF file of a quantisation that nobody knows": (
        {"checkpoint": "new.gguf"},
        "'x' is quantised in a way that Marble does not know (type 99).",
    ),
    "fp8 without its scales": (
        {"checkpoint": "scaled.safetensors"},
        "it is marked as scaled fp8, and lacks the scale of 'layers.0.attention.to_q' "
        "(layers.0.attention.to_q.scale_weight).",
    ),
    "a network that lacks a tensor": (
        {"checkpoint": "hole.safetensors"},
        "it lacks the tensor 'layers.1.attention.to_k.weight'.",
    ),
    "another model's tokenizer": (
        {"checkpoint": "words"},
        "tokenizer: it cannot be read, so it must be fetched anew or replaced by the one with "
        "which the text encoder was trained.",
    ),
    "a VAE of another family": (
        {"vae": "sd"},
        "it is Stable Diffusion's VAE, where FLUX.1's VAE is needed.",
    ),
    "a LoRA for another family": (
        {"loras": (Lora(name="ink"),)},
        "it is not made for Z-Image models: none of its layers, such as 'lora_unet_x', is one of "
        "theirs.",
    ),
}
CALLED = {"vae": "VAE 'sd'", "loras": "LoRA 'ink'"}


def network(made: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder's network."""
    return load_file(made / "transformer" / WEIGHTS)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a good model, and all of the others."""
    home, made = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("made")
    good = make_z_image(home / "flow")
    files: dict[str, dict[str, Tensor]] = {
        "flux": network(make_flux(made / "flux")),
        "lumina": network(make_lumina2(made / "lumina")),
        "no_vae": network(good),
    }
    wide = {**network(good)}
    wide["cap_embedder.0.weight"] = torch.zeros(48)
    wide["cap_embedder.1.weight"] = torch.zeros(96, 48)
    files["wide"] = wide
    files["hole"] = {**network(good)}
    del files["hole"]["layers.1.attention.to_k.weight"]
    query = "layers.0.attention.to_q.weight"
    fp8 = network(good)[query].to(torch.float8_e4m3fn)
    files["scaled"] = {**network(good), query: fp8, "scaled_fp8": torch.zeros(0)}
    (home / "diffusion_models").mkdir()
    for name, tensors in files.items():
        save_file(tensors, home / "diffusion_models" / f"{name}.safetensors")
    shapes = {name: (tuple(each.shape), 0) for name, each in network(good).items()}
    for name, more in (("cut", {}), ("odd", {"x": ((2, 256), 16)}), ("new", {"x": ((2, 256), 99)})):
        write_gguf(home / "diffusion_models" / f"{name}.gguf", {**shapes, **more})
    with (home / "diffusion_models" / "cut.gguf").open("r+b") as stream:
        stream.truncate(100_000)
    for folder in ("text_encoders", "vae", "loras"):
        (home / folder).mkdir()
    encoder = load_file(good / "text_encoder" / "model.safetensors")
    save_file(encoder, home / "text_encoders" / "qwen.safetensors")
    shutil.copytree(good / "tokenizer", home / "tokenizers" / "qwen")
    save_file(make_flux_vae(4).state_dict(), home / "vae" / "sd.safetensors")
    pair = {"down": torch.zeros(4, 8), "up": torch.zeros(8, 4)}
    save_file(
        {f"lora_unet_x.lora_{role}.weight": each for role, each in pair.items()},
        home / "loras" / "ink.safetensors",
    )
    shutil.copytree(good, home / "words")
    (home / "words" / "tokenizer" / "tokenizer.json").write_text("{}")
    return home


def recipe(**changes: Any) -> Recipe:
    usual = {"checkpoint": "flow", "prompt": "a cat", "steps": 3, "width": 64, "height": 64}
    return make_recipe(**{**usual, **changes})


def drawn(home: Path, *recipes: Recipe) -> list[list[Any]]:
    def read(checkpoint: Checkpoint, offloaded: bool) -> Model:
        return load(checkpoint, CPU, torch.float32)

    models = Residency(Catalogue(home), read, unmeasured, Ladder(), 2**40)
    return draw(pipeline_on(models, models_dir=home), recipes, [0] * len(recipes))


@pytest.fixture(scope="module")
def alone(home: Path) -> list[bytes]:
    """Return the picture of a job that nothing is wrong with."""
    return pngs(drawn(home, recipe())[0])


@pytest.mark.parametrize("case", SAID)
def test_it_is_one_sentence_and_nothing_else_is_disturbed(
    home: Path, alone: list[bytes], case: str
) -> None:
    named, said = SAID[case]
    first, bad, last = drawn(home, recipe(), recipe(prompt="a horse", **named), recipe())
    assert pngs(first) == pngs(last) == alone
    assert isinstance(bad[-1], Ended)
    assert isinstance(bad[-1].error, UserError)
    (field, value), *_ = named.items()
    called = CALLED.get(field, f"model {value!r}")
    pattern = re.escape(f"The {called} cannot be loaded: {said}").replace("…", r"[\d,]+")
    assert re.fullmatch(pattern, bad[-1].error.said), bad[-1].error.said
