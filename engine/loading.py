"""Bring a checkpoint's modules to a device: the only place that reads weights.

Everything is read from the local folder; nothing reaches for a model hub.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.utils import logging as transformers_logging

from engine.checkpoints import Checkpoint
from engine.errors import BrokenModel
from engine.ladder import ran_out
from engine.schedules import NoiseSchedule

log = logging.getLogger(__name__)

# bf16 and fp16 are unusable on most CPUs; channels_last halves a U-Net call there.
PRECISIONS: Final = {"cpu": torch.float32, "cuda": torch.float16, "mps": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Hold one loaded model: its modules on `device`, the U-Net and text encoder in `dtype`.

    The VAE stays in fp32, where it is safe: in fp16 that of SDXL overflows, and its cost is one
    call a picture.
    """

    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype
    tokenizer: Any
    text_encoder: Any
    unet: Any
    vae: Any
    noise_schedule: NoiseSchedule

    @property
    def latent_channels(self) -> int:
        """Return the number of channels of the latents."""
        return int(self.vae.config.latent_channels)

    @property
    def latent_scale(self) -> int:
        """Return how many pixels one latent spans on each side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


def pick_device(wanted: str = "auto") -> torch.device:
    """Return the device by name; `auto` takes CUDA (or ROCm), then Apple's, then the CPU."""
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None = None,
    place: torch.device | None = None,
) -> Model:
    """Load all modules of a checkpoint, or raise `BrokenModel` with the part and the reason.

    dtype: of the U-Net and the text encoder; place: where weights lie at first, if not on the
    device.
    """
    _silence_libraries()
    dtype = dtype or PRECISIONS.get(device.type, torch.float32)
    place = place or device
    part = _Part(checkpoint)
    unet = part.weights("unet", UNet2DConditionModel, place, dtype)
    vae = part.weights("vae", AutoencoderKL, place, torch.float32)
    return Model(
        checkpoint=checkpoint,
        device=device,
        dtype=dtype,
        tokenizer=part.read("tokenizer", CLIPTokenizer.from_pretrained),
        text_encoder=part.weights("text_encoder", CLIPTextModel, place, dtype),
        unet=unet.to(memory_format=torch.channels_last),
        vae=vae.to(memory_format=torch.channels_last),
        noise_schedule=part.read("scheduler", _read_noise_schedule),
    )


class _Part:
    """Read a checkpoint's parts and turn whatever goes wrong into `BrokenModel`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def read(self, part: str, reader: Callable[[str], Any]) -> Any:
        try:
            return reader(str(self._checkpoint.folder / part))
        # The libraries raise a dozen kinds of errors for a broken file; each disables this model
        # only, and its full text is in the log.
        except Exception as error:
            if ran_out(error):
                raise  # of memory: the file is not to blame
            log.debug("loading %s of %s failed", part, self._checkpoint.name, exc_info=True)
            raise self._broken(part, str(error) or type(error).__name__) from error

    def weights(self, part: str, kind: Any, device: torch.device, dtype: torch.dtype) -> Any:
        def reader(folder: str) -> Any:
            return kind.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )

        module, info = self.read(part, reader)
        if missing := sorted(info["missing_keys"]):
            # The libraries would go on with random numbers in these places.
            raise self._broken(part, f"its weights lack {missing[0]!r} and {len(missing) - 1} more")
        return module.to(device).eval().requires_grad_(False)

    def _broken(self, part: str, reason: str) -> BrokenModel:
        first_line = reason.strip().splitlines()[0][:200].rstrip(".")
        return BrokenModel(self._checkpoint.name, f"{part}: {first_line}.")


def _read_noise_schedule(folder: str) -> NoiseSchedule:
    with open(f"{folder}/scheduler_config.json", encoding="utf-8") as file:
        config = json.load(file)
    return NoiseSchedule(
        beta_start=config.get("beta_start", 0.0001),
        beta_end=config.get("beta_end", 0.02),
        beta_schedule=config.get("beta_schedule", "linear"),
        num_train_timesteps=config.get("num_train_timesteps", 1000),
        prediction_type=config.get("prediction_type", "epsilon"),
    )


def _silence_libraries() -> None:
    for logging_of in (diffusers_logging, transformers_logging):
        logging_of.set_verbosity_error()
        logging_of.disable_progress_bar()
