"""Make a pipeline from plain settings: the engine's own composition root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from engine.device.backends import CUDA, pick_device
from engine.device.out_of_memory import Ladder
from engine.device.probe import Measurements, Probe
from engine.device.tensor_bytes import Evictable
from engine.executors.config import EngineConfig
from engine.files.stored import PictureFolder
from engine.finish.enlarge import Enlarger
from engine.loading.loading import load
from engine.loading.model import Model
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pipeline.batching import Batching
from engine.pipeline.finish import unchecked
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.residency import Residents, budget

if TYPE_CHECKING:
    from engine.finish.safety import Guard

SIZES: Final = 64  # that one compiled block is made for; for more it runs as it was


def open_pipeline(config: EngineConfig) -> Pipeline:
    """Return a pipeline that loads the models it is asked for."""
    device = pick_device(config.device)
    if device.type == CUDA and config.batching == Batching.EXACT:
        # Of two kernels for one thing it takes the one that always adds in the same order.
        torch.backends.cudnn.deterministic = True
    probe = Probe(Measurements(config.notes), kind="compiled" if config.compile else "")

    def load_one(checkpoint: Checkpoint, offloaded: bool) -> Model:
        place = torch.device("cpu") if offloaded else None
        model = load(checkpoint, device, probe.dtype(device), place)
        if config.compile:
            compile_blocks(model)
        return model

    ladder = Ladder()
    catalogue = Catalogue(config.models_dir, config.starter)
    exact = config.batching == Batching.EXACT
    measure = probe.buckets if exact else probe.buckets_now
    enlarger = Enlarger(ModelFiles(config.models_dir, ModelKind.UPSCALER), device, ladder)
    guard = open_guard(config)
    # The safety check works on the processor: only there it takes models' room.
    beside: list[Evictable] = [enlarger]
    if guard and device.type == "cpu":
        beside.append(guard)
    models = Residents(catalogue, load_one, measure, ladder, budget(device), beside)
    enlarger.make_room = models.make_room
    return Pipeline(
        models,
        Batching(config.batching),
        store=PictureFolder(config.pictures),
        enlarger=enlarger,
        ladder=ladder,
        static=config.compile,
        check_safety=guard.judge if guard else unchecked,
    )


def open_guard(config: EngineConfig) -> Guard | None:
    """Return what judges finished pictures, if anything does."""
    if not config.safety_model:
        return None
    from engine.finish.safety import Guard  # nobody pays for classifiers who has none

    return Guard(config.safety_model, config.safety_labels)


def compile_blocks(model: Model) -> None:
    """Let the blocks that a U-Net repeats be compiled, for each size at its first use."""
    torch._dynamo.config.recompile_limit = SIZES
    # LoRAs are hooks on layers: what was compiled without them must not be used with them.
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    model.unet.compile_repeated_blocks(dynamic=False)
