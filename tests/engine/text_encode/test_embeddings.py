"""Textual inversion: vectors of a file in the place of tokens."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.check.models import examine_parts
from engine.errors import BrokenModel, PromptError, UnknownPart
from engine.families.stable_diffusion import StableDiffusion
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles, list_parts
from engine.text_encode.conditioning import TextEncoder
from tests.single_files import make_true_model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SD1."""
    return make_true_model(tmp_path_factory.mktemp("small"), "sd1")


def write(home: Path, name: str, **tensors: torch.Tensor) -> Path:
    (home / "embeddings").mkdir(exist_ok=True)
    save_file(tensors, home / "embeddings" / f"{name}.safetensors")
    return home


def rows_of(model: StableDiffusion, text: str) -> torch.Tensor:
    """Return the vectors of a text's tokens."""
    ids = model.tokenizer(text, add_special_tokens=False).input_ids
    vectors: torch.Tensor = model.text_encoder.get_input_embeddings().weight[ids]
    return vectors.clone()


@torch.inference_mode()
@pytest.mark.parametrize("key", ["emb_params", "<my-cat>"])
def test_vectors_of_words_say_what_the_words_say(
    small: StableDiffusion, tmp_path: Path, key: str
) -> None:
    home = write(tmp_path, "my-cat_v2.1", **{key: rows_of(small, "cat")})
    text = TextEncoder(small, ModelFiles(home, ModelKind.EMBEDDING))
    for template in ("a {} here", "({}:1.3) b", "{}, {}"):
        meant = text.encode(template.replace("{}", "cat")).embeds
        said = text.encode(template.replace("{}", "embedding:my-cat_v2.1")).embeds
        assert torch.equal(said, meant), template
    assert not torch.equal(text.encode("a dog").embeds, text.encode("a cat").embeds)


@torch.inference_mode()
def test_one_vector_may_lack_its_dimension_and_words_around_it_stay(
    small: StableDiffusion, tmp_path: Path
) -> None:
    home = write(tmp_path, "dot", emb_params=rows_of(small, "x")[-1])
    text = TextEncoder(small, ModelFiles(home, ModelKind.EMBEDDING))
    assert torch.equal(text.encode("a embedding:dot.").embeds, text.encode("a x .").embeds)


@torch.inference_mode()
def test_an_embedding_at_a_windows_end_is_kept_whole(
    small: StableDiffusion, tmp_path: Path
) -> None:
    home = write(tmp_path, "four", emb_params=rows_of(small, "wxyz"))
    text = TextEncoder(small, ModelFiles(home, ModelKind.EMBEDDING))
    words = "a " * 73  # leaves room for two of 75 tokens
    said = text.encode(f"{words}embedding:four c").embeds
    # Words that BREAK puts into the second window are what it must be.
    assert torch.equal(said, text.encode(f"{words}BREAK wxyz c").embeds)


@torch.inference_mode()
def test_sdxl_takes_a_set_for_each_encoder(tmp_path: Path) -> None:
    xl = make_true_model(tmp_path / "xl", "sdxl")
    ids = xl.tokenizer("cat", add_special_tokens=False).input_ids
    one, two = (
        encoder.get_input_embeddings().weight[ids].clone()
        for encoder in (xl.text_encoder, xl.text_encoder_2)
    )
    home = write(tmp_path, "cat", clip_l=one, clip_g=two)
    text = TextEncoder(xl, ModelFiles(home, ModelKind.EMBEDDING))
    said, meant = text.encode("a embedding:cat"), text.encode("a cat")
    assert torch.equal(said.embeds, meant.embeds)
    assert said.others["pooled"] is not None
    assert meant.others["pooled"] is not None
    assert torch.equal(said.others["pooled"], meant.others["pooled"])


def test_what_does_not_fit_is_named(small: StableDiffusion, tmp_path: Path) -> None:
    write(tmp_path, "wide", emb_params=torch.zeros(2, 1024))
    write(tmp_path, "nan", emb_params=torch.full((1, 768), torch.nan))
    write(tmp_path, "number", emb_params=torch.tensor(1.0))
    write(tmp_path, "deep", emb_params=torch.zeros(1, 2, 768))
    write(tmp_path, "empty", emb_params=torch.zeros(0, 768))
    write(tmp_path, "model", a=torch.zeros(2), b=torch.zeros(2))
    write(tmp_path, "more", emb_params=torch.zeros(1, 768), weights=torch.zeros(1))
    write(tmp_path, "several", clip_l=torch.zeros(1, 768), t5xxl=torch.zeros(1, 4096))
    text = TextEncoder(small, ModelFiles(tmp_path, ModelKind.EMBEDDING))
    text.encode("a embedding:several")
    for name, said in (
        ("wide", "it is made for another model: vectors of 1024, not 768"),
        ("nan", "no numbers"),
        ("number", "it holds one number, not a row of vectors"),
        ("deep", "it holds 1×2×768, not a row of vectors"),
        ("empty", "it holds no vectors"),
        ("model", "it is no embedding"),
        ("more", "it holds 'weights', which Marble cannot read"),
    ):
        with pytest.raises(BrokenModel, match=said):
            text.encode(f"a embedding:{name}")
    with pytest.raises(UnknownPart, match=r"no embedding 'wid' \(did you mean 'wide'\?\)"):
        text.encode("a embedding:wid")


def test_embeddings_cannot_make_a_prompt_longer_than_words_can(
    small: StableDiffusion, tmp_path: Path
) -> None:
    text = TextEncoder(
        small,
        ModelFiles(
            write(tmp_path, "long", emb_params=torch.zeros(20_000, 768)), ModelKind.EMBEDDING
        ),
    )
    with pytest.raises(PromptError, match="the prompt fills 267 windows of tokens; at most 256"):
        text.encode("embedding:long")


def test_an_embedding_of_one_number_does_not_end_a_check_of_all(tmp_path: Path) -> None:
    home = write(tmp_path, "number", emb_params=torch.tensor(1.0))
    (part,) = examine_parts(home, list_parts(home))
    assert part.problem
    assert "it holds one number" in part.problem
