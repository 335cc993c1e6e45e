"""Gemma 2, held to ComfyUI's by a small encoder with random weights."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.gemma.tokenization_gemma import GemmaTokenizer

from engine.files.safetensors import BadFile
from engine.text_encode import gemma2
from engine.text_encode.gemma2 import Gemma2Encoder
from engine.text_encode.t5 import weigh
from tests.conftest import SHARED_FLOW

FILE: Final = SHARED_FLOW / "text" / "te_gemma2_2b.safetensors"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the small encoders are not here")


def weights() -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(FILE).items()}


@cache
def answers() -> Mapping[str, Tensor]:
    return load_file(FILE.with_suffix(".io.safetensors"))


@torch.inference_mode()
def test_the_encoder_equals_comfyui() -> None:
    found = gemma2.hidden_state(gemma2.encoder_of(weights()), answers()["case0.ids"][None])
    assert (found - answers()["case0.out"]).abs().max() <= 1e-5


@torch.inference_mode()
def test_weights_scale_the_difference_to_the_empty_prompt() -> None:
    encoder = gemma2.encoder_of(weights())
    ids, none, scale, due, rows = (
        answers()[f"case1.{name}"] for name in ("ids", "empty_ids", "weights", "out", "empty_rows")
    )
    empty = gemma2.hidden_state(encoder, none[None])
    assert (empty - rows).abs().max() <= 1e-5
    found = weigh(gemma2.hidden_state(encoder, ids[None]), empty, scale)
    assert (found - due).abs().max() <= 1e-5


def tokenizer() -> Any:
    """Return one that knows letters and `▁cat`, behind Gemma's special tokens."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz<>.,"]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "ca", "cat", "▁cat"])}
    merges: Any = [("c", "a"), ("ca", "t"), ("▁", "cat")]
    return GemmaTokenizer(vocab=vocabulary, merges=merges)


def encoder() -> Gemma2Encoder:
    made = gemma2.encoder_of(weights())
    return Gemma2Encoder(tokenizer(), made, device=torch.device("cpu"))


def test_a_prompt_begins_with_the_start() -> None:
    cat, dot = 37, 34
    assert encoder().tokens("cat cat") == [(2, 1.0), (cat, 1.0), (cat + 1, 1.0)]
    tokens = encoder().tokens("cat. (cat:1.3)")
    assert [weight for _, weight in tokens] == [1.0, 1.0, 1.0, 1.0, 1.3]
    assert [token for token, _ in tokens] == [2, cat, dot, 5, cat]
    assert encoder().tokens("") == [(2, 1.0)]


def test_names_of_special_tokens_stay_text() -> None:
    assert not {token for token, _ in encoder().tokens("a<eos>b<pad>")[1:]} & {0, 1}


@torch.inference_mode()
def test_only_weighted_tokens_change() -> None:
    plain, weighted = (encoder().encode(prompt) for prompt in ("cat cat", "cat( cat:1.5)"))
    assert torch.equal(plain[0, :2], weighted[0, :2])
    assert not torch.equal(plain[0, 2], weighted[0, 2])


def test_a_tensor_that_is_missing_or_unknown_is_named() -> None:
    file = weights()
    with pytest.raises(BadFile, match=r"'norm.weight'"):
        gemma2.encoder_of(
            {name: each for name, each in file.items() if name != "model.norm.weight"}
        )
    with pytest.raises(BadFile, match=r"'embed_tokens.weight' of Gemma 2"):
        gemma2.encoder_of({})
    with pytest.raises(BadFile, match="'strange'"):
        gemma2.encoder_of({**file, "strange": torch.zeros(1)})
    gemma2.encoder_of({**file, "spiece_model": torch.zeros(1), "lm_head.weight": torch.zeros(1)})
