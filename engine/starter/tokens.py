"""A byte-level BPE tokenizer in CLIP's format, trained on the world's own captions."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from engine.starter.recipe import TextRecipe

START, END = "<|startoftext|>", "<|endoftext|>"

# CLIP's own split of a text into words (openai/CLIP, simple_tokenizer.py).
_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
_MIN_COUNT = 25


def train_tokenizer(corpus: Iterable[str], recipe: TextRecipe, folder: Path) -> CLIPTokenizer:
    """Count byte pairs on the corpus, write the tokenizer's files, and load them back."""
    counted = _count_pairs(corpus, recipe.vocabulary)
    merges = [
        tuple(merge) if isinstance(merge, list) else tuple(merge.split(" "))
        for merge in json.loads(counted.to_str())["model"]["merges"]
    ]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary([first + second for first, second in merges])
    _write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": recipe.positions,
            "do_lower_case": True,
            "bos_token": START,
            "eos_token": END,
            "pad_token": END,
            "unk_token": END,
        },
    )
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Load the tokenizer from its folder."""
    return CLIPTokenizer.from_pretrained(str(folder))


def _count_pairs(corpus: Iterable[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(
        models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix="", unk_token=END)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=_MIN_COUNT,
            end_of_word_suffix="</w>",
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def _vocabulary(merged: list[str]) -> dict[str, int]:
    """Number the tokens in CLIP's order: bytes, bytes at a word's end, pairs, marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*alphabet, *(byte + "</w>" for byte in alphabet), *merged, START, END]
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
