"""Stable Diffusion 1, 2, XL and XL's refiner: a U-Net that attends to CLIP's embeddings of words.

Rombach et al. (2022), arXiv:2112.10752; Podell et al. (2023), arXiv:2307.01952. It predicts ε or v
over variance-exploding noise (`engine.loading.noise_schedule`). Everything is read from the local
folder or file; a single file's modules are built from configurations that Marble ships
(`engine/models/configs`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from engine.decode.external_vae import read_vae
from engine.device.backends import layout, precision
from engine.device.finite import check_values
from engine.errors import some
from engine.loading.configured import map_folder, read_folder, read_part
from engine.loading.layer_names import names_in_loras, original_name
from engine.loading.model import (
    Conditioning,
    ControlOf,
    LoraName,
    Model,
    NoVae,
    Prompts,
)
from engine.loading.modules import Target, read_tensors, reading, vae_tensors
from engine.loading.noise_schedule import NoiseSchedule, model_input, read_as
from engine.loading.tokenizer import check_tokenizer, make_tokenizer, reading_tokenizer
from engine.loading.unused_tensors import left_in_text, left_in_vae, left_over
from engine.models.catalogue import Checkpoint
from engine.models.families import BY_KEY, ENCODERS
from engine.models.model_files import ModelFiles
from engine.models.signatures import CONV_IN, GUIDANCE_IN, TEXT, VAE
from engine.models.tensor_names import respelled
from engine.pictures.start_image import Pixels
from engine.recipe.context_length import UNET, WINDOW, ContextRule
from engine.recipe.limits import SCORE
from engine.recipe.patches import Patch, reading_of
from engine.text_encode.clip import ClipEncoder, configured_encoder
from engine.text_encode.prompts import Piece

log = logging.getLogger(__name__)

REFINERS: Final = "conditioner.embedders.0.model."  # how diffusers knows its text encoder
# diffusers does not know the original name of this weight.
_UNET_NAMES = DIFFUSERS_TO_LDM_MAPPING["unet"]["layers"]
_UNET_NAMES["time_embedding.cond_proj.weight"] = "time_embed.cond_proj.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class StableDiffusion(Model):
    """A loaded model of this family; SDXL has a second text encoder, its refiner that alone.

    Conditioning's further tensors: pooled, the prompt's pooled embedding, [rows, P], and sizes, the
    picture's, [rows, 6], of SDXL, [rows, 5], with a score, of its refiner; guidance: the embedded
    scale, [rows, G], of models distilled with guidance.
    """

    noise_schedule: NoiseSchedule
    tokenizer: Any = None
    text_encoder: Any = None
    tokenizer_2: Any = None
    text_encoder_2: Any = None

    @property
    def unet(self) -> Any:
        """Return the network."""
        return self.network

    @property
    def encoders(self) -> Mapping[str, Any]:
        """Return its text encoders by the names of their parts."""
        both = zip(ENCODERS, (self.text_encoder, self.text_encoder_2), strict=True)
        return {name: encoder for name, encoder in both if encoder is not None}

    def lora_names(self, part: str, modules: Sequence[str]) -> Iterator[LoraName]:
        """Yield each name by which LoRA files mean a module of a part, and its own name."""
        for spelling, module in names_in_loras(part, modules, self.network.config):
            yield spelling, module, None

    def read_vae(self, name: str, path: Path) -> Any:
        """Read another VAE of its form, fp32 on the CPU, or raise `BrokenModel`."""
        # The VAEs of SD1, SD2 and SDXL have one architecture, and different scaling factors.
        key = "sdxl" if self.checkpoint.family.is_xl else "sd1"
        return read_vae(name, path, BY_KEY[key].config_folder)

    def prompts(self, embeddings: ModelFiles) -> Prompts:
        """Return what encodes prompts; embeddings: the files that they may name."""
        return _Prompts(self, embeddings)

    def conditions(
        self,
        text: Conditioning,
        width: int,
        height: int,
        guidance_scale: float,
        score: float = SCORE,
    ) -> Conditioning:
        """Add SDXL's sizes in pixels: original size, crop at (0, 0), target size.

        Podell et al. (2023), arXiv:2307.01952, section 2.2. Its refiner is told a score of beauty
        in place of the last. And the guidance scale, for models that take it.
        """
        if "pooled" in text.others:
            last = [score] if self.checkpoint.family.is_refiner else [height, width]
            sizes = [height, width, 0, 0, *last]
            text = text.beside(sizes=torch.tensor([sizes], dtype=torch.float32))
        if self.guidance_width:
            text = text.beside(guidance=embed_scale(guidance_scale, self.guidance_width))
        return text

    def blank(self, rows: int) -> Conditioning:
        """Return zeros in the form of its conditioning, of one window."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros((rows, *shape), device=self.device)

        widths = [int(encoder.config.hidden_size) for encoder in self.encoders.values()]
        others = {}
        if self.checkpoint.family.is_xl:
            others["pooled"] = zeros(int(self.text_encoder_2.config.projection_dim))
            others["sizes"] = zeros(5 if self.checkpoint.family.is_refiner else 6)
        if self.guidance_width:
            others["guidance"] = zeros(self.guidance_width)
        return Conditioning(zeros(WINDOW, sum(widths)), None, others)

    def context_rule(self, width: int, height: int) -> ContextRule:
        """Return which lengths may share a call, and what they cost, at any size."""
        return UNET

    @property
    def guidance_width(self) -> int:
        """Return in how many values the U-Net takes its guidance's scale; 0: it is guided."""
        return int(self.network.config.get("time_cond_proj_dim") or 0)

    @property
    def takes_guidance(self) -> bool:
        """Return whether the guidance scale is an input of the U-Net."""
        return self.guidance_width > 0

    @property
    def extra_channels(self) -> int:
        """Return how many input channels the U-Net takes beside the noised latents."""
        return int(self.network.config.in_channels) - self.latent_channels

    def inpainting_input(self, seen: Tensor, painted: Tensor) -> Tensor:
        """Return the channels of a U-Net that inpaints: the mask, and the picture without it.

        Rombach et al. (2022), arXiv:2112.10752, section 4.5.
        """
        small = torch.nn.functional.interpolate(painted, size=seen.shape[2:])
        return torch.cat([small.to(seen.device), seen], dim=1)

    def noise(self, width: int, height: int, steps: int) -> NoiseSchedule:
        """Return the noise that it was trained with, the same for all pictures."""
        return self.noise_schedule

    def read_as(self, patches: Sequence[Patch]) -> StableDiffusion:
        """Return the model with its output read as the patches say."""
        if (patch := reading_of(patches)) is None:
            return self
        schedule = read_as(self.noise_schedule, patch.kind, patch.numbers[0] == 1)
        return replace(self, noise_schedule=schedule)

    def levels(self, sigmas: Sequence[float]) -> Tensor:
        """Return each row's σ and timestep, [2, n] fp32, on the device."""
        timesteps = [_timestep(self.noise_schedule, sigma) for sigma in sigmas]
        # One copy to the device for both; as fp32 the timesteps, whole numbers below 1000, are
        # exact.
        return torch.tensor([sigmas, timesteps]).to(self.device)

    def predict(
        self,
        x: Tensor,
        extra: Tensor | None,
        levels: Tensor,
        conditioning: Conditioning,
        control: ControlOf,
        references: Sequence[Tensor] = (),
    ) -> Tensor:
        """Return the prediction of the clean latents of rows x, as `Model.predict` says."""
        sigma = levels[0].view(-1, 1, 1, 1)
        scaled = model_input(x, sigma)
        channels = scaled if extra is None else torch.cat([scaled, extra], dim=1)
        others = conditioning.others
        arguments: dict[str, Any] = {"encoder_hidden_states": conditioning.embeds.to(self.dtype)}
        if "pooled" in others:  # sizes stay fp32
            added = {"text_embeds": others["pooled"].to(self.dtype), "time_ids": others["sizes"]}
            arguments["added_cond_kwargs"] = added
        arguments |= control(scaled.to(self.dtype), levels[1], arguments)
        if "guidance" in others:  # not an argument of ControlNets
            arguments["timestep_cond"] = others["guidance"].to(self.dtype)
        unet = self.network
        output = unet(channels.to(self.dtype), levels[1], **arguments, return_dict=False)[0]
        return self.noise_schedule.denoised(x, sigma, output, levels[1].view(-1, 1, 1, 1))


