"""Language models as text encoders: how they are made of a file's tensors, and read for prompts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from engine.files.safetensors import BadFile
from engine.loading.model import Conditioning
from engine.loading.modules import Target, fill
from engine.pictures.start_image import Pixels
from engine.recipe.prompt_tags import mend_surrogates
from engine.text_encode.conditioning import padded
from engine.text_encode.prompts import check_length

QWEN_SPECIAL: Final = re.compile(r"(<\|[a-z_]+\|>|</?think>)")
LAYER: Final = re.compile(r"(?:^|\.)layers\.(\d+)\.")
LAST: Final = re.compile(r"(?:^|\.)(?:norm|lm_head)\.weight$")  # behind the layers
LEAST: Final = 512  # tokens, to which prompts are padded where nothing masks them
MOST: Final = 1024  # tokens of a prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Say how a language model reads prompts.

    layers: as for `layer_states`; template: its makers' chat template, `special` its special
    tokens; drops: what precedes the person's words is not read; pad: the token that fills up
    prompts, on the left or the right, and is read as well ("": zeros fill them up, and are masked).
    """

    layers: tuple[int, ...]
    template: str
    special: re.Pattern[str] = QWEN_SPECIAL
    drops: bool = False
    pad: str = ""
    left: bool = False

    @property
    def tokens(self) -> frozenset[str]:
        """Return the special tokens that it puts around prompts."""
        return frozenset(filter(None, [*self.special.findall(self.template), self.pad]))


class Prompts:
    """Encode prompts by the states of one or several layers."""

    size = 0  # it loads nothing

    def __init__(
        self, encoder: Any, tokenizer: Any, device: torch.device, reading: Reading
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._device = device
        self._reading = reading

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row, its mask on the CPU; raises `PromptError`."""
        how = self._reading
        ids = template_ids(self._tokenizer, how.template, prompt, how.special)
        before = how.template.partition("{}")[0] if how.drops else ""
        dropped = len(template_ids(self._tokenizer, before, "", how.special))
        check_length(len(ids) - dropped, MOST)
        if not how.pad:
            states = layer_states(self._encoder, ids, how.layers, device=self._device)
            return padded(states[:, dropped:])
        return Conditioning(
            layer_states(
                self._encoder,
                ids,
                how.layers,
                length=max(LEAST, len(ids)),
                pad=self._tokenizer.convert_tokens_to_ids(how.pad),
                left=how.left,
                device=self._device,
            )
        )


def template_ids(
    tokenizer: Any, template: str, prompt: str, special: re.Pattern[str] = QWEN_SPECIAL
) -> list[int]:
    """Return the token ids of a chat template around a prompt.

    The template's special tokens are such; what a person types like one stays text. There are no
    weights, but escaped parentheses are parentheses, as for encoders that have them.
    """
    prompt = mend_surrogates(prompt).replace(r"\(", "(").replace(r"\)", ")")
    ids: list[int] = []
    for piece in special.split(template):
        if special.fullmatch(piece):
            ids.append(tokenizer.convert_tokens_to_ids(piece))
        elif piece:
            text = piece.replace("{}", prompt)
            ids += tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return ids


def layer_states(
    encoder: Any,
    ids: Sequence[int],
    layers: Sequence[int],
    *,
    device: torch.device,
    length: int | None = None,
    pad: int = 0,
    left: bool = False,
) -> Tensor:
    """Return layers' outputs for token ids, each token's joined, [1, length, layers·width] fp32.

    layers: as in transformers' `hidden_states`: 0 are the embeddings, −1 the last, normed one; pad:
    the token that fills ids up to the length (None: theirs), on the left or the right, and that
    words do not attend to. What is longer is cut.
    """
    ids = ids[:length]
    fill = [pad] * ((length or 0) - len(ids))
    there, missing = [1] * len(ids), [0] * len(fill)
    row = [*fill, *ids] if left else [*ids, *fill]
    mask = [*missing, *there] if left else [*there, *missing]
    output = encoder(
        torch.tensor([row], device=device),
        attention_mask=torch.tensor([mask], device=device),
        output_hidden_states=True,
        use_cache=False,
    )
    return torch.cat([output.hidden_states[layer] for layer in layers], -1).float()


def first_layers(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return a language model's tensors without what comes after so many layers."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not LAST.search(name) and not ((found := LAYER.search(name)) and int(found[1]) >= count)
    }


def shapes_of(
    tensors: Mapping[str, Tensor], title: str, side: int | None = None, start: str = ""
) -> dict[str, Any]:
    """Return what shapes tell of a configuration, in transformers' names; raises `BadFile`.

    title: of the language model; side: of a head (None: the norm of its queries tells it); start:
    what the tensors' names begin with.
    """
    try:
        vocabulary, width = tensors[f"{start}embed_tokens.weight"].shape
        layer = f"{start}layers.0"
        side = side or tensors[f"{layer}.self_attn.q_norm.weight"].shape[0]
        queries = tensors[f"{layer}.self_attn.q_proj.weight"].shape[0]
        keys = tensors[f"{layer}.self_attn.k_proj.weight"].shape[0]
        inner = tensors[f"{layer}.mlp.gate_proj.weight"].shape[0]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of {title}") from None
    names = (name.removeprefix(start) for name in tensors if name.startswith(f"{start}layers."))
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len({name.split(".")[1] for name in names}),
        "num_attention_heads": queries // side,
        "num_key_value_heads": keys // side,
        "head_dim": side,
    }


def rotary(theta: float) -> dict[str, Any]:
    """Return the configuration of positions, in transformers' names."""
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}


def made(
    kind: Callable[[Any], Any],
    config: Any,
    tensors: Mapping[str, Tensor],
    target: Target,
    *,
    cut: bool = False,
) -> Any:
    """Return a language model of that configuration with its tensors, in their memory.

    cut: it may be cut to the layers that are read (`first_layers`): without its last norm, whose
    states are then not normed. Raises `BadFile` where tensors are missing or unknown.
    """
    with torch.device("meta"):
        model = kind(config)
    if cut and "norm.weight" not in tensors:
        model.norm = torch.nn.Identity()
    model = fill(model, tensors, target)
    # Not a weight: a table that follows from the configuration, and was not computed on `meta`.
    model.rotary_emb = type(model.rotary_emb)(config).to(device=target.device)
    return model
