"""Single files: written under their original names, loaded as the modules that they were."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import BrokenModel, UnknownModel
from engine.families.stable_diffusion import load
from engine.loading import tokenizer as vocabulary
from engine.models import families
from engine.models.catalogue import Catalogue, describe_file
from engine.models.variants import fit_to_name
from tests.single_files import make_modules, small_forms, write_single_file

FAMILIES = ("sd1", "sd2", "sdxl", "refiner")


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return small forms of all families."""
    return small_forms(tmp_path_factory.mktemp("forms") / "forms")


@pytest.fixture(autouse=True)
def _small(forms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "CONFIGS", forms)


@pytest.fixture(scope="module", params=FAMILIES)
def file(
    request: pytest.FixtureRequest, forms: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a small single file of each family."""
    path = tmp_path_factory.mktemp("checkpoints") / f"{request.param}.safetensors"
    return write_single_file(path, request.param, make_modules(forms / request.param))


def test_the_modules_come_back_bit_for_bit(file: Path, forms: Path) -> None:
    checkpoint = describe_file(file.name, file)
    assert checkpoint.family.key == file.stem
    model = load(checkpoint, torch.device("cpu"), torch.float16)
    for part, made in make_modules(forms / file.stem).items():
        loaded = dict(getattr(model, part).named_parameters())
        expected = dict(made.half().named_parameters())
        assert loaded.keys() == expected.keys()
        for name, weight in expected.items():
            assert torch.equal(loaded[name], weight.to(loaded[name].dtype)), name


def test_a_file_with_half_a_vae_is_named(file: Path, tmp_path: Path) -> None:
    tensors = load_file(file)
    within = [name for name in tensors if name.startswith("first_stage_model.decoder.mid")]
    for name in within:
        del tensors[name]
    assert within
    save_file(tensors, tmp_path / file.name)
    checkpoint = describe_file(file.name, tmp_path / file.name)
    with pytest.raises(BrokenModel, match=r"vae: its weights lack 'decoder\.mid_block"):
        load(checkpoint, torch.device("cpu"))


def test_a_file_is_found_by_comfyuis_name_and_by_a1111s(file: Path, tmp_path: Path) -> None:
    for root, place in (("comfy", "models/checkpoints/sub"), ("a1111", "models/Stable-diffusion")):
        path = tmp_path / root / place / file.name
        path.parent.mkdir(parents=True)
        path.symlink_to(file)
    comfy, a1111 = Catalogue(tmp_path / "comfy"), Catalogue(tmp_path / "a1111")
    assert comfy.names() == ["starter", f"sub/{file.name}"]
    assert a1111.names() == ["starter", file.name]
    for name in (f"sub/{file.name}", f"sub\\{file.name}", f"sub/{file.stem}", file.stem.upper()):
        assert comfy.get(name).name == f"sub/{file.name}"
    assert a1111.get(file.stem).file == tmp_path / "a1111/models/Stable-diffusion" / file.name
    with pytest.raises(UnknownModel):
        comfy.get("sd")


def test_a_file_that_comes_later_is_found(file: Path, tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    with pytest.raises(UnknownModel):
        catalogue.get(file.stem)
    (tmp_path / file.name).symlink_to(file)
    assert catalogue.get(file.stem).name == file.name


def test_what_lies_beside_a_file_wins_over_its_family(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine_Lightning_4step.safetensors"
    path.symlink_to(file)
    defaults = describe_file(path.name, path).defaults
    assert (defaults.steps, defaults.guidance_scale, defaults.sampler) == (4, 1, "euler")
    own = path.with_suffix(".marble.json")
    own.write_text(json.dumps({"defaults": {"steps": 6}, "prediction": "v_prediction"}))
    checkpoint = describe_file(path.name, path)
    assert checkpoint.defaults.steps == 6
    assert checkpoint.prediction == "v_prediction"
    own.write_text(json.dumps({"prediction": "x0"}))
    with pytest.raises(BrokenModel, match="prediction must be one of epsilon, v_prediction"):
        describe_file(path.name, path)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("sd_xl_turbo_1.0_fp16", 4),
        ("DreamShaperXL_v21TurboDPMSDE", 4),
        ("sdxl_lightning_8step", 8),
        ("Hyper-SDXL-8steps", 8),
        ("LCM_Dreamshaper", 6),
        ("hyperrealism_v3", 25),
        ("hyperRealism_v3", 25),
        ("Hyper Realistic Mix", 25),
        ("hyper-realism-8steps", 25),
        ("turboCar_v1", 25),
        ("lightningBolt_xl", 25),
        ("realisticVisionV60B1_v51HyperVAE", 8),
        ("Juggernaut_X_RunDiffusion_Hyper", 8),
        ("realvisxlV40_v40LightningBakedvae", 4),
        ("dreamshaperXL_turboDpmppSDEKarras", 4),
        ("TurboVisionXL", 4),
        ("hyper/realism.safetensors", 8),
        ("realism-hyper.safetensors", 8),
        ("lcm_0steps", 6),
        ("turbovision", 25),
        ("1234.safetensors", 25),
        ("lcmix", 25),
    ],
)
def test_few_steps_are_suggested_by_a_word_not_by_letters(name: str, steps: int) -> None:
    assert fit_to_name(families.BY_KEY["sdxl"].defaults(1024), name).steps == steps


def test_the_vocabulary_follows_from_the_merges(specs: Path) -> None:
    file = specs / "clip_tokenizer" / "vocab.json"
    assert vocabulary.vocabulary() == json.loads(file.read_text("utf-8"))


def test_windows_are_filled_with_what_the_encoder_was_trained_with() -> None:
    assert vocabulary.make_tokenizer(49407).pad_token_id == 49407
    assert vocabulary.make_tokenizer(0).pad_token_id == 0
