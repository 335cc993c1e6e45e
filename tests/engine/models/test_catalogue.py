import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BrokenModel, UnknownModel
from engine.models.catalogue import STARTER_FOLDER, Catalogue, describe
from engine.models.families import identify_folder


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny model that a test may break."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "models" / "mine"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_is_described_by_its_configuration(folder: Path) -> None:
    checkpoint = describe("mine", folder)
    assert checkpoint.family.key == "sd"
    assert (checkpoint.defaults.width, checkpoint.defaults.height) == (64, 64)


@pytest.mark.parametrize(("width", "key"), [(768, "sd1"), (1024, "sd2"), (32, "sd")])
def test_the_family_is_read_from_shapes_not_names(folder: Path, width: int, key: str) -> None:
    edit(folder / "unet" / "config.json", cross_attention_dim=width)
    edit(folder / "text_encoder" / "config.json", hidden_size=width)
    assert describe("sdxl-turbo", folder).family.key == key


def test_models_are_found_where_comfyui_keeps_them(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "checkpoints" / "other")
    catalogue = Catalogue(folder.parent)
    assert catalogue.names() == ["starter", "mine", "other"]
    assert catalogue.get("other").folder.parent.name == "checkpoints"


def test_an_unknown_model_is_answered_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(UnknownModel, match=r"did you mean 'mine'.*available models: mine, starter"):
        Catalogue(folder.parent).get("min")


def test_a_folder_of_two_sides_takes_the_longer(folder: Path) -> None:
    edit(folder / "unet" / "config.json", sample_size=[8, 16])
    assert describe("mine", folder).defaults.width == 128


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_model_that_vanishes_is_unknown_and_one_that_is_moved_is_found(
    folder: Path, elsewhere: bool
) -> None:
    catalogue = Catalogue(folder.parent)
    assert catalogue.get("mine").folder == folder
    moved = folder.parent / "diffusers" / "mine"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    if elsewhere:
        assert catalogue.get("mine").folder == moved
    else:
        shutil.rmtree(moved)
        with pytest.raises(UnknownModel, match="available models: starter"):
            catalogue.get("mine")


def test_a_folders_own_defaults_win(folder: Path) -> None:
    (folder / "marble.json").write_text('{"defaults": {"steps": 9}, "notes": {"en": "Hi."}}')
    checkpoint = describe("mine", folder)
    assert checkpoint.defaults.steps == 9
    assert checkpoint.defaults.sampler == "dpmpp_2m"
    assert checkpoint.notes == {"en": "Hi."}


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ('{"defaults": {"steps": 0}}', "steps must be a whole number between 1 and 150"),
        ('{"defaults": {"sampler": "best"}}', "sampler must be"),
        ('{"defaults": {"colour": 1}}', "colour must be one of"),
        (
            '{"defaults": {"steps": "many"}}',
            "steps must be a whole number between 1 and 150, not 'many'",
        ),
        (
            '{"defaults": {"steps": true}}',
            "steps must be a whole number between 1 and 150, not True",
        ),
        ('{"defaults": 5}', "defaults must be an object"),
        ('{"notes": "Hi."}', "notes must be an object of sentences"),
        ('{"notes": {"en": 5}}', "notes must be an object of sentences"),
        ('{"detail": "much"}', "detail: strength must be between"),
        ('{"preview": 5}', "preview must hold weights, 4 rows of three numbers, and a bias"),
        ('{"preview": {"weights": [[1, 2, 3]]}}', "preview must hold weights, 4 rows"),
        ('{"preview": {"weights": [[1], [1], [1], [1]], "bias": [1]}}', "must be three numbers"),
        ('{"variant": "turbo"}', r"loaded: marble\.json: variant is not for Stable Diffusion form"),
        (
            '{"parts": {"vae": "x"}}',
            r"loaded: marble\.json: parts is not for Stable Diffusion form",
        ),
        (
            '{"default": {"steps": 5}}',
            r"loaded: marble\.json: 'default' is no key \(did you mean 'defaults'\?\); its keys "
            r"may be defaults, detail, notes, prediction, preview, zero_snr\.$",
        ),
        ('{"a": ' * 20_000, "marble.json is not valid JSON"),
        ("{", "marble.json is not valid JSON"),
        ("[]", "marble.json is not a JSON object"),
    ],
)
def test_what_an_owner_wrote_wrongly_is_named(folder: Path, own: str, reason: str) -> None:
    (folder / "marble.json").write_text(own)
    with pytest.raises(BrokenModel, match=reason):
        describe("mine", folder)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("model_index.json", "mine/model_index.json is missing"),
        ("unet/config.json", "unet/config.json is missing"),
        ("vae/diffusion_pytorch_model.safetensors", "vae/ holds no safetensors"),
    ],
)
def test_a_missing_file_is_named(folder: Path, missing: str, reason: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(BrokenModel, match=reason):
        describe("mine", folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BrokenModel, match="pickled weights, which can run code"):
        describe("mine", folder)


def test_models_of_other_forms_are_named_but_not_loaded(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name="HiDreamImagePipeline")
    shutil.rmtree(folder / "unet")  # it has none
    with pytest.raises(BrokenModel, match="it is a HiDream model, which Marble cannot run yet"):
        describe("mine", folder)
    edit(folder / "model_index.json", _class_name="DreamPipeline")
    with pytest.raises(BrokenModel, match="'DreamPipeline' is not known"):
        describe("mine", folder)


def test_a_unet_that_edits_images_is_refused_with_its_channels(folder: Path) -> None:
    edit(folder / "unet" / "config.json", in_channels=8)
    with pytest.raises(BrokenModel, match=r"model for image editing \(8 channels\)"):
        describe("mine", folder)


def test_a_unet_for_inpainting_is_known(folder: Path) -> None:
    edit(folder / "unet" / "config.json", in_channels=9)
    assert describe("mine", folder).family == describe("starter", STARTER_FOLDER).family


INPAINTING = [
    "StableDiffusionPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionInpaintPipelineLegacy",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionPAGInpaintPipeline",
]


@pytest.mark.parametrize("kind", INPAINTING)
def test_what_a_folder_does_is_told_by_its_channels_not_its_class(folder: Path, kind: str) -> None:
    edit(folder / "model_index.json", _class_name=kind)
    assert describe("mine", folder).family.key == "sd"
    edit(folder / "unet" / "config.json", in_channels=9, cross_attention_dim=768)
    edit(folder / "text_encoder" / "config.json", hidden_size=768)
    assert describe("mine", folder).family.key == "sd1"


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("StableDiffusionXLInpaintPipeline", "sdxl"),
        ("StableDiffusionXLImg2ImgPipeline", "sdxl"),
        ("FluxFillPipeline", "flux"),
        ("Flux2Pipeline", "flux2"),
        ("StableDiffusion3Img2ImgPipeline", "sd3"),
        ("HunyuanVideoPipeline", "hunyuan_video"),
        ("HunyuanDiTPipeline", "hunyuan"),
        ("KolorsPipeline", "kolors"),
        ("Lumina2Text2ImgPipeline", "lumina2"),
        ("StableCascadeCombinedPipeline", "cascade"),
    ],
)
def test_a_folders_family_is_known_by_any_of_its_pipelines(kind: str, key: str) -> None:
    family = identify_folder({"_class_name": kind}, {"cross_attention_dim": 2048})
    assert family is not None
    assert family.key == key


