"""Find and identify models on disk, without loading a weight.

A checkpoint is a folder in diffusers' layout (`model_index.json`, `unet/` or `transformer/`,
`vae/`, `text_encoder/`, `tokenizer/`, `scheduler/`), a single file that holds all of it, or a file
of a network whose other parts lie apart, as ComfyUI keeps them. Weights are safetensors or, of flow
models, GGUF. A file `marble.json` beside `model_index.json`, or `NAME.marble.json` beside
`NAME.safetensors`, may override the defaults and carry a note for people.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from engine.errors import BrokenModel, UnknownModel
from engine.files.gguf import read_weights
from engine.files.safetensors import BadFile, Tensor, as_broken_model, read_header
from engine.models.families import EMBEDDING, WEIGHING, Defaults, Family, identify_folder
from engine.models.folders import PICKLES, checkpoints
from engine.models.hub import half_fetched
from engine.models.marble_json import check_keys, own_parts, own_settings, own_variant
from engine.models.name_matching import Names
from engine.models.network_tensors import check_network
from engine.models.other_models import family_of
from engine.models.part_kinds import TOKENIZER, PartKind, needed
from engine.models.parts import (
    FoundParts,
    PartFiles,
    network_tensors,
    read_folder_part,
    tokenizers,
)
from engine.models.quantised import check_quantised
from engine.models.signatures import identify_file
from engine.models.supported import (
    check_channels,
    check_family,
    check_guidance,
    check_scheduler,
    check_text_width,
    check_unet,
    check_vae,
    sample_size,
)
from engine.models.variants import GUIDED, choose, fit_to_name, sampling_of, with_sampling
from engine.models.weights import COMPONENTS, NETWORK_FOLDER, component_files

STARTER: Final = "starter"
STARTER_FOLDER: Final = Path(__file__).parents[1] / "starter" / "model"
STARTER_TOWERS: Final = STARTER_FOLDER.with_name("tower")
U_NET_PARTS: Final = ("unet", "vae")  # beside the text encoders
FLOW_SIZE: Final = 1024  # pixels on each side
# Where metadata say what a model is: Stability's model specification, and GGUF.
TITLES: Final = ("modelspec.title", "modelspec.architecture", "general.name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Describe a model on disk: its files, its family, and its default settings.

    folder: configurations of its modules; their weights lie there, too, or all in one `file`.
    parts: files or folders of a flow model's parts that lie apart, or that its owner names, by
    their names in a diffusers folder (the network is `network`); prefixes: what the names of a
    part's tensors begin with, in a file of its own or in `file`.
    prediction, zero_snr: as its owner or its file says (None: as the folder's scheduler says).
    latents: their channels, and the pixels that one spans on each side, of a U-Net's folder.
    has_vae: without one, a recipe must name a VAE; variant: what it is called within its family;
    lacks, multiple, references: as of its `Family` and its variant; weighs: whether a text encoder
    knows weights of words; embeds: whether one knows embeddings; breaks: whether BREAK begins a
    window of tokens.
    """

    name: str
    folder: Path
    family: Family
    defaults: Defaults
    file: Path | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    prediction: str | None = None
    zero_snr: bool | None = None
    has_vae: bool = True
    latents: tuple[int, int] = (4, 8)
    variant: str = ""
    lacks: frozenset[str] = frozenset()
    multiple: int = 8
    references: int = 0
    weighs: bool = True
    embeds: bool = True
    breaks: bool = True
    notes: Mapping[str, str] = field(default_factory=dict)  # language → a sentence for people
    second_pass_strength: float = 0.3  # of a picture that is upscaled
    preview: Mapping[str, Any] | None = None  # latents → RGB, see `engine.decode.vae`

    @property
    def title(self) -> str:
        """Return what it is, its variant included."""
        return self.variant or self.family.title

    @property
    def size(self) -> int:
        """Return the bytes of its weights on disk, about what they take on the device."""
        paths = {path for part, path in self.parts.items() if not part.startswith(TOKENIZER)}
        inside = (self.folder / part for part in COMPONENTS if part not in self.parts)
        paths |= {self.file} if self.file else {*inside}
        files = ([path] if path.is_file() else component_files(path) for path in paths)
        return sum(file.stat().st_size for each in files for file in each)

    @property
    def state(self) -> frozenset[tuple[Path, int, int]]:
        """Return its files as they are: each one's size and when it was changed."""
        paths = {*self.parts.values(), self.file or self.folder}
        inside = (path.rglob("*") if path.is_dir() else [path] for path in paths)
        files = {file: file.stat() for each in inside for file in each if file.is_file()}
        return frozenset((file, its.st_size, its.st_mtime_ns) for file, its in files.items())


