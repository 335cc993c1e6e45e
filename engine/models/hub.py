"""Fetch models from the Hugging Face hub: a pinned revision, resumed where it broke off.

A single file goes into `checkpoints/`, a folder in diffusers' layout into `diffusers/OWNER/NAME/`
with only what is needed to run it: half precision where it is offered, never a pickle. Before
anything else the revision is looked up and written beside it (`NAME.hub.json`, `hub.json`); ever
after the same revision is asked for, until that file is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from engine.errors import nearest
from engine.models.families import identify
from engine.models.hub_files import (
    NOTE,
    HubError,
    HubFile,
    check_room,
    download,
    pinned,
    read,
    write,
)
from engine.models.supported import LATER
from engine.models.weights import HALF, PARTS, choose

INDEX: Final = "model_index.json"
# What a folder needs beside its weights.
CONFIGS: Final = ("scheduler", "tokenizer", "tokenizer_2")
TEXTS: Final = (".json", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Describe a model that may be fetched by name; without a file it is a whole folder."""

    name: str
    repo: str
    file: str = ""
    title: str = ""
    memory: int = 0  # GB of the GPU's memory that it wants
    place: str = "checkpoints"  # below the models folder, for a single file

    @property
    def home(self) -> str:
        """Return the folder below the models folder that its files go into."""
        return self.place if self.file else f"diffusers/{self.repo}"

    @property
    def note(self) -> str:
        """Return the name of the file that keeps its revision."""
        return f"{Path(self.file).stem}.{NOTE}" if self.file else NOTE


# Small to large; each is one file in half precision, from its makers or ComfyUI's own archive.
# Then what may lie beside them.
OFFERS: Final = (
    Offer(
        name="sd15",
        repo="Comfy-Org/stable-diffusion-v1-5-archive",
        file="v1-5-pruned-emaonly-fp16.safetensors",
        title="Stable Diffusion 1.5, 2 GB",
        memory=4,
    ),
    Offer(
        name="sdxl-turbo",
        repo="stabilityai/sdxl-turbo",
        file="sd_xl_turbo_1.0_fp16.safetensors",
        title="SDXL Turbo: 512 pixels in one to four steps, 7 GB",
        memory=8,
    ),
    Offer(
        name="sdxl",
        repo="stabilityai/stable-diffusion-xl-base-1.0",
        file="sd_xl_base_1.0.safetensors",
        title="Stable Diffusion XL: 1024 pixels, 7 GB",
        memory=10,
    ),
    Offer(
        name="taesd",
        repo="madebyollin/taesd",
        file="taesd_decoder.safetensors",
        title="tiny VAE of Stable Diffusion 1 and 2: truer previews, 5 MB",
        place="vae_approx",
    ),
    Offer(
        name="taesdxl",
        repo="madebyollin/taesdxl",
        file="taesdxl_decoder.safetensors",
        title="tiny VAE of Stable Diffusion XL: truer previews, 5 MB",
        place="vae_approx",
    ),
)


def find(name: str) -> Offer:
    """Return the offer of that name, or what is meant by a place on the hub.

    That is `owner/name` for a folder, or `owner/name/file.safetensors`.
    """
    for offer in OFFERS:
        if offer.name == name:
            return offer
    owner, _, rest = name.partition("/")
    repo, _, file = rest.partition("/")
    if owner and repo and (not file or file.endswith(".safetensors")):
        return Offer(name=name, repo=f"{owner}/{repo}", file=file, title=file or name)
    known = [offer.name for offer in OFFERS]
    raise HubError(
        f"There is no offer {name!r}{nearest(name, known)}; known are {', '.join(known)}, or "
        "write owner/name of a diffusers folder, or owner/name/file.safetensors."
    )


