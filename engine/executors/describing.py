"""The process that describes pictures, so that neither the tick nor the chats wait.

python -m engine.executors.describing NAME

It reads frames from its input, each with a picture as its payload, and answers each with one:
`{"words": […]}` or `{"error": "…"}`.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, BinaryIO

from PIL import Image

from engine.errors import UserError, first_line
from engine.executors import wire
from engine.finish.describe import load_describer


def serve(name: str, pictures: BinaryIO, answers: BinaryIO) -> None:
    """Answer pictures until there are no more; the model is loaded for the first."""
    describer = None
    while True:
        try:
            data = wire.read(pictures).payload
        except EOFError:
            return
        try:
            describer = describer or load_describer(name)
            answer: dict[str, Any] = {"words": describer.suggest(Image.open(io.BytesIO(data)))}
        except UserError as error:
            answer = {"error": str(error)}
        except Exception as error:
            answer = {"error": first_line(error)}
        answers.write(wire.Frame(answer).to_bytes())
        answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # whatever a library prints is no answer
        serve(sys.argv[1], sys.stdin.buffer, output)