class Catalogue:
    """Find the models that a recipe can name: the bundled one and those of a folder.

    What is added to the folder later is found when it is asked for.
    """

    def __init__(self, models_dir: Path | None = None, starter: Path = STARTER_FOLDER) -> None:
        self.models_dir = models_dir
        self._starter = starter
        self._part_files = PartFiles(models_dir)
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
        if path.is_dir():
            return describe(found, path, self._part_files)
        return describe_file(found, path, self._part_files, self._paths.values())

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


def describe(name: str, folder: Path, part_files: PartFiles | None = None) -> Checkpoint:
    """Read a folder's configuration files, or raise `BrokenModel` with the reason.

    part_files: among which parts are found that its owner names.
    """
    if repo := half_fetched(folder):
        raise BrokenModel(name, f"it is not wholly fetched; `marble models get {repo}` goes on.")
    index = _read_json(name, folder / "model_index.json")
    family = identify_folder(index)
    own = folder / "marble.json"
    extra = _read_json(name, own) if own.exists() else {}
    if family and family.parts:
        part_files = part_files or PartFiles(None)
        return _describe_flow_folder(name, folder, family, index, extra, part_files)
    family, unet = _family(name, folder, index)
    with as_broken_model(name, f"{own.name}: "):
        check_keys(extra, family)
    vae = _read_json(name, folder / "vae" / "config.json")
    scheduler = _read_json(name, folder / "scheduler" / "scheduler_config.json")
    guided = unet.get("time_cond_proj_dim")
    parts = (*U_NET_PARTS, *family.encoders)
    with as_broken_model(name):
        check_channels(family, unet.get("in_channels"), vae.get("latent_channels"))
        check_unet(unet)
        check_guidance(guided)
        check_scheduler(scheduler)
        check_vae(vae)
        _check_weights(name, folder, parts)
        for part in parts:
            _check_headers(part, component_files(folder / part))
        check_text_width(
            unet, [_read_json(name, folder / part / "config.json") for part in family.encoders]
        )
        side = sample_size(unet)
    scale = 2 ** (len(vae.get("block_out_channels", ())) - 1)
    size = side * scale
    channels = vae.get("latent_channels", 4)
    defaults = _of_u_net(family.defaults(size), name, guided=guided is not None)
    return _with_own(
        Checkpoint(
            name=name,
            folder=folder,
            family=family,
            defaults=defaults,
            latents=(channels, scale),
            lacks=family.lacks,
        ),
        own.name,
        extra,
        channels,
    )


def describe_file(
    name: str, file: Path, part_files: PartFiles | None = None, models: Iterable[Path] = ()
) -> Checkpoint:
    """Read a single file's header, or raise `BrokenModel` with the reason.

    part_files: among which parts are found that are not in the file; models: other models' files
    and folders, of which some may lend a tokenizer.
    """
    if file.suffix.lower() in PICKLES:
        raise BrokenModel(name, "it is a pickle, which can run code; convert it to safetensors.")
    own = file.with_suffix(".marble.json")
    extra = _read_json(name, own) if own.exists() else {}
    with as_broken_model(name):
        header = read_weights(file)
        family = family_of(header)
        if family and family.parts:
            check_family(family)
            check_quantised(header)
            folders = (path for path in models if path.is_dir())
            part_files = part_files or PartFiles(None)
            return _describe_flow(
                Checkpoint(
                    name=name,
                    folder=file.parent,
                    file=file,
                    family=family,
                    defaults=family.defaults(FLOW_SIZE),
                ),
                network_tensors(header),
                [name, *(header.metadata.get(key, "") for key in TITLES)],
                own.name,
                extra,
                part_files,
                lambda needs, readers, named: part_files.of_file(
                    needs, readers, header, named, folders
                ),
            )
        info = identify_file(header, prediction_given="prediction" in extra)
    with as_broken_model(name, f"{own.name}: "):
        check_keys(extra, info.family)
    defaults = info.family.defaults(info.sample_size * 8)
    return _with_own(
        Checkpoint(
            name=name,
            folder=info.family.config_folder,
            file=file,
            family=info.family,
            defaults=_of_u_net(defaults, name, guided=info.guided),
            prediction=info.prediction,
            zero_snr=info.zero_snr,
            has_vae=info.has_vae,
            lacks=info.family.lacks,
        ),
        own.name,
        extra,
    )


