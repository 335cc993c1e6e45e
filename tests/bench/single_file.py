"""Write a full-size single file of random weights, load it, and measure: `python -m
tests.bench.single_file sd1|sd2|sdxl FOLDER [--keep] [--rounds N]`.

Nothing of it is committed; a file takes 2 or 7 GB. Each round measures three things one after the
other, each in a process of its own in which no socket can be made: a plain read of the file's bytes
into memory, Marble's `load`, and diffusers' `from_single_file` with a local configuration, both in
fp16 on the processor. Rounds interleave them, so that whatever else the machine does meets all
three; medians are compared. What counts as memory is the peak of anonymous memory.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors.torch import save_file
from torch import Tensor

from engine.models.families import BY_KEY, CONFIGS
from tests.single_files import KINDS, make_module, single_file

ROUNDS = 5
Figures = dict[str, float]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=("sd1", "sd2", "sdxl"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="do not delete the file")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    file = arguments.folder / f"random-{arguments.family}.safetensors"
    if not file.exists():
        write(file, arguments.family)
    size = file.stat().st_size
    free = available()
    print(f"{arguments.family}: {size / 1e9:.2f} GB, {free / 1e9:.1f} GB of memory available")  # noqa: T201
    if free < 2.5 * size:
        print("that is too little for the file and its copy: times will be the disk's")  # noqa: T201
    try:
        measure("read_it", file)  # brings the file into the page cache
        rounds = [{way: measure(way, file) for way in WAYS} for _ in range(arguments.rounds)]
    finally:
        if not arguments.keep:
            file.unlink()
    show(rounds, size)


def show(rounds: list[dict[str, Figures]], size: int) -> None:
    """Print median, range and ratios of each way."""
    heads = f"{'seconds':>9} {'(range)':>15} {'× read':>8} {'peak GB':>9} {'× file':>8}"
    print(f"{'median of ' + str(len(rounds)) + ' rounds':34} {heads}")  # noqa: T201
    read = median(each["read_it"]["seconds"] for each in rounds)
    for way, title in WAYS.items():
        seconds = [each[way]["seconds"] for each in rounds]
        peak = median(each[way]["anonymous"] for each in rounds)
        spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
        row = f"{median(seconds):9.2f} {spread:>15} {median(seconds) / read:7.2f}×"
        print(f"{title:34} {row} {peak / 1e9:9.2f} {peak / size:7.2f}×")  # noqa: T201


def available() -> int:
    """Return the bytes of memory that programs may still have."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return 0


def write(file: Path, family: str) -> None:
    """Write a file of a family's true form with random weights, in fp16."""
    modules = {
        part: _empty(CONFIGS / family / part)
        for part in KINDS
        if (CONFIGS / family / part).is_dir()
    }
    generator = torch.Generator().manual_seed(0)
    block = (torch.randn(2**22, generator=generator) * 0.02).half()
    names = {name: tensor.shape for name, tensor in single_file(family, modules).items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _random(block, shape) for name, shape in names.items()}, file)


def _empty(folder: Path) -> Any:
    with init_empty_weights():
        return make_module(folder)


def _random(block: Tensor, shape: torch.Size) -> Tensor:
    count = shape.numel()
    return block.repeat(-(-count // len(block)))[:count].reshape(shape).clone()


def measure(way: str, file: Path) -> Figures:
    """Run one way in a process without network; return what it measured."""
    code = (
        f"from tests.bench import single_file; single_file.tell(single_file.{way}, {str(file)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def tell(way: Callable[[Path], Callable[[], object]], path: str) -> None:
    """Prepare a way to bring a file into memory, go it without a socket, print what it took."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    socket.socket.__init__ = refuse  # type: ignore[method-assign]
    go = way(Path(path))
    with _Peak() as peak:
        begun = time.perf_counter()
        held = go()
        seconds = time.perf_counter() - begun
    assert held is not None
    print(json.dumps({"seconds": seconds, "anonymous": peak.most}))  # noqa: T201


def read_it(file: Path) -> Callable[[], object]:
    """Read all bytes into memory."""

    def go() -> bytearray:
        buffer = bytearray(file.stat().st_size)
        view, at = memoryview(buffer), 0
        with file.open("rb", buffering=0) as stream:
            while count := stream.readinto(view[at:]):
                at += count
        assert at == len(buffer)
        return buffer

    return go


def load_it(file: Path) -> Callable[[], object]:
    """Load the file as Marble does."""
    from engine.families.stable_diffusion import load
    from engine.models.catalogue import describe_file

    def go() -> object:
        model = load(describe_file(file.name, file), torch.device("cpu"), torch.float16)
        assert next(model.unet.parameters()).dtype is torch.float16
        return model

    return go


def load_by_diffusers(file: Path) -> Callable[[], object]:
    """Load the file by diffusers' pipeline, its configuration local, too."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from diffusers.utils.logging import disable_progress_bar

    disable_progress_bar()
    family = file.stem.rpartition("-")[2]
    kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    config = Path(tempfile.mkdtemp(prefix="marble-bench-"))
    write_config(config, family)

    def go() -> object:
        pipeline = kind.from_single_file(
            str(file), config=str(config), torch_dtype=torch.float16, local_files_only=True
        )
        assert pipeline.unet.dtype is torch.float16
        return pipeline

    return go


def write_config(folder: Path, family: str) -> None:
    """Write what diffusers wants to know of a family beside a single file."""
    from engine.loading.tokenizer import make_tokenizer

    shutil.copytree(CONFIGS / family, folder, dirs_exist_ok=True)
    index: dict[str, Any] = {"_class_name": BY_KEY[family].pipeline, "_diffusers_version": "0.42.1"}
    there = {path.name for path in folder.iterdir()}
    index |= {part: library for part, library in LIBRARIES.items() if part in there}
    for part in ("tokenizer", "tokenizer_2") if family == "sdxl" else ("tokenizer",):
        make_tokenizer(49407).save_pretrained(folder / part)
        index[part] = ["transformers", "CLIPTokenizer"]
    if family != "sdxl":
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index["requires_safety_checker"] = False
    (folder / "model_index.json").write_text(json.dumps(index))


WAYS: Mapping[str, str] = {
    "read_it": "plain read into memory",
    "load_it": "Marble's load",
    "load_by_diffusers": "diffusers' from_single_file",
}
LIBRARIES: Mapping[str, list[str]] = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
}


class _Peak:
    """Watch this process's anonymous memory from beside it, every 10 ms."""

    def __enter__(self) -> "_Peak":
        self.most = 0
        watch = (
            "import sys,time\n"
            "most=0\n"
            "while True:\n"
            "  for line in open(f'/proc/{sys.argv[1]}/status'):\n"
            "    if line.startswith('RssAnon'): most=max(most,int(line.split()[1]))\n"
            "  print(most,flush=True); time.sleep(0.01)\n"
        )
        self._before = next(iter(_anonymous()))
        self._watcher = subprocess.Popen(
            [sys.executable, "-c", watch, str(os.getpid())], stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.05)
        self._watcher.terminate()
        assert self._watcher.stdout
        self.most = int(self._watcher.stdout.read().split()[-1]) * 1024 - self._before


def _anonymous() -> Iterator[int]:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            yield int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
