"""Make a pipeline from plain settings: the engine's own composition root."""

from __future__ import annotations

from functools import partial

from engine.batching import Batching
from engine.checkpoints import Catalogue
from engine.executors.config import EngineConfig
from engine.loading import load, pick_device
from engine.memory import Residents, budget
from engine.pipeline import Pipeline
from engine.resident import unmeasured


def open_pipeline(config: EngineConfig) -> Pipeline:
    """Return a pipeline that loads the models it is asked for."""
    device = pick_device(config.device)
    models = Residents(
        Catalogue(config.models_dir, config.starter),
        partial(load, device=device),
        unmeasured,
        budget(device),
    )
    return Pipeline(models, Batching(config.batching))
