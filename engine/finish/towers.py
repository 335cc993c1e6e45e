"""CLIP's two towers: pictures and texts as vectors, whose cosine says how well they match.

Radford et al. (2021), arXiv:2103.00020; SigLIP: Zhai et al. (2023), arXiv:2303.15343. They run in a
process of their own (`engine.executors.embedder`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoConfig, AutoTokenizer, CLIPModel, SiglipModel

from engine.errors import UserError, first_line
from engine.finish.pretrained import WEIGHTS, check_complete, load_processor, source_of
from engine.models.catalogue import STARTER, STARTER_TOWERS

Vectors = NDArray[np.float32]  # [n, width], each of length 1

# By the `model_type` of a configuration.
KINDS: Final[Mapping[str, Any]] = {"clip": CLIPModel, "siglip": SiglipModel}
# How texts are padded: CLIP reads none of it, and SigLIP was trained with it, without a mask.
PADDING: Final = {"clip": "longest", "siglip": "max_length"}
BATCH: Final = 16  # pictures in one call
MARK: Final = 8  # hexadecimal digits that tell weights apart


class BrokenTowers(UserError):
    """A model that cannot compare pictures with texts, with the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"The model {name!r} cannot compare pictures with texts: {reason.rstrip('.')}."
        )


@dataclass(frozen=True, slots=True)
class Towers:
    """CLIP or SigLIP: one tower for pictures and one for texts.

    name: the model's, with the first digits of its weights' SHA-256: vectors can be compared only
    where they have the same. width: of a vector.
    """

    model: Any
    processor: Any
    tokenizer: Any
    name: str
    width: int

    def pictures(self, images: Iterable[Image.Image]) -> Vectors:
        """Return the vectors of pictures (RGB), each taken when the one before is small."""
        prepared = map(self.prepare, images)
        found: list[Tensor] = []
        while some := list(islice(prepared, BATCH)):
            found.append(self._see(torch.cat(some)))
        return _stacked(found, self.width)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts; of a long one only the beginning counts."""
        starts = range(0, len(texts), BATCH)
        found = [self._read(list(texts[start : start + BATCH])) for start in starts]
        return _stacked(found, self.width)

    def prepare(self, image: Image.Image) -> Tensor:
        """Return a picture [1, 3, h, w] as the image tower reads it: resized, cut, normalised."""
        pixels: Tensor = self.processor(images=[image], return_tensors="pt").pixel_values
        return pixels

    @torch.inference_mode()
    def _see(self, pixels: Tensor) -> Tensor:
        found = self.model.get_image_features(pixel_values=pixels.to(self.model.device))
        return normalize(found.pooler_output.float(), dim=-1)

    @torch.inference_mode()
    def _read(self, texts: list[str]) -> Tensor:
        config = self.model.config
        ids = self.tokenizer(
            texts,
            padding=PADDING[config.model_type],
            truncation=True,
            max_length=config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).input_ids
        found = self.model.get_text_features(input_ids=ids.to(self.model.device))
        return normalize(found.pooler_output.float(), dim=-1)


def _stacked(parts: Sequence[Tensor], width: int) -> Vectors:
    vectors: Vectors = torch.cat([torch.empty(0, width), *(part.cpu() for part in parts)]).numpy()
    return vectors


def load_towers(name: str, device: str = "cpu") -> Towers:
    """Load a folder, a model of the hub (`owner/name[@revision]`), or the bundled one, `starter`.

    Raises `BrokenTowers`, also for weights that are missing or no numbers, and where a trial fails.
    """
    try:
        source = source_of(str(STARTER_TOWERS) if name == STARTER else name)
        with _reading("configuration"):
            kind = AutoConfig.from_pretrained(**source).model_type
        if kind not in KINDS:
            raise ValueError(f"it is a {kind!r}, and only 'clip' and 'siglip' have both towers")
        with _reading("preprocessor configuration"):
            processor = load_processor(source)
        with _reading("weights"):
            model, found = KINDS[kind].from_pretrained(**source, **WEIGHTS)
        check_complete(found["missing_keys"])
        with _reading("tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(**source)
        check_tokenizer(tokenizer, model.config.text_config.vocab_size)
        check_finite(model)
        full = f"{_short(name)}@{_mark(model, processor)}"
        return _tried(Towers(model.eval().to(device), processor, tokenizer, full, 0))
    except Exception as error:  # its files may hold anything
        raise BrokenTowers(name, first_line(error)) from error


def examine(name: str) -> str:
    """Return the name and width of a model that works. Blocks; raises `BrokenTowers`."""
    towers = load_towers(name)
    return f"{towers.name}, vectors of {towers.width} numbers"


@contextmanager
def _reading(part: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(f"its {part} cannot be read ({first_line(error).rstrip('.')})") from error


def check_tokenizer(tokenizer: Any, vocabulary: int) -> None:
    """Raise `ValueError` for a tokenizer that is empty, or that has tokens the model lacks.

    transformers makes an empty one where a folder holds no tokenizer's files.
    """
    tokens = len(tokenizer)
    if tokens > vocabulary or 2 * tokens < vocabulary:
        sizes = f"their vocabularies are of {tokens} and {vocabulary}"
        raise ValueError(f"its tokenizer is not that of its text tower: {sizes}")


def check_finite(model: torch.nn.Module) -> None:
    """Raise `ValueError` for weights that are no numbers."""
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise ValueError(f"the weights {name} are not all numbers")


def _tried(towers: Towers) -> Towers:
    """Return the towers with their width, found by a trial; raises `ValueError`."""
    grey = towers.prepare(Image.new("RGB", (64, 48), "grey"))
    side, (_, _, height, width) = towers.model.config.vision_config.image_size, grey.shape
    if (height, width) != (side, side):
        pixels = f"{width} × {height} pixels and its image tower reads {side} × {side}"
        raise ValueError(f"its preprocessor configuration makes {pixels}")
    seen = towers._see(grey)
    read = towers._read(["a"])
    if seen.shape != read.shape:
        widths = f"{seen.shape[-1]} and {read.shape[-1]}"
        raise ValueError(f"its vectors of pictures and of texts have {widths} numbers")
    if not (seen.isfinite().all() and read.isfinite().all()):
        raise ValueError("its vectors are not numbers")
    return Towers(
        towers.model, towers.processor, towers.tokenizer, towers.name, int(seen.shape[-1])
    )


def _short(name: str) -> str:
    """Return what a model is called: the name of its folder, or that on the hub."""
    path = Path(name).expanduser()
    return path.absolute().name if name != STARTER and path.is_dir() else name.partition("@")[0]


def _mark(model: torch.nn.Module, processor: Any) -> str:
    """Return what tells weights, and how pictures are prepared for them, from others."""
    digest = hashlib.sha256(json.dumps(processor.to_dict(), sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:MARK]
