"""Large pictures through a VAE in tiles: as if in one piece, on the starter model's trained VAE."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.decode.encode import encode, to_images
from engine.decode.tiled_vae import SharedNorms, decode_in_tiles, encode_in_tiles
from engine.decode.vae import decode
from engine.families.stable_diffusion import StableDiffusion, load
from engine.models.catalogue import STARTER_FOLDER, describe
from tests.conftest import ROOT

# A hard case: a picture of four times the trained side, in tiles of one and a half.
TILES = {"tile": 24, "overlap": 8}


@pytest.fixture(scope="module")
def vae() -> Any:
    """Return the starter model's VAE."""
    return load(describe("starter", STARTER_FOLDER), torch.device("cpu")).vae


@pytest.fixture(scope="module")
def image() -> Tensor:
    """Return a picture that the model once drew, enlarged to [1, 3, 256, 384] in −1…1."""
    scholar = Image.open(ROOT / "tests" / "engine" / "scholar.png").convert("RGB")
    pixels = np.array(scholar.resize((512, 512), Image.Resampling.LANCZOS))[:256, 64:448]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.fixture(scope="module")
def latents(vae: Any, image: Tensor) -> Tensor:
    """Return the picture's latents, encoded in one piece."""
    with torch.inference_mode():
        return vae.encode(image).latent_dist.mode()  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """Turn gradients off, as the pipeline does."""
    with torch.inference_mode():
        yield


def seam(difference: Tensor) -> float:
    """Return how sharply an error jumps between two neighbouring rows or columns, at its worst."""
    across = difference.diff(dim=3).abs().mean(dim=(0, 1, 2)).max()
    down = difference.diff(dim=2).abs().mean(dim=(0, 1, 3)).max()
    return float(max(across, down))


def test_tiles_decode_to_what_the_whole_decodes_to(vae: Any, latents: Tensor) -> None:
    whole = vae.decode(latents, return_dict=False)[0]
    difference = decode_in_tiles(vae, latents, **TILES) - whole
    assert difference.abs().max() < 0.1  # of 2, where it is worst
    assert difference.abs().mean() < 0.01
    vae.tile_latent_min_size, vae.tile_sample_min_size = 24, 192
    usual = vae.tiled_decode(latents).sample - whole
    assert seam(difference) < 0.01  # hardly more than one step of 255
    assert seam(difference) < seam(usual) / 3


def test_tiles_encode_to_what_the_whole_encodes_to(
    vae: Any, image: Tensor, latents: Tensor
) -> None:
    difference = encode_in_tiles(vae, image, **TILES) - latents
    assert difference.abs().mean() < 0.06 * latents.std()
    vae.tile_latent_min_size, vae.tile_sample_min_size = 24, 192
    usual = vae._tiled_encode(image).chunk(2, dim=1)[0] - latents
    assert difference.abs().mean() < usual.abs().mean()
    assert seam(difference) < seam(usual) / 1.8


def test_without_a_common_measure_tiles_are_seen(
    vae: Any, latents: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vae.decode(latents, return_dict=False)[0]
    measured = seam(decode_in_tiles(vae, latents, **TILES) - whole)
    monkeypatch.setattr(SharedNorms, "combine", lambda norms: None)
    assert seam(decode_in_tiles(vae, latents, **TILES) - whole) > 2 * measured


def test_one_tile_is_the_whole(vae: Any, latents: Tensor, image: Tensor) -> None:
    whole = vae.decode(latents, return_dict=False)[0]
    assert (decode_in_tiles(vae, latents) - whole).abs().max() < 1e-3
    assert (encode_in_tiles(vae, image) - latents).abs().max() < 1e-2 * latents.abs().max()


def test_norms_are_as_they_were_afterwards(vae: Any, latents: Tensor) -> None:
    before = vae.decode(latents[..., :16, :16], return_dict=False)[0]
    decode_in_tiles(vae, latents, **TILES)
    assert torch.equal(vae.decode(latents[..., :16, :16], return_dict=False)[0], before)
    norm = torch.nn.GroupNorm(2, 4)
    with pytest.raises(RuntimeError, match="channels"), SharedNorms([norm]):
        norm(torch.zeros(1, 3, 2, 2))
    assert not any("forward" in vars(module) for module in (norm, *vae.modules()))


def test_the_measure_of_tiles_is_that_of_the_whole() -> None:
    norm = torch.nn.GroupNorm(2, 4)
    x = torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(1)) * 3 + 5
    with SharedNorms([norm]) as norms:
        for part in (slice(0, 6), slice(6, 12)):
            norms.weight = torch.ones(8, 6)
            norm(x[..., part])
        norms.combine()
        halves = [norm(x[..., part]) for part in (slice(0, 6), slice(6, 12))]
    assert (torch.cat(halves, dim=3) - norm(x)).abs().max() < 1e-5


def test_a_models_pictures_come_and_go_in_tiles_alike(model: StableDiffusion) -> None:
    latents = torch.randn((1, 4, 12, 9), generator=torch.Generator().manual_seed(2))
    whole, in_tiles = decode(model, latents), decode(model, latents, decode_in_tiles)
    assert in_tiles.shape == whole.shape == (96, 72, 3)
    assert np.abs(whole.astype(int) - in_tiles).max() <= 1
    images = to_images(whole)
    assert (encode(model, images) - encode(model, images, encode_in_tiles)).abs().max() < 1e-4
