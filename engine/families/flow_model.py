"""What models that predict velocities have in common (`engine.denoise.flow`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor

from engine.decode.external_vae import read_vae
from engine.device.backends import layout, memory, precision
from engine.device.finite import check_values
from engine.device.tensor_bytes import module_bytes
from engine.errors import BrokenModel
from engine.files.safetensors import BadFile
from engine.loading.layer_names import JOINED, names_in_loras
from engine.loading.makers_names import Names, lora_names
from engine.loading.model import Conditioning, ControlOf, LoraName, Model
from engine.loading.modules import Target, reading
from engine.loading.tokenizer import check_tokenizer, make_tokenizer, tokenizer_of
from engine.loading.weights import map_weights
from engine.models.catalogue import Checkpoint
from engine.models.families import CONFIGS
from engine.models.part_kinds import TOKENIZER, VAE
from engine.models.parts import ENCODER, NETWORK, tensors_of
from engine.models.weights import NETWORK_FOLDER
from engine.recipe.context_length import ContextRule, Joining
from engine.recipe.limits import SCORE

# Latents of FLUX.1's VAE → red, green and blue, and the constant: ComfyUI's numbers.
FLUX_PREVIEW: Final = (
    (-0.0346, 0.0244, 0.0681), (0.0034, 0.0210, 0.0687), (0.0275, -0.0668, -0.0433),
    (-0.0174, 0.0160, 0.0617), (0.0859, 0.0721, 0.0329), (0.0004, 0.0383, 0.0115),
    (0.0405, 0.0861, 0.0915), (-0.0236, -0.0185, -0.0259), (-0.0245, 0.0250, 0.1180),
    (0.1008, 0.0755, -0.0421), (-0.0515, 0.0201, 0.0011), (0.0428, -0.0012, -0.0036),
    (0.0817, 0.0765, 0.0749), (-0.1264, -0.0522, -0.1103), (-0.0280, -0.0881, -0.0499),
    (-0.1262, -0.0982, -0.0778), (-0.0329, -0.0718, -0.0851),
)  # fmt: skip

CLIP_END: Final = 49407  # by which texts are padded
USUAL: Final = 64  # tokens of a prompt

Make = Callable[[Mapping[str, Tensor], Target], Any]
ReadVae = Callable[[str, Path, str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowModel(Model):
    """A loaded model that predicts velocities, on latents of FLUX.1's VAE if it says no other.

    text_encoders, tokenizers: by the names of their parts; names: of the network's modules, by its
    makers and by diffusers.
    """

    names: ClassVar[Names]
    patch: ClassVar[int] = 2  # latents on each side of a token
    text_encoders: Mapping[str, Any]
    tokenizers: Mapping[str, Any]

    @property
    def encoders(self) -> Mapping[str, Any]:
        """Return its text encoders by the names of their parts."""
        return self.text_encoders

    def lora_names(self, part: str, modules: Sequence[str]) -> Iterator[LoraName]:
        """Yield each name by which LoRA files mean a module of a part, its own name, and its rows.

        Of text encoders they mean CLIP's alone.
        """
        if part == NETWORK:
            yield from lora_names(modules, self.names)
        elif part in JOINED and self.text_encoders[part].config.model_type == "clip_text_model":
            for spelling, module in names_in_loras(part, modules, {}):
                yield spelling, module, None

    @property
    def special_tokens(self) -> frozenset[str]:
        """Return the special tokens around prompts, which its first tokenizer must know."""
        return frozenset()

    @property
    def preview_map(self) -> Tensor | None:
        """Return a linear map from latents and a constant to RGB in −1…1, [C + 1, 3]."""
        return torch.tensor(FLUX_PREVIEW)

    def read_vae(self, name: str, path: Path) -> Any:
        """Read another VAE of its form, fp32 on the CPU, or raise `BrokenModel`."""
        return read_flux_vae(name, path)

    @property
    def takes_guidance(self) -> bool:
        """Return whether the guidance scale is an input of the network."""
        return bool(self.network.config.get("guidance_embeds"))

    def conditions(
        self,
        text: Conditioning,
        width: int,
        height: int,
        guidance_scale: float,
        score: float = SCORE,
    ) -> Conditioning:
        """Add the guidance scale, [rows], for networks that take it."""
        if not self.takes_guidance:
            return text
        return text.beside(guidance=torch.tensor([guidance_scale]))

    @classmethod
    def load(
        cls,
        checkpoint: Checkpoint,
        device: torch.device,
        dtype: torch.dtype | None = None,
        weights_device: torch.device | None = None,
        room: int | None = None,
    ) -> Self:
        """Load all modules of a checkpoint, as `engine.families.registry.load` says."""
        dtype = flow_dtype(device, dtype)
        parts = Parts(checkpoint, device, dtype, weights_device, room)
        made = cls(checkpoint=checkpoint, device=device, dtype=dtype, **cls.read(parts))
        for part, tokenizer in made.tokenizers.items():
            if encoder := made.encoders.get(part.replace(TOKENIZER, ENCODER)):
                special = made.special_tokens if part == TOKENIZER else ()
                with reading(checkpoint.name, part):
                    check_tokenizer(tokenizer, encoder, special)
        return made

    @classmethod
    @abstractmethod
    def read(cls, parts: Parts) -> dict[str, Any]:
        """Return its network, VAE, text encoders and tokenizers, by the names of its fields."""

    @property
    def text_width(self) -> int:
        """Return the width of the embeddings that the network attends to."""
        return int(self.network.config.joint_attention_dim)

    def blank(self, rows: int) -> Conditioning:
        """Return zeros in the form of its conditioning, of a usual length, with a mask."""
        texts = torch.zeros((rows, USUAL, self.text_width), device=self.device)
        return Conditioning(texts, torch.ones((rows, USUAL), dtype=torch.bool))

    def context_rule(self, width: int, height: int) -> ContextRule:
        """Return the rule of texts that are padded and masked."""
        return joint_attention(Joining.PAD, width, height, USUAL)

    def levels(self, sigmas: Sequence[float]) -> Tensor:
        """Return each row's σ, [1, n] fp32, on the device."""
        return torch.tensor([sigmas]).to(self.device)

    def predict(
        self,
        x: Tensor,
        extra: Tensor | None,
        levels: Tensor,
        conditioning: Conditioning,
        control: ControlOf,
        references: Sequence[Tensor] = (),
    ) -> Tensor:
        """Return x − σ·v, as `Model.predict` says; there are no ControlNets for these models."""
        channels = x if extra is None else torch.cat([x, extra], dim=1)
        seen = [whole_tokens(each.to(self.dtype), self.patch) for each in references]
        whole = whole_tokens(channels.to(self.dtype), self.patch)
        velocity = self.velocity(whole, levels[0], conditioning, seen)[
            ..., : x.shape[2], : x.shape[3]
        ]
        return x - levels[0].view(-1, 1, 1, 1) * velocity.to(x.dtype)

    @abstractmethod
    def velocity(
        self, x: Tensor, sigma: Tensor, conditioning: Conditioning, references: Sequence[Tensor]
    ) -> Tensor:
        """Return the velocities of rows x, [n, C, h, w], in x's dtype; sigma: [n] fp32.

        references: as in `Model.predict`, in x's dtype.
        """


