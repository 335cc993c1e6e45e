"""Find and identify models on disk, without loading a weight.

A checkpoint is a folder in diffusers' layout (`model_index.json`, `unet/`, `vae/`,
`text_encoder/`, `tokenizer/`, `scheduler/`) or a single file that holds all of it, its weights as
safetensors. A file `marble.json` beside `model_index.json`, or `NAME.marble.json`
beside `NAME.safetensors`, may override the defaults and carry a note for people.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from engine.errors import BrokenModel, UnknownModel
from engine.files.safetensors import BadFile, as_broken_model, read_header
from engine.models.families import (
    GUIDED,
    Defaults,
    Family,
    fit_to_name,
    identify_folder,
    with_sampling,
)
from engine.models.folders import PICKLES, SAFE, checkpoints
from engine.models.hub import half_fetched
from engine.models.marble_json import own_settings
from engine.models.name_matching import Names
from engine.models.signatures import identify_file
from engine.models.supported import (
    check_channels,
    check_family,
    check_guidance,
    check_scheduler,
    check_unet,
    check_vae,
    sample_size,
)
from engine.models.weights import COMPONENTS, component_files

STARTER: Final = "starter"
STARTER_FOLDER: Final = Path(__file__).parents[1] / "starter" / "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Describe a model on disk: its files, its family, and its default settings.

    folder: configurations of its modules; their weights lie there, too, or all in one `file`.
    parts: files or folders of parts that lie apart, by their names in a diffusers folder.
    prediction, zero_snr: as its owner or its file says (None: as the folder's scheduler says).
    has_vae: without one, a recipe must name a VAE; lacks, multiple, references: as of its `Family`.
    """

    name: str
    folder: Path
    family: Family
    defaults: Defaults
    file: Path | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)
    prediction: str | None = None
    zero_snr: bool | None = None
    has_vae: bool = True
    lacks: frozenset[str] = frozenset()
    multiple: int = 8
    references: int = 0
    notes: Mapping[str, str] = field(default_factory=dict)  # language → a sentence for people
    second_pass_strength: float = 0.3  # of a picture that is upscaled
    preview: Mapping[str, Any] | None = None  # latents → RGB, see `engine.decode.vae`

    @property
    def size(self) -> int:
        """Return the bytes of its weights on disk, about what they take on the device."""
        if self.file:
            return self.file.stat().st_size
        parts = (component_files(self.folder / part) for part in COMPONENTS)
        return sum(file.stat().st_size for files in parts for file in files)


class Catalogue:
    """Find the models that a recipe can name: the bundled one and those of a folder.

    What is added to the folder later is found when it is asked for.
    """

    def __init__(self, models_dir: Path | None = None, starter: Path = STARTER_FOLDER) -> None:
        self.models_dir = models_dir
        self._starter = starter
        self._paths = self._look()

    def names(self) -> list[str]:
        """Return the names of all models found, the bundled one first."""
        self._paths = self._look()
        return sorted(self._paths, key=lambda name: (name != STARTER, name))

    def get(self, name: str) -> Checkpoint:
        """Describe the model by that name, or raise `UnknownModel`, `UserError` or `BrokenModel`.

        A file's ending and folder may be left out where that is clear.
        """
        found = self.resolve(name)
        if not self._paths[found].exists():  # it is gone, or lies elsewhere by now
            self._paths = self._look()
            found = self.resolve(name)
        path = self._paths[found]
        return describe(found, path) if path.is_dir() else describe_file(found, path)

    def resolve(self, name: str) -> str:
        """Return the name of the model that is meant, broken or not.

        Raises `UnknownModel`, or `UserError` where it is unclear.
        """
        if name not in self._paths:  # what has come since may be it, or make it unclear
            self._paths = self._look()
        if (found := Names(self._paths).choose("model", name)) is None:
            raise UnknownModel(name, self._paths)
        return found

    def _look(self) -> dict[str, Path]:
        found = checkpoints(self.models_dir) if self.models_dir else {}
        return {**found, STARTER: self._starter}


