"""ControlNets: networks whose outputs, made from an image, are added inside the U-Net.

Zhang, Rao & Agrawala (2023), "Adding Conditional Control to Text-to-Image Diffusion Models",
arXiv:2302.05543. The networks are diffusers'.
"""

from __future__ import annotations

import inspect
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from safetensors.torch import load_file
from torch import Tensor

from engine.decode.encode import Pixels
from engine.denoise.control_union import Union, union_config
from engine.device.finite import check_weights
from engine.device.tensor_bytes import file_bytes
from engine.errors import BrokenModel, reading_a
from engine.loading.configured import read_folder
from engine.loading.model import Model
from engine.loading.modules import Target, check_missing, reading
from engine.loading.unused_tensors import check_unused, unused
from engine.models.control_files import CONTROL_TYPES, check_control_type, check_family, is_union
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pictures.control_images import ControlImage

ADDED: Final = {
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
}
IMAGE_CHANNELS: Final = (16, 32, 96, 256)  # of the layers that read the image, in all networks
FREQUENCIES: Final = 256  # width of the embedding of SDXL's sizes and of a union's kinds
KEPT: Final = 4  # ControlNets of one model
# Files may hold the model beside which the network was trained.
HARMLESS: Final = re.compile(r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.")

# What a network and its U-Net must have in common for their tensors to be added.
SHARED: Final = (
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "addition_embed_type",
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ActiveControl:
    """A ControlNet in one pass, with its image [1, 3, H, W] in 0 … 1.

    strength: factor of what it adds; start, end: the fractions of the steps between which it is
    used. Controls with equal keys are the same.
    """

    network: Any
    image: Tensor
    strength: float
    start: float
    end: float
    key: Hashable

    @property
    def config(self) -> Mapping[str, Any]:
        """Return the configuration of its network."""
        network = self.network.network if isinstance(self.network, Union) else self.network
        config: Mapping[str, Any] = network.config
        return config

    def scale_at(self, step: int, total: int) -> float:
        """Return its strength in a step, from 0: 0 outside start … end (as in diffusers)."""
        return self.strength if self.start <= step / total and (step + 1) / total <= self.end else 0


class Controls:
    """The ControlNets loaded for one model: the `KEPT` most recently used.

    make_room: called with the bytes of the next one before it is loaded.
    """

    def __init__(
        self, model_files: ModelFiles, make_room: Callable[[int], object] = lambda size: None
    ) -> None:
        self._model_files = model_files
        self._make_room = make_room
        self._loaded: OrderedDict[str, Any] = OrderedDict()

    @property
    def modules(self) -> list[Any]:
        """Return the networks that are loaded."""
        return list(self._loaded.values())

    def activate(self, hint: ControlImage, model: Model, width: int, height: int) -> ActiveControl:
        """Return a ControlNet, loaded if need be, for pictures of that size in pixels.

        Raises `UnknownPart`, `BrokenModel`, or `UserError` for one of another family.
        """
        control = hint.control
        network = self._get(control.model, model)
        if isinstance(network, ControlNetUnionModel):
            check_control_type(control.model, control.preprocessor)
            network = Union(network, CONTROL_TYPES[control.preprocessor])
        return ActiveControl(
            network=network,
            image=to_control_image(hint.at(width, height), model),
            strength=control.strength,
            start=control.start,
            end=control.end,
            key=(control, hint.fit),
        )

    def _get(self, name: str, model: Model) -> Any:
        if name not in self._loaded:
            path = self._model_files.path(name)
            self._make_room(file_bytes(path))
            while len(self._loaded) >= KEPT:
                self._loaded.popitem(last=False)
            self._loaded[name] = load_control(name, path, model)
        self._loaded.move_to_end(name)
        return self._loaded[name]


def to_control_image(pixels: Pixels, model: Model) -> Tensor:
    """Map pixels [H, W, 3], uint8, to [1, 3, H, W] in 0 … 1, as the networks take them."""
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    return image.to(model.device, model.dtype)


def control_residuals(
    controls: Sequence[ActiveControl],
    scales: Sequence[Sequence[float]],
    x: Tensor,
    timesteps: Tensor,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the ControlNets' residuals for rows x, [n, C, h, w], as arguments of the U-Net's call.

    scales: for each row, each control's strength in its step; arguments: the
    U-Net's conditions.
    """
    down: list[Tensor] = []
    middle: Tensor | None = None
    for number, control in enumerate(controls):
        own = [row[number] for row in scales]
        if not any(own):
            continue
        # A row at 0 gets nothing added: the same bits, whatever the other rows' controls do.
        scale = torch.tensor(own).to(x).view(-1, 1, 1, 1)
        image = control.image.expand(len(x), -1, -1, -1)
        more, last = control.network(
            x,
            timesteps,
            controlnet_cond=image,
            conditioning_scale=scale,
            return_dict=False,
            **arguments,
        )
        down = [a + b for a, b in zip(down, more, strict=True)] if down else more
        middle = last if middle is None else middle + last
    if middle is None:
        return {}
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


@reading_a(ModelKind.CONTROLNET)
def load_control(name: str, path: Path, model: Model) -> Any:
    """Load a ControlNet for a model, from a folder in diffusers' layout or a single file.

    Raises `UserError` for one of another family, or `BrokenModel` with the reason.
    """
    check_family(name, path, model.checkpoint)
    read = _from_folder if path.is_dir() else _from_file
    kind = ControlNetUnionModel if is_union(name, path) else ControlNetModel
    with reading(name):
        network = read(path, model, kind)
    for key in SHARED:
        its, wanted = (_plain(config.get(key)) for config in (network.config, model.network.config))
        if its != wanted:
            reason = f"its {key} is {its}, that of {model.checkpoint.name!r} {wanted}"
            raise BrokenModel(name, f"{reason}: it is made for models of another form.")
    network = network.to(model.device).eval().requires_grad_(False)
    check_weights(name, network)
    return network


def _from_folder(path: Path, model: Model, kind: Any) -> Any:
    network, left = read_folder(kind, path, Target(model.dtype))
    check_unused(left)
    return network


def _from_file(path: Path, model: Model, kind: Any) -> Any:
    """Build the network in the form of the U-Net's lower half, as it was when it was trained."""
    given = {name: each for name, each in load_file(path).items() if not HARMLESS.match(name)}
    known = set(inspect.signature(kind.__init__).parameters)
    config = {key: value for key, value in model.network.config.items() if key in known}
    config["in_channels"] = model.latent_channels
    config["conditioning_embedding_out_channels"] = IMAGE_CHANNELS
    if kind is ControlNetUnionModel:
        config["addition_time_embed_dim"] = config.get("addition_time_embed_dim") or FREQUENCIES
        config |= union_config(given, config["addition_time_embed_dim"])
    weights = {**convert_controlnet_checkpoint(given, config), **_added(given)}
    with torch.device("meta"):
        network = kind.from_config(config)
    check_unused(unused(given, weights.values()))
    typed = {name: weight.to(model.dtype) for name, weight in weights.items()}
    found = network.load_state_dict(typed, strict=False, assign=True)
    check_missing(found.missing_keys)
    check_unused(found.unexpected_keys)
    return network


def _added(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return SDXL's additional tensors by diffusers' names: its own conversion leaves them out."""
    return {
        ours + name.rpartition(theirs)[2]: weight
        for name, weight in weights.items()
        for theirs, ours in ADDED.items()
        if theirs in name
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
