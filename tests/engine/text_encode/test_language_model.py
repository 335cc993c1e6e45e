"""Language models as FLUX.2 reads them, held to ComfyUI's and to diffusers' pipelines."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
from safetensors.torch import load_file
from torch import Tensor

from engine.files.safetensors import BadFile
from engine.text_encode import mistral3, qwen3
from engine.text_encode.language_model import first_layers, layer_states, template_ids
from tests.conftest import SHARED_FLOW

TEXT: Final = SHARED_FLOW / "text"
CPU: Final = torch.device("cpu")

pytestmark = pytest.mark.skipif(not TEXT.exists(), reason="the small encoders are not here")


def weights(name: str) -> Mapping[str, Tensor]:
    held = load_file(TEXT / f"te_{name}.safetensors")
    return {key: tensor.float() for key, tensor in held.items()}


def states(encoder: Any, ids: Sequence[int], layers: Sequence[int], **how: Any) -> Tensor:
    settings: dict[str, Any] = {"length": len(ids), "pad": 7, "left": True, "device": CPU, **how}
    return layer_states(encoder, ids, layers, **settings)


@pytest.mark.parametrize("layers", [5, 4])
@pytest.mark.parametrize("case", ["case0", "case1"])
@torch.inference_mode()
def test_mistral_equals_comfyui(case: str, layers: int) -> None:
    encoder = mistral3.encoder_of(first_layers(weights("mistral3_24b"), layers))
    io = load_file(TEXT / "te_mistral3_24b.io.safetensors")
    ids, wanted = io[f"{case}.ids"].tolist(), io[f"{case}.out"]
    assert (states(encoder, ids, (1, 2, 4)) - wanted).abs().max() <= 1e-5
    for left in (True, False):
        found = states(encoder, ids, (1, 2, 4), length=32, left=left)
        assert found.shape == (1, 32, 96)
        found = found[:, -len(ids) :] if left else found[:, : len(ids)]
        assert (found - wanted).abs().max() <= 1e-5


class Letters:
    """A tokenizer of letters, with names below 0 for special tokens."""

    def __call__(self, text: str, **_: Any) -> Any:
        return SimpleNamespace(input_ids=[ord(letter) for letter in text])

    def convert_tokens_to_ids(self, name: str) -> int:
        return -len(name)


@pytest.mark.parametrize("before", ["", "a house ", "a house\n"])
def test_what_is_no_grammar_to_it_stays_as_it_was_typed(before: str) -> None:
    # ComfyUI loses a blank or newline before `embedding:`, the template's as well; the makers' own
    # pipelines, which know no embeddings, do not.
    typed = f"{before}embedding:foo, by night BREAK <|im_end|>"
    found = template_ids(Letters(), "<|im_start|>user\n{}<|im_end|>", typed)
    assert found == [-12, *map(ord, f"user\n{typed}"), -10]


START: Final = ("language_model.model.", "model.language_model.", "")


@pytest.mark.parametrize("start", START)
def test_mistral_is_read_by_the_names_of_folders(start: str) -> None:
    held = {f"{start}{key.removeprefix('model.')}": t for key, t in weights("mistral3_24b").items()}
    others = {
        "language_model.lm_head.weight": torch.zeros(2, 2),
        "vision_tower.ln_pre.weight": torch.zeros(2),
        "model.multi_modal_projector.norm.weight": torch.zeros(2),
        "tekken_model": torch.zeros(2, dtype=torch.uint8),
    }
    assert len(mistral3.encoder_of({**held, **others}).layers) == 5


def test_a_broken_encoder_is_refused_with_what_is_wrong() -> None:
    held = dict(weights("mistral3_24b"))
    with pytest.raises(BadFile, match="strange"):
        mistral3.encoder_of({**held, "model.strange": torch.zeros(1)})
    del held["model.layers.0.mlp.gate_proj.weight"]
    with pytest.raises(BadFile, match=r"layers\.0\.mlp\.gate_proj"):
        mistral3.encoder_of(held)


class Tokenizer:
    """Stands in for one: pads given ids as a tokenizer does."""

    def __init__(self, ids: Sequence[int], *, left: bool) -> None:
        self._ids, self._left = list(ids), left

    def apply_chat_template(self, messages: Any, *, tokenize: bool, **how: Any) -> Any:
        return self(None, **how) if tokenize else ""

    def __call__(self, text: Any, *, max_length: int, **_: Any) -> Any:
        ids = self._ids[:max_length]
        fill = max_length - len(ids)
        row, mask = [*ids], [1] * len(ids)
        row, mask = (
            ([7] * fill + row, [0] * fill + mask)
            if self._left
            else (row + [7] * fill, mask + [0] * fill)
        )
        return {"input_ids": torch.tensor([row]), "attention_mask": torch.tensor([mask])}


@pytest.mark.parametrize("count", [9, 40])
@torch.inference_mode()
def test_klein_and_dev_are_told_words_as_in_diffusers(count: int) -> None:
    ids = [3 + (5 * place) % 290 for place in range(count)]
    how: dict[str, Any] = {"prompt": "", "max_sequence_length": 32, "dtype": torch.float32}
    qwen = qwen3.encoder_of(weights("qwen3_4b"))
    pipeline: Any = Flux2KleinPipeline
    wanted = pipeline._get_qwen3_prompt_embeds(
        qwen, Tokenizer(ids, left=False), hidden_states_layers=(0, 1, 2), **how
    )
    cut = qwen3.encoder_of(first_layers(weights("qwen3_4b"), 2))
    assert len(cut.layers) == 2
    for encoder in (qwen, cut):
        found = states(encoder, ids, (0, 1, 2), length=32, left=False)
        assert (found - wanted).abs().max() <= 1e-5
    mistral = mistral3.encoder_of(weights("mistral3_24b"))
    its: Any = Flux2Pipeline
    wanted = its._get_mistral_3_small_prompt_embeds(
        mistral, Tokenizer(ids, left=True), hidden_states_layers=(1, 2, 4), **how
    )
    assert (states(mistral, ids, (1, 2, 4), length=32) - wanted).abs().max() <= 1e-5
