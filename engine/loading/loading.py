"""Load a checkpoint's modules from its folder or file onto a device.

Everything is read from the local folder or file; nothing reaches for a model hub. A single file's
modules are built from configurations that Marble ships (`engine/models/configs`).
"""

import json
import logging
from typing import Any

import torch
from diffusers.loaders.single_file_utils import (
    DIFFUSERS_TO_LDM_MAPPING,
    create_diffusers_clip_model_from_ldm,
)
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.utils import logging as transformers_logging

from engine.device.backends import layout, precision
from engine.device.finite import check_present, check_values
from engine.errors import some
from engine.loading.layer_names import original_name
from engine.loading.model import ENCODERS, Model, NoVae
from engine.loading.modules import read_folder, read_part, read_tensors, reading, vae_tensors
from engine.loading.noise_schedule import NoiseSchedule
from engine.loading.tokenizer import make_tokenizer
from engine.loading.unused_tensors import left_in_text, left_in_vae, left_over
from engine.models.catalogue import Checkpoint
from engine.models.signatures import CONV_IN, GUIDANCE_IN, TEXT, VAE
from engine.models.tensor_names import respelled
from engine.models.weights import component_files, variant

log = logging.getLogger(__name__)

# diffusers does not know the original name of this weight.
_UNET_NAMES = DIFFUSERS_TO_LDM_MAPPING["unet"]["layers"]
_UNET_NAMES["time_embedding.cond_proj.weight"] = "time_embed.cond_proj.weight"


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None = None,
    weights_device: torch.device | None = None,
) -> Model:
    """Load all modules of a checkpoint, or raise `BrokenModel` with the part and the reason.

    dtype: of the U-Net and the text encoders; weights_device: where the weights are kept, if not
    on the device.
    """
    _silence_libraries()
    dtype = dtype or precision(device)
    parts = _Parts(checkpoint, weights_device or device)
    unet = parts.weights("unet", UNet2DConditionModel, dtype)
    vae: Any = (
        parts.weights("vae", AutoencoderKL, torch.float32)
        if checkpoint.has_vae
        else NoVae(checkpoint.name, checkpoint.folder)
    )
    text_encoder = parts.weights("text_encoder", CLIPTextModel, dtype)
    second = checkpoint.family.is_xl
    text_encoder_2 = (
        parts.weights("text_encoder_2", CLIPTextModelWithProjection, dtype) if second else None
    )
    if unread := parts.unread(unet):
        log.warning("the model %r has unused tensors: %s", checkpoint.name, some(unread))
    return Model(
        checkpoint=checkpoint,
        device=device,
        dtype=dtype,
        tokenizer=parts.tokenizer("tokenizer", text_encoder),
        text_encoder=text_encoder,
        tokenizer_2=parts.tokenizer("tokenizer_2", text_encoder_2) if second else None,
        text_encoder_2=text_encoder_2,
        unet=unet.to(memory_format=layout(device)),
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
            module = read(part, kind, dtype)
        check_present(name, module, part)
        module = module.to(self._device).eval().requires_grad_(False)
        check_values(name, module.state_dict().items(), part)
        return module

    def tokenizer(self, part: str, encoder: Any) -> Any:
        with reading(self._checkpoint.name, part):
            if self._checkpoint.file:
                return make_tokenizer(encoder.config.pad_token_id)
            return CLIPTokenizer.from_pretrained(str(self._checkpoint.folder / part))

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

    def _from_folder(self, part: str, kind: Any, dtype: torch.dtype) -> Any:
        folder = self._checkpoint.folder / part
        which = next((variant(file.name) for file in component_files(folder)), None)
        module, left = read_folder(kind, folder, dtype, which or None)
        self._left += left
        return module

    def _from_file(self, part: str, kind: Any, dtype: torch.dtype) -> Any:
        if part in ENCODERS:
            encoder = create_diffusers_clip_model_from_ldm(
                kind,
                self._tensors,
                part,
                str(self._checkpoint.folder),
                dtype,
                local_files_only=True,
            )
            start = TEXT[self._checkpoint.family.key][ENCODERS.index(part)]
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
        folder, device = self._checkpoint.folder, self._device
        module = read_part(kind, tensors, folder, part, dtype=dtype, device=device, **seen)
        if part == "vae":
            self._left += [f"{VAE}{name}" for name in left_in_vae(tensors, module)]
        return module


def _silence_libraries() -> None:
    for logging_of in (diffusers_logging, transformers_logging):
        logging_of.set_verbosity_error()
        logging_of.disable_progress_bar()
