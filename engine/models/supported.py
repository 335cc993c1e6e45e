"""Checks for models that Marble cannot run, by a file's header or a folder's configurations.

Each raises `BadFile` with the rest of a sentence that begins with the model. Standard library only.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from engine.files.safetensors import BadFile
from engine.models.families import INPAINTING, PURPOSES, Family
from engine.recipe.limits import is_int
from engine.sentences import fill

LATER: Final = "which Marble cannot run yet"
LEAST_GUIDANCE: Final = 4  # values that embed the scale: fewer have no frequencies
MOST_TIMESTEPS: Final = 10_000
LARGEST_SAMPLE: Final = 1024  # latents
PREDICTIONS: Final = ("epsilon", "v_prediction")
EDM: Final = f"it predicts in EDM's form (Playground 2.5), {LATER}"
FLOW: Final = f"it is trained by flow matching, {LATER}"
# How diffusers' schedulers of other kinds begin their names, and what other ones say of it.
SCHEDULERS: Final = {"EDM": EDM, "FlowMatch": FLOW}
SIGNS: Final = {"sigma_data": EDM, "use_flow_sigmas": FLOW}
FLOWS: Final = ("flow_prediction", "flow", "rectified_flow")
# What else may condition a U-Net beside timesteps and text, by diffusers' names for it.
INPUTS: Final = {
    "class_embed_type": "a class",
    "num_class_embeds": "a class or a level of noise",
    "encoder_hid_dim_type": "words or pictures by an encoder of another kind",
}


def check_family(family: Family) -> None:
    """Refuse a family that Marble can name but not run."""
    if not family.loadable:
        raise BadFile(f"it is {family.named} model, {LATER}")


def check_channels(family: Family, taken: object, given: object = 4) -> None:
    """Refuse a U-Net that sees something else than noised latents, or those for inpainting.

    taken, given: channels that the U-Net takes and the VAE gives.
    """
    if taken == given or (given == 4 and taken == INPAINTING):
        return
    if given == 4 and isinstance(taken, int) and taken in PURPOSES:
        what = f"{family.title} model for {PURPOSES[taken]} ({taken} channels)"
        raise BadFile(f"it is a {what}, {LATER}")
    what = "its U-Net takes {taken} {taken:channel|channels} and its VAE gives {given}"
    raise BadFile(fill(what, taken=taken, given=given))


def check_guidance(values: object) -> None:
    """Refuse a U-Net that embeds its guidance scale in too few values; None: it does not."""
    if values is not None and not (isinstance(values, int) and values >= LEAST_GUIDANCE):
        what = (
            "its U-Net is told the guidance scale in {n} {n:value|values}, where {least} or more "
            "are due"
        )
        raise BadFile(fill(what, n=values, least=LEAST_GUIDANCE))


def check_unet(config: Mapping[str, Any]) -> None:
    """Refuse a folder's U-Net with conditions that Marble does not have."""
    for key, what in INPUTS.items():
        if config.get(key) is not None:
            raise BadFile(f"its U-Net is told {what} ({key}), {LATER}")


def check_text_width(unet: Mapping[str, Any], encoders: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a folder's text encoders whose embeddings are not as wide as its U-Net takes.

    encoders: their configurations; both of XL's form stand beside each other.
    """
    given = [config.get("hidden_size") for config in encoders]
    widths = [width for width in given if is_int(width)]
    taken = unet.get("cross_attention_dim")
    if is_int(taken) and len(widths) == len(given) and sum(widths) != taken:
        raise BadFile(
            f"its text encoder gives embeddings {sum(widths):,} wide, where its U-Net takes "
            f"{taken:,}: it is another model's"
        )


def sample_size(config: Mapping[str, Any]) -> int:
    """Return the side of the latents that a folder's U-Net was trained with, the longer of two."""
    given: Any = config.get("sample_size") or 64
    sides: list[Any] = given if isinstance(given, list) and given else [given]
    if not all(is_int(side) and 0 < side <= LARGEST_SAMPLE for side in sides):
        raise BadFile(f"its U-Net has {given!r} for sample_size, not a side of latents")
    return int(max(sides))


def check_scheduler(config: Mapping[str, Any]) -> None:
    """Refuse a folder whose scheduler is of a kind of model that Marble cannot run."""
    kind = str(config.get("_class_name"))
    for start, reason in SCHEDULERS.items():
        if kind.startswith(start):
            raise BadFile(reason)
    for key, reason in SIGNS.items():
        if config.get(key):
            raise BadFile(reason)
    check_prediction(config.get("prediction_type", PREDICTIONS[0]))
    steps = config.get("num_train_timesteps", 1000)
    if not (is_int(steps) and 2 <= steps <= MOST_TIMESTEPS):
        raise BadFile(f"its scheduler has {steps!r} for num_train_timesteps, not a usual number")
    for key in ("beta_start", "beta_end"):
        beta = config.get(key, 0.01)
        if isinstance(beta, bool) or not (isinstance(beta, (int, float)) and 0 < beta < 1):
            raise BadFile(f"its scheduler has {beta!r} for {key}, not a number between 0 and 1")


def check_prediction(prediction: object) -> None:
    """Refuse a parameterisation that is not ε or v."""
    if prediction in FLOWS:
        raise BadFile(FLOW)
    if prediction not in PREDICTIONS:
        raise BadFile(f"it predicts {prediction!r}, {LATER}: {' and '.join(PREDICTIONS)} it can")


def check_vae(config: Mapping[str, Any]) -> None:
    """Refuse a VAE whose latents are scaled channel by channel."""
    blocks = config.get("block_out_channels", [])
    if not (isinstance(blocks, list) and all(map(is_int, blocks))):
        raise BadFile(f"its VAE has {blocks!r} for block_out_channels, not a list of numbers")
    scale = config.get("scaling_factor", 1)
    if isinstance(scale, bool) or not (isinstance(scale, (int, float)) and 0 < scale < 1e6):
        raise BadFile(f"its VAE has {scale!r} for scaling_factor, not a number above 0")
    if config.get("latents_mean") or config.get("latents_std"):
        raise BadFile(f"its VAE scales latents channel by channel (latents_mean), {LATER}")
