"""Control by command: drawn, drawn again, and refused in one sentence before any work."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from bots.terminal.inputs import read_control
from engine.errors import OptionError, UnknownOption
from engine.recipe.parts import Control
from tests.bots.terminal.conftest import Marble
from tests.bots.terminal.test_commands import TINY, path_of

CAT = ("imagine", "a cat", "--seed", "7", "--size", "64", *TINY)


@pytest.fixture
def steered(
    marble: Marble, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Marble:
    """Return the command with a ControlNet for the tiny model, and a picture at hand."""
    mine = tmp_path / "mine"
    shutil.copytree(models, mine)
    unet = UNet2DConditionModel.from_pretrained(mine / "tiny" / "unet")
    network = ControlNetModel.from_unet(unet)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, weight in network.named_parameters():
            if "controlnet_" in name:
                torch.nn.init.normal_(weight, std=0.2)
    network.save_pretrained(mine / "controlnet" / "edges")
    save_file({"weight": torch.zeros(1)}, mine / "controlnet" / "odd.safetensors")
    (mine / "controlnet" / "old.pth").touch()
    monkeypatch.setenv("MARBLE_MODELS_DIR", str(mine))
    house = Image.new("RGB", (96, 64), (30, 30, 40))
    ImageDraw.Draw(house).rectangle((24, 24, 71, 63), fill=(220, 200, 180))
    house.save("house.png")
    return marble


def test_a_picture_is_steered_and_reruns_to_the_same_file(steered: Marble) -> None:
    plain = path_of(steered(*CAT).out, "1.1")
    drawn = path_of(steered(*CAT, "--control", "edges:house.png,find=canny").out, "2.1")
    assert drawn.read_bytes() != plain.read_bytes()
    assert path_of(steered("rerun", "2").out, "3.1") == drawn
    # Its file and the picture store are enough, too.
    assert path_of(steered("rerun", str(drawn)).out, "4.1") == drawn
    assert path_of(steered("rerun", "2", "--control", "none").out, "5.1") == plain


def test_several_steer_together_and_one_of_ours_can_be_the_map(steered: Marble) -> None:
    steered(*CAT)
    one = ("--control", "edges:house.png,strength=0.5,end=0.5")
    alone = path_of(steered(*CAT, *one).out, "2.1")
    both = path_of(steered(*CAT, *one, "--control", "Edges:1.1").out, "3.1")
    assert alone != both
    assert "model edges" in steered("show", "3").out


BAD = {
    "no such model": ("edgy:house.png", "no control model 'edgy' (did you mean 'edges'?)"),
    "no picture": ("edges:nothing.png", "a picture file, or a picture's name"),
    "a text": ("edges:notes.txt", "not a picture"),
    "no form": ("edges", "like canny:house.png"),
    "no ControlNet": ("odd:house.png", "it is no ControlNet"),
    "a pickle": ("old:house.png", "convert it to safetensors"),
    "too strong": ("edges:house.png,strength=9", "control_strength must be between 0 and 2"),
    "no number": ("edges:house.png,strength=much", "--control's strength must be a number"),
    "over before it begins": ("edges:house.png,start=0.5,end=0.4", "above its start (0.5)"),
    "unknown preprocessor": ("edges:house.png,find=cats", "must be one of none, canny"),
    "unknown key": ("edges:house.png,strenght=1", "did you mean 'strength'"),
}


@pytest.mark.parametrize(("typed", "sentence"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_refused_in_one_sentence_before_any_work(
    steered: Marble, typed: str, sentence: str
) -> None:
    Path("notes.txt").write_text("a house")
    answer = steered(*CAT, "--control", typed)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert "No pictures yet" in steered("history").out


def test_what_is_typed_becomes_a_part_of_a_recipe() -> None:
    file, control = read_control("canny:C:/my house.png,strength=0.8,start=0.1,end=0.6,find=canny")
    assert file == "C:/my house.png"
    assert replace(control, image="a" * 64) == Control(
        model="canny", image="a" * 64, strength=0.8, start=0.1, end=0.6, preprocessor="canny"
    )
    with pytest.raises(OptionError):
        read_control(":x.png")
    with pytest.raises(UnknownOption):
        read_control("canny:x.png,y")
