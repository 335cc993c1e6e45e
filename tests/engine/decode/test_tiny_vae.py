"""Tiny VAEs: read in every form, decoding as their makers' code does, for pictures and previews."""

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.decode import vae as decoding
from engine.decode.external_vae import ExternalVaes
from engine.decode.tiled_vae import decode_in_tiles
from engine.decode.tiny_vae import is_tiny, read_tiny
from engine.decode.vae import Previewer, cost_of, decode
from engine.errors import BrokenModel, UnknownPart
from engine.events import Picture
from engine.families.stable_diffusion import StableDiffusion
from engine.formats.comfy.writer import to_graph
from engine.formats.metadata import read_recipe
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.spec import Spec
from tests.engine.recipes import recipe_of
from tests.engine.ticks import drive, make_loaded_model, pipeline_on
from tests.factories import make_recipe
from tests.loras import save
from tests.single_files import make_true_model
from tests.tiny_vaes import in_diffusers, makers_decoder, write_joined, write_makers

FORMS = ("makers", "joined", "folder", "file")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SD1."""
    return make_true_model(tmp_path_factory.mktemp("small"), "sd1")


@pytest.fixture(scope="module")
def decoder() -> nn.Sequential:
    return makers_decoder()


@pytest.fixture
def home(tmp_path: Path, decoder: nn.Sequential) -> Path:
    """Return ComfyUI's folder with a TAESD as its makers ship it."""
    write_makers(tmp_path / "models" / "vae_approx", decoder)
    return tmp_path


def latents(side: int = 8, channels: int = 4) -> Tensor:
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(0))


def write(form: str, folder: Path, decoder: nn.Sequential) -> Path:
    """Write a decoder in a form; return its file or folder."""
    if form == "makers":
        return write_makers(folder, decoder)
    if form == "joined":
        return write_joined(folder / "taesd.safetensors", decoder)
    whole = in_diffusers(decoder)
    if form == "file":
        return save(folder / "taesd.safetensors", whole.state_dict())
    whole.save_pretrained(folder / "taesd")
    return folder / "taesd"


@pytest.mark.parametrize("place", ["vae_approx", "models/VAE-approx", "vae"])
@pytest.mark.parametrize("form", FORMS)
@torch.inference_mode()
def test_it_decodes_as_its_makers_and_diffusers_do(
    small: StableDiffusion, decoder: nn.Sequential, tmp_path: Path, form: str, place: str
) -> None:
    path = write(form, tmp_path / place, decoder)
    assert is_tiny(path)
    name = "taesd_decoder" if (form, place) == ("makers", "vae") else "taesd"
    vae = ExternalVaes(small, ModelFiles(tmp_path, ModelKind.VAE)).decoder(name).vae
    x = latents()
    ours = vae.decode(x / vae.config.scaling_factor + vae.config.shift_factor).sample
    assert ours.std() > 0.1
    assert (ours - (decoder(x) * 2 - 1)).abs().max() <= 1e-4
    theirs = in_diffusers(decoder)
    assert (ours - theirs.decode(x / theirs.config.scaling_factor).sample).abs().max() <= 1e-4


@torch.inference_mode()
def test_pixels_are_what_the_tiny_vae_says_clamped_to_bytes(
    small: StableDiffusion, home: Path, decoder: nn.Sequential
) -> None:
    x = latents()
    pixels = make_loaded_model(small, home).decode(x, "taesd")
    wanted = (decoder(x)[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels - wanted).max() <= 1.01  # rounded down


@torch.inference_mode()
def test_start_images_are_encoded_by_the_models_own_vae(small: StableDiffusion, home: Path) -> None:
    loaded_model = make_loaded_model(small, home)
    pixels = loaded_model.decode(latents())
    assert torch.equal(loaded_model.encode(pixels, "taesd"), loaded_model.encode(pixels))


@torch.inference_mode()
def test_in_tiles_it_decodes_the_same(small: StableDiffusion, home: Path) -> None:
    lent = ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).decoder("taesd")
    x = latents(96)
    difference = np.abs(decode(lent, x).astype(int) - decode(lent, x, decode_in_tiles))
    assert difference.max() <= 1


def test_a_recipe_keeps_it_and_draws_the_same_pixels_again(
    small: StableDiffusion, home: Path
) -> None:
    def draw(vae: str | None) -> Picture:
        pipeline = pipeline_on(small, models_dir=home)
        recipe = make_recipe(steps=2, vae=vae, checkpoint="sd1")
        news = drive(pipeline, {0: [Spec(job=1, epoch=1, recipe=recipe)]})[1]
        pipeline.close()
        return next(each for each in news if isinstance(each, Picture))

    first, again, own = draw("taesd").png, draw("taesd").png, draw(None).png
    assert first == again
    recipe = read_recipe(first).recipe
    assert recipe.vae == "taesd"
    assert read_recipe(own).recipe.vae is None
    assert pixels_of(first).tobytes() != pixels_of(own).tobytes()


@pytest.mark.parametrize(
    ("vae", "named"), [("taesd", "taesd"), ("taesdxl", "taesdxl"), ("kl", "kl.safetensors")]
)
def test_comfyui_is_told_its_own_name_for_it(vae: str, named: str) -> None:
    graph = to_graph(make_recipe(vae=vae))
    names = [node["inputs"].get("vae_name") for node in graph.values()]
    assert [name for name in names if name] == [named]
    assert recipe_of(graph).vae == vae