def _describe_flow_folder(
    name: str,
    folder: Path,
    family: Family,
    index: Mapping[str, Any],
    extra: Mapping[str, Any],
    part_files: PartFiles,
) -> Checkpoint:
    weights = [part for part, _ in family.parts if not part.startswith(TOKENIZER)]
    with as_broken_model(name):
        check_family(family)
        _check_weights(name, folder, [NETWORK_FOLDER, *weights])
        header = read_folder_part(folder, NETWORK_FOLDER)
        found = family_of(header)
        if found is not family:
            what = f"it is {found.named} model" if found else "it is not known to Marble"
            raise BadFile(f"{NETWORK_FOLDER}/ is not what model_index.json says: {what}")
        distilled = {True: "distilled", False: "base"}.get(index.get("is_distilled", ""), "")
        return _describe_flow(
            Checkpoint(
                name=name, folder=folder, family=family, defaults=family.defaults(FLOW_SIZE)
            ),
            network_tensors(header),
            [distilled, str(index.get("_class_name")), name],
            "marble.json",
            extra,
            part_files,
            lambda needs, readers, named: part_files.of_folder(needs, readers, folder, named),
        )


def _describe_flow(
    checkpoint: Checkpoint,
    tensors: Mapping[str, Tensor],
    names: Iterable[str],
    own: str,
    extra: Mapping[str, Any],
    part_files: PartFiles,
    find: Callable[[Mapping[str, PartKind], Mapping[str, str], Mapping[str, Path]], FoundParts],
) -> Checkpoint:
    """Complete a flow model's description by its variant and its parts; raises `BadFile`.

    names: what it is called, and what else may say what it is; own: the name of the owner's file;
    find: of the text encoders and VAE that it needs, its tokenizers, and what the owner names.
    """
    family, names = checkpoint.family, list(names)
    with as_broken_model(checkpoint.name, f"{own}: "):
        check_keys(extra, family)
        given = own_variant(extra)
    variant = choose(family, names, tensors)
    if given is not None:
        with as_broken_model(checkpoint.name, f"{own}: "):
            variant = choose(family, names, tensors, given)
    check_network(family, tensors.keys())
    parts = {**dict(family.parts), **(variant.parts or {})}
    needs, readers = needed(family, parts, tensors), tokenizers(parts)
    with as_broken_model(checkpoint.name, f"{own}: "):
        named = part_files.named(own_parts(extra, {*parts, *readers}), needs)
    found = find(needs, readers, named)
    return _with_own(
        replace(
            checkpoint,
            parts=found.parts,
            prefixes=found.prefixes,
            variant=variant.title,
            defaults=with_sampling(checkpoint.defaults, sampling_of(variant, names)),
            lacks=family.lacks | variant.lacks,
            multiple=family.multiple,
            references=variant.references,
            weighs=not WEIGHING.isdisjoint(parts.values()),
            embeds=not EMBEDDING.isdisjoint(parts.values()),
            breaks=False,  # CLIP, where there is one, does not read the words alone
        ),
        own,
        extra,
        family.channels,
    )


def _of_u_net(defaults: Defaults, name: str, *, guided: bool) -> Defaults:
    """Return the defaults of a U-Net; guided: guidance is built in, whatever its name suggests."""
    return with_sampling(defaults, GUIDED) if guided else fit_to_name(defaults, name)


def _family(name: str, folder: Path, index: Mapping[str, Any]) -> tuple[Family, dict[str, Any]]:
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


def _check_weights(name: str, folder: Path, parts: Iterable[str]) -> None:
    for part in parts:
        if component_files(folder / part):
            continue
        if any(found for ending in PICKLES for found in (folder / part).glob(f"*{ending}")):
            raise BrokenModel(
                name, f"{part}/ holds pickled weights, which can run code; convert to safetensors."
            )
        raise BrokenModel(name, f"{part}/ holds no safetensors file.")


def _check_headers(part: str, files: Iterable[Path]) -> None:
    for file in files:
        try:
            read_header(file)
        except BadFile as error:
            raise BadFile(f"{part}: {error} ({file.name})") from None


def _with_own(
    checkpoint: Checkpoint, own: str, extra: Mapping[str, Any], channels: int = 4
) -> Checkpoint:
    """Return the checkpoint with the owner's settings beside it.

    own: the name of the owner's file; channels: of its latents.
    """
    with as_broken_model(checkpoint.name, f"{own}: "):
        return replace(checkpoint, **own_settings(extra, checkpoint.defaults, channels))
