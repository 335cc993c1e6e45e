"""Union ControlNets: one network for several types of control images, with the type as input.

xinsir's ControlNet++ for SDXL and its ProMax, https://github.com/xinsir6/ControlNetPlus; the
network is diffusers'. Marble sets the type of control images that it makes itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from engine.models.control_files import PROJECTION, TASKS, TYPES

LAYER: Final = "transformer_layes."  # diffusers' and xinsir's spelling


def union_config(tensors: Mapping[str, Tensor], frequencies: int) -> dict[str, int]:
    """Return the part of a union's configuration that its weights show.

    frequencies: the width of a type's embedding.
    """
    layers = {name.split(".")[1] for name in tensors if name.startswith(LAYER)}
    return {
        "num_control_type": tensors[TYPES].shape[1] // frequencies,
        "num_trans_channel": tensors[TASKS].shape[1],
        "num_trans_layer": len(layers),
        "num_proj_channel": tensors[PROJECTION].shape[0],
    }


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """A union called like other ControlNets, for one type of control image."""

    network: Any
    kind: int

    def __call__(
        self,
        x: Tensor,
        timesteps: Tensor,
        *,
        controlnet_cond: Tensor,
        conditioning_scale: Tensor,
        **arguments: Any,
    ) -> Any:
        """Return the residuals for the U-Net; shapes as in `engine.denoise.control`."""
        kinds = torch.zeros(len(x), int(self.network.config.num_control_type)).to(x)
        kinds[:, self.kind] = 1
        return self.network(
            x,
            timesteps,
            controlnet_cond=[controlnet_cond],
            control_type=kinds,
            control_type_idx=[self.kind],
            conditioning_scale=[conditioning_scale],
            **arguments,
        )
