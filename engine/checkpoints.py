"""Find models on disk and say what each is, without loading a weight.

A checkpoint is a folder in diffusers' layout (`model_index.json`, `unet/`, `vae/`,
`text_encoder/`, `tokenizer/`, `scheduler/`), weights as safetensors. A file `marble.json` beside
`model_index.json` may override the family's defaults and carry a note for people.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from engine.errors import BrokenModel, OptionError, UnknownModel
from engine.families import Defaults, Family, identify
from engine.recipe import CHOICES, RANGES

STARTER: Final = "starter"
STARTER_FOLDER: Final = Path(__file__).parent / "starter" / "model"
# Where ComfyUI keeps them; a folder directly in the models folder is found, too.
PLACES: Final = ("", "checkpoints", "diffusers")
# Pickles can run code when they are read, and the known guards have known holes.
PICKLES: Final = ("*.bin", "*.ckpt", "*.pt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Describe one model: where it lies, what it is, and what it draws well with."""

    name: str
    folder: Path
    family: Family
    defaults: Defaults
    notes: Mapping[str, str] = field(default_factory=dict)  # language → a sentence for people
    preview: Mapping[str, Any] | None = None  # latents → RGB, see `engine.decode`


class Catalogue:
    """Hold the models that can be named in a recipe: the bundled one and a folder's."""

    def __init__(self, models_dir: Path | None = None, starter: Path = STARTER_FOLDER) -> None:
        self._folders = dict(_find(models_dir))
        self._folders[STARTER] = starter

    def names(self) -> list[str]:
        """Return the names of all models found, the bundled one first."""
        return sorted(self._folders, key=lambda name: (name != STARTER, name))

    def get(self, name: str) -> Checkpoint:
        """Describe the model by that name, or raise `UnknownModel` or `BrokenModel`."""
        try:
            folder = self._folders[name]
        except KeyError:
            raise UnknownModel(name, self._folders) from None
        return describe(name, folder)


def describe(name: str, folder: Path) -> Checkpoint:
    """Read a folder's configuration files, or raise `BrokenModel` with the reason."""
    index = _read_json(name, folder / "model_index.json")
    unet = _read_json(name, folder / "unet" / "config.json")
    vae = _read_json(name, folder / "vae" / "config.json")
    family = identify(index, unet)
    if family is None:
        raise BrokenModel(name, f"its form {index.get('_class_name')!r} is not known to Marble.")
    if not family.loadable:
        raise BrokenModel(name, f"it is a {family.title} model, which Marble cannot run yet.")
    if unet.get("in_channels") != vae.get("latent_channels"):
        raise BrokenModel(
            name,
            f"its U-Net takes {unet.get('in_channels')} channels and its VAE gives "
            f"{vae.get('latent_channels')} (an inpainting model?).",
        )
    _check_weights(name, folder)
    size = int(unet.get("sample_size") or 64) * 2 ** (len(vae.get("block_out_channels", ())) - 1)
    own = folder / "marble.json"
    extra = _read_json(name, own) if own.exists() else {}
    return Checkpoint(
        name=name,
        folder=folder,
        family=family,
        defaults=_own_defaults(name, family.defaults(size), extra.get("defaults", {})),
        notes=extra.get("notes", {}),
        preview=extra.get("preview"),
    )


def _find(models_dir: Path | None) -> Iterator[tuple[str, Path]]:
    if models_dir is None:
        return
    for place in PLACES:
        folder = models_dir / place
        if folder.is_dir():
            for index in sorted(folder.glob("*/model_index.json")):
                yield index.parent.name, index.parent


def _read_json(name: str, path: Path) -> dict[str, Any]:
    shown = f"{path.parent.name}/{path.name}"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BrokenModel(name, f"{shown} is missing from its folder.") from None
    except OSError as error:
        raise BrokenModel(name, f"{shown} cannot be read ({error.strerror}).") from None
    except ValueError:
        raise BrokenModel(name, f"{shown} is not valid JSON.") from None
    if not isinstance(data, dict):
        raise BrokenModel(name, f"{shown} is not a JSON object.")
    return data


def _check_weights(name: str, folder: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        if any((folder / part).glob("*.safetensors")):
            continue
        if any(found for pattern in PICKLES for found in (folder / part).glob(pattern)):
            raise BrokenModel(
                name, f"{part}/ holds pickled weights, which can run code; convert to safetensors."
            )
        raise BrokenModel(name, f"{part}/ holds no safetensors file.")


def _own_defaults(name: str, defaults: Defaults, own: Mapping[str, Any]) -> Defaults:
    known = {entry.name for entry in fields(Defaults)}
    try:
        for key, value in own.items():
            if key not in known:
                raise OptionError(key, value, f"one of {', '.join(sorted(known))}")
            if value not in (RANGES[key] if key in RANGES else CHOICES[key]):
                raise OptionError(key, value, str(RANGES.get(key) or ", ".join(CHOICES[key])))
    except (OptionError, TypeError) as error:
        raise BrokenModel(name, f"marble.json: {error}") from None
    return replace(defaults, **own)
