"""Descriptions: an image-to-text model of transformers says in words what a picture shows.

It runs on the CPU, in a process of its own (`engine.executors.describing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer

from engine.errors import UserError, first_line
from engine.finish.pretrained import WEIGHTS, check_complete, load_processor, source_of

BEAMS: Final = 4
SEEDS: Final = (1, 2, 3)  # of the descriptions after the first
TOP_P: Final = 0.9
LONGEST: Final = 60  # tokens of a description


class BrokenDescriber(UserError):
    """A model that cannot describe pictures, with the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The model {name!r} cannot describe pictures: {reason.rstrip('.')}.")


@dataclass(frozen=True, slots=True)
class Describer:
    """An image-to-text model."""

    model: Any
    processor: Any
    tokenizer: Any

    @torch.inference_mode()
    def suggest(self, image: Image.Image) -> list[str]:
        """Return what a picture (RGB) shows in words, each time otherwise, the likeliest first.

        The first is found by a beam search, the others are drawn with fixed seeds: the same picture
        gives the same words.
        """
        pixels = self.processor(images=image, return_tensors="pt").pixel_values
        found = [self._write(pixels, num_beams=BEAMS, do_sample=False)]
        for seed in SEEDS:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                found.append(self._write(pixels, num_beams=1, do_sample=True, top_p=TOP_P))
        return [words for words in dict.fromkeys(found) if words]

    def _write(self, pixels: torch.Tensor, **how: Any) -> str:
        [tokens] = self.model.generate(pixel_values=pixels, max_new_tokens=LONGEST, **how)
        return " ".join(self.tokenizer.decode(tokens, skip_special_tokens=True).split())


def load_describer(name: str) -> Describer:
    """Load a folder, or a model of the hub: `owner/name` or `owner/name@revision`.

    Raises `BrokenDescriber`, also where weights are missing.
    """
    try:
        source = source_of(name)
        processor, tokenizer = load_processor(source), AutoTokenizer.from_pretrained(**source)
        model, found = AutoModelForImageTextToText.from_pretrained(**source, **WEIGHTS)
        check_complete(found["missing_keys"])
    except Exception as error:  # its files may hold anything
        raise BrokenDescriber(name, first_line(error)) from error
    return Describer(model.eval(), processor, tokenizer)


def examine(name: str) -> int:
    """Return how many descriptions a model that works has of a grey picture. Blocks.

    Raises `BrokenDescriber`.
    """
    describer = load_describer(name)
    try:
        return len(describer.suggest(Image.new("RGB", (64, 64), "grey")))
    except Exception as error:  # one that wants a question, say
        raise BrokenDescriber(name, first_line(error)) from error
