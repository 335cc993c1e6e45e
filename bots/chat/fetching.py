"""Say that what people gave could not be fetched, whatever the platform."""

from __future__ import annotations

from engine.errors import UserError
from engine.sentences import Sentence


class Unfetched(UserError):
    """Say that a picture could not be fetched."""

    def __init__(self) -> None:
        text = "The picture could not be fetched; try again in a moment."
        super().__init__(Sentence(text, "unfetched"))
