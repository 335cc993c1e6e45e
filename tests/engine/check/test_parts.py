"""What lies beside the models: each kind read once, good and broken, with a verdict for each."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from safetensors.torch import load_file

from engine.check.models import Report, examine_parts
from engine.decode.external_vae import ExternalVaes
from engine.denoise.control import load_control
from engine.errors import BrokenModel
from engine.families.stable_diffusion import StableDiffusion
from engine.loading.lora import Loras
from engine.models import families
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles, list_parts
from engine.recipe.parts import Lora
from engine.text_encode.embeddings import Embeddings
from tests.loras import random_lora, save, write_kohya
from tests.single_files import make_modules, make_true_model, small_forms, vae_name
from tests.tiny_vaes import makers_decoder, write_makers

NUMBERS = "holds values that are no numbers"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SD1."""
    return make_true_model(tmp_path_factory.mktemp("small"), "sd1")


@pytest.fixture
def home(small: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return ComfyUI's folder with a good one of each kind."""
    forms = small_forms(tmp_path / "forms")
    monkeypatch.setattr(families, "CONFIGS", forms)
    home = tmp_path / "models"
    write_kohya(home / "loras" / "style.safetensors", random_lora({"unet": small.unet}), small.unet)
    vae = {
        vae_name(name): value[:, :, None, None]
        if "attentions" in name and value.ndim == 2
        else value
        for name, value in make_modules(forms / "sd1")["vae"].state_dict().items()
    }
    save(home / "vae" / "own.safetensors", vae)
    write_makers(home / "vae_approx", makers_decoder())
    save(home / "embeddings" / "cat.safetensors", {"emb_params": torch.zeros(2, 768)})
    both = {"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}
    save(home / "embeddings" / "xl.safetensors", both)
    control = ControlNetModel(
        cross_attention_dim=768,
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        conditioning_embedding_out_channels=(16, 32),
    )
    control.save_pretrained(home / "controlnet" / "canny")
    return home


def verdicts(home: Path) -> dict[str, Report]:
    return {part.name: part for part in examine_parts(home, list_parts(home))}


def test_each_kind_is_named(home: Path) -> None:
    found = verdicts(home)
    assert {name: (part.kind, part.title, part.problem) for name, part in found.items()} == {
        "style": (ModelKind.LORA, f"{len(list_of_layers(home))} layers", None),
        "own": (ModelKind.VAE, "4 channels", None),
        "taesd": (ModelKind.VAE, "tiny, 4 channels", None),
        "cat": (ModelKind.EMBEDDING, "for text encoders 768 wide", None),
        "xl": (ModelKind.EMBEDDING, "for text encoders 768 and 1280 wide", None),
        "canny": (ModelKind.CONTROLNET, "for Stable Diffusion 1.x", None),
    }


def list_of_layers(home: Path) -> list[str]:
    return [n for n in load_file(home / "loras" / "style.safetensors") if "lora_up" in n]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def fill(path: Path) -> None:
    tensors = load_file(path)
    for tensor in tensors.values():
        tensor.view(-1)[-1] = torch.nan
    save(path, tensors)


def pickle_it(path: Path) -> None:
    path.rename(path.with_suffix(".pt"))


PATHS = {
    "style": "loras/style.safetensors",
    "own": "vae/own.safetensors",
    "taesd": "vae_approx/taesd_decoder.safetensors",
    "cat": "embeddings/cat.safetensors",
    "canny": "controlnet/canny/diffusion_pytorch_model.safetensors",
}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(("spoil", "said"), [(cut, "it is cut short"), (fill, NUMBERS)])
def test_a_broken_one_is_told_with_its_reason_and_the_others_are_good(
    home: Path, name: str, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(home / PATHS[name])
    found = verdicts(home)
    problem = found.pop(name).problem
    assert problem is not None
    assert said in problem
    assert "\n" not in problem
    assert not any(part.problem for part in found.values())


# What a file is called in a sentence, and who reads it for a picture.
USES: dict[str, tuple[ModelKind, Callable[[StableDiffusion, ModelFiles], object]]] = {
    "style": (ModelKind.LORA, lambda model, files: Loras(model, files).use((Lora(name="style"),))),
    "own": (ModelKind.VAE, lambda model, files: ExternalVaes(model, files).decoder("own")),
    "taesd": (ModelKind.VAE, lambda model, files: ExternalVaes(model, files).decoder("taesd")),
    "cat": (
        ModelKind.EMBEDDING,
        lambda model, files: [*Embeddings(files, model.text_encoder, 0).split("embedding:cat")],
    ),
    "canny": (
        ModelKind.CONTROLNET,
        lambda model, files: load_control("canny", files.path("canny"), model),
    ),
}


@pytest.mark.parametrize("spoil", [cut, fill, pickle_it])
@pytest.mark.parametrize("name", USES)
def test_a_broken_file_is_called_by_its_kind(
    small: StableDiffusion, home: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    if spoil is pickle_it and name in ("taesd", "canny"):
        return  # of these no pickle is offered
    kind, use = USES[name]
    spoil(home / PATHS[name])
    with pytest.raises(BrokenModel) as error:
        use(small, ModelFiles(home, kind))
    # By its tensors, which a file that is cut does not show.
    called = "tiny VAE" if name == "taesd" and spoil is fill else kind
    assert str(error.value).startswith(f"The {called} {name!r} cannot be loaded: ")


def test_pickles_and_files_of_other_kinds_are_told(home: Path) -> None:
    pickle_it(home / "loras" / "style.safetensors")
    shutil.copy(home / "vae" / "own.safetensors", home / "embeddings" / "cat.safetensors")
    shutil.copy(home / "vae" / "own.safetensors", home / "controlnet" / "depth.safetensors")
    (home / "upscale_models").mkdir()
    shutil.copy(home / "vae" / "own.safetensors", home / "upscale_models" / "up.safetensors")
    found = verdicts(home)
    said = {"style": "pickle", "cat": "no embedding", "depth": "no ControlNet", "up": "no form"}
    for name, words in said.items():
        assert words in str(found[name].problem), found[name]
