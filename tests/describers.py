"""Make small image-to-text models from a true configuration: real files for the real loader."""

from pathlib import Path

import torch
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipTextConfig,
    BlipVisionConfig,
)
from transformers.utils import logging as transformers_logging

from tests.classifiers import SIDE, save_processor

WORDS = ("cat", "dog", "marble", "owl", "a", "the", "on", "white", "book", "of", "red", "sleeps")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")


def make_describer(folder: Path) -> Path:
    """Write a BLIP with random weights, which says some of `WORDS`; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = (*SPECIAL, *WORDS)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["[DEC]"]})
    tokenizer.save_pretrained(folder)
    # Weights of this size make what it says depend on the picture.
    size = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "initializer_range": 1.0,
    }
    text = BlipTextConfig(
        **size,
        vocab_size=len(vocabulary),
        encoder_hidden_size=16,
        intermediate_size=16,
        max_position_embeddings=128,
        bos_token_id=vocabulary.index("[DEC]"),
        pad_token_id=0,
        sep_token_id=vocabulary.index("[SEP]"),
        eos_token_id=vocabulary.index("[SEP]"),
    )
    vision = BlipVisionConfig(**size, intermediate_size=16, image_size=SIDE, patch_size=8)
    config = BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BlipForConditionalGeneration(config).eval()
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    save_processor(folder, "BlipImageProcessor")
    return folder
