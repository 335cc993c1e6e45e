"""CLIP-L's encoder of a file's tensors, and its pooled embedding, held to transformers'."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel

from engine.files.safetensors import BadFile
from engine.loading.modules import Target
from engine.loading.tokenizer import tokenizer_of
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.text_encode import clip
from tests import flow_models
from tests.models import write_tokenizer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def its() -> CLIPTextModel:
    """Return a small encoder by transformers, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return flow_models.clip().eval()


def as_in_files(model: CLIPTextModel, prefix: str) -> dict[str, Tensor]:
    """Return its tensors as ComfyUI's `clip_l.safetensors` has them, with what is not read."""
    return {
        **{f"{prefix}{name}": each for name, each in model.state_dict().items()},
        f"{prefix}embeddings.position_ids": torch.arange(77)[None],
        "text_projection.weight": torch.eye(64),
        "logit_scale": torch.tensor(4.6),
    }


@pytest.mark.parametrize("prefix", ["", clip.PREFIX])
@torch.inference_mode()
def test_the_encoder_of_a_file_is_that_of_transformers(its: CLIPTextModel, prefix: str) -> None:
    made = clip.encoder_of(as_in_files(its, prefix))
    ids = torch.randint(0, 512, (1, 77), generator=torch.Generator().manual_seed(1))
    ids[:, 40:] = 513
    found, wanted = (model(ids, output_hidden_states=True) for model in (made, its))
    assert torch.equal(found.pooler_output, wanted.pooler_output)
    for own, other in zip(found.hidden_states, wanted.hidden_states, strict=True):
        assert torch.equal(own, other)
    held = dict(its.named_parameters())
    for name, each in made.named_parameters():
        assert each.data_ptr() == held[name].data_ptr(), "in their memory"


def test_weights_take_the_dtype_that_is_asked_for_and_places_stay_whole_numbers(
    its: CLIPTextModel,
) -> None:
    made = clip.encoder_of(as_in_files(its, clip.PREFIX), Target(torch.bfloat16, CPU))
    assert {each.dtype for each in made.parameters()} == {torch.bfloat16}
    assert torch.equal(made.embeddings.position_ids, torch.arange(77)[None])


def test_a_broken_file_is_refused_with_what_is_wrong(its: CLIPTextModel) -> None:
    held = as_in_files(its, clip.PREFIX)
    words, norm = "embeddings.token_embedding.weight", "final_layer_norm.weight"
    broken: Mapping[str, Mapping[str, Tensor]] = {
        rf"lacks the tensor '{words}' of CLIP": {
            name: each for name, each in held.items() if not name.endswith(words)
        },
        norm: {name: each for name, each in held.items() if not name.endswith(norm)},
        "strange": {**held, f"{clip.PREFIX}strange": torch.zeros(1)},
    }
    for what, tensors in broken.items():
        with pytest.raises(BadFile, match=what):
            clip.encoder_of(tensors)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    write_tokenizer(tmp_path / "tokenizer")
    return tokenizer_of(tmp_path / "tokenizer")


def encoder(model: CLIPTextModel, tokenizer: Any, home: Path) -> clip.ClipEncoder:
    embeddings = ModelFiles(home, ModelKind.EMBEDDING)
    return clip.ClipEncoder(tokenizer, model, embeddings, 0, device=CPU, last_layer=1, normed=False)


@torch.inference_mode()
def test_the_pooled_embedding_is_that_of_the_first_window_without_weights(
    its: CLIPTextModel, tokenizer: Any, tmp_path: Path
) -> None:
    made = encoder(its, tokenizer, tmp_path)

    def wanted(prompt: str) -> Tensor:
        ids = tokenizer(prompt, padding="max_length", max_length=77, truncation=True)
        found: Tensor = its(torch.tensor([ids.input_ids])).pooler_output
        return found

    for prompt in ("a cat", "", "(a) cat", "a marble scholar with a book " * 8):
        plain = prompt.replace("(", "").replace(")", "")
        found = made.pooled(prompt)
        assert found.shape == (1, 64)
        assert torch.equal(found, wanted(plain)), prompt
    assert torch.equal(made.pooled("a (cat:1.5) BREAK a dog"), wanted("a cat"))
    made._breaks = False  # as of a model whose other encoder has no windows
    assert torch.equal(made.pooled("a cat BREAK a dog"), wanted("a cat BREAK a dog"))
    assert not torch.equal(made.pooled("a cat"), made.pooled("a dog"))


@torch.inference_mode()
def test_the_pooled_embedding_reads_embeddings(
    its: CLIPTextModel, tokenizer: Any, tmp_path: Path
) -> None:
    (tmp_path / "embeddings").mkdir()
    letter = its.embeddings.token_embedding.weight[tokenizer("x").input_ids[1]]
    save_file({"emb_params": letter[None].clone()}, tmp_path / "embeddings" / "mark.safetensors")
    made = encoder(its, tokenizer, tmp_path)
    assert torch.equal(made.pooled("a embedding:mark cat"), made.pooled("a x cat"))