@pytest.mark.parametrize(
    ("index", "unet"),
    [
        ({"text_encoder": [None, None]}, None),  # all that the hub's index tells
        ({}, {"cross_attention_dim": 1280}),
    ],
)
def test_a_refiner_is_named(index: dict[str, Any], unet: dict[str, Any] | None) -> None:
    family = identify_folder({"_class_name": "StableDiffusionXLImg2ImgPipeline", **index}, unet)
    assert family is not None
    assert family.key == "refiner"


EDM = "it predicts in EDM's form"
FLOW = "it is trained by flow matching"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "EDM": ("scheduler", {"_class_name": "EDMDPMSolverMultistepScheduler"}, EDM),
    "EDM, by its data": ("scheduler", {"sigma_data": 0.5}, EDM),
    "flow": ("scheduler", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, FLOW),
    "flow, by its sigmas": ("scheduler", {"use_flow_sigmas": True}, FLOW),
    "flow, by what it predicts": ("scheduler", {"prediction_type": "flow_prediction"}, FLOW),
    "sample": ("scheduler", {"prediction_type": "sample"}, "it predicts 'sample'"),
    "a VAE's mean": ("vae", {"latents_mean": [1.0] * 4}, "its VAE scales latents channel by"),
    "classes": ("unet", {"num_class_embeds": 1000}, "its U-Net is told a class or a level"),
    "depth": ("unet", {"in_channels": 5}, r"model for depth \(5 channels\)"),
    "strange": ("unet", {"in_channels": 6}, "takes 6 channels and its VAE gives 4"),
    "blocks": ("vae", {"block_out_channels": None}, "has None for block_out_channels"),
    "a scale of 0": ("vae", {"scaling_factor": 0}, "has 0 for scaling_factor"),
    "a side in words": ("unet", {"sample_size": "x"}, "has 'x' for sample_size"),
    "a side below 0": ("unet", {"sample_size": -8}, "has -8 for sample_size"),
    "timesteps in words": ("scheduler", {"num_train_timesteps": "1000"}, "for num_train_timesteps"),
    "too many timesteps": ("scheduler", {"num_train_timesteps": 10**9}, "for num_train_timesteps"),
    "noise in words": ("scheduler", {"beta_end": "x"}, "has 'x' for beta_end"),
    "words": (
        *("text_encoder", {"hidden_size": 64}),
        "its text encoder gives embeddings 64 wide, where its U-Net takes 32",
    ),
    "guidance": ("unet", {"time_cond_proj_dim": 2}, "told the guidance scale in 2 values"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_folders_configuration_says_is_refused_by_name(folder: Path, case: str) -> None:
    part, changes, said = REFUSED[case]
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    edit(folder / part / name, **changes)
    with pytest.raises(BrokenModel, match=said):
        describe("mine", folder)


def test_a_folders_weights_are_held_to_the_format_before_they_are_read(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(BrokenModel, match=r"vae: it is cut short: .* \(diffusion_.*\)"):
        describe("mine", folder)