def whole_tokens(latents: Tensor, patch: int) -> Tensor:
    """Return latents [n, C, h, w] with sides that are multiples of `patch`.

    What is missing is taken from the other side, as in ComfyUI.
    """
    down, across = (-side % patch for side in latents.shape[2:])
    if not (down or across):
        return latents
    return torch.nn.functional.pad(latents, (0, across, 0, down), mode="circular")


def read_flux_vae(name: str, path: Path, prefix: str = "") -> Any:
    """Read a VAE in the form of FLUX.1's, as `Parts.vae` says."""
    return read_vae(name, path, CONFIGS / "flux", prefix)


def joint_attention(
    joining: Joining, width: int, height: int, base: int, patch: int = 2
) -> ContextRule:
    """Return the rule of a transformer that attends to text and picture in one sequence.

    width, height: of the latents; base: the usual tokens of a text; patch: latents on each side of
    a picture's token. A token of text costs as much as one of the picture.
    """
    tokens = -(-width // patch) * -(-height // patch)
    return ContextRule(joining, base, base / (tokens + base))


def flow_dtype(device: torch.device, dtype: torch.dtype | None) -> torch.dtype:
    """Return the dtype of networks trained in bf16, in which fp16 may overflow."""
    found = dtype or precision(device)
    return torch.bfloat16 if found is torch.float16 else found


class Parts:
    """Read the parts of a checkpoint wherever they lie; what goes wrong raises `BrokenModel`.

    They are in files or folders of their own, in the folders of a model in diffusers' layout, or in
    one file with all parts. dtype: of computation; room: bytes that networks may take once their
    weights are cast to it, what was read before included.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        dtype: torch.dtype,
        weights_device: torch.device | None,
        room: int | None,
    ) -> None:
        self.checkpoint = checkpoint
        self._device = device
        self._dtype = dtype
        self._weights_device = weights_device or device
        self._room = memory(device) if room is None else room

    def network(self, make: Make) -> Any:
        """Return the network that `make` makes of its tensors."""
        return self._module(NETWORK, make, NETWORK_FOLDER)

    def text_encoders(self, **makes: Make) -> dict[str, Any]:
        """Return text encoders by their parts; makes: what makes each of its tensors."""
        return {part: self._module(part, make, part) for part, make in makes.items()}

    def tokenizer(self, part: str, read: Callable[[Path], Any] = tokenizer_of) -> Any:
        """Return what `read` reads of a tokenizer's folder."""
        folder = self.checkpoint.parts.get(part, self.checkpoint.folder / part)
        with reading(self.checkpoint.name, part):
            return read(folder)

    def clip_tokenizer(self, part: str, pad: int = CLIP_END) -> Any:
        """Return CLIP's tokenizer: the folder's own, or for files the one that all share.

        pad: the token that fills its windows.
        """
        with reading(self.checkpoint.name, part):
            if self.checkpoint.file:
                return make_tokenizer(pad)
            return tokenizer_of(self.checkpoint.folder / part)

    def vae(self, read: ReadVae = read_flux_vae) -> Any:
        """Return the VAE.

        read: reads its file or folder, fp32 on the CPU, or raises `BrokenModel`; it is given the
        model's name, the path, and what the tensors' names begin with in a file that holds more.
        """
        its = self.checkpoint
        path = its.parts.get(VAE) or its.file or its.folder / VAE
        try:
            vae = read(its.name, path, its.prefixes.get(VAE, "")).eval().requires_grad_(False)
        except BrokenModel as error:
            raise BrokenModel(its.name, f"{VAE}: {error.reason}") from error.__cause__
        return vae.to(self._weights_device).to(memory_format=layout(self._device))

    def _module(self, part: str, make: Make, folder: str) -> Any:
        name = self.checkpoint.name
        target = Target(self._dtype, self._weights_device, self._room, self._device)
        with reading(name, part):
            module = make(self._tensors(part, folder), target)
        check_values(name, module.state_dict().items(), part)
        self._room -= module_bytes([module])
        return module

    def _tensors(self, part: str, folder: str) -> Mapping[str, Tensor]:
        its = self.checkpoint
        path = its.parts.get(part) or its.file or its.folder / folder
        whole = map_weights(its.name, path)
        prefix = its.prefixes.get(part, "")
        if found := tensors_of(whole, prefix):
            return found
        raise BadFile(f"no tensor's name begins with {prefix!r}")
