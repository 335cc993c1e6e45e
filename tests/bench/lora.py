"""Measure what switching between sets of LoRAs costs, beside loading the model afresh.

`make bench-lora`, or `python -m tests.bench.lora --folder FOLDER` to keep the file of 2 GB that is
written there. The model has SD1.5's true form and random weights, the LoRAs rank 16 on every layer
that kohya's trainer changes (attention and feed-forward, in the U-Net and the text encoder).
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from engine.checkpoints import describe_file
from engine.loading import Model, load, pick_device
from engine.lora import Loras
from engine.shelves import loras
from engine.sources import Lora
from tests.bench.single_file import write
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
    fresh = best(lambda: load(checkpoint, device), device)
    model = load(checkpoint, device)
    layers = {"unet": model.unet, "text_encoder": model.text_encoder}
    for seed in range(2):
        pairs = random_lora(layers, rank=16, seed=seed, attention=True)
        write_kohya(home / "loras" / f"{seed}.safetensors", pairs, model.unet)
    one, two = (Lora(name=str(seed), weight=0.8) for seed in range(2))
    adapters = Loras(model, loras(home))
    bare = best(lambda: call(model), device)
    first = once(lambda: adapters.use((one,)), device)
    both = once(lambda: adapters.use((one, two)), device)
    switch = best(lambda: back_and_forth(adapters, (one,), (one, two)), device) / (2 * TIMES)
    adapters.use((one,))
    with_one = best(lambda: call(model), device)
    adapters.use((one, two))
    with_two = best(lambda: call(model), device)
    adapters.use(())
    off = best(lambda: call(model), device)
    print(f"{device}, {model.dtype}, {len(adapters._hooked)} layers")  # noqa: T201
    print(f"a fresh load of the model         {fresh:9.3f} s")  # noqa: T201
    print(f"a set's first use (its file read) {first:9.3f} s, two LoRAs {both:.3f} s")  # noqa: T201
    print(f"switching between known sets      {switch * 1e6:9.2f} µs")  # noqa: T201
    print(  # noqa: T201
        f"a call of the U-Net               {bare:9.3f} s, with one {with_one / bare:.2f}×, "
        f"with two {with_two / bare:.2f}×, off again {off / bare:.2f}×"
    )


def back_and_forth(adapters: Loras, one: tuple[Lora, ...], other: tuple[Lora, ...]) -> None:
    """Switch between two sets, twice `TIMES` times."""
    for _ in range(TIMES):
        adapters.use(one)
        adapters.use(other)


def call(model: Model) -> None:
    """Call the U-Net on two rows."""
    side = SIDE if model.device.type == "cpu" else 64
    rows = torch.ones((2, 4, side, side), device=model.device, dtype=model.dtype)
    words = torch.ones((2, 77, 768), device=model.device, dtype=model.dtype)
    model.unet(rows, torch.tensor([500.0, 500.0], device=model.device), words)


def best(work: Callable[[], object], device: torch.device) -> float:
    """Return the least seconds of five."""
    once(work, device)
    return min(once(work, device) for _ in range(5))


def once(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that work takes."""
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
