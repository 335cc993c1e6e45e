"""Union ControlNets: one network for several kinds of maps, told which kind it sees.

xinsir's ControlNet++ for SDXL and its ProMax, https://github.com/xinsir6/ControlNetPlus; the
network is diffusers'. Which kind a map is Marble knows of those that it makes itself.
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
    """Return what of a union's configuration its weights tell.

    frequencies: in how many values each of its kinds is told.
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
    """Call a union as other control models are called, for one kind of map."""

    network: Any
    kind: int

    def __call__(
        self,
        x: Tensor,
        timesteps: Tensor,
        *,
        controlnet_cond: Tensor,
        conditioning_scale: Tensor,
        **told: Any,
    ) -> Any:
        """Return what is added to the U-Net; shapes as in `engine.denoise.control`."""
        kinds = torch.zeros(len(x), int(self.network.config.num_control_type)).to(x)
        kinds[:, self.kind] = 1
        return self.network(
            x,
            timesteps,
            controlnet_cond=[controlnet_cond],
            control_type=kinds,
            control_type_idx=[self.kind],
            conditioning_scale=[conditioning_scale],
            **told,
        )
