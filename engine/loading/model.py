"""What the stages ask of a loaded model: each family of models answers in its own way.

    model.noise(width, height, steps)      # how noise levels are spaced
    model.prompts(embeddings).encode(…)    # stage 1: words → `Conditioning`
    model.predict(x, …)                    # stage 2: one call of the network
    model.to_vae(latents)                  # stage 3: what its VAE decodes

The families are in `engine/families`; the stages know this class alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from diffusers.configuration_utils import FrozenDict
from torch import Tensor

from engine.errors import MissingVae
from engine.loading.makers_names import Rows
from engine.loading.noise_schedule import SigmaTable
from engine.models.catalogue import Checkpoint
from engine.models.model_files import ModelFiles
from engine.models.parts import NETWORK
from engine.pictures.references import ReferenceSizes
from engine.pictures.start_image import Pixels
from engine.recipe.context_length import ContextRule
from engine.recipe.limits import SCORE
from engine.recipe.patches import Patch


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What a network is told of the words, a row for each prompt; fp32, but for the mask.

    embeds: what it attends to, [rows, tokens, width]; mask: which of these tokens there are,
    [rows, tokens] bool (None: all), on the CPU where a family needs lengths and on the device where
    its network takes it; others: further tensors by name, [rows, …], each family's own; words: the
    text that it was encoded from, as a text encoder reads it.
    """

    embeds: Tensor
    mask: Tensor | None = None
    others: Mapping[str, Tensor] = field(default_factory=dict)
    words: str = ""

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.embeds)

    @property
    def tokens(self) -> int:
        """Return the length in tokens."""
        return self.embeds.shape[1]

    def zeros(self) -> Conditioning:
        """Return zeros in its form."""
        others = {name: torch.zeros_like(each) for name, each in self.others.items()}
        return replace(self, embeds=torch.zeros_like(self.embeds), others=others, words="")

    def beside(self, **others: Tensor) -> Conditioning:
        """Add further tensors, [1, …], the same in each row."""
        rows = {
            name: each.to(self.embeds.device).expand(self.rows, *each.shape[1:])
            for name, each in others.items()
        }
        return replace(self, others={**self.others, **rows})


