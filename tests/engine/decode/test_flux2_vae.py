"""FLUX.2's VAE, held to diffusers' pipeline and to ComfyUI's latent format."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from diffusers.models.resnet import ResnetBlock2D
from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, pixel_shuffle

from engine.decode import flux2_vae
from engine.decode.tiled_vae import decode_in_tiles, encode_in_tiles
from engine.decode.vae import decode_whole
from engine.files.safetensors import BadFile
from tests.conftest import SHARED_FLOW
from tests.engine.families import small
from tests.single_files import vae_name

pytestmark = small.needs_networks


def small_vae() -> AutoencoderKLFlux2:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"block_out_channels": (32, 32, 32, 64), "layers_per_block": 1}
    blocks = {f"{way}_block_types": (kind,) * 4 for way, kind in BLOCKS.items()}
    vae = AutoencoderKLFlux2(**sizes, **blocks, decoder_block_out_channels=(32, 32, 96, 96))
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0, 2)
    return vae.eval().requires_grad_(False)


BLOCKS: Final = {"down": "DownEncoderBlock2D", "up": "UpDecoderBlock2D"}


def files_names(vae: AutoencoderKLFlux2) -> dict[str, Tensor]:
    """Return its tensors as `flux2-vae.safetensors` has them."""
    return {
        vae_name(name): tensor[:, :, None, None] if IS_ATTENTION.search(name) else tensor
        for name, tensor in vae.state_dict().items()
    }


IS_ATTENTION: Final = re.compile(r"attentions\.0\.to_\w+(\.0)?\.weight")


class Pipeline(Flux2Pipeline):  # type: ignore[misc]
    def __init__(self, vae: AutoencoderKLFlux2) -> None:
        self.__dict__["vae"] = vae


@pytest.mark.parametrize("form", ["the makers' names", "diffusers' names", "a folder"])
@torch.inference_mode()
def test_pictures_become_latents_and_latents_pictures_as_in_diffusers(
    form: str, tmp_path: Path
) -> None:
    its = small_vae()
    path = tmp_path / "flux2-vae.safetensors"
    if form == "a folder":
        its.save_pretrained(path)
    else:
        names = files_names(its) if form == "the makers' names" else its.state_dict()
        save_file({name: each.contiguous() for name, each in names.items()}, path)
    vae = flux2_vae.read_vae("it", path)
    assert vae.config.batch_norm_eps == 1e-4
    pictures = torch.randn((1, 3, 32, 48), generator=torch.Generator().manual_seed(1))
    pipeline: Any = Pipeline(its)
    wanted = pipeline._encode_vae_image(pictures, None)
    latents = flux2_vae.from_vae(vae, vae.encode(pictures, return_dict=False)[0].mode())
    assert latents.shape == (1, 128, 2, 3)
    assert (latents - wanted).abs().max() <= 1e-5
    mean, variance = its.bn.running_mean[:, None, None], its.bn.running_var[:, None, None]
    scaled = pipeline._unpatchify_latents(latents * (variance + 1e-4).sqrt() + mean)
    again = vae.decode(flux2_vae.to_vae(vae, latents), return_dict=False)[0]
    assert (again - its.decode(scaled, return_dict=False)[0]).abs().max() <= 1e-5


@torch.inference_mode()
def test_in_tiles_it_decodes_and_encodes_as_in_one_piece() -> None:
    vae, draw = small_vae(), torch.Generator().manual_seed(2)
    for block in vae.modules():
        if isinstance(block, ResnetBlock2D):  # adds little to its input, as trained ones
            block.conv2.weight *= 0.1
            block.conv2.bias *= 0.1
    latents = flux2_vae.to_vae(vae, torch.randn((1, 128, 16, 24), generator=draw))
    whole = decode_whole(vae, latents)
    found = decode_in_tiles(vae, latents, tile=24, overlap=16)
    assert found.shape == whole.shape == (1, 3, 256, 384)
    error = (found - whole).abs()
    vae.tile_latent_min_size, vae.tile_sample_min_size = 24, 192
    usual = (vae.tiled_decode(latents).sample - whole).abs()
    assert error.mean() < 0.03 * whole.std()
    assert error.mean() < usual.mean() / 2
    assert (decode_in_tiles(vae, latents, tile=48, overlap=8) - whole).abs().max() < 1e-4  # one
    pictures = torch.randn((1, 3, 256, 384), generator=draw).clamp(-1, 1)
    mean = vae.encode(pictures, return_dict=False)[0].mode()
    shrunk = encode_in_tiles(vae, pictures, tile=24, overlap=16)
    assert shrunk.shape == mean.shape
    assert (shrunk - mean).abs().mean() < 0.03 * mean.std()


def test_the_file_of_the_makers_is_the_form_that_is_read() -> None:
    listed = json.loads((SHARED_FLOW / "signatures.json").read_text())["vaes"]["flux2"]
    with torch.device("meta"):
        names = files_names(AutoencoderKLFlux2())
        vae = flux2_vae.vae_of(names)
    shapes = {name: list(tensor.shape) for name, tensor in names.items()}
    assert len(shapes) == listed["tensor_count"]
    assert listed["tensors"].items() <= shapes.items()
    assert vae.config.block_out_channels == (128, 256, 512, 512)


def test_the_order_of_channels_is_that_of_comfyui() -> None:
    """By `latent_formats.json`: (channel, row, column), and nothing else between both."""
    about = json.loads((SHARED_FLOW / "text" / "latent_formats.json").read_text())["flux2"]
    assert (about["channels"], about["pixels_per_latent"]) == (128, 16)
    vae = small_vae()
    vae.bn.running_mean.zero_()
    vae.bn.running_var.fill_(1 - 1e-4)
    mean = torch.arange(32 * 4 * 4.0).view(1, 32, 4, 4)
    latents = flux2_vae.from_vae(vae, mean)
    assert latents[0, 4 * 5 + 2 * 1 + 0, 1, 0] == mean[0, 5, 3, 0]
    assert torch.equal(flux2_vae.to_vae(vae, latents), mean)


def test_previews_have_comfyuis_colours() -> None:
    check = json.loads((SHARED_FLOW / "text" / "latent_formats.json").read_text())["flux2"]["check"]
    latents = torch.linspace(-1, 1, 128 * 4).view(1, 128, 2, 2)
    factors = torch.tensor(flux2_vae.PREVIEW)
    fine = torch.einsum("nchw,cr->nhwr", pixel_shuffle(latents, 2), factors[:-1]) + factors[-1]
    levels = ((fine + 1) / 2).clamp(0, 1) * 255
    assert levels.to(torch.uint8).flatten().tolist() == check["preview_bytes"]["rgb"]
    its = flux2_vae.preview_map()
    coarse = torch.einsum("nchw,cr->nrhw", latents, its[:-1]) + its[-1, :, None, None]
    assert torch.allclose(coarse, avg_pool2d(fine.permute(0, 3, 1, 2), 2), atol=1e-5)


def test_a_broken_vae_is_refused_with_what_is_wrong() -> None:
    held = files_names(small_vae())
    for what, tensors in {
        "decoder.conv_out.bias": {k: v for k, v in held.items() if k != "decoder.conv_out.bias"},
        "bn.running_var": {k: v for k, v in held.items() if k != "bn.running_var"},
        "decoder.conv_in.weight": {"bn.running_var": held["bn.running_var"]},
        "decoder.strange": {**held, "decoder.strange": torch.zeros(1)},
    }.items():
        with pytest.raises(BadFile, match=what):
            flux2_vae.vae_of(tensors)
