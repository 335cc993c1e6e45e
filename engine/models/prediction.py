"""The prediction type (ε or v) that a single file declares, in markers beside its weights.

Empty tensors (`v_pred`, `ztsnr`), as makers of v-prediction models and ComfyUI leave them, come
first, then metadata of Stability's model specification (`modelspec.prediction_type`; ComfyUI writes
`modelspec.predict_key`). Standard library only.
"""

from typing import Final

from engine.files.safetensors import BadFile, Header
from engine.models.supported import EDM, LATER, PREDICTIONS

EPSILON, V = PREDICTIONS
KEYS: Final = ("modelspec.prediction_type", "modelspec.predict_key")
WORDS: Final = {
    "epsilon": EPSILON, "eps": EPSILON, "v": V, "v_prediction": V, "v-prediction": V, "v_pred": V,
}  # fmt: skip
NONE: Final = ("", "none", "null")
CONTINUOUS: Final = f"it predicts v over noise without steps (edm_vpred), {LATER}"


def marked_prediction(header: Header, *, prediction_given: bool = False) -> str | None:
    """Return the prediction type that a file declares, None if it declares none; raises `BadFile`.

    prediction_given: its owner names one, so that an unknown word does not matter.
    """
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


def has_zero_snr(header: Header, prediction: str) -> bool:
    """Return whether a file declares a noise schedule of zero terminal signal-to-noise ratio.

    As in ComfyUI only with v: from pure noise, ε says nothing of a picture.
    """
    return prediction == V and "ztsnr" in header.tensors
