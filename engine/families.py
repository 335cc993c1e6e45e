"""Families of models, as data: what a diffusers folder's configuration says it is.

A family is read from the shapes in the configuration files, never from a folder's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Hold what a model draws well with when a person names nothing but the prompt."""

    width: int
    height: int
    steps: int
    guidance_scale: float
    sampler: str
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Describe models of one form; `context_width` is that of their text embeddings."""

    key: str
    title: str
    pipeline: str
    context_width: int | None = None  # None: any
    loadable: bool = True
    steps: int = 25
    guidance_scale: float = 7.0
    sampler: str = "dpmpp_2m"
    schedule: str = "karras"

    def defaults(self, size: int) -> Defaults:
        """Return the family's defaults for a model trained at `size` × `size` pixels."""
        return Defaults(
            width=size,
            height=size,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            sampler=self.sampler,
            schedule=self.schedule,
        )


# The first that fits is taken.
FAMILIES: Final = (
    Family(
        key="sd1",
        title="Stable Diffusion 1.x",
        pipeline="StableDiffusionPipeline",
        context_width=768,
    ),
    Family(
        key="sd2",
        title="Stable Diffusion 2.x",
        pipeline="StableDiffusionPipeline",
        context_width=1024,
    ),
    Family(key="sd", title="Stable Diffusion form", pipeline="StableDiffusionPipeline"),
    Family(
        key="sdxl",
        title="Stable Diffusion XL",
        pipeline="StableDiffusionXLPipeline",
        loadable=False,
    ),
    Family(
        key="sd3",
        title="Stable Diffusion 3",
        pipeline="StableDiffusion3Pipeline",
        loadable=False,
    ),
    Family(key="flux", title="FLUX", pipeline="FluxPipeline", loadable=False),
)


def identify(index: Mapping[str, Any], unet: Mapping[str, Any]) -> Family | None:
    """Return the family of a folder by its `model_index.json` and `unet/config.json`, or None."""
    for family in FAMILIES:
        if family.pipeline == index.get("_class_name") and family.context_width in (
            None,
            unet.get("cross_attention_dim"),
        ):
            return family
    return None
