"""Identify a single file of a U-Net and its text encoders by its tensors' names and shapes.

    identify_file(read_header(path))  # a CheckpointInfo, or BadFile with what the file is instead

Names are those of Stability's original code, which all single files follow; older spellings are
brought to these by `engine.models.tensor_names`. What a file predicts (ε or v) it may declare:
empty tensors (`v_pred`, `ztsnr`), as makers of v-prediction models and ComfyUI leave them, come
first, then metadata of Stability's model specification (`modelspec.prediction_type`; ComfyUI writes
`modelspec.predict_key`). Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import pstdev
from typing import Final

from engine.files.safetensors import FP8, BadFile, Header, quantised
from engine.models.families import BY_KEY, Family
from engine.models.other_models import describe_other, family_of
from engine.models.supported import (
    EDM,
    LATER,
    PREDICTIONS,
    check_channels,
    check_family,
    check_guidance,
)
from engine.models.tensor_names import respelled

EPSILON, V = PREDICTIONS

UNET: Final = "model.diffusion_model."
CONV_IN: Final = f"{UNET}input_blocks.0.0.weight"
GUIDANCE_IN: Final = f"{UNET}time_embed.cond_proj.weight"  # where its guidance is built in
CONTEXT: Final = ".attn2.to_k.weight"
ADDED: Final = f"{UNET}label_emb.0.0.weight"
# A bias that spreads much wider after training by v-prediction than by ε-prediction: the two kinds
# of SD2 models differ in no shape. The tensor and the bound are ComfyUI's.
V_PREDICTION_BIAS: Final = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
WIDE: Final = 0.09
SAMPLE_SIZES: Final = {EPSILON: 64, V: 96}  # of SD2's latents
# Where metadata say what a file predicts, and by which words.
KEYS: Final = ("modelspec.prediction_type", "modelspec.predict_key")
WORDS: Final = {
    "epsilon": EPSILON, "eps": EPSILON, "v": V, "v_prediction": V, "v-prediction": V, "v_pred": V,
}  # fmt: skip
NONE: Final = ("", "none", "null")
CONTINUOUS: Final = f"it predicts v over noise without steps (edm_vpred), {LATER}"

# What is there beside the U-Net, by what its names begin with; text encoders must be.
VAE: Final = "first_stage_model."
TEXT: Final[Mapping[str, tuple[str, ...]]] = {
    "sd1": ("cond_stage_model.transformer.",),
    "sd2": ("cond_stage_model.model.",),
    "sdxl": ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
    "refiner": ("cond_stage_model.model.",),  # as `respelled` takes it for SD2's
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """A single file's family, and the properties that the family leaves open."""

    family: Family
    prediction: str = "epsilon"
    zero_snr: bool = False
    has_vae: bool = True
    sample_size: int  # side of the latents that it was trained with
    guided: bool = False  # its guidance is built in


def identify_file(header: Header, *, prediction_given: bool = False) -> CheckpointInfo:
    """Identify a file that Marble can run, or raise `BadFile` with what it is instead.

    prediction_given: its owner says what it predicts, so that an unknown word does not matter.
    """
    header = replace(header, tensors=respelled(header.tensors))
    if CONV_IN not in header.tensors:
        raise BadFile(describe_other(header))
    if found := {tensor.dtype for tensor in header.tensors.values()} & {*FP8}:
        raise BadFile(quantised(min(found)))
    family = _family(header)
    check_family(family)
    shape = header.shape(CONV_IN)
    check_channels(family, shape[1] if len(shape) == 4 else 0)
    _check_texts(header, family)
    _check_guidance(header)
    marked = _marked_prediction(header, prediction_given)
    prediction = marked or (_prediction_of_sd2(header) if family.key == "sd2" else EPSILON)
    size = {"sd1": 64, "sd2": SAMPLE_SIZES[prediction], "sdxl": 128, "refiner": 128}[family.key]
    return CheckpointInfo(
        family=family,
        prediction=prediction,
        # As in ComfyUI only with v: from pure noise, ε says nothing of a picture.
        zero_snr=prediction == V and "ztsnr" in header.tensors,
        has_vae=any(name.startswith(VAE) for name in header.tensors),
        sample_size=size,
        guided=GUIDANCE_IN in header.tensors,
    )


def _family(header: Header) -> Family:
    context = next((t.shape[1:] for n, t in header.tensors.items() if n.endswith(CONTEXT)), ())
    added = header.shape(ADDED)[1:]
    for key in ("sd1", "sd2", "sdxl", "refiner"):
        family = BY_KEY[key]
        widths = (family.context_width,), (family.added_width,) if family.added_width else ()
        if (context, added) == widths:
            return family
    if other := family_of(header):  # its U-Net is named as Stability's, and is more
        check_family(other)
    raise BadFile(
        "its form is not known to Marble: a U-Net with text embeddings of "
        f"{context[0] if context else 'no'} values"
    )


def _check_guidance(header: Header) -> None:
    shape = header.shape(GUIDANCE_IN)
    if GUIDANCE_IN in header.tensors and len(shape) != 2:
        raise BadFile(f"{GUIDANCE_IN!r} has the shape {[*shape]}, where two sides are due")
    check_guidance(shape[1] if shape else None)


def _check_texts(header: Header, family: Family) -> None:
    for start in TEXT[family.key]:
        if not any(name.startswith(start) for name in header.tensors):
            raise BadFile(
                f"it holds no text encoder (no tensor's name begins with {start!r}); save it "
                "together with one, as ComfyUI's node CheckpointSave does"
            )


def _marked_prediction(header: Header, prediction_given: bool) -> str | None:
    """Return the prediction type that a file declares, None if it declares none."""
    if any(name.startswith("edm_vpred") for name in header.tensors):
        raise BadFile(CONTINUOUS)
    if any(name.startswith("edm_") for name in header.tensors):
        raise BadFile(EDM)
    if "v_pred" in header.tensors:
        return V
    for key in KEYS:
        word = str(header.metadata.get(key, "")).strip().lower()
        if word in WORDS:
            return WORDS[word]
        if word not in NONE and not prediction_given:
            reason = f"its metadata says that it predicts {word[:40]!r} ({key})"
            raise BadFile(f"{reason}, {LATER}: {' and '.join(PREDICTIONS)} it can")
    return None


def _prediction_of_sd2(header: Header) -> str:
    wide = V_PREDICTION_BIAS in header.tensors and pstdev(header.values(V_PREDICTION_BIAS)) > WIDE
    return V if wide else EPSILON
