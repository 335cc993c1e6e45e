"""Measure what switching between sets of LoRAs costs, beside a fresh load and beside diffusers.

`make bench-lora`, or `python -m tests.bench.lora --folder FOLDER` to keep the file of 2 GB that is
written there. The model has SD1.5's true form and random weights, the LoRAs rank 16 on every layer
that kohya's trainer changes (attention and feed-forward, in the U-Net and the text encoder).
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch

from engine.device.backends import pick_device
from engine.families.stable_diffusion import StableDiffusion, load
from engine.loading.lora import Loras
from engine.models.catalogue import describe_file
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.recipe.parts import Lora
from tests.bench.single_file import write
from tests.engine.pipeline.test_parity import make_pipeline
from tests.loras import random_lora, write_kohya

TIMES = 500
SIDE = 16  # of the latents of a call on a processor, 64 on a GPU


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as home, torch.inference_mode():
        measure((folder or Path(home)) / "random-sd1.safetensors", Path(home))


def measure(file: Path, home: Path) -> None:
    """Print what everything takes."""
    if not file.exists():
        write(file, "sd1")
    device = pick_device()
    checkpoint = describe_file(file.name, file)
    fresh = typical(lambda: load(checkpoint, device), device)
    model = load(checkpoint, device)
    layers = {"unet": model.unet, "text_encoder": model.text_encoder}
    for seed in range(2):
        pairs = random_lora(layers, rank=16, seed=seed, attention=True)
        write_kohya(home / "loras" / f"{seed}.safetensors", pairs, model.unet)
    one, two = (Lora(name=str(seed), weight=0.8) for seed in range(2))
    adapters = Loras(model, ModelFiles(home, ModelKind.LORA))
    bare = typical(lambda: call(model), device)
    first = once(lambda: adapters.use((one,)), device)
    both = once(lambda: adapters.use((one, two)), device)
    switch = typical(lambda: back_and_forth(adapters, (one,), (one, two)), device) / (2 * TIMES)
    adapters.use((one,))
    with_one = typical(lambda: call(model), device)
    adapters.use((one, two))
    with_two = typical(lambda: call(model), device)
    adapters.use(())
    off = typical(lambda: call(model), device)
    print(f"{device}, {model.dtype}, {len(adapters._hooked)} layers; medians")  # noqa: T201
    print(f"a fresh load of the model {fresh:.3f} s, a bare call of the U-Net {bare:.3f} s")  # noqa: T201
    ours = {
        "a set's first use, one LoRA, s": first,
        "a set's first use, the second LoRA, too, s": both,
        "switching between known sets, s": switch,
        "a call with one LoRA, × a bare one": with_one / bare,
        "a call with two LoRAs, × a bare one": with_two / bare,
        "a call with none again, × a bare one": off / bare,
    }
    theirs = by_peft(model, device, [home / "loras" / f"{seed}.safetensors" for seed in range(2)])
    print(f"{'':44} {'Marble':>10} {'diffusers':>10} {'ratio':>8} {'× fresh load':>13}")  # noqa: T201
    for what, own in ours.items():
        beside = f"{own / fresh:13.1e}" if what.endswith(" s") else ""
        print(  # noqa: T201
            f"{what:44} {own:10.2g} {theirs[what]:10.2g} {own / theirs[what]:8.2g} {beside}"
        )


def by_peft(
    model: StableDiffusion, device: torch.device, files: Sequence[Path]
) -> dict[str, float]:
    """Return what the same takes in diffusers' pipeline with peft, around the same modules."""
    pipeline = make_pipeline(model)
    bare = typical(lambda: call(model), device)
    first, second = (
        once(partial(pipeline.load_lora_weights, file, adapter_name=file.stem), device)
        for file in files
    )

    def switch() -> None:
        for names in (["0"], ["0", "1"]):
            pipeline.set_adapters(names, [0.8] * len(names))

    switched = typical(switch, device) / 2
    pipeline.set_adapters(["0"], [0.8])
    one = typical(lambda: call(model), device)
    pipeline.set_adapters(["0", "1"], [0.8, 0.8])
    two = typical(lambda: call(model), device)
    pipeline.unload_lora_weights()
    off = typical(lambda: call(model), device)
    return {
        "a set's first use, one LoRA, s": first,
        "a set's first use, the second LoRA, too, s": second,
        "switching between known sets, s": switched,
        "a call with one LoRA, × a bare one": one / bare,
        "a call with two LoRAs, × a bare one": two / bare,
        "a call with none again, × a bare one": off / bare,
    }


def back_and_forth(adapters: Loras, one: tuple[Lora, ...], other: tuple[Lora, ...]) -> None:
    """Switch between two sets, twice `TIMES` times."""
    for _ in range(TIMES):
        adapters.use(one)
        adapters.use(other)


def call(model: StableDiffusion) -> None:
    """Call the U-Net on two rows."""
    side = SIDE if model.device.type == "cpu" else 64
    rows = torch.ones((2, 4, side, side), device=model.device, dtype=model.dtype)
    words = torch.ones((2, 77, 768), device=model.device, dtype=model.dtype)
    model.unet(rows, torch.tensor([500.0, 500.0], device=model.device), words)


def typical(work: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of five, after one that does not count."""
    once(work, device)
    return median(once(work, device) for _ in range(5))


def once(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that work takes."""
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
