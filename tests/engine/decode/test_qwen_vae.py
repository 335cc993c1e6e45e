"""Qwen-Image's VAE: of a file or a folder, the same as diffusers' for a single picture."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from safetensors.torch import save_file
from torch import Tensor

from engine.decode import qwen_vae
from engine.decode.encode import encode_whole
from engine.decode.tiled_vae import decode_in_tiles, encode_in_tiles
from engine.decode.vae import decode_whole
from engine.errors import BrokenModel
from engine.files.safetensors import BadFile
from tests.conftest import SHARED_FLOW

WITHIN_BLOCKS = (
    ("norm1", "residual.0"), ("conv1", "residual.2"), ("norm2", "residual.3"),
    ("conv2", "residual.6"), ("conv_shortcut", "shortcut"),
)  # fmt: skip
OUTSIDE = (
    ("post_quant_conv", "conv2"), ("quant_conv", "conv1"), (r"\.conv_in", ".conv1"),
    (r"\.norm_out", ".head.0"), (r"\.conv_out", ".head.2"),
    (r"mid_block\.resnets\.0", "middle.0"), (r"mid_block\.attentions\.0", "middle.1"),
    (r"mid_block\.resnets\.1", "middle.2"), (r"down_blocks", "downsamples"),
)  # fmt: skip


def wan_name(name: str) -> str:
    """Return Wan's name of a tensor that diffusers names so."""

    def layer(found: re.Match[str]) -> str:
        place = 3 if found[2] == "upsamplers" else int(found[3])
        return f"upsamples.{4 * int(found[1]) + place}"

    name = re.sub(r"up_blocks\.(\d)\.(resnets|upsamplers)\.(\d)", layer, name)
    inside = "samples" in name or "blocks" in name or "mid_block" in name
    for own, theirs in WITHIN_BLOCKS if inside else ():
        name = name.replace(f".{own}.", f".{theirs}.")
    for own, theirs in OUTSIDE:
        name = re.sub(own, theirs, name)
    return name


@pytest.fixture(scope="module")
def whole() -> AutoencoderKLQwenImage:
    """Return diffusers' own, narrow and with random weights."""
    torch.manual_seed(0)
    return AutoencoderKLQwenImage(base_dim=8).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def wan(whole: AutoencoderKLQwenImage) -> dict[str, Tensor]:
    """Return its weights by the names of Wan's files."""
    return {wan_name(name): each for name, each in whole.state_dict().items()}


@pytest.fixture(scope="module")
def vae(wan: dict[str, Tensor]) -> qwen_vae.QwenVae:
    return qwen_vae.vae_of(wan)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """Turn gradients off, as the pipeline does."""
    with torch.inference_mode():
        yield


