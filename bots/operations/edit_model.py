"""The owner's model for edits by words."""

from typing import Final

from bots.operations.settings import Settings
from engine.errors import SettingError, UserError
from engine.models.catalogue import Catalogue

EDIT_MODEL: Final = "MARBLE_EDIT_MODEL"


def find_edit_model(settings: Settings, catalogue: Catalogue) -> str | None:
    """Return the full name of the owner's model for edits, or None where none is set.

    Raises `UserError` for one that is not there or cannot be used, `SettingError` for one that does
    not edit by words.
    """
    if settings.edit_model is None:
        return None
    try:
        model = catalogue.get(settings.edit_model)
    except UserError as error:
        raise UserError(f"{EDIT_MODEL}: {error}") from None
    if not model.references:
        allowed = "a model that edits by words (`marble models` shows which do)"
        raise SettingError(EDIT_MODEL, settings.edit_model, allowed)
    return model.name
