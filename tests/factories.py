"""Make what tests need many of, with only what matters to the test spelled out."""

import hashlib
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.making_of.record import Frame, Pass, Record, Text, Word
from engine.recipe.recipe import Recipe
from storage import Job, NewJob, Storage
from storage.jobs.place_tree import line_of
from storage.records import Line

SMALL: dict[str, Any] = {
    "prompt": "a marble scholar",
    "seed": 7,
    "steps": 4,
    "guidance_scale": 4.0,
    "width": 64,
    "height": 64,
    "sampler": "euler",
    "schedule": "normal",
    "checkpoint": "starter",
}


def make_recipe(**changes: Any) -> Recipe:
    """Return a small valid recipe with some values changed."""
    return Recipe(**{**SMALL, **changes})


def pixels(seed: int, width: int = 8, height: int = 8) -> npt.NDArray[np.uint8]:
    """Return random pixels, uint8 [height, width, 3]."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_record(png: bytes, prompt: str) -> Record:
    """Return what a making-of's job records, of a picture and two guesses at it."""
    guesses = [io.BytesIO(), io.BytesIO()]
    for shade, out in zip(("grey", "navy"), guesses, strict=True):
        Image.new("RGB", (16, 16), shade).save(out, "WEBP")
    words = tuple(
        Word(text=each, ids=(n,), pieces=(each,), weight=1.0, windows=(0,))
        for n, each in enumerate(prompt.split())
    )
    return Record(
        sha256=hashlib.sha256(png).hexdigest(),
        texts=(Text(text=prompt, words=words, windows=1, requests=2),),
        passes=(Pass(model="tiny", width=8, height=8, sigmas=(9.0, 1.0, 0.0), lora_layers={}),),
        frames=tuple(
            Frame(number=0, step=n, picture=out.getvalue()) for n, out in enumerate(guesses)
        ),
        channels=(),
        layers=0,
        seconds={"denoise": 1.25},
    )


async def line_in(storage: Storage, place: str) -> Line:
    """Return a place and what it lies in, each with its own settings."""
    return await storage.database.read(lambda c: line_of(c, place))


async def add_claimed(storage: Storage, new: NewJob) -> Job:
    """Add a job and claim it for this process."""
    job = await storage.worker.claim((await storage.jobs.add(new)).id)
    assert job is not None
    return job
