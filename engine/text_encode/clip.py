"""CLIP as a text encoder: windows of 77 tokens, weights of words, embeddings.

Radford et al. (2021), arXiv:2103.00020.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from torch import Tensor
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from engine.errors import PromptError
from engine.files.safetensors import BadFile
from engine.loading.configured import fill_known
from engine.loading.modules import IN_PLACE, Target, fill
from engine.models.model_files import ModelFiles
from engine.sentences import Sentence
from engine.text_encode.embeddings import Embeddings
from engine.text_encode.prompts import Piece, Token, tokenize

ENDS: Final = "</w>"  # with which CLIP's tokens end where a word ends
MOST_WINDOWS: Final = 256  # more than words can fill; embeddings may have any number of vectors
PREFIX: Final = "text_model."
OPEN_CLIP: Final = "token_embedding.weight"  # which stands at the top by OpenCLIP's names alone
PROJECTION: Final = "text_projection.weight"  # of the pooled embedding
HEAD: Final = 64  # the width of a head, which no shape tells
# What compares texts with pictures, and a table that follows from the configuration.
UNUSED: Final = re.compile(r"text_projection\.weight$|logit_scale$|embeddings\.position_ids$")


class Encoded(NamedTuple):
    """A prompt's embeddings, [1, tokens, width], and the pooled one, [1, P] or None; fp32."""

    embeds: Tensor
    pooled: Tensor | None


