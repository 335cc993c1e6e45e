"""The process that turns pictures and texts into vectors by CLIP's towers.

python -m engine.executors.embedder NAME

It reads frames from its input: `{"pictures": […]}`, the length of each picture in the payload, or
`{"texts": […]}`. It answers each with `{"name": …, "width": …}` and the vectors, fp32, one after
another; with `{"damaged": n}` where picture n cannot be read; or with `{"error": "…"}`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import BinaryIO, Final

from PIL import Image

from engine.errors import ImageError
from engine.executors import wire
from engine.executors.helper import answer_all, output_for_answers
from engine.finish.towers import Towers, load_towers
from engine.pictures.images import flatten, read_stored_image

NICE: Final = 5  # drawing comes first, where processors are short


class Damaged(Exception):
    """A picture that cannot be read; it carries its number."""


def serve(name: str, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer frames until there are no more; the model is loaded for the first."""

    @cache
    def towers() -> Towers:
        return load_towers(name)

    def answer(question: wire.Frame) -> wire.Frame:
        try:
            return _answer(towers(), question)
        except Damaged as damaged:
            return wire.Frame({"damaged": damaged.args[0]})

    answer_all(answer, questions, answers)


def _answer(towers: Towers, question: wire.Frame) -> wire.Frame:
    if "texts" in question.header:
        vectors = towers.texts(question.header["texts"])
    else:
        lengths = question.header["pictures"]
        vectors = towers.pictures(_images(question.payload, lengths))
    return wire.Frame({"name": towers.name, "width": towers.width}, vectors.tobytes())


def _images(payload: bytes, lengths: Sequence[int]) -> Iterator[Image.Image]:
    start = 0
    for number, length in enumerate(lengths):
        try:
            yield flatten(read_stored_image(payload[start : start + length]))
        except ImageError:
            raise Damaged(number) from None
        start += length


if __name__ == "__main__":
    if hasattr(os, "nice"):  # not on Windows
        os.nice(NICE)
    with output_for_answers() as output:
        serve(sys.argv[1], sys.stdin.buffer, output)
