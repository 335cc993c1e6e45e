"""Qwen-Image-Edit, held to diffusers' pipelines: small random weights, fp32."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import QwenImageEditPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import QwenImageEditPlusPipeline
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from engine.families import qwen_image
from engine.families.registry import load
from engine.text_encode.qwen_vl import PAD
from engine.text_encode.qwen_vl import SEEN as BETWEEN
from tests.engine.families.test_against_diffusers import (
    BOUND,
    QWEN,
    apart,
    means,  # noqa: F401
    ours,
    pipeline_of,
    theirs,
    unscaled,  # noqa: F401
    words,
)
from tests.factories import pixels
from tests.flow_models import described, make_qwen_image

SMALLER: Final = 64  # so many times fewer pixels than in true use
PLUS: Final = QwenImageEditPlusPipeline


class Processor:
    """Do what transformers' Qwen2VLProcessor does, which does not load without torchvision."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._see = Qwen2VLImageProcessorPil(size=BETWEEN)

    def __call__(self, text: list[str], images: Any, **options: Any) -> BatchFeature:
        seen = self._see(images=images, return_tensors="pt")
        before, *others = text[0].split(PAD)
        for (_, rows, columns), after in zip(seen["image_grid_thw"].tolist(), others, strict=True):
            before += PAD * (rows * columns // 4) + after
        return BatchFeature({**self._tokenizer([before], **options), **seen})


@pytest.fixture(autouse=True)
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both take pictures of fewer pixels."""
    seen = replace(qwen_image.SEEN, pixels=qwen_image.SEEN.pixels // SMALLER)
    monkeypatch.setattr(qwen_image, "SEEN", seen)
    for module in (pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus):
        size = partial(shrunk, module.calculate_dimensions)
        monkeypatch.setattr(module, "calculate_dimensions", size)


def shrunk(size: Callable[[int, float], Any], area: int, ratio: float) -> Any:
    return size(area // SMALLER, ratio)


def pipeline_for_edits(kind: Any, folder: Path) -> Any:
    its = pipeline_of(QwenImagePipeline, folder).components
    pipeline = kind(**its, processor=Processor(its["tokenizer"]))
    pipeline.set_progress_bar_config(disable=True)
    before = pipeline.prompt_template_encode.partition("user\n")
    pipeline.prompt_template_encode_start_idx = len(its["tokenizer"]("".join(before[:2]))[0])
    encoder = pipeline.text_encoder
    forward = encoder.forward

    def seeing(**given: Any) -> Any:
        """Say which tokens are pictures: else their positions have no rows and columns."""
        kinds = (given["input_ids"] == encoder.config.image_token_id).int()
        return forward(**given, mm_token_type_ids=kinds)

    encoder.forward = seeing
    return pipeline


@pytest.mark.parametrize("clean", [False, True], ids=["noised", "clean"])
@pytest.mark.parametrize(("kind", "count"), [(QwenImageEditPipeline, 1), (PLUS, 1), (PLUS, 2)])
def test_a_picture_that_is_edited_by_words_is_the_same(
    kind: Any, count: int, clean: bool, tmp_path: Path
) -> None:
    folder = make_qwen_image(tmp_path / "model", clean_references=clean)
    checkpoint = replace(described(folder, "qwen"), references=3 if kind is PLUS else 1)
    model = load(checkpoint, torch.device("cpu"))
    pictures = [pixels(7, 128, 128), pixels(8, 160, 96)][:count]  # of sizes that both keep
    it = words("qwen")
    found = ours(model, it, None, pictures)
    images = [Image.fromarray(each) for each in pictures]
    image = images if kind is PLUS else images[0]
    wanted = theirs(pipeline_for_edits(kind, folder), QWEN, model, it, image=image)
    assert apart(QWEN, model, found, wanted) <= BOUND
    assert (found - ours(model, it)).abs().max() > 10 * BOUND  # so that pictures count
