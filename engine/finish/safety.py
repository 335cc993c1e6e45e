"""The safety check: a transformers image classifier on every finished picture.

It runs on the CPU, in the threads that write PNGs, while the device goes on denoising. Only
safetensors are read, and no code of a model is run. After any failure a picture is `UNCHECKED`,
which counts as unsafe where it is shown: no picture passes because the check failed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageClassification

from engine.decode.vae import Pixels
from engine.device.tensor_bytes import module_bytes
from engine.errors import UserError, first_line
from engine.events import Verdict
from engine.finish.pretrained import WEIGHTS, check_complete, load_processor, source_of

log = logging.getLogger(__name__)

AGAIN: Final = 60.0  # seconds after which a classifier that could not be loaded is tried again
MANY_LABELS: Final = "multi_label_classification"  # each label has a probability of its own


class BrokenClassifier(UserError):
    """A classifier that cannot be used, with the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The safety classifier {name!r} cannot be used: {reason.rstrip('.')}.")


@dataclass(frozen=True, slots=True)
class Classifier:
    """An image classifier; labels: in lower case, in the model's order."""

    model: Any
    processor: Any
    labels: tuple[str, ...]

    @torch.inference_mode()
    def scores(self, pixels: Pixels) -> dict[str, float]:
        """Return each label's probability for a picture, uint8 [height, width, 3]."""
        image = Image.fromarray(pixels)
        logits = self.model(**self.processor(images=image, return_tensors="pt")).logits[0].double()
        independent = self.model.config.problem_type == MANY_LABELS
        probabilities = logits.sigmoid() if independent else logits.softmax(-1)
        return dict(zip(self.labels, probabilities.tolist(), strict=True))


def load_classifier(name: str) -> Classifier:
    """Load a folder, or a model of the hub: `owner/name` or `owner/name@revision`.

    Raises `BrokenClassifier`, also where weights are missing (they would be random), or where two
    labels are equal in lower case.
    """
    try:
        source = source_of(name)
        processor = load_processor(source)
        model, found = AutoModelForImageClassification.from_pretrained(**source, **WEIGHTS)
        check_complete(found["missing_keys"])
    except Exception as error:  # its files may hold anything
        raise BrokenClassifier(name, first_line(error)) from error
    names = [str(model.config.id2label[n]).lower() for n in range(model.config.num_labels)]
    if doubled := sorted({each for each in names if names.count(each) > 1}):
        # It would be unclear which of the two a limit is for.
        raise BrokenClassifier(name, f"it has two labels {doubled[0]!r}")
    return Classifier(model.eval(), processor, tuple(names))


@dataclass(slots=True)
class SafetyChecker:
    """Check pictures by a classifier, loaded for the first of them, one at a time. It never raises.

    limits: label, in lower case → the probability from which a picture is unsafe.
    """

    name: str
    limits: Mapping[str, float]
    load: Callable[[str], Classifier] = load_classifier
    clock: Callable[[], float] = time.monotonic
    _classifier: Classifier | None = field(default=None, init=False)
    _not_before: float = field(default=-math.inf, init=False)
    _turn: Lock = field(default_factory=Lock, init=False)

    @property
    def size(self) -> int:
        """Return the bytes of the classifier in main memory."""
        return module_bytes([self._classifier.model]) if self._classifier else 0

    def drop(self) -> None:
        """Do nothing: every picture needs the classifier."""

    def check(self, pixels: Pixels) -> Verdict:
        """Return the verdict on a picture, uint8 [height, width, 3]; blocks."""
        try:
            with self._turn:
                if classifier := self._ready():
                    return verdict_of(classifier.scores(pixels), self.limits)
        except Exception:
            log.exception("a picture could not be checked; it counts as unsafe")
        return Verdict.UNCHECKED

    def _ready(self) -> Classifier | None:
        if self._classifier is None and self.clock() >= self._not_before:
            self._not_before = self.clock() + AGAIN
            try:
                found = self.load(self.name)
                check_labels(self.name, found.labels, self.limits)
                self._classifier = found
            except UserError as error:
                log.error("%s Pictures count as unsafe until it can.", error)
        return self._classifier


def examine(name: str, limits: Mapping[str, float]) -> tuple[str, ...]:
    """Return the labels of a classifier that works; raises `BrokenClassifier`. Blocks."""
    classifier = load_classifier(name)
    check_labels(name, classifier.labels, limits)
    grey = np.full((64, 64, 3), 127, np.uint8)
    if verdict_of(classifier.scores(grey), limits) is Verdict.UNCHECKED:
        raise BrokenClassifier(name, "its probabilities are no numbers")
    return classifier.labels


def check_labels(name: str, labels: tuple[str, ...], limits: Mapping[str, float]) -> None:
    """Raise `BrokenClassifier` where a limit's label does not exist, or there are no limits."""
    if unknown := sorted(limits.keys() - set(labels)):
        known = ", ".join(labels[:20])
        raise BrokenClassifier(name, f"it has no label {unknown[0]!r}; its labels are {known}")
    if not limits:
        raise BrokenClassifier(name, "MARBLE_SAFETY_LABELS names none of its labels")


def verdict_of(scores: Mapping[str, float], limits: Mapping[str, float]) -> Verdict:
    """Compare probabilities with the limits; `UNCHECKED` where one is not finite."""
    if not all(math.isfinite(scores[label]) for label in limits):
        return Verdict.UNCHECKED
    over = any(scores[label] >= limit for label, limit in limits.items())
    return Verdict.UNSAFE if over else Verdict.SAFE
