"""A VAE of one's own: read from a file or a folder, used instead of the model's, never half."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.decode.external_vae import ExternalVaes
from engine.decode.vae import decode
from engine.errors import BrokenModel, UnknownPart
from engine.families.stable_diffusion import StableDiffusion
from engine.models import families
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from tests.engine.ticks import make_loaded_model
from tests.single_files import make_modules, make_true_model, small_forms, vae_name


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_forms(tmp_path_factory.mktemp("forms") / "forms")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SD1."""
    return make_true_model(tmp_path_factory.mktemp("small"), "sd1")


@pytest.fixture(scope="module")
def other(forms: Path) -> Any:
    """Return a VAE that is not the model's."""
    return make_modules(forms / "sd1", seed=5)["vae"]


def is_linear(name: str, value: torch.Tensor) -> bool:
    """Say whether a weight of attention is a convolution of one pixel in single files."""
    return "attentions" in name and value.ndim == 2


@pytest.fixture
def home(other: Any, forms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a models folder with that VAE in its three forms."""
    monkeypatch.setattr(families, "CONFIGS", forms)
    folder = tmp_path / "vae"
    folder.mkdir()
    state = {
        vae_name(name): value[:, :, None, None] if is_linear(name, value) else value.contiguous()
        for name, value in other.state_dict().items()
    }
    save_file(state, folder / "bare.safetensors")
    prefixed = {f"first_stage_model.{name}": value for name, value in state.items()}
    save_file(prefixed, folder / "prefixed.safetensors")
    other.save_pretrained(folder / "whole")
    return tmp_path


@pytest.mark.parametrize("name", ["bare", "prefixed", "whole"])
def test_another_vae_decodes_and_encodes(
    small: StableDiffusion, other: Any, home: Path, name: str
) -> None:
    loaded_model = make_loaded_model(small, home)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pixels = loaded_model.decode(latents, name)
        own = loaded_model.decode(latents)
        lent = ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).decoder(name)
        assert np.array_equal(pixels, decode(lent, latents))
        assert np.abs(pixels.astype(int) - own).max() > 8
        got = dict(lent.vae.named_parameters())
        for key, weight in other.named_parameters():
            assert torch.equal(got[key], weight), key
        assert not torch.allclose(loaded_model.encode(pixels, name), loaded_model.encode(pixels))
    assert small.vae is loaded_model.model.vae


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def without_one(path: Path) -> None:
    tensors = load_file(path)
    del tensors["decoder.conv_in.weight"]
    save_file(tensors, path)


def with_nan(path: Path) -> None:
    tensors = load_file(path)
    tensors["decoder.conv_out.weight"].view(-1)[0] = torch.nan
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut, "it is cut short"),
        (without_one, "lack"),
        (with_nan, "'decoder.conv_out.weight' holds values that are no numbers"),
        (lambda path: save_file({"a": torch.zeros(1)}, path), "cannot be loaded"),
    ],
)
def test_a_broken_vae_is_one_sentence(
    small: StableDiffusion, home: Path, spoil: Any, said: str
) -> None:
    spoil(home / "vae" / "bare.safetensors")
    with pytest.raises(BrokenModel, match=said) as error:
        ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).decoder("bare")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "5", "[" * 100_000])
def test_a_folder_whose_configuration_is_none_is_one_sentence(
    small: StableDiffusion, home: Path, text: str
) -> None:
    (home / "vae" / "whole" / "config.json").write_text(text)
    with pytest.raises(BrokenModel, match=r"its config\.json cannot be read"):
        ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).decoder("whole")


def test_missing_weights_of_a_folder_are_never_replaced_by_random_ones(
    small: StableDiffusion, home: Path
) -> None:
    without_one(home / "vae" / "whole" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(BrokenModel, match=r"its weights lack 'decoder\.conv_in\.weight'"):
        ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).decoder("whole")


def test_an_unknown_vae_is_answered_with_the_known_ones(small: StableDiffusion, home: Path) -> None:
    with pytest.raises(UnknownPart, match=r"no VAE 'bar'.*bare, prefixed, whole"):
        ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).decoder("bar")