def describe(name: str, folder: Path) -> Checkpoint:
    """Read a folder's configuration files, or raise `BrokenModel` with the reason."""
    family, unet = _family(name, folder)
    vae = _read_json(name, folder / "vae" / "config.json")
    scheduler = _read_json(name, folder / "scheduler" / "scheduler_config.json")
    guided = unet.get("time_cond_proj_dim")
    with as_broken_model(name):
        check_channels(family, unet.get("in_channels"), vae.get("latent_channels"))
        check_unet(unet)
        check_guidance(guided)
        check_scheduler(scheduler)
        check_vae(vae)
        _check_weights(name, folder, two_encoders=family.is_xl)
        side = sample_size(unet)
    size = side * 2 ** (len(vae.get("block_out_channels", ())) - 1)
    own = folder / "marble.json"
    return _with_own(
        Checkpoint(name=name, folder=folder, family=family, defaults=family.defaults(size)),
        own.name,
        _read_json(name, own) if own.exists() else {},
        guided=guided is not None,
        channels=vae.get("latent_channels", 4),
    )


def describe_file(name: str, file: Path) -> Checkpoint:
    """Read a single file's header, or raise `BrokenModel` with the reason."""
    if file.suffix.lower() not in SAFE:
        raise BrokenModel(name, "it is a pickle, which can run code; convert it to safetensors.")
    own = file.with_suffix(".marble.json")
    extra = _read_json(name, own) if own.exists() else {}
    with as_broken_model(name):
        info = identify_file(read_header(file), prediction_given="prediction" in extra)
    return _with_own(
        Checkpoint(
            name=name,
            folder=info.family.config_folder,
            file=file,
            family=info.family,
            defaults=info.family.defaults(info.sample_size * 8),
            prediction=info.prediction,
            zero_snr=info.zero_snr,
            has_vae=info.has_vae,
        ),
        own.name,
        extra,
        guided=info.guided,
    )


def _family(name: str, folder: Path) -> tuple[Family, dict[str, Any]]:
    index = _read_json(name, folder / "model_index.json")
    family, unet = identify_folder(index), dict[str, Any]()
    if family and family.loadable:  # others need not have a U-Net
        unet = _read_json(name, folder / "unet" / "config.json")
        family = identify_folder(index, unet) or family
    if family is None:
        raise BrokenModel(name, f"its form {index.get('_class_name')!r} is not known to Marble.")
    with as_broken_model(name):
        check_family(family)
    return family, unet


def _read_json(name: str, path: Path) -> dict[str, Any]:
    shown = f"{path.parent.name}/{path.name}"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BrokenModel(name, f"{shown} is missing from its folder.") from None
    except OSError as error:
        raise BrokenModel(name, f"{shown} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError):
        raise BrokenModel(name, f"{shown} is not valid JSON.") from None
    if not isinstance(data, dict):
        raise BrokenModel(name, f"{shown} is not a JSON object.")
    return data


def _check_weights(name: str, folder: Path, *, two_encoders: bool) -> None:
    if repo := half_fetched(folder):
        raise BrokenModel(name, f"it is not wholly fetched; `marble models get {repo}` goes on.")
    for part in COMPONENTS if two_encoders else COMPONENTS[:3]:
        if files := component_files(folder / part):
            _check_headers(part, files)
        elif any(found for ending in PICKLES for found in (folder / part).glob(f"*{ending}")):
            raise BrokenModel(
                name, f"{part}/ holds pickled weights, which can run code; convert to safetensors."
            )
        else:
            raise BrokenModel(name, f"{part}/ holds no safetensors file.")


def _check_headers(part: str, files: Iterable[Path]) -> None:
    for file in files:
        try:
            read_header(file)
        except BadFile as error:
            raise BadFile(f"{part}: {error} ({file.name})") from None


def _with_own(
    checkpoint: Checkpoint, own: str, extra: Mapping[str, Any], *, guided: bool, channels: int = 4
) -> Checkpoint:
    """Return the checkpoint with defaults by its name and the owner's settings beside it.

    own: the name of the owner's file; guided: guidance is built in, whatever its name suggests;
    channels: of its latents.
    """
    name, usual = checkpoint.name, checkpoint.defaults
    defaults = with_sampling(usual, GUIDED) if guided else fit_to_name(usual, name)
    with as_broken_model(name, f"{own}: "):
        return replace(checkpoint, **own_settings(extra, defaults, channels))
