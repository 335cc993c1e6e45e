"""Values that are no numbers: found in weights, at work, and never shown as a picture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.decode.tiled_vae import decode_in_tiles
from engine.decode.tiny_vae import read_tiny
from engine.decode.vae import Previewer, decode
from engine.denoise.control import load_control
from engine.device.finite import are_finite
from engine.errors import BrokenModel, NotFinite
from engine.events import Ended, Picture
from engine.families.stable_diffusion import StableDiffusion, load
from engine.finish.upscale import UpscaleModel
from engine.models.catalogue import describe
from tests.engine.ticks import draw, make_pipeline, pngs
from tests.factories import make_recipe
from tests.models import make_model
from tests.tiny_vaes import makers_decoder, write_makers

CPU = torch.device("cpu")
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_no_number_is_found_anywhere(dtype: torch.dtype, bad: float) -> None:
    sound = torch.full((50, 100), 1.0, dtype=dtype)
    last = sound.clone()
    last[-1, -1] = bad
    both = last.clone()
    both[0, 0] = -bad  # of opposite signs, which a sum turns into NaN
    assert are_finite([sound, last, sound, both]) == [True, False, True, False]


def test_a_sum_beyond_the_dtypes_range_is_no_alarm() -> None:
    large = torch.full((1000,), 60_000.0, dtype=torch.float16)
    assert not bool(large.sum().isfinite())
    huge = torch.full((10,), 3e38)
    assert not bool(huge.sum().isfinite())
    assert are_finite([large, huge]) == [True, True]


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_the_last_value_of_a_folders_part_is_looked_at(part: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "it")
    (file,) = (folder / part).glob("*.safetensors")
    tensors = load_file(file)
    name = max(tensors, key=lambda key: tensors[key].numel())
    assert tensors[name].numel() > 4096 or part == "vae"
    tensors[name].view(-1)[-1] = torch.nan
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(BrokenModel, match=f"{part}: .* holds values that are no numbers"):
        load(describe("it", folder), CPU)


def test_what_overflows_in_fp16_is_named_so(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "it")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_out.weight"].view(-1)[-1] = 1e5
    save_file(tensors, file, metadata={"format": "pt"})
    assert load(describe("it", folder), CPU).dtype is torch.float32
    with pytest.raises(BrokenModel, match="holds values that are no numbers in fp16"):
        load(describe("it", folder), CPU, torch.float16)


def test_a_control_models_values_are_looked_at(model: StableDiffusion, tmp_path: Path) -> None:
    from diffusers.models.controlnets.controlnet import ControlNetModel

    network = ControlNetModel.from_unet(
        model.unet, conditioning_embedding_out_channels=(16, 32, 96, 256)
    )
    network.controlnet_mid_block.weight.data.view(-1)[-1] = torch.nan
    network.save_pretrained(tmp_path / "bad")
    with pytest.raises(
        BrokenModel, match=r"'controlnet_mid_block\.weight' holds values that are no"
    ):
        load_control("bad", tmp_path / "bad", model)


OVERFLOW = "a (marble:3e38) scholar"  # what a person may type


@pytest.mark.parametrize("count", [1, 3])
def test_a_job_whose_values_are_no_numbers_ends_alone_and_in_one_sentence(
    model: StableDiffusion, count: int
) -> None:
    well = make_recipe(prompt="a marble scholar")
    ill = make_recipe(prompt=OVERFLOW, count=count)
    (wanted,) = draw(make_pipeline(model), [well], [0])
    news = draw(make_pipeline(model), [well, ill, well], [0, 0, 2])
    for one in (news[0], news[2]):
        assert pngs(one) == pngs(wanted)
    ended = news[1][-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, NotFinite)
    assert str(ended.error).startswith("The model produced invalid numbers")
    assert "step 1 of 4" in str(ended.error)
    assert not any(isinstance(each, Picture) for each in news[1])


@contextmanager
def answering(module: torch.nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change what a module answers."""

    def hook(module: Any, inputs: Any, output: Tensor) -> Tensor:
        return change(output)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def spoil(output: Tensor) -> Tensor:
    output = output.clone()
    output[0, 0, -1, -1] = torch.nan
    return output


@pytest.mark.parametrize("way", [decode, partial(decode, images_of=decode_in_tiles)])
@torch.inference_mode()
def test_a_vae_whose_values_are_no_numbers_is_blamed(
    model: StableDiffusion, way: Callable[[StableDiffusion, Tensor], Any]
) -> None:
    latents = torch.zeros(1, 4, 8, 8)
    with (
        answering(model.vae.decoder.conv_out, spoil),
        pytest.raises(NotFinite, match=r"^The VAE produced"),
    ):
        way(model, latents)
    latents[0, 0, 0, 0] = torch.nan
    with pytest.raises(NotFinite, match=r"^The sampler produced"):
        way(model, latents)


def test_a_picture_that_cannot_be_decoded_ends_its_job_alone(model: StableDiffusion) -> None:
    well = make_recipe(seed=1)
    (wanted,) = draw(make_pipeline(model), [well], [0])
    calls = iter([spoil])

    def first_only(output: Tensor) -> Tensor:
        return next(calls, lambda same: same)(output)

    with answering(model.vae.decoder.conv_out, first_only):
        ill, news = draw(make_pipeline(model), [make_recipe(seed=2), well], [0, 1])
    ended = ill[-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, NotFinite)
    assert pngs(news) == pngs(wanted)


@torch.inference_mode()
def test_previews_go_on_without_a_tiny_vae_that_overflows(
    model: StableDiffusion, tmp_path: Path
) -> None:
    path = write_makers(tmp_path, makers_decoder())
    tiny = read_tiny("taesd", path)
    latents = torch.zeros(1, 4, 8, 8)
    without = Previewer(model)(latents)
    with answering(tiny.decoder, spoil):
        assert Previewer(model, tiny)(latents) == without


class Overflowing:
    """Stand for a network of spandrel's that overflows in fp16, or (`always`) in any dtype."""

    supports_half, scale = True, 2
    size_requirements = SimpleNamespace(multiple_of=1)

    def __init__(self, *, always: bool) -> None:
        self.always = always
        self.model = torch.nn.Conv2d(3, 3, 1)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Overflowing":
        return self

    def eval(self) -> "Overflowing":
        return self

    def __call__(self, x: Tensor) -> Tensor:
        large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return large * torch.nan if self.always or x.dtype is torch.float16 else large


def test_an_upscaler_that_overflows_in_fp16_goes_on_in_fp32() -> None:
    upscaler = UpscaleModel("up", Overflowing(always=False), CPU)
    upscaler.dtype = torch.float16  # as on a GPU
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(upscaler(image), image.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert upscaler.dtype is torch.float32


def test_an_upscaler_whose_values_are_no_numbers_is_named() -> None:
    with pytest.raises(NotFinite, match="The upscaler 'up' produced invalid numbers"):
        UpscaleModel("up", Overflowing(always=True), CPU)(torch.rand(1, 3, 8, 8))
