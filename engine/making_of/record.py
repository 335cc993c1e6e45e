"""The record of how a picture came about, which its PNG file carries in a chunk of its own.

The chunk is ancillary, private and safe to copy, so that other programs keep or ignore it. Standard
library only.

PNG: https://www.w3.org/TR/png-3/#5Chunk-naming-conventions
"""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from engine.errors import UserError
from engine.formats.png_texts import SIGNATURE
from engine.sentences import Sentence

CHUNK: Final = b"mkOf"
END: Final = 12  # bytes of a PNG's last chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a prompt: its tokens' ids and texts, its weight, and the windows it stands in.

    heat: what share of attention each place pays it, a grey PNG from black at the least to white at
    the most; most: that share; empty and 0 where it was not measured.
    """

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    weight: float
    windows: tuple[int, ...]
    heat: bytes = b""
    most: float = 0.0

    @property
    def is_cut(self) -> bool:
        """Return whether it is cut where a window ends."""
        return len(self.windows) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text that the network was guided towards, as its encoder reads it.

    words: the first ones; left_out: how many follow; windows: of 77 tokens each, 0 where the
    encoder has none and its words are not known; requests: of a sampler, in how many it was read.
    """

    text: str
    words: tuple[Word, ...] = ()
    left_out: int = 0
    windows: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A pass of denoising by one model: its noise levels, and between which it went.

    first: the step with which it began; lora_layers: how many layers of each part LoRAs changed.
    """

    model: str
    width: int
    height: int
    sigmas: tuple[float, ...]
    first: int = 0
    lora_layers: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A guess at the picture, a WebP file, after so many steps of a pass; 0: the noise."""

    number: int  # of its pass, from 0
    step: int
    picture: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How a picture came about.

    sha256: of its PNG without this record; layers: of the network whose attention was measured;
    channels: of the latents that the VAE decoded at last, grey PNGs; seconds: by stage.
    """

    sha256: str
    texts: tuple[Text, ...]
    passes: tuple[Pass, ...]
    frames: tuple[Frame, ...]
    channels: tuple[bytes, ...]
    layers: int
    seconds: Mapping[str, float]

    def to_json(self) -> bytes:
        """Return it as JSON, files in base64."""
        return json.dumps(asdict(self), default=lambda data: b64encode(data).decode()).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Record:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(
            **{
                **data,
                "texts": tuple(map(_text, data["texts"])),
                "passes": tuple(
                    Pass(**{**each, "sigmas": tuple(each["sigmas"])}) for each in data["passes"]
                ),
                "frames": tuple(
                    Frame(**{**each, "picture": b64decode(each["picture"])})
                    for each in data["frames"]
                ),
                "channels": tuple(map(b64decode, data["channels"])),
            }
        )


def _text(data: Mapping[str, Any]) -> Text:
    return Text(**{**data, "words": tuple(map(_word, data["words"]))})


def _word(data: Mapping[str, Any]) -> Word:
    lists = {name: tuple(data[name]) for name in ("ids", "pieces", "windows")}
    return Word(**{**data, **lists, "heat": b64decode(data["heat"])})


def put_into(png: bytes, record: Record) -> bytes:
    """Return a PNG that carries a record."""
    body = record.to_json()
    head, tail = struct.pack(">I4s", len(body), CHUNK), zlib.crc32(CHUNK + body)
    return png[:-END] + head + body + struct.pack(">I", tail) + png[-END:]


def read_from(png: bytes) -> Record:
    """Return the record that a PNG carries; raises `UserError`: none, or no valid one."""
    at = len(SIGNATURE)
    while at + END <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        if kind == CHUNK:
            try:
                return Record.from_json(png[at + 8 : at + 8 + length])
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(Sentence("damaged_making_of")) from error
        at += END + length
    raise UserError(Sentence("no_making_of"))
