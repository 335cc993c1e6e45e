"""The bundled model's folder: small, complete, and of the form that other software reads."""

import json
import warnings

import numpy as np
import pytest
import torch
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from engine.models.catalogue import STARTER_FOLDER

PROMPTS = (
    "a marble scholar holding a book",
    "拿着书的大理石学者",
    "A GOLDEN King, at sunset!",
    "草地上的玉马",
)


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    """Load the tokenizer as any software would."""
    return CLIPTokenizer.from_pretrained(str(STARTER_FOLDER / "tokenizer"))


def _config(part: str, name: str = "config.json") -> dict[str, object]:
    content: dict[str, object] = json.loads((STARTER_FOLDER / part / name).read_text("utf-8"))
    return content


def test_the_folder_is_at_most_20_megabytes() -> None:
    size = sum(path.stat().st_size for path in STARTER_FOLDER.rglob("*") if path.is_file())
    assert size <= 20_000_000


def test_the_noise_levels_are_those_of_stable_diffusion() -> None:
    scheduler = _config("scheduler", "scheduler_config.json")
    promised = {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 1000,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": "v_prediction",
    }
    assert {key: scheduler[key] for key in promised} == promised


def test_the_denoiser_attends_to_text_and_takes_nothing_else() -> None:
    unet, vae, text = _config("unet"), _config("vae"), _config("text_encoder")
    assert unet["addition_embed_type"] is None
    assert unet["class_embed_type"] is None
    assert unet["in_channels"] == unet["out_channels"] == vae["latent_channels"] == 8
    assert unet["cross_attention_dim"] == text["hidden_size"]
    assert text["max_position_embeddings"] == 77


def test_the_text_encoder_knows_the_tokenizers_marks(tokenizer: CLIPTokenizer) -> None:
    text = _config("text_encoder")
    assert text["eos_token_id"] == tokenizer.eos_token_id
    assert text["bos_token_id"] == tokenizer.bos_token_id
    assert text["vocab_size"] == len(tokenizer)
    assert tokenizer.model_max_length == 77


@pytest.mark.parametrize("prompt", PROMPTS)
def test_tokens_give_the_text_back(tokenizer: CLIPTokenizer, prompt: str) -> None:
    ids = tokenizer(prompt).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert text.replace(" ", "") == prompt.lower().replace(" ", "")


def test_the_words_of_the_world_are_single_tokens(tokenizer: CLIPTokenizer) -> None:
    for word in ("marble", "scholar", "book", "terracotta", "lantern", "library"):
        assert len(tokenizer.tokenize(word)) == 1


def test_the_stock_pipeline_loads_it_and_draws() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other software's own
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline.from_pretrained(STARTER_FOLDER, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        picture = pipeline(
            PROMPTS[0],
            num_inference_steps=4,
            width=128,
            height=128,
            generator=torch.Generator().manual_seed(1),
            output_type="np",
        ).images[0]
    assert picture.shape == (128, 128, 3)
    assert np.isfinite(picture).all()
    assert picture.std() > 0.05
