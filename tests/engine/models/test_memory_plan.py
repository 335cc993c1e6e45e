"""What a model will take is known from its files' headers, before it is loaded."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.device.groups import Grouped
from engine.device.tensor_bytes import module_bytes
from engine.errors import BrokenModel
from engine.families.registry import load
from engine.loading.model import Model
from engine.models import families
from engine.models.catalogue import Catalogue, Checkpoint, describe_file
from engine.models.memory_plan import Fit, Plan, Room, plan
from tests.bench.precision import FP8, scale_fp8
from tests.engine.families.test_flow_models import REFERENCES
from tests.engine.families.test_layouts import split, whole
from tests.flow_models import MAKERS, described, make_z_image
from tests.models import make_model
from tests.quantised import write_quantised
from tests.single_files import make_modules, small_forms, write_single_file

CPU = torch.device("cpu")
LARGE = 2**40


def room(budget: int = LARGE, main: int | None = None) -> Room:
    return Room(budget=budget, value_bytes=4, main=main)


def folder(made: Path, models: Path) -> None:
    shutil.copytree(made, models / "diffusers" / "it")


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: its.bfloat16() for name, its in tensors.items()}


def bf16(made: Path, models: Path) -> None:
    for part in ("transformer", "text_encoder"):
        for file in (made / part).glob("*.safetensors"):
            save_file(halved(load_file(file)), file)
    split(made, models)


def fp8(made: Path, models: Path) -> None:
    split(made, models)
    for home in ("diffusion_models", "text_encoders"):
        file = models / home / "it.safetensors"
        save_file(*(scale_fp8(load_file(file), FP8["e4m3fn"], "scaled")[0], file))


def gguf(made: Path, models: Path) -> None:
    split(made, models)
    file = models / "diffusion_models" / "it.safetensors"
    values = {name: its.numpy() for name, its in load_file(file).items()}
    write_quantised(file.with_suffix(".gguf"), values, "Q8_0")
    file.unlink()


def with_head(made: Path, models: Path) -> None:
    """Write an encoder with what chooses the next word, which is not loaded."""
    split(made, models)
    file = models / "text_encoders" / "it.safetensors"
    own = load_file(file)
    head = torch.zeros_like(own["embed_tokens.weight"])
    save_file(
        {f"model.{name}": each for name, each in own.items()} | {"lm_head.weight": head}, file
    )


def check(planned: Plan, model: Model) -> None:
    encoders = module_bytes(model.encoders.values())
    assert planned.text_encoders == pytest.approx(encoders, rel=0.05)
    # Beside the weights, Chroma has a small table.
    assert planned.network == pytest.approx(module_bytes([model.network]), rel=0.05, abs=45_000)
    assert planned.vae == pytest.approx(module_bytes([model.vae]), rel=0.05)
    if not model.checkpoint.family.parts:
        assert not planned.grouped
        return
    by_groups = [Grouped(each, CPU).size for each in (*model.encoders.values(), model.network)]
    assert planned.grouped["network"] == pytest.approx(by_groups.pop(), rel=0.05, abs=45_000)
    assert planned.grouped["text_encoder"] == pytest.approx(sum(by_groups), rel=0.05)


@pytest.mark.parametrize("layout", [folder, split, whole, bf16, fp8, gguf, with_head])
@pytest.mark.parametrize("budget", [LARGE, 0])
def test_a_flow_model_takes_what_was_planned(
    layout: Callable[[Path, Path], None], budget: int, tmp_path: Path
) -> None:
    layout(make_z_image(tmp_path / "made"), tmp_path / "models")
    checkpoint = Catalogue(tmp_path / "models").get("it")
    check(plan(checkpoint, room(budget)), load(checkpoint, CPU, torch.float32, None, budget))


@pytest.mark.parametrize("name", MAKERS)
def test_each_flow_model_takes_what_was_planned(name: str, tmp_path: Path) -> None:
    """Of some not all of a file is loaded: the layers that are read, what makes single frames."""
    checkpoint = described(MAKERS[name](tmp_path / "it"), name.split()[0])
    checkpoint = replace(checkpoint, references=REFERENCES.get(name, 0))
    model = load(checkpoint, CPU)
    planned = plan(checkpoint, room())
    check(planned, model)
    assert planned.text_encoders == pytest.approx(module_bytes(model.encoders.values()), rel=0.01)


def test_a_folder_with_a_u_net_takes_what_was_planned(tmp_path: Path) -> None:
    make_model(tmp_path / "it")
    checkpoint = Catalogue(tmp_path).get("it")
    check(plan(checkpoint, room(0)), load(checkpoint, CPU))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_single_file_with_a_u_net_takes_what_was_planned(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = small_forms(tmp_path / "forms")
    monkeypatch.setattr(families, "CONFIGS", forms)
    file = write_single_file(tmp_path / "it.safetensors", family, make_modules(forms / family))
    checkpoint = describe_file("it", file)
    check(plan(checkpoint, room(0)), load(checkpoint, CPU))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    make_z_image(tmp_path / "it")
    return Catalogue(tmp_path).get("it")


def test_what_fits_follows_from_the_whole_and_the_largest_part(checkpoint: Checkpoint) -> None:
    full = plan(checkpoint, room())
    sizes = {full.text_encoders, full.network, full.vae}
    assert (full.whole, full.at_a_time) == (sum(sizes), max(sizes))
    assert full.fit is Fit.WHOLE

    def fit(budget: int, main: int | None) -> tuple[Fit, int, int]:
        found = plan(checkpoint, room(budget, main))
        return found.fit, found.missing, found.on_device

    assert fit(full.whole, LARGE) == (Fit.WHOLE, 0, full.whole)
    assert fit(full.whole - 1, LARGE) == (Fit.IN_TURNS, 0, full.at_a_time)
    assert fit(full.at_a_time, LARGE) == (Fit.IN_TURNS, 0, full.at_a_time)
    # The largest part goes there by groups, which must fit, and so must the others.
    assert full.at_a_time == full.network
    least = full.grouped["network"]
    second = max(least, full.text_encoders, full.vae)
    assert fit(full.at_a_time - 1, LARGE) == (Fit.BY_GROUPS, 0, second)
    assert fit(second, LARGE) == (Fit.BY_GROUPS, 0, second)
    assert fit(second - 1, LARGE) == (Fit.NOT, 1, full.whole)
    # What does not fit on the device waits in main memory.
    assert fit(second, full.whole - 7) == (Fit.NOT, 7, full.whole)
    # Where there is one memory, turns gain nothing.
    assert fit(full.whole - 1, None) == (Fit.NOT, 1, full.whole)


def test_fp8_is_cast_where_a_device_cannot_hold_it(tmp_path: Path) -> None:
    fp8(make_z_image(tmp_path / "made"), tmp_path / "models")
    checkpoint = Catalogue(tmp_path / "models").get("it")
    held, cast = (
        plan(checkpoint, Room(budget=LARGE, value_bytes=2, holds_fp8=holds)).network
        for holds in (True, False)
    )
    assert cast > 1.5 * held


def test_a_file_that_went_is_told(checkpoint: Checkpoint) -> None:
    shutil.rmtree(checkpoint.folder / "vae")
    (checkpoint.folder / "transformer" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(BrokenModel):
        plan(checkpoint, room())
