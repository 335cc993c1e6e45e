"""Make small image classifiers from a true configuration: real files for the real loader."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import ViTConfig, ViTForImageClassification
from transformers.utils import logging as transformers_logging

SIDE = 32
LABELS = ("normal", "nsfw")


def save_processor(folder: Path, kind: str) -> None:
    """Write how pictures are brought to `SIDE` and the range from -1 to 1 for a model."""
    written = {
        "image_processor_type": kind,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"height": SIDE, "width": SIDE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(written), encoding="utf-8")


def make_classifier(
    folder: Path,
    answer: str = "normal",
    *,
    labels: Sequence[str] = LABELS,
    problem: str | None = None,
    by_brightness: bool = False,
) -> Path:
    """Write a ViT with random weights whose head says `answer`; return its folder.

    problem: transformers' name of what the labels are to each other; by_brightness: bright
    pictures are the second label and dark ones the first, whatever the answer.
    """
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=SIDE,
        patch_size=8,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        problem_type=problem,
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = ViTForImageClassification(config).eval()
        head = model.classifier
        head.bias.fill_(-5.0)
        head.bias[list(labels).index(answer)] = 5.0
        head.weight.zero_()
        if by_brightness:
            _by_brightness(model)
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    save_processor(folder, "ViTImageProcessor")
    return folder


def _by_brightness(model: ViTForImageClassification) -> None:
    """Let the head tell white from black, by what the body makes of either."""
    seen = [
        model.vit(torch.full((1, 3, SIDE, SIDE), value)).last_hidden_state[0, 0]
        for value in (-1.0, 1.0)
    ]
    direction, middle = seen[1] - seen[0], (seen[0] + seen[1]) / 2
    direction = direction * 20 / (direction @ direction)
    model.classifier.weight[1] = direction
    model.classifier.weight[0] = -direction
    model.classifier.bias[1] = -(direction @ middle)
    model.classifier.bias[0] = direction @ middle
