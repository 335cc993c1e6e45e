"""The engine room: what owners see and change, of which moderators see less."""

from __future__ import annotations

from typing import Final

from bots.web.engine_room import bans, devices, figures, log, models, queue, rules, upkeep

ROUTES: Final = (
    *queue.ROUTES,
    *figures.ROUTES,
    *devices.ROUTES,
    *models.ROUTES,
    *rules.ROUTES,
    *bans.ROUTES,
    *log.ROUTES,
    *upkeep.ROUTES,
)