@pytest.fixture
def latents() -> Tensor:
    return torch.randn((2, 16, 6, 10), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def images() -> Tensor:
    return torch.randn((2, 3, 48, 80), generator=torch.Generator().manual_seed(2))


def apart(found: Tensor, due: Tensor) -> float:
    return float((found - due).abs().max())


def test_names_are_respelled_as_diffusers_does(wan: dict[str, Tensor]) -> None:
    found, due = qwen_vae.respell(wan), convert_wan_vae_to_diffusers(dict(wan))
    assert {name: each.data_ptr() for name, each in found.items()} == {
        name: each.data_ptr() for name, each in due.items()
    }


@pytest.mark.skipif(not SHARED_FLOW.exists(), reason="the tensors' names are not here")
def test_the_true_file_has_these_names_and_shapes() -> None:
    known = json.loads((SHARED_FLOW / "signatures.json").read_text())["vaes"]["qwen_image"]
    with torch.device("meta"):
        state = AutoencoderKLQwenImage().state_dict()
    shapes = {wan_name(name): list(each.shape) for name, each in state.items()}
    assert len(shapes) == known["tensor_count"]
    assert known["tensors"].items() <= shapes.items()
    assert qwen_vae.config_of(state)["dim_mult"] == [1, 2, 4, 4]


def test_it_decodes_as_diffusers_does(
    whole: AutoencoderKLQwenImage, vae: qwen_vae.QwenVae, latents: Tensor
) -> None:
    due = whole.decode(latents.unsqueeze(2)).sample.squeeze(2)
    assert apart(decode_whole(vae, latents), due) <= 1e-5


def test_it_encodes_as_diffusers_does(
    whole: AutoencoderKLQwenImage, vae: qwen_vae.QwenVae, images: Tensor
) -> None:
    due = whole.encode(images.unsqueeze(2)).latent_dist.mode().squeeze(2)
    assert apart(encode_whole(vae, images), due) <= 1e-5


def test_only_the_weights_of_the_first_frame_are_kept(
    whole: AutoencoderKLQwenImage, vae: qwen_vae.QwenVae
) -> None:
    before, after = (sum(each.numel() for each in x.parameters()) for x in (whole, vae))
    assert after < 0.36 * before
    assert {each.ndim for each in vae.parameters()} <= {1, 3, 4}  # may be channels last


def test_tiles_come_close_to_the_whole(vae: qwen_vae.QwenVae) -> None:
    latents = torch.randn((1, 16, 40, 36), generator=torch.Generator().manual_seed(3))
    pixels = decode_whole(vae, latents)
    difference = decode_in_tiles(vae, latents, tile=32, overlap=24) - pixels
    assert difference.abs().mean() < 1e-3 * pixels.std()
    images = torch.randn((1, 3, 320, 288), generator=torch.Generator().manual_seed(4))
    mean = encode_whole(vae, images)
    difference = encode_in_tiles(vae, images, tile=32, overlap=24) - mean
    assert difference.abs().mean() < 1e-3 * mean.std()


@pytest.mark.parametrize("form", ["file", "folder"])
def test_it_is_read_from_a_file_or_a_folder(
    form: str,
    whole: AutoencoderKLQwenImage,
    wan: dict[str, Tensor],
    latents: Tensor,
    tmp_path: Path,
) -> None:
    path = tmp_path / ("vae.safetensors" if form == "file" else "vae")
    if form == "file":
        save_file({name: each.clone() for name, each in wan.items()}, path)
    else:
        whole.save_pretrained(path)
    read = qwen_vae.read_vae("vae", path)
    due = whole.decode(latents.unsqueeze(2)).sample.squeeze(2)
    assert apart(decode_whole(read, latents), due) <= 1e-5
    assert all(each.dtype is torch.float32 for each in read.parameters())


def test_a_tensor_that_is_missing_or_unknown_is_named(
    wan: dict[str, Tensor], tmp_path: Path
) -> None:
    lost = "decoder.upsamples.4.shortcut.weight"
    with pytest.raises(BadFile, match=r"'decoder.up_blocks.1.resnets.0.conv_shortcut.weight'"):
        qwen_vae.vae_of({name: each for name, each in wan.items() if name != lost})
    with pytest.raises(BadFile, match=r"'encoder.conv_in.weight' of Qwen-Image's VAE"):
        qwen_vae.vae_of({"decoder.conv1.weight": torch.zeros(1)})
    with pytest.raises(BadFile, match=r"'strange.weight'"):
        qwen_vae.vae_of({**wan, "strange.weight": torch.zeros(1)})
    path = tmp_path / "vae.safetensors"
    save_file({"encoder.conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(BrokenModel, match="vae"):
        qwen_vae.read_vae("vae", path)


@pytest.mark.skipif(not SHARED_FLOW.exists(), reason="the latents' statistics are not here")
def test_latents_are_scaled_by_their_statistics(vae: qwen_vae.QwenVae) -> None:
    known = json.loads((SHARED_FLOW / "text" / "latent_formats.json").read_text())["qwen_image"]
    given = torch.linspace(-1, 1, 64).view(1, 16, 2, 2)
    for found, due in (
        (qwen_vae.from_vae(vae, given), known["check"]["to_model_first8"]),
        (qwen_vae.to_vae(vae, given), known["check"]["from_model_first8"]),
    ):
        assert apart(found.flatten()[:8], torch.tensor(due)) <= 1e-6
    assert apart(qwen_vae.to_vae(vae, qwen_vae.from_vae(vae, given)), given) <= 1e-6