class ClipEncoder:
    """One of CLIP's text encoders, with its tokenizer.

    number: which of a model's text encoders it is, from 0, as files of embeddings count them;
    last_layer: the layer that is read, from the end; normed: through the final norm;
    breaks: whether `BREAK` begins a window, rather than being a word.
    """

    def __init__(
        self,
        tokenizer: Any,
        encoder: Any,
        embeddings: ModelFiles,
        number: int,
        *,
        device: torch.device,
        last_layer: int,
        normed: bool,
        breaks: bool = True,
    ) -> None:
        self._tokenizer = tokenizer
        self.embeddings = Embeddings(embeddings, encoder, number)
        self._encoder = encoder
        self._device = device
        self._last_layer = last_layer
        self._normed = normed
        self._breaks = breaks

    def encode(self, prompt: str, clip_skip: int | None) -> Encoded:
        """Return a prompt's embeddings, of 77·chunks tokens.

        Weights scale the difference to the empty prompt: (z − z_empty)·w + z_empty, without
        renormalisation; chunks are concatenated along the tokens (ComfyUI's rule). The pooled
        embedding is that of the first chunk, unweighted. clip_skip: the layer that is read, counted
        from the last one, 1 (None: the model's default).
        """
        chunks = self._chunks(prompt)
        weights = torch.tensor([[weight for _, weight in row] for row in chunks])
        embeds, pooled = self._forward(chunks, clip_skip)
        if bool((weights != 1).any()):
            empty, _ = self._forward(self._chunks("")[:1], clip_skip)
            embeds = (embeds - empty) * weights[:, :, None].to(embeds.device) + empty
        return Encoded(embeds.reshape(1, -1, embeds.shape[-1]), pooled)

    def pieces(self, prompt: str) -> list[Piece]:
        """Return a prompt's tokens without those that begin, end and fill windows."""
        found = []
        for number, window in enumerate(self._chunks(prompt)):
            first = number * len(window)
            for place, (token, weight) in enumerate(window[1:], first + 1):
                if token == self._tokenizer.eos_token_id:
                    break
                text, ends = self._shown(token)
                found.append(Piece(text, token, weight, ends, number, place))
        return found

    def _shown(self, token: int) -> tuple[str, bool]:
        """Return a token's text, and whether a word ends with it."""
        if token >= len(self._tokenizer):  # a vector of an embedding
            return "", True
        ends = str(self._tokenizer.convert_ids_to_tokens(token)).endswith(ENDS)
        return str(self._tokenizer.decode([token])).strip(), ends

    def pooled(self, prompt: str) -> Tensor:
        """Return the state of the first window's end, normed, not projected, [1, width] fp32."""
        row = torch.tensor([[token for token, _ in self._chunks(prompt)[0]]])
        with self.embeddings.placed(row) as ids:
            found: Tensor = self._encoder(ids.to(self._device)).pooler_output
        return found.float()

    def _chunks(self, prompt: str) -> list[list[Token]]:
        tokenizer = self._tokenizer
        chunks = tokenize(
            prompt,
            self._ids,
            bos=tokenizer.bos_token_id,
            eos=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id,
            max_length=self._encoder.config.max_position_embeddings,
            breaks=self._breaks,
        )
        if len(chunks) > MOST_WINDOWS:
            raise PromptError(Sentence("many_windows", windows=len(chunks), most=MOST_WINDOWS))
        return chunks

    def _ids(self, text: str) -> Iterator[list[int]]:
        """Yield a text's token ids in groups: each embedding's, and those of the words between."""
        for piece in self.embeddings.split(text):
            if isinstance(piece, str):
                piece = self._tokenizer(piece, add_special_tokens=False).input_ids
            yield piece

    def _forward(
        self, chunks: Sequence[Sequence[Token]], clip_skip: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the embeddings [chunks, 77, width] and the pooled one, [1, P] or None; fp32."""
        # One chunk a call: the number of rows moves the last bits of each row, and a chunk's
        # embeddings must not depend on how many others there are.
        rows = torch.tensor([[token for token, _ in chunk] for chunk in chunks])
        outputs = []
        for row in rows:
            with self.embeddings.placed(row[None]) as ids:
                outputs.append(self._encoder(ids.to(self._device), output_hidden_states=True))
        embeds = torch.cat([self._layer(output, clip_skip) for output in outputs])
        pooled = getattr(outputs[0], "text_embeds", None)
        return embeds.float(), None if pooled is None else pooled.float()

    def _layer(self, output: Any, clip_skip: int | None) -> Tensor:
        """Return the layer that the model was trained with, or that of `clip_skip`."""
        layer = clip_skip or self._last_layer
        if self._normed:
            # SD2's encoder files leave out the last layer, which is not used.
            layer = max(1, layer - self._last_layer + 1)
            if layer == 1:
                last: Tensor = output.last_hidden_state
                return last
        found: Tensor = output.hidden_states[-min(layer, len(output.hidden_states) - 1)]
        if self._normed:  # which is read without the final norm
            found = self._encoder.final_layer_norm(found)
        return found


def configured_encoder(
    kind: Any,
    folder: Path,
    tensors: Mapping[str, Tensor],
    target: Target = IN_PLACE,
    prefix: str = "",
) -> tuple[Any, list[str]]:
    """Return an encoder in the form of a folder's configuration, and the tensors it does not use.

    kind: a class of transformers'; prefix: what the names of its tensors begin with in a file that
    holds more, by transformers' or OpenCLIP's names. Raises `BadFile` for weights that are missing
    or have another shape.
    """
    config = kind.config_class.from_pretrained(str(folder), local_files_only=True)
    config.dtype = None  # to which transformers would change torch's default dtype
    with torch.device("meta"):
        encoder = kind(config)
    if f"{prefix}{OPEN_CLIP}" in tensors:
        names = convert_open_clip_checkpoint(encoder, dict(tensors), prefix=prefix)
    else:
        its = (name for name in tensors if name.startswith(prefix))
        names = {name.removeprefix(prefix): tensors[name] for name in its}
    inner = getattr(encoder, "text_model", encoder)
    start = "" if inner is encoder else PREFIX
    named = {
        name if name == PROJECTION else f"{start}{name.removeprefix(PREFIX)}": tensor
        for name, tensor in names.items()
    }
    encoder, left = fill_known(encoder, named, target)
    _number_places(inner, target)
    return encoder, left


def encoder_of(tensors: Mapping[str, Tensor], target: Target = IN_PLACE) -> CLIPTextModel:
    """Return CLIP-L's encoder of a file's tensors, in their memory; raises `BadFile`."""
    names = _own(tensors)
    config = CLIPTextConfig(**config_of(names))
    with torch.device("meta"):
        encoder = CLIPTextModel(config)
    encoder = fill(encoder, names, target)
    _number_places(encoder, target)
    return encoder


def pooling_encoder_of(
    tensors: Mapping[str, Tensor],
    target: Target = IN_PLACE,
    *,
    activation: str,
    projects: bool = True,
) -> CLIPTextModelWithProjection:
    """Return an encoder that gives a pooled embedding, too; raises `BadFile`.

    activation: of its layers, which no shape tells; projects: the embedding by the file's matrix.
    """
    names = _own(tensors)
    config = CLIPTextConfig(**{**config_of(names), "hidden_act": activation})
    config.projection_dim = config.hidden_size
    named = {f"{PREFIX}{name}": tensor for name, tensor in names.items()}
    if not projects:
        named[PROJECTION] = torch.eye(config.hidden_size)
    elif PROJECTION in tensors:
        named[PROJECTION] = tensors[PROJECTION]
        config.projection_dim = len(tensors[PROJECTION])
    with torch.device("meta"):
        encoder = CLIPTextModelWithProjection(config)
    encoder = fill(encoder, named, target)
    _number_places(encoder.text_model, target)
    return encoder


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in names.items() if not UNUSED.match(name)}


def _number_places(encoder: Any, target: Target) -> None:
    """Make the numbers of places: no weights, and without values on `meta`."""
    places = torch.arange(encoder.config.max_position_embeddings, device=target.device)
    encoder.embeddings.position_ids = places[None]


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return an encoder's configuration by the shapes of its tensors, in transformers' names.

    No shape tells the activation: it is CLIP-L's.
    """
    try:
        vocabulary, width = tensors["embeddings.token_embedding.weight"].shape
        places = tensors["embeddings.position_embedding.weight"].shape[0]
        inner = tensors["encoder.layers.0.mlp.fc1.weight"].shape[0]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of CLIP") from None
    layers = {name.split(".")[2] for name in tensors if name.startswith("encoder.layers.")}
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // HEAD,
        "max_position_embeddings": places,
        "hidden_act": "quick_gelu",
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }
