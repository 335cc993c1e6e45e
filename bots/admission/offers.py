"""The names in a place's rules, held against what lies in the models folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bots.admission.blocked_words import read_list, write_list
from engine.errors import UserError
from engine.models.catalogue import Catalogue
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles

Named = Callable[[str], str]  # the name that is meant by another one, or `UserError`

# How the names of a rule are found; those of the others are known without looking.
OFFERS: Final[Mapping[str, Callable[[Path | None], Named]]] = {
    "models": lambda folder: Catalogue(folder).resolve,
    "lora": lambda folder: ModelFiles(folder, ModelKind.LORA).resolve,
    "vae": lambda folder: ModelFiles(folder, ModelKind.VAE).resolve,
    "control": lambda folder: ModelFiles(folder, ModelKind.CONTROLNET).resolve,
    "upscaler": lambda folder: ModelFiles(folder, ModelKind.UPSCALER).resolve,
}


def meant(
    models_dir: Path | None, changes: Mapping[str, str], *, ahead: bool = False
) -> tuple[dict[str, str], list[UserError]]:
    """Return rules as typed with the whole names of what they name; blocks, and loads nothing.

    Raises the `UserError` that says what is not there and what comes next; with `ahead` such a
    name stays as it is typed, for what is to come, and the error is returned beside the rules.
    """
    found = dict(changes)
    missing: list[UserError] = []
    for rule in filter(changes.__contains__, OFFERS):
        named = OFFERS[rule](models_dir)
        names = []
        for typed in read_list(changes[rule]):
            try:
                names.append(named(typed))
            except UserError as error:
                if not ahead:
                    raise
                names.append(typed)
                missing.append(error)
        if names:  # commas alone stand for none at all
            found[rule] = write_list(names)
    return found, missing
