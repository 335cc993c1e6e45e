"""Train the starter model: `python -m engine.starter.train [stage …]`.

Every stage reads what the ones before it left in the work folder, goes on from its own
checkpoint, and is skipped over quickly when it is done. Without a stage named, all run in order.
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from engine.starter.recipe import RECIPE, Recipe
from engine.starter.training.export import export
from engine.starter.training.log import Log
from engine.starter.training.pictures import Pictures, open_pictures, render_pictures
from engine.starter.training.text import train_text
from engine.starter.training.tower import train_towers
from engine.starter.training.unet import encode_pictures, train_unet
from engine.starter.training.vae import polish_decoder, train_vae

MODEL = Path(__file__).parent / "model"
"""Where the bundled weights lie."""


@dataclass(frozen=True)
class Work:
    """What a stage needs: the recipe, the work folder, and the log."""

    recipe: Recipe
    folder: Path
    log: Log
    out: Path

    def pictures(self) -> Pictures:
        """Open the rendered pictures."""
        return open_pictures(self.recipe.render, self.folder / "pictures")


def _render(work: Work) -> None:
    render_pictures(work.recipe.render, work.folder / "pictures", work.log)


def _text(work: Work) -> None:
    train_text(work.recipe.text, work.folder, work.log)


def _vae(work: Work) -> None:
    train_vae(work.recipe, work.pictures(), work.folder, work.log)


def _encode(work: Work) -> None:
    encode_pictures(work.recipe, work.pictures(), work.folder, work.log)


def _unet(work: Work) -> None:
    train_unet(work.recipe, work.folder, work.log)


def _polish(work: Work) -> None:
    polish_decoder(work.recipe, work.pictures(), work.folder, work.log)


def _tower(work: Work) -> None:
    render = replace(work.recipe.render, pictures=work.recipe.tower.pictures)
    pictures = open_pictures(render, work.folder / "pictures")
    train_towers(work.recipe, pictures, work.folder, work.log)
    out = work.out.with_name("tower")
    shutil.copytree(work.folder / "tower", out, dirs_exist_ok=True)
    size = (out / "model.safetensors").stat().st_size
    work.log.write(f"wrote {out.name}: {size / 1e6:.2f} MB")


def _export(work: Work) -> None:
    size = export(work.pictures(), work.folder, work.out)
    work.log.write(f"wrote {work.out.name}: {size / 1e6:.2f} MB")


STAGES: dict[str, Callable[[Work], None]] = {
    "render": _render,
    "text": _text,
    "vae": _vae,
    "encode": _encode,
    "unet": _unet,
    "polish": _polish,
    "tower": _tower,
    "export": _export,
}


def adopt(model: Path, folder: Path) -> None:
    """Take an exported model's parts as the ones trained so far."""
    for part in ("tokenizer", "text_encoder", "vae"):
        shutil.copytree(model / part, folder / part, dirs_exist_ok=True)
    shutil.copytree(model / "unet", folder / "unet-start", dirs_exist_ok=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the stages named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m engine.starter.train", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="stage", help=", ".join(STAGES))
    parser.add_argument("--work", type=Path, default=Path("runs"), help="folder of checkpoints")
    parser.add_argument("--out", type=Path, default=MODEL, help="folder that export writes")
    parser.add_argument("--from", dest="model", type=Path, help="go on from an exported model")
    parser.add_argument("--unet-steps", type=int, help="train the denoiser this many steps")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    chosen = parser.parse_args(arguments)
    unknown = [stage for stage in chosen.stages if stage not in STAGES]
    if unknown:
        parser.error(f"no such stage: {', '.join(unknown)} (there are {', '.join(STAGES)})")
    torch.set_num_threads(chosen.threads)
    chosen.work.mkdir(parents=True, exist_ok=True)
    if chosen.model:
        adopt(chosen.model, chosen.work)
    recipe = RECIPE
    if chosen.unet_steps:
        recipe = replace(recipe, unet=replace(recipe.unet, steps=chosen.unet_steps))
    work = Work(recipe, chosen.work, Log(chosen.work / "train.log"), chosen.out)
    for stage in chosen.stages or STAGES:
        work.log.write(f"--- {stage}")
        STAGES[stage](work)


if __name__ == "__main__":
    main()
