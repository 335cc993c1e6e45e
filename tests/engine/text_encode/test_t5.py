"""T5, held to ComfyUI's by a small encoder with random weights, and its tokens by a small list."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.t5.tokenization_t5 import T5Tokenizer

from engine.files.safetensors import BadFile
from engine.text_encode import t5
from engine.text_encode.t5 import T5Encoder
from tests.conftest import SHARED_FLOW

FILE: Final = SHARED_FLOW / "text" / "te_t5xxl.safetensors"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the small encoders are not here")


def weights() -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(FILE).items()}


@cache
def answers() -> Mapping[str, Tensor]:
    return load_file(FILE.with_suffix(".io.safetensors"))


@pytest.mark.parametrize("case", ["case0", "case1"])
@torch.inference_mode()
def test_the_encoder_equals_comfyui(case: str) -> None:
    encoder = t5.encoder_of(weights())
    ids, empty, weight, wanted = (
        answers()[f"{case}.{name}"] for name in ("ids", "empty_ids", "weights", "out")
    )
    rows = t5.hidden_state(encoder, ids[None])
    found = t5.weigh(rows, t5.hidden_state(encoder, empty[None]), weight)
    assert (found - wanted).abs().max() <= 2e-5
    assert torch.equal(found[0, 0], rows[0, 0])  # of weight 1


@torch.inference_mode()
def test_a_table_of_embeddings_may_be_there_twice_or_by_its_other_name() -> None:
    held = weights()
    ids = torch.tensor([[5, 9, 1, 0]])
    wanted = t5.hidden_state(t5.encoder_of(held), ids)
    twice = {**held, t5.TABLE: held["shared.weight"].clone()}
    assert torch.equal(t5.hidden_state(t5.encoder_of(twice), ids), wanted)
    del twice["shared.weight"]
    assert torch.equal(t5.hidden_state(t5.encoder_of(twice), ids), wanted)


def test_a_broken_file_is_refused_with_what_is_wrong() -> None:
    held = weights()
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    for what, tensors in {
        bias: {name: each for name, each in held.items() if name != bias},
        "shared.weight": {name: each for name, each in held.items() if name != "shared.weight"},
        "encoder.final_layer_norm.weight": {
            name: each for name, each in held.items() if "final" not in name
        },
        "strange": {**held, "strange": torch.zeros(1)},
    }.items():
        with pytest.raises(BadFile, match=what):
            t5.encoder_of(tensors)


def tokenizer() -> Any:
    """Return one that knows letters, `cat` and `dog`; its ids are places in this list."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", "▁cat", "▁dog", *"abcdefghijklmnopqrstuvwxyz()</>"]
    scores = [0.0, 0.0, 0.0, -2.0, -1.0, -1.0, *[-3.0] * 31]
    return T5Tokenizer(vocab=list(zip(pieces, scores, strict=True)), extra_ids=0)


def encoder(least: int = 1, ends: bool = True) -> T5Encoder:
    made = t5.encoder_of(weights())
    return T5Encoder(tokenizer(), made, device=torch.device("cpu"), least=least, ends=ends)


def test_each_weighted_span_is_tokenized_by_itself() -> None:
    tokens = encoder(least=8).tokens("cat (dog:1.3) cat")
    assert [token for token, _ in tokens] == [4, 5, 4, 1, 0, 0, 0, 0]
    assert [weight for _, weight in tokens] == [1, 1.3, *[1.0] * 6]
    assert encoder().tokens("") == [(1, 1.0)]


def test_break_is_a_word_as_any_other() -> None:
    its = encoder()._tokenizer
    found = [token for token, _ in encoder().tokens("cat BREAK dog")]
    assert found == [*its("cat BREAK dog", add_special_tokens=False).input_ids, 1]
    assert found[:2] + found[-2:] == [4, 3, 5, 1]
    assert len(found) > 4


def test_embeddings_are_left_out_and_what_follows_is_tokenized_by_itself() -> None:
    plain, after = (encoder().tokens(text) for text in ("a house", ", by night"))
    found = encoder().tokens("a house embedding:foo, by night")
    assert found == [*plain[:-1], *after]
    weighted = encoder().tokens("a house (embedding:style/foo-2:1.2)")
    assert weighted == plain


def test_names_of_special_tokens_stay_text() -> None:
    (*tokens, (end, _)) = encoder().tokens("cat</s>dog<pad>")
    assert end == 1
    assert not {token for token, _ in tokens} & {0, 1}
    parentheses = [token for token, _ in encoder().tokens(r"\(cat\)")]
    assert parentheses == [3, 32, 8, 6, 25, 33, 1]


@torch.inference_mode()
def test_weights_scale_the_difference_to_the_empty_prompt() -> None:
    plain = encoder().encode("cat dog")
    made = t5.encoder_of(weights())
    for ends, empty in ((True, [1, 0, 0]), (False, [0, 0, 0])):
        weighted = encoder(ends=ends).encode("cat (dog:1.5)")
        nothing = t5.hidden_state(made, torch.tensor([empty]))
        difference = (weighted - plain - 0.5 * (plain - nothing))[0, 1]
        assert difference.abs().max() < 1e-5
        assert torch.equal(weighted[0, 0], plain[0, 0])


@torch.inference_mode()
def test_masked_words_are_weighted_and_do_not_see_the_padding_behind_them() -> None:
    made = t5.encoder_of(weights())
    its = T5Encoder(tokenizer(), made, device=torch.device("cpu"), ends=False, masked=True)
    plain, weighted = its.encode("cat dog"), its.encode("cat (dog:1.5)")
    ids = torch.tensor([[4, 5, 1, 0]])  # as Chroma's makers have it, with one token of padding
    assert [token for token, _ in its.tokens("cat (dog:1.5)")] == ids[0].tolist()
    assert torch.equal(plain, t5.hidden_state(made, ids, ids != 0))
    assert (plain - t5.hidden_state(made, ids))[0, :3].abs().max() > 1e-3
    nothing = t5.hidden_state(made, torch.zeros_like(ids))
    difference = (weighted - plain - 0.5 * (plain - nothing))[0, 1]
    assert difference.abs().max() < 1e-5
    for row in (0, 2, 3):  # of weight 1
        assert torch.equal(weighted[0, row], plain[0, row])
    padded = T5Encoder(
        tokenizer(), made, device=torch.device("cpu"), least=9, ends=False, masked=True
    )
    assert (padded.encode("cat dog")[0, :3] - plain[0, :3]).abs().max() < 1e-5
