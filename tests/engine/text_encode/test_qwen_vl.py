"""Qwen2.5-VL, held to ComfyUI's by a small encoder with random weights, and to transformers'."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

from engine.files.safetensors import BadFile
from engine.text_encode import qwen_vl
from engine.text_encode.qwen_vl import QwenVlEncoder
from tests.conftest import SHARED_FLOW

FILE: Final = SHARED_FLOW / "text" / "te_qwen25_7b.safetensors"
needs_file = pytest.mark.skipif(not FILE.exists(), reason="the small encoders are not here")
CPU: Final = torch.device("cpu")
SPECIAL: Final = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>"),
)


def weights() -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in load_file(FILE).items()}


@needs_file
@pytest.mark.parametrize("case", ["case0", "case1"])
@torch.inference_mode()
def test_the_encoder_equals_comfyui(case: str) -> None:
    io = load_file(FILE.with_suffix(".io.safetensors"))
    encoder = qwen_vl.encoder_of(weights())
    found = qwen_vl.hidden_state(encoder, io[f"{case}.ids"][None])
    assert (found[:, 4:] - io[f"{case}.out"]).abs().max() <= 1e-5


@cache
@torch.inference_mode(False)  # the first test that asks may be inside
def small() -> Qwen2_5_VLModel:
    """Return transformers' own, with two heads of 128 and nine layers that see."""
    torch.manual_seed(0)
    text = {
        **{"vocab_size": 300, "hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-6},
    }
    vision = {
        **{"depth": 9, "hidden_size": 64, "intermediate_size": 48, "num_heads": 16},
        **{"out_hidden_size": 256, "fullatt_block_indexes": [7]},
    }
    image = tokenizer().convert_tokens_to_ids(qwen_vl.PAD)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, image_token_id=image)
    made = Qwen2_5_VLModel(config).eval().requires_grad_(False)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


@cache
def tokenizer() -> Any:
    """Return one that knows bytes and the template's special tokens."""
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = range(256, 256 + 256 - len(letters))
    vocabulary = {chr(letter): number for number, letter in enumerate([*letters, *others])}
    vocabulary |= {each: 256 + number for number, each in enumerate(SPECIAL)}
    return Qwen2Tokenizer(vocab=vocabulary, merges=[], additional_special_tokens=list(SPECIAL))


def comfyui_names() -> dict[str, Tensor]:
    return {
        name.replace("language_model.", "model."): each
        for name, each in small().state_dict().items()
    }


def picture(width: int, height: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    drawn = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(drawn).resize((width, height)))


def encoder(tensors: Mapping[str, Tensor], **options: Any) -> QwenVlEncoder:
    made = qwen_vl.encoder_of(tensors, sees=True)
    made.config.image_token_id = tokenizer().convert_tokens_to_ids(qwen_vl.PAD)
    return QwenVlEncoder(tokenizer(), made, device=CPU, **options)


def test_what_precedes_the_words_is_not_read() -> None:
    words = QwenVlEncoder(tokenizer(), None, device=CPU)
    ids, dropped = words.tokens("a cat")
    assert tokenizer().decode(ids) == qwen_vl.TEMPLATE.replace("{}", "a cat")
    end = "<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer().decode(ids[dropped:]) == f"a cat{end}"


def test_pictures_are_tokens_before_the_words() -> None:
    grids = [[1, 4, 6], [1, 2, 4]]
    for numbered, due in (
        (
            True,
            "Picture 1: <|vision_start|>6<|vision_end|>Picture 2: <|vision_start|>2<|vision_end|>",
        ),
        (False, "<|vision_start|>6<|vision_end|><|vision_start|>2<|vision_end|>"),
    ):
        words = QwenVlEncoder(tokenizer(), None, device=CPU, numbered=numbered)
        ids, dropped = words.tokens("bronze", grids)
        told = tokenizer().decode(ids[dropped:])
        for count in ("6", "2"):
            due = due.replace(f"|>{count}<|", f"|>{'<|image_pad|>' * int(count)}<|")
        assert told == f"{due}bronze<|im_end|>\n<|im_start|>assistant\n"
        assert "Describe the key features" in tokenizer().decode(ids[:dropped])


def test_special_tokens_that_a_person_types_stay_text() -> None:
    words = QwenVlEncoder(tokenizer(), None, device=CPU)
    ids, dropped = words.tokens("<|image_pad|><|im_end|>")
    assert [each for each in ids[dropped:] if each >= 256] == [258, 257]


def test_escaped_parentheses_and_halves_of_pairs_are_text() -> None:
    words = QwenVlEncoder(tokenizer(), None, device=CPU)
    ids, dropped = words.tokens("a \\(cat\\) \ud83d (b:1.2)")
    assert tokenizer().decode(ids[dropped:]).startswith("a (cat) \ufffd (b:1.2)<|im_end|>")


@torch.inference_mode()
def test_words_without_pictures_are_read_alike_with_and_without_eyes() -> None:
    ids = torch.tensor([[5, 77, 130, 9]])
    found = [
        qwen_vl.hidden_state(qwen_vl.encoder_of(comfyui_names(), sees=sees), ids)
        for sees in (False, True)
    ]
    assert (found[0] - found[1]).abs().max() <= 1e-5


@torch.inference_mode()
def test_pictures_are_seen_as_transformers_does() -> None:
    pictures = [picture(100, 60), picture(60, 120, seed=1)]
    told = encoder(comfyui_names()).encode("make it bronze", None, pictures)
    assert told.mask is not None
    found = told.embeds[told.mask][None]
    seen = qwen_vl.see(pictures)
    ids, dropped = QwenVlEncoder(tokenizer(), None, device=CPU).tokens(
        "make it bronze", seen["image_grid_thw"].tolist()
    )
    assert seen["image_grid_thw"].tolist() == [[1, 4, 8], [1, 8, 4]]
    row = torch.tensor([ids])
    kinds = (row == small().config.image_token_id).int()
    assert int(kinds.sum()) == 16
    due = small()(row, mm_token_type_ids=kinds, **seen).last_hidden_state
    assert (found - due[:, dropped:]).abs().max() <= 1e-5
    flat = small()(row, **seen).last_hidden_state  # without rows and columns in positions
    assert (found - flat[:, dropped:]).abs().max() > 1e-4


@torch.inference_mode()
def test_names_of_all_versions_are_read() -> None:
    own = small().state_dict()
    ids = torch.tensor([[5, 77]])
    due = small()(ids).last_hidden_state
    for names in (own, {f"model.{name}": each for name, each in own.items()}, comfyui_names()):
        held = {**names, "lm_head.weight": torch.zeros(300, 256)}
        found = qwen_vl.hidden_state(qwen_vl.encoder_of(held, sees=True), ids)
        assert (found - due).abs().max() <= 1e-5


def test_a_tensor_that_is_missing_or_unknown_is_named() -> None:
    file = comfyui_names()
    words = {name: each for name, each in file.items() if not name.startswith("visual.")}
    assert qwen_vl.encoder_of(words) is not None
    with pytest.raises(BadFile, match=r"'visual.patch_embed.proj.weight' of Qwen2.5-VL"):
        qwen_vl.encoder_of(words, sees=True)
    with pytest.raises(BadFile, match=r"'norm.weight'"):
        qwen_vl.encoder_of(
            {name: each for name, each in file.items() if name != "model.norm.weight"}
        )
    with pytest.raises(BadFile, match="'strange'"):
        qwen_vl.encoder_of({**file, "strange": torch.zeros(1)})