class _Prompts:
    """Encode prompts by CLIP: SDXL's two encoders are joined along the width.

    SDXL's pooled embedding is the second encoder's.
    """

    def __init__(self, model: StableDiffusion, embeddings: ModelFiles) -> None:
        family = model.checkpoint.family
        tokenizers = dict(zip(ENCODERS, (model.tokenizer, model.tokenizer_2), strict=True))
        self._encoders = [
            ClipEncoder(
                tokenizers[name],
                encoder,
                embeddings,
                ENCODERS.index(name),
                device=model.device,
                last_layer=family.last_layer,
                normed=not family.is_xl,
            )
            for name, encoder in model.encoders.items()
        ]

    @property
    def size(self) -> int:
        """Return the bytes of loaded embeddings."""
        return sum(encoder.embeddings.size for encoder in self._encoders)

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row."""
        outputs = [encoder.encode(prompt, clip_skip) for encoder in self._encoders]
        pooled = outputs[-1].pooled
        return Conditioning(
            torch.cat([output.embeds for output in outputs], dim=-1),
            None,
            {} if pooled is None else {"pooled": pooled},
        )

    def pieces(self, prompt: str) -> list[Piece]:
        """Return a prompt's tokens; SDXL's two encoders read the same."""
        return self._encoders[0].pieces(prompt)


@lru_cache(maxsize=4096)
def _timestep(schedule: NoiseSchedule, sigma: float) -> float:
    return float(schedule.timestep(sigma))


def embed_scale(scale: float, width: int) -> Tensor:
    """Return the embedding of a guidance scale, [1, width] fp32, for models distilled with it.

    Sines and cosines of 1000·(scale − 1) at `width`/2 frequencies, as of a timestep: Luo et al.
    (2023), "Latent Consistency Models", arXiv:2310.04378, section 4.2, whose w is scale − 1.
    """
    half = width // 2
    # In fp32, as in training: at thousands of radians other precisions give other values.
    step = torch.tensor(10_000.0).log() / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -step)
    angles = torch.tensor([scale - 1.0]) * 1000.0 * frequencies
    waves = torch.cat([angles.sin(), angles.cos(), torch.zeros(width % 2)])
    return waves[None]


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None = None,
    weights_device: torch.device | None = None,
    room: int | None = None,
) -> StableDiffusion:
    """Load all modules of a checkpoint, or raise `BrokenModel` with the part and the reason.

    dtype: of the U-Net and the text encoders; weights_device: where the weights are kept, if not
    on the device.
    """
    dtype = dtype or precision(device)
    parts = _Parts(checkpoint, weights_device or device)
    unet = parts.weights("unet", UNet2DConditionModel, dtype)
    vae: Any = (
        parts.weights("vae", AutoencoderKL, torch.float32)
        if checkpoint.has_vae
        else NoVae(
            checkpoint.name, AutoencoderKL.load_config(str(checkpoint.folder), subfolder="vae")
        )
    )
    kinds = dict(zip(ENCODERS, (CLIPTextModel, CLIPTextModelWithProjection), strict=True))
    encoders = {
        part: parts.weights(part, kinds[part], dtype) for part in checkpoint.family.encoders
    }
    tokenizers = {
        part.replace("text_encoder", "tokenizer"): parts.tokenizer(
            part.replace("text_encoder", "tokenizer"), encoder
        )
        for part, encoder in encoders.items()
    }
    if unread := parts.unread(unet):
        log.warning("the model %r has unused tensors: %s", checkpoint.name, some(unread))
    return StableDiffusion(
        checkpoint=checkpoint,
        device=device,
        dtype=dtype,
        **tokenizers,
        **encoders,
        network=unet.to(memory_format=layout(device)),
        vae=vae.to(memory_format=layout(device)),
        noise_schedule=parts.noise_schedule(),
        unread=unread,
    )


class _Parts:
    """Read a checkpoint's parts; what goes wrong raises `BrokenModel`.

    Weights come from the parts' own folders, or all from one file.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self._checkpoint = checkpoint
        self._device = device
        # Mapped, not read: the bytes go from the file straight to where they are to lie.
        file = checkpoint.file
        self._tensors = respelled(read_tensors(checkpoint.name, file)) if file else {}
        self._left: list[str] = []  # within the parts that were read

    def weights(self, part: str, kind: Any, dtype: torch.dtype) -> Any:
        name = self._checkpoint.name
        with reading(name, part):
            read = self._from_file if self._tensors else self._from_folder
            module = read(part, kind, Target(dtype, self._device))
        check_values(name, module.state_dict().items(), part)
        return module

    def tokenizer(self, part: str, encoder: Any) -> Any:
        with reading(self._checkpoint.name, part):
            if self._checkpoint.file:
                return make_tokenizer(encoder.config.pad_token_id)
            with reading_tokenizer():
                tokenizer = CLIPTokenizer.from_pretrained(str(self._checkpoint.folder / part))
            check_tokenizer(tokenizer, encoder)
            return tokenizer

    def noise_schedule(self) -> NoiseSchedule:
        file = self._checkpoint.folder / "scheduler" / "scheduler_config.json"
        given, zero_snr = self._checkpoint.prediction, self._checkpoint.zero_snr
        with reading(self._checkpoint.name, "scheduler"):
            config = json.loads(file.read_text(encoding="utf-8"))
            zero = config.get("rescale_betas_zero_snr") if zero_snr is None else zero_snr
            return NoiseSchedule(
                beta_start=config.get("beta_start", 0.0001),
                beta_end=config.get("beta_end", 0.02),
                beta_schedule=config.get("beta_schedule", "linear"),
                num_train_timesteps=config.get("num_train_timesteps", 1000),
                prediction_type=given or config.get("prediction_type", "epsilon"),
                zero_snr=bool(zero),
            )

    def unread(self, unet: Any) -> tuple[str, ...]:
        """Return the tensors of a single file, or of a folder's parts, that nothing reads."""
        names = (name.rpartition(".") for name, _ in unet.named_parameters())
        own = {f"{original_name(name, unet.config)}.{leaf}" for name, _, leaf in names}
        return tuple(left_over(self._tensors, own, self._left))

    def _from_folder(self, part: str, kind: Any, target: Target) -> Any:
        folder = self._checkpoint.folder / part
        if part in ENCODERS:
            module, left = configured_encoder(kind, folder, map_folder(folder), target)
        else:
            module, left = read_folder(kind, folder, target)
        self._left += left
        return module

    def _from_file(self, part: str, kind: Any, target: Target) -> Any:
        folder = self._checkpoint.folder
        if part in ENCODERS:
            family = self._checkpoint.family
            start = TEXT[family.key][family.encoders.index(part)]
            tensors, prefix = self._tensors, start
            if family.is_refiner:  # of SD2's encoder, so named, diffusers leaves out a block
                prefix = REFINERS
                tensors = {name.replace(start, prefix): each for name, each in tensors.items()}
            encoder, _ = configured_encoder(kind, folder / part, tensors, target, prefix)
            own = (name.removeprefix(start) for name in self._tensors if name.startswith(start))
            self._left += [f"{start}{name}" for name in left_in_text(own, encoder)]
            return encoder
        # One configuration serves a family; what a U-Net sees beside latents its weights tell.
        seen = {}
        if part == "unet":
            seen["in_channels"] = self._tensors[CONV_IN].shape[1]
            if GUIDANCE_IN in self._tensors:
                seen["time_cond_proj_dim"] = self._tensors[GUIDANCE_IN].shape[1]
        tensors = vae_tensors(self._tensors) if part == "vae" else self._tensors
        module = read_part(kind, tensors, folder, part, target, **seen)
        if part == "vae":
            self._left += [f"{VAE}{name}" for name in left_in_vae(tensors, module)]
        return module
