"""What a place's moderators hold it to, as they type it on any platform."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from bots.admission.gate import Gate
from bots.admission.offers import meant
from bots.requests.studio import Studio

NOTHING: Final = ("none", "-")  # what removes a rule


async def hold(
    gate: Gate,
    studio: Studio,
    place: str,
    typed: Mapping[str, str],
    is_open: bool | None,
    *,
    by: str,
) -> None:
    """Change what holds in a place as its moderators type it, all of it or nothing.

    typed: texts of `rulebook.MODERATED`. is_open: whether pictures may be asked for; None leaves
    that as it is. Whoever calls says who may. Raises `UserError` for what cannot be, or is not
    there.
    """
    changes = {
        name: "" if text.strip().lower() in NOTHING else text for name, text in typed.items()
    }
    changes, _ = await asyncio.to_thread(meant, studio.models_dir, changes)
    if changes or is_open is not None:
        await gate.narrow(place, changes, by, is_open=is_open)
