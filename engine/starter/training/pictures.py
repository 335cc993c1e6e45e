"""The training pictures on disk: rendered in chunks, read back by index."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.starter.recipe import RenderRecipe
from engine.starter.render.picture import PICTURE, render
from engine.starter.training.log import Log
from engine.starter.world import Spec, draw_spec

_CHUNK = 500


def spec_of(recipe: RenderRecipe, index: int) -> Spec:
    """Give the spec of one training picture; it depends on seed and index alone."""
    return draw_spec(np.random.default_rng((recipe.seed, index)))


def render_pictures(recipe: RenderRecipe, folder: Path, log: Log) -> None:
    """Render every picture that is not on disk yet, on `recipe.workers` processes."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [start for start in range(0, recipe.pictures, _CHUNK)]
    missing = [start for start in wanted if not _chunk_path(folder, start).exists()]
    with ProcessPoolExecutor(recipe.workers) as pool:
        jobs = [pool.submit(_render_chunk, recipe, folder, start) for start in missing]
        for start, job in zip(missing, jobs, strict=True):
            job.result()
            log.write(f"rendered up to {start + _CHUNK}")


@dataclass(frozen=True)
class Pictures:
    """All rendered pictures, memory-mapped."""

    chunks: tuple[NDArray[np.uint8], ...]

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    def numpy(self, index: int) -> NDArray[np.uint8]:
        """Read one picture, `[128, 128, 3]`."""
        picture: NDArray[np.uint8] = self.chunks[index // _CHUNK][index % _CHUNK]
        return picture

    def batch(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """Read pictures as fp32 `[n, 3, 128, 128]` in -1 … 1."""
        return to_signed(np.stack([self.numpy(int(index)) for index in indices]))


def open_pictures(recipe: RenderRecipe, folder: Path) -> Pictures:
    """Map the rendered pictures into memory."""
    paths = [_chunk_path(folder, start) for start in range(0, recipe.pictures, _CHUNK)]
    return Pictures(tuple(np.load(path, mmap_mode="r") for path in paths))


def to_signed(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 `[n, h, w, 3]` into fp32 `[n, 3, h, w]` in -1 … 1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def to_bytes(pictures: torch.Tensor) -> NDArray[np.uint8]:
    """Turn `[n, 3, h, w]` in -1 … 1 into uint8 `[n, h, w, 3]`."""
    scaled = (pictures.float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def _render_chunk(recipe: RenderRecipe, folder: Path, start: int) -> None:
    chunk = np.empty((_CHUNK, PICTURE, PICTURE, 3), np.uint8)
    for offset in range(_CHUNK):
        index = start + offset
        chunk[offset] = render(
            spec_of(recipe, index), np.random.default_rng((recipe.seed, index, 1))
        )
    path = _chunk_path(folder, start)
    unfinished = path.with_suffix(".part.npy")
    np.save(unfinished, chunk)
    unfinished.rename(path)


def _chunk_path(folder: Path, start: int) -> Path:
    return folder / f"pictures-{start:06d}.npy"