def pixels_of(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def changed(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        tensors = load_file(path)
        change(tensors)
        save(path, tensors)

    return spoil


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (cut, "it is cut short"),
    "nan": (changed(lambda t: t["19.bias"].fill_(torch.nan)), "holds values that are no numbers"),
    "hole": (changed(lambda t: t.pop("10.conv.2.bias")), "its weights lack the decoder's"),
    "shape": (
        changed(lambda t: t.update({"19.weight": torch.zeros(5, 64, 3, 3)})),
        "has other sizes than TAESD's",
    ),
    "more": (changed(lambda t: t.update({"25.weight": torch.zeros(2)})), "which TAESD's lacks"),
    "channels": (
        changed(lambda t: t.update({"1.weight": torch.zeros(64, 16, 3, 3)})),
        "its latents have 16 channels, the model's 4",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_one_is_one_sentence_and_previews_go_without(
    small: StableDiffusion, home: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, said = BROKEN[what]
    spoil(home / "models" / "vae_approx" / "taesd_decoder.safetensors")
    external = ExternalVaes(small, ModelFiles(home, ModelKind.VAE))
    with pytest.raises(BrokenModel, match=said) as error:
        external.decoder("taesd")
    assert "\n" not in str(error.value)
    with caplog.at_level(logging.WARNING):
        assert external.load_tiny() is None
    assert said in caplog.text


def test_one_for_another_familys_latents_is_refused(
    small: StableDiffusion, home: Path, decoder: nn.Sequential
) -> None:
    write_makers(home / "models" / "vae_approx", decoder, name="taesdxl")
    with pytest.raises(
        BrokenModel, match=r"does not decode what Stable Diffusion 1\.x models draw"
    ):
        ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).decoder("taesdxl")
    assert ModelFiles(home, ModelKind.VAE).names() == ["taesd", "taesdxl"]


def test_pickled_ones_are_refused_and_a1111s_linear_maps_are_no_vaes(
    small: StableDiffusion, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "VAE-approx"
    folder.mkdir(parents=True)
    for name in ("taesd_decoder.pth", "taesd_encoder.pth", "model.pt"):
        (folder / name).write_bytes(b"PK\3\4")
    assert ModelFiles(tmp_path, ModelKind.VAE).names() == ["taesd"]
    with pytest.raises(BrokenModel, match="is a pickle, which can run code"):
        ExternalVaes(small, ModelFiles(tmp_path, ModelKind.VAE)).decoder("taesd")
    with pytest.raises(UnknownPart):
        ExternalVaes(small, ModelFiles(tmp_path, ModelKind.VAE)).decoder("model")


def test_other_files_are_no_tiny_vaes(tmp_path: Path) -> None:
    assert not is_tiny(
        write_makers(tmp_path, makers_decoder()).parent / "taesd_encoder.safetensors"
    )
    assert not is_tiny(tmp_path)
    other = save(tmp_path / "x.safetensors", {"1.weight": torch.zeros(64, 4, 3, 3)})
    assert not is_tiny(other)
    with pytest.raises(BrokenModel, match="no tiny VAE's decoder"):
        read_tiny("x", other)


def shown(previewer: Previewer, x: Tensor) -> Image.Image:
    return Image.open(io.BytesIO(previewer(x)))


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tiny VAE be cheap enough, however busy the machine is."""
    monkeypatch.setattr(decoding, "CHEAP", 1000.0)


@pytest.mark.usefixtures("cheap")
@torch.inference_mode()
def test_previews_are_drawn_by_it_where_it_is_there(
    small: StableDiffusion, home: Path, decoder: nn.Sequential
) -> None:
    x = latents(48)
    loaded_model = make_loaded_model(small, home)
    jpeg = loaded_model.preview(x)
    assert jpeg
    image = Image.open(io.BytesIO(jpeg))
    assert image.size == (256, 256)
    wanted = Image.fromarray(
        decode(ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).decoder("taesd"), x)
    ).resize((256, 256))
    assert mean_difference(image, wanted) < 8
    assert mean_difference(image, shown(Previewer(small), x)) > 16


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


@torch.inference_mode()
def test_where_it_is_too_dear_or_memory_too_short_the_linear_map_draws(
    small: StableDiffusion, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = ExternalVaes(small, ModelFiles(home, ModelKind.VAE)).load_tiny()
    assert tiny
    x, plain = latents(8), Previewer(small)(latents(8))
    monkeypatch.setattr(decoding, "CHEAP", 1000.0)
    assert Previewer(small, tiny)(x) != plain
    monkeypatch.setattr(decoding, "CHEAP", 0.0)
    assert Previewer(small, tiny)(x) == plain
    monkeypatch.setattr(decoding, "CHEAP", 1000.0)
    monkeypatch.setattr(decoding, "MOST", 63)
    assert Previewer(small, tiny)(x) == plain
    monkeypatch.setattr(decoding, "MOST", 64)

    def run_out(_: Tensor) -> Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiny.decoder, "forward", run_out)
    assert Previewer(small, tiny)(x) == plain


def test_models_of_other_latents_are_previewed_without(model: StableDiffusion, home: Path) -> None:
    """The bundled model's latents are its own."""
    assert ExternalVaes(model, ModelFiles(home, ModelKind.VAE)).load_tiny() is None


@pytest.mark.parametrize(("launch", "each", "side"), [(0.0, 1e-3, 8), (0.002, 1e-5, 32)])
def test_its_cost_is_tried_at_a_size_that_tells(launch: float, each: float, side: int) -> None:
    now, sides = 0.0, list[int]()

    def run(side: int) -> None:
        nonlocal now
        now += launch + each * side**2 + (5 if not sides else 0)  # the first call takes long
        sides.append(side)

    assert cost_of(run, lambda: now) == pytest.approx(each, rel=0.25)
    assert sides[-1] == side