class Prompts(Protocol):
    """Encodes prompts, one at a time."""

    @property
    def size(self) -> int:
        """Return the bytes of what it has loaded for them."""
        ...

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row; clip_skip: as in `Recipe`.

        pictures: references that the words are about, each [H, W, 3] uint8; most encoders see none.
        """
        ...


LoraName = tuple[str, str, Rows | None]
# Returns what ControlNets add to a call, by the U-Net's names for it: of x in the network's dtype,
# [n, C, h, w], timesteps, [n], and the call's other arguments.
ControlOf = Callable[[Tensor, Tensor, Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(ABC):
    """One loaded model: its modules on `device`, the network and its text encoders in `dtype`.

    The VAE stays in fp32, where it is safe: in fp16 that of SDXL overflows, and its cost is one
    call a picture.
    """

    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype
    network: Any
    vae: Any
    unread: tuple[str, ...] = ()  # tensors of its file that nothing reads

    @property
    @abstractmethod
    def encoders(self) -> Mapping[str, Any]:
        """Return its text encoders by the names of their parts."""

    @property
    def parts(self) -> dict[str, Any]:
        """Return the modules that LoRAs may change, by the names of their parts."""
        return {NETWORK: self.network, **self.encoders}

    @abstractmethod
    def lora_names(self, part: str, modules: Sequence[str]) -> Iterator[LoraName]:
        """Yield each name by which LoRA files mean a module of a part, its own name, and its rows.

        rows: of the entry's outputs, those that change the module (None: all).
        """

    # Latents.

    @property
    def latent_channels(self) -> int:
        """Return the number of channels of the latents."""
        return int(self.vae.config.latent_channels)

    @property
    def latent_scale(self) -> int:
        """Return how many pixels one latent spans on each side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def longest(self) -> int | None:
        """Return how many latents of a side the network sees at once; None: any number."""
        return None

    def from_vae(self, mean: Tensor) -> Tensor:
        """Return latents, [1, C, h, w] fp32, of the mean that the VAE encodes to."""
        config = self.vae.config
        latents: Tensor = (mean - (getattr(config, "shift_factor", None) or 0.0)) * (
            config.scaling_factor
        )
        return latents

    def to_vae(self, latents: Tensor) -> Tensor:
        """Return what the VAE decodes of latents [1, C, h, w], in their dtype."""
        config = self.vae.config
        shift = getattr(config, "shift_factor", None) or 0.0
        unscaled: Tensor = latents / config.scaling_factor + shift
        return unscaled

    @abstractmethod
    def read_vae(self, name: str, path: Path) -> Any:
        """Read another VAE of its form, fp32 on the CPU, or raise `BrokenModel`."""

    @property
    def preview_map(self) -> Tensor | None:
        """Return a linear map from latents and a constant to RGB in −1…1, [C + 1, 3].

        None where it is fitted to the VAE's output.
        """
        return None

    # Words.

    @abstractmethod
    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; embeddings: the files that they may name."""

    def conditions(
        self,
        text: Conditioning,
        width: int,
        height: int,
        guidance_scale: float,
        score: float = SCORE,
    ) -> Conditioning:
        """Return a prompt's conditioning with what else a row is told of its picture.

        width, height: in pixels; score: of beauty, which SDXL's refiner is told.
        """
        return text

    @abstractmethod
    def blank(self, rows: int) -> Conditioning:
        """Return zeros in the form of its conditioning, of a usual length."""

    @abstractmethod
    def context_rule(self, width: int, height: int) -> ContextRule:
        """Return which lengths may share a call, and what they cost, at a size in latents."""

    @property
    def reference_sizes(self) -> ReferenceSizes | None:
        """Return at which sizes it takes reference pictures; None: it edits none by words."""
        return None

    # Noise and the network.

    @property
    def takes_guidance(self) -> bool:
        """Return whether the guidance scale is an input of the network, which needs no second row.

        Such a network is distilled with guidance.
        """
        return False

    @abstractmethod
    def noise(self, width: int, height: int, steps: int) -> SigmaTable:
        """Return how it spaces noise levels for pictures of that size in pixels.

        steps: from pure noise, also where a start image leaves out the first ones.
        """

    def read_as(self, patches: Sequence[Patch]) -> Model:
        """Return the model with its output read as a recipe's patches say: the same modules."""
        return self

    @abstractmethod
    def levels(self, sigmas: Sequence[float]) -> Tensor:
        """Return what the network is told of each row's σ, [k, n] fp32, on the device."""

    @abstractmethod
    def predict(
        self,
        x: Tensor,
        extra: Tensor | None,
        levels: Tensor,
        conditioning: Conditioning,
        control: ControlOf,
        references: Sequence[Tensor] = (),
    ) -> Tensor:
        """Return the prediction of the clean latents of rows x [n, C, h, w], fp32.

        extra: further input channels, [n, E, h, w], the same at every σ; levels: as `levels` makes
        them; conditioning: n rows; control: returns what ControlNets add; references: the latents
        of pictures that the network sees beside x, each [n, C, …] of a size of its own. Only the
        networks compute in the model's dtype.
        """

    @property
    def extra_channels(self) -> int:
        """Return how many input channels the network takes beside the noised latents."""
        return 0

    @property
    def inpaints(self) -> bool:
        """Return whether the network takes a mask and the masked image as further channels."""
        return self.extra_channels > 0

    def inpainting_input(self, seen: Tensor, painted: Tensor) -> Tensor:
        """Return these channels, [1, E, h, w] fp32.

        seen: the latents of the picture without what is painted, [1, C, h, w]; painted: 1 where it
        is, else 0, [1, 1, H, W].
        """
        raise NotImplementedError(f"{self.checkpoint.name!r} does not inpaint")


def join_rows(parts: Iterable[Tensor], padding: int) -> Tensor:
    """Concatenate rows, and append the first one `padding` times."""
    tensors = list(parts)
    first = tensors[0][:1]
    return torch.cat([*tensors, first.expand(padding, *first.shape[1:])])


class NoVae(torch.nn.Module):
    """The VAE of a model whose file holds none: it raises `MissingVae` where one is needed.

    config: of the latents of its family.
    """

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = FrozenDict(config)
        self._name = name

    def fail(self, *_: Any, **__: Any) -> NoReturn:
        """Raise `MissingVae`."""
        raise MissingVae(self._name)

    encode = decode = fail
