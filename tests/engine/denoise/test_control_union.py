"""Union ControlNets: told which kind of map they see, or not used at all."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from safetensors.torch import load_file, save_file

from engine.denoise.control import Controls, control_residuals, load_control
from engine.denoise.control_union import Union
from engine.errors import BrokenModel, UserError
from engine.families.stable_diffusion import StableDiffusion
from engine.models.control_files import find_control
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pictures.control_images import ControlImage
from engine.recipe.parts import Control
from tests.engine.denoise.test_control import bars
from tests.single_files import make_true_model

CANNY = 3  # the place of edges among the kinds of maps, by its makers' order


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SDXL."""
    return make_true_model(tmp_path_factory.mktemp("xl"), "sdxl")


@pytest.fixture(scope="module")
def union(xl: StableDiffusion) -> ControlNetUnionModel:
    """Return a small union that is heard."""
    known = set(inspect.signature(ControlNetUnionModel.__init__).parameters)
    config = {key: value for key, value in xl.unet.config.items() if key in known}
    config |= {
        "conditioning_embedding_out_channels": (16, 32, 96, 256),
        "num_control_type": 8,
        "num_trans_channel": 32,
        "num_proj_channel": 32,
    }
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = ControlNetUnionModel.from_config(config)
        for name, weight in network.named_parameters():
            if "controlnet_" in name or "spatial_ch" in name:
                torch.nn.init.normal_(weight, std=0.2)
    made: ControlNetUnionModel = network.eval().requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def home(union: ControlNetUnionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with the union as a file and as its makers' folder."""
    home = tmp_path_factory.mktemp("models")
    folder = home / "controlnet" / "folder"
    union.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_class_name": "ControlNetModel"}))
    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file(state, home / "controlnet" / "promax.safetensors")
    return home


@pytest.mark.parametrize("name", ["promax", "folder"])
def test_a_union_is_known_by_its_weights_and_told_that_it_sees_edges(
    name: str, home: Path, xl: StableDiffusion, union: ControlNetUnionModel
) -> None:
    control = Control(model=name, image="0" * 64, preprocessor="canny")
    active = Controls(ModelFiles(home, ModelKind.CONTROLNET)).activate(
        ControlImage(control, bars(), "crop"), xl, 64, 64
    )
    assert isinstance(active.network, Union)
    state = active.network.network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in union.state_dict().items())

    x, timesteps = torch.randn(2, 4, 8, 8), torch.tensor([7.0, 500.0])
    told: dict[str, Any] = {
        "encoder_hidden_states": torch.randn(2, 77, 2048),
        "added_cond_kwargs": {"text_embeds": torch.randn(2, 1280), "time_ids": torch.ones(2, 6)},
    }
    with torch.inference_mode():
        found = control_residuals([active], [[0.5], [0.0]], x, timesteps, told)
        kinds = torch.eye(8)[CANNY].expand(2, -1)
        down, middle = union(
            x,
            timesteps,
            controlnet_cond=[active.image.expand(2, -1, -1, -1)],
            control_type=kinds,
            control_type_idx=[CANNY],
            conditioning_scale=0.5,
            return_dict=False,
            **told,
        )
    assert middle.abs().max() > 0
    for ours, theirs in zip(
        [*found["down_block_additional_residuals"], found["mid_block_additional_residual"]],
        [*down, middle],
        strict=True,
    ):
        assert torch.allclose(ours[0], theirs[0], atol=1e-6)
        assert not ours[1].any()  # its say is 0


def test_a_union_that_is_not_told_the_kind_of_its_map_is_refused_before_it_is_queued(
    home: Path, xl: StableDiffusion
) -> None:
    shelf = ModelFiles(home, ModelKind.CONTROLNET)
    edges = Control(model="ProMax", image="0" * 64, preprocessor="canny")
    assert find_control(shelf, edges, xl.checkpoint).model == "promax"
    for name in ("promax", "folder"):
        given = Control(model=name, image="0" * 64)
        with pytest.raises(UserError, match=r"serves several kinds of maps: .*=canny"):
            find_control(shelf, given, xl.checkpoint)
        with pytest.raises(UserError, match="serves several kinds of maps"):
            Controls(shelf).activate(ControlImage(given, bars(), "crop"), xl, 64, 64)


def test_a_control_lora_is_named(xl: StableDiffusion, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    names = ["lora_controlnet", "zero_convs.0.0.weight", "input_blocks.4.1.attn2.to_k.weight"]
    save_file({name: torch.zeros(4, 2048) for name in names}, path)
    with pytest.raises(BrokenModel, match="it is a Control-LoRA, which Marble cannot run yet"):
        load_control("small", path, xl)