def fetch(offer: Offer, models_dir: Path, endpoint: str | None = None) -> Path:
    """Fetch a model with the hub's own progress bars; return its file or folder.

    What is there already is not fetched again. Raises `HubError` in one sentence.
    """
    from huggingface_hub import HfApi, hf_hub_url

    folder = models_dir / offer.home
    note = folder / offer.note
    with _told(offer):
        info = HfApi(endpoint=endpoint).model_info(
            offer.repo, revision=pinned(note, offer.repo), files_metadata=True
        )
        assert info.sha  # the hub's answer always names it
        place = partial(hf_hub_url, offer.repo, revision=info.sha, endpoint=endpoint)
        files = {each.rfilename: _file(each) for each in info.siblings or ()}
        wanted = _wanted(offer, files, place)
        check_room(folder, [files[name] for name in wanted])
        folder.mkdir(parents=True, exist_ok=True)
        write(note, offer.repo, info.sha, whole=False)
        paths = [download(place(name), files[name], folder / name) for name in wanted]
        write(note, offer.repo, info.sha, whole=True)
    return paths[0] if offer.file else folder


def _file(entry: Any) -> HubFile:
    tag = entry.lfs.sha256 if entry.lfs else entry.blob_id
    return HubFile(name=entry.rfilename, size=int(entry.size or 0), tag=tag or "")


def _wanted(
    offer: Offer, files: Mapping[str, HubFile], place: Callable[[str], str]
) -> Sequence[str]:
    """Return the files that are needed of a repository's."""
    if offer.file:
        names = [offer.file]
    elif INDEX in files:
        # Aside: nothing is to lie in the models folder of what cannot be run.
        with TemporaryDirectory() as aside:
            path = download(place(INDEX), files[INDEX], Path(aside) / INDEX)
            names = _parts(offer, _read_index(offer, path), files)
    else:
        raise HubError(
            f"{offer.repo} is no diffusers folder: it holds no {INDEX}{_hint(offer, files)}."
        )
    if missing := [name for name in names if name not in files]:
        raise HubError(f"{offer.repo} holds no file {missing[0]!r}.")
    return names


def _hint(offer: Offer, files: Iterable[str]) -> str:
    single = [name for name in files if name.endswith(".safetensors") and "/" not in name]
    return f"; name one of its files, for example {offer.repo}/{single[0]}" if single else ""


def _read_index(offer: Offer, path: Path) -> dict[str, Any]:
    index = read(path)
    family = identify(index)
    if family is None:
        kind = index.get("_class_name")
        raise HubError(f"{offer.repo} is of a form that Marble does not know ({kind!r}).")
    if not family.loadable:
        raise HubError(f"{offer.repo} is a {family.title} model, {LATER}.")
    return index


def _parts(offer: Offer, index: Mapping[str, Any], files: Mapping[str, HubFile]) -> list[str]:
    """Return the files that are needed of a folder with that index."""
    found = [INDEX]
    for part in (*CONFIGS, *PARTS):
        if not (index.get(part) or [None])[0]:
            continue
        inside = [name for name in files if name.rpartition("/")[0] == part]
        if part in CONFIGS:
            found += [name for name in inside if name.endswith(TEXTS)]
            continue
        _, weights = choose(inside, (HALF, ""))
        if not weights:
            raise HubError(
                f"{offer.repo} holds no safetensors file of its {part}: only pickles, which can "
                "run code, or nothing."
            )
        found += [f"{part}/config.json", *weights]
    return found


@contextmanager
def _told(offer: Offer) -> Iterator[None]:
    """Turn whatever the hub's client raises into one sentence."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    again = "what was fetched stays, and the same command goes on from there"
    try:
        yield
    except GatedRepoError as error:
        raise HubError(
            f"{offer.repo} is given only to who accepts its terms: do so on its page of the hub, "
            "then `hf auth login` or set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(
            f"{offer.repo} no longer has the revision that was fetched first; remove "
            f"{offer.home}/{offer.note} to take the newest."
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"The hub knows no {offer.repo}, or it is private (then `hf auth login` or set "
            "HF_TOKEN)."
        ) from error
    except LocalEntryNotFoundError as error:  # the client looked on the disk instead
        raise HubError(f"The hub cannot be reached; {again}.") from error
    except (HTTPError, HFValidationError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0][:200].rstrip(".")
        raise HubError(f"{offer.repo} cannot be fetched: {reason}; {again}.") from error
