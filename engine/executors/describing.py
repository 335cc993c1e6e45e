"""The process that describes pictures, so that neither the tick nor the chats wait.

python -m engine.executors.describing NAME

It reads frames from its input, each with a picture as its payload, and answers each with one:
`{"words": […]}` or `{"error": "…"}`.
"""

from __future__ import annotations

import io
import sys
from functools import cache
from typing import BinaryIO

from PIL import Image

from engine.executors import wire
from engine.executors.helper import answer_all, output_for_answers
from engine.finish.describe import Describer, load_describer


def serve(name: str, pictures: BinaryIO, answers: BinaryIO) -> None:
    """Answer pictures until there are no more; the model is loaded for the first."""

    @cache
    def describer() -> Describer:
        return load_describer(name)

    def answer(question: wire.Frame) -> wire.Frame:
        return wire.Frame({"words": describer().suggest(Image.open(io.BytesIO(question.payload)))})

    answer_all(answer, pictures, answers)


if __name__ == "__main__":
    with output_for_answers() as output:
        serve(sys.argv[1], sys.stdin.buffer, output)
