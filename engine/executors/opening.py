"""Make a pipeline from plain settings: the engine's own composition root."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import torch

from engine.device.backends import CUDA, find_device
from engine.device.out_of_memory import Ladder
from engine.device.probe import Measurements, Probe, kind_of
from engine.device.tensor_bytes import Evictable
from engine.events import About
from engine.executors.config import EngineConfig
from engine.families.registry import load
from engine.files.bucket import open_store
from engine.finish.upscale import Upscaler
from engine.loading.model import Model
from engine.making_of.tap import MakingOf
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pipeline.batching import Batching
from engine.pipeline.finishing import unchecked
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.residency import Residency, budget, room

if TYPE_CHECKING:
    from engine.finish.safety import SafetyChecker

SIZES: Final = 64  # that one compiled block is made for; for more it runs as it was


def open_pipeline(config: EngineConfig) -> Pipeline:
    """Return a pipeline that loads the models it is asked for."""
    device = find_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    if device.type == CUDA and config.batching == Batching.EXACT:
        # Of two kernels for one thing it takes the one that always adds in the same order.
        torch.backends.cudnn.deterministic = True
    probe = Probe(Measurements(config.notes), kind="compiled" if config.compile else "")

    def load_one(checkpoint: Checkpoint, offloaded: bool) -> Model:
        place = torch.device("cpu") if offloaded else None
        # Each part of an offloaded model must fit on the device, too.
        most = min(budget(place or device), budget(device))
        model = load(checkpoint, device, probe.dtype(device), place, most)
        if config.compile:
            compile_blocks(model)
        return model

    ladder = Ladder()
    catalogue = Catalogue(config.models_dir, config.starter)
    exact = config.batching == Batching.EXACT
    measure = probe.buckets if exact else probe.buckets_now
    upscaler = Upscaler(ModelFiles(config.models_dir, ModelKind.UPSCALER), device, ladder)
    checker = open_safety_checker(config)
    # The classifier is in main memory, which it shares with models only on a CPU.
    beside: list[Evictable] = [upscaler]
    if checker and device.type == "cpu":
        beside.append(checker)
    there = room(device)
    models = Residency(catalogue, load_one, measure, ladder, there.budget, beside, there)
    upscaler.make_room = models.make_room
    return Pipeline(
        models,
        Batching(config.batching),
        store=open_store(config.pictures, config.pictures_url)
        if config.store is None
        else config.store,
        upscale=upscaler,
        ladder=ladder,
        static=config.compile,
        check_safety=checker.check if checker else unchecked,
        open_tap=MakingOf,
        about=About(
            device=config.device if device.type == "cpu" and config.threads else _name(device),
            kind=kind_of(device),
            room=asdict(there),
        ),
    )


def _name(device: torch.device) -> str:
    return f"{device.type}:{device.index or 0}" if device.type == CUDA else device.type


def open_safety_checker(config: EngineConfig) -> SafetyChecker | None:
    """Return the safety check of finished pictures, or None where no classifier is configured."""
    if not config.safety_model:
        return None
    from engine.finish.safety import SafetyChecker  # imports transformers' classifiers

    return SafetyChecker(config.safety_model, config.safety_labels)


def compile_blocks(model: Model) -> None:
    """Let the blocks that a network repeats be compiled, for each size at its first use."""
    torch._dynamo.config.recompile_limit = SIZES
    # LoRAs are hooks on layers: what was compiled without them must not be used with them.
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    model.network.compile_repeated_blocks(dynamic=False)
