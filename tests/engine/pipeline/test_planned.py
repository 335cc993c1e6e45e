"""Flow models are loaded as planned: whole, their parts in turns, by groups, or not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from engine.device.groups import Grouped
from engine.device.out_of_memory import FIRST, Ladder, Rung
from engine.errors import OutOfMemory
from engine.events import Ended
from engine.families.registry import load
from engine.loading.model import Model
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.memory_plan import Plan, Room, plan
from engine.models.parts import NETWORK
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.placement import TEXT, VAE, Placement
from engine.pipeline.residency import Residency
from engine.recipe.parts import Lora
from engine.spec import Spec
from tests.engine.pipeline.test_residency import OOM, Hand, failing
from tests.engine.ticks import drive, pipeline_on, pngs, unmeasured
from tests.factories import make_recipe
from tests.flow_models import make_flux2_dev, make_z_image
from tests.loras import random_lora, write_diffusers
from tests.models import make_model

CPU = torch.device("cpu")
LARGE = 2**40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a flow model, and one with a U-Net."""
    home = tmp_path_factory.mktemp("home")
    make_z_image(home / "flow")
    make_z_image(home / "twin")
    make_model(home / "small")
    network = load(Catalogue(home).get("flow"), CPU).network
    write_diffusers(home / "loras" / "ink.safetensors", random_lora({"transformer": network}))
    return home


@pytest.fixture
def planned(home: Path) -> Plan:
    return plan(Catalogue(home).get("flow"), Room(budget=LARGE, value_bytes=4))


class Loads:
    """Load models on the processor; note whether into main memory, and fail the first few times."""

    def __init__(self, failures: int = 0) -> None:
        self.offloaded: list[bool] = []
        self.failures = failures

    def __call__(self, checkpoint: Checkpoint, offloaded: bool) -> Model:
        self.offloaded.append(offloaded)
        if len(self.offloaded) <= self.failures:
            raise OOM
        return load(checkpoint, CPU, torch.float32, None, LARGE)


def residency(
    home: Path, budget: int, main: int | None, loads: Loads, ladder: Ladder | None = None
) -> Residency:
    room = Room(budget=budget, value_bytes=4, main=main)
    return Residency(Catalogue(home), loads, unmeasured, ladder or Ladder(), budget, (), room)


def drawn(models: Residency, *prompts: str, loras: Sequence[Lora] = ()) -> list[bytes]:
    pipeline = pipeline_on(models)
    found = []
    for job, prompt in enumerate(prompts):
        recipe = make_recipe(
            checkpoint="flow", prompt=prompt, steps=2, width=64, height=64, loras=tuple(loras)
        )
        news = drive(pipeline, {0: [Spec(job=job, epoch=1, recipe=recipe)]})[job]
        assert isinstance(news[-1], Ended)
        assert news[-1].error is None
        found += pngs(news)
    pipeline.close()
    return found


def loaded(models: Residency) -> LoadedModel:
    found = models.get("flow")
    assert found
    return found


@pytest.mark.parametrize("large", [True, False])
def test_a_model_whose_parts_fit_in_turns_is_offloaded_at_once(
    home: Path, planned: Plan, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("engine.pipeline.residency.LARGE", 0)
    loads, whole, hand = Loads(), Loads(), Hand()
    models = residency(home, planned.at_a_time, LARGE, loads, Ladder(clock=hand))
    first = drawn(models, "a bust")
    assert loads.offloaded == [True]
    assert loaded(models).size == pytest.approx(planned.at_a_time, rel=0.05)
    hand.now += 100 * FIRST
    assert first + first == drawn(models, "a bust", "a bust")
    assert loaded(models)._parts.offloaded  # it is never tried as a whole
    assert drawn(residency(home, planned.whole, LARGE, whole), "a bust") == first
    assert whole.offloaded == [False]


def test_memory_that_runs_out_is_not_sought_by_loading_it_as_a_whole(
    home: Path, planned: Plan
) -> None:
    loads = Loads(failures=1)
    drawn(residency(home, planned.at_a_time, LARGE, loads), "a bust")
    assert loads.offloaded == [True, True]


def test_text_encoders_come_to_the_device_for_new_words_alone(
    home: Path, planned: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    move = Placement._move

    def noted(self: Placement, part: str, *, here: bool) -> None:
        moved.append(part)
        move(self, part, here=here)

    came: list[str] = []
    come = Placement.move_to_device

    def coming(self: Placement, part: str) -> None:
        if self.present != part:
            came.append(part)
        come(self, part)

    monkeypatch.setattr(Placement, "_move", noted)
    monkeypatch.setattr(Placement, "move_to_device", coming)
    models = residency(home, planned.at_a_time, LARGE, Loads())
    drawn(models, "a bust")
    assert "text_encoder" in came
    assert loaded(models)._parts.present != "text_encoder"  # it gave its memory back
    came.clear()
    drawn(models, "a bust")
    assert came
    assert "text_encoder" not in came
    drawn(models, "a statue")
    assert "text_encoder" in came


@pytest.mark.parametrize("fitted", [False, True])
def test_a_preview_moves_the_vae_where_its_map_is_fitted_alone(
    home: Path, planned: Plan, fitted: bool
) -> None:
    models = residency(home, planned.at_a_time, LARGE, Loads())
    drawn(models, "a bust")
    model, parts = loaded(models), loaded(models)._parts
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        if fitted:
            patch.setattr(type(model.model), "preview_map", None)
        parts.move_to_device(NETWORK)
        latents = torch.zeros(1, model.model.latent_channels, 8, 8)
        assert model.preview(latents)
        assert parts.present == (VAE if fitted else NETWORK)
        parts.move_to_device(NETWORK)
        assert model.preview(latents)
        assert parts.present == NETWORK


@pytest.mark.parametrize("loras", [(), (Lora(name="ink"),)])
def test_a_network_that_does_not_fit_alone_draws_the_same_by_groups(
    home: Path, planned: Plan, loras: Sequence[Lora]
) -> None:
    least = max(planned.grouped["network"], planned.text_encoders, planned.vae)
    assert least < planned.network
    loads, called = Loads(), set[int]()
    begin = Grouped.begin

    def noted(self: Grouped, number: int) -> None:
        called.add(number)
        begin(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Grouped, "begin", noted)
        models = residency(home, least, LARGE, loads)
        found = drawn(models, "a bust", loras=loras)
    assert loads.offloaded == [True]
    (network,) = loaded(models)._parts._grouped.values()
    assert called == set(range(len(network._blocks)))
    beside = loaded(models)._loras.size + loaded(models)._text.size
    assert loaded(models).size - beside == pytest.approx(least, rel=0.05)
    whole = residency(home, planned.whole, LARGE, Loads())
    assert drawn(whole, "a bust", loras=loras) == found
    assert (found == drawn(whole, "a bust")) is not bool(loras)


def test_text_encoders_that_do_not_fit_alone_encode_the_same_by_groups(tmp_path: Path) -> None:
    make_flux2_dev(tmp_path / "flow")
    full = plan(Catalogue(tmp_path).get("flow"), Room(budget=LARGE, value_bytes=4, main=LARGE))
    least = max(full.grouped["text_encoder"], full.network, full.vae)
    assert least < full.text_encoders
    models = residency(tmp_path, least, LARGE, Loads())
    found = drawn(models, "a bust")
    encoders = loaded(models).model.encoders.values()
    assert loaded(models)._parts._grouped.keys() == {*encoders}
    assert drawn(residency(tmp_path, full.whole, LARGE, Loads()), "a bust") == found


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the models whose text encoders went to main memory, and with "+" came back."""
    moves: list[str] = []
    move = Placement._move

    def noted(self: Placement, part: str, *, here: bool) -> None:
        if part == TEXT:
            moves.append(f"{'+' if here else ''}{self._key[0]}")
        move(self, part, here=here)

    monkeypatch.setattr(Placement, "_move", noted)
    return moves


def in_use(models: Residency, name: str) -> LoadedModel:
    found = models.load(name)
    assert found
    found.users += 1
    return found


@pytest.mark.parametrize("used", [True, False])
def test_text_encoders_make_room_for_another_model_before_models_go(
    home: Path, planned: Plan, away: list[str], used: bool
) -> None:
    wanted = drawn(residency(home, LARGE, LARGE, Loads()), "a bust", "a statue")
    whole, text = planned.whole, planned.text_encoders
    models = residency(home, 2 * whole - text // 2, LARGE, Loads())  # and known words
    first = in_use(models, "flow")
    first.users = int(used)
    assert drawn(models, "a bust") == wanted[:1]
    assert models.load("twin")
    assert away == ["flow"]
    assert models.get("flow")
    assert models._used() <= models._budget
    # Words that are known bring nothing back, others do, and the twin's leave.
    assert drawn(models, "a bust") == wanted[:1]
    assert away == ["flow"]
    assert drawn(models, "a statue") == wanted[1:]
    assert away == ["flow", "twin", "+flow"]
    assert models._used() <= models._budget


def test_text_encoders_stay_where_that_is_not_enough_and_idle_models_go(
    home: Path, planned: Plan, away: list[str]
) -> None:
    models = residency(home, 2 * planned.whole - planned.text_encoders - 10**5, LARGE, Loads())
    assert models.load("flow")
    assert models.load("twin")
    assert away == []
    assert models.get("flow") is None


@pytest.mark.parametrize("main", [None, 1000])
def test_text_encoders_stay_where_main_memory_has_no_room(
    home: Path, planned: Plan, away: list[str], main: int | None
) -> None:
    models = residency(home, 2 * planned.whole - planned.text_encoders, main, Loads())
    in_use(models, "flow")
    assert models.load("twin") is None
    assert away == []


def test_text_encoders_of_models_in_use_leave_when_memory_runs_out(
    home: Path, away: list[str]
) -> None:
    wanted = drawn(residency(home, LARGE, LARGE, Loads()), "a bust")
    models = residency(home, LARGE, LARGE, Loads())
    network = in_use(models, "flow").model.network
    with failing(network, "forward", 1):
        assert drawn(models, "a bust") == wanted
    assert away == ["flow"]
    assert models._ladder.counts == {Rung.EMPTY_CACHE: 1}


def test_models_in_main_memory_make_room_there(home: Path, planned: Plan) -> None:
    models = residency(home, planned.at_a_time, int(1.5 * planned.whole), Loads())
    models._budget = LARGE  # the device is not what is short
    first = in_use(models, "flow")
    assert first._parts.in_turns
    assert models.load("twin") is None
    first.users = 0
    assert models.load("twin")
    assert models.get("flow") is None


@pytest.mark.parametrize("main", [None, LARGE])
def test_a_model_that_cannot_fit_is_refused_and_disturbs_nobody(
    home: Path, planned: Plan, main: int | None
) -> None:
    loads = Loads()
    least = max(planned.grouped["network"], planned.text_encoders, planned.vae)
    needed = least if main else planned.whole
    models = residency(home, needed - 1, main, loads)
    assert models.load("small")
    with pytest.raises(OutOfMemory) as told:
        models.load("flow")
    assert models.get("small")
    assert loads.offloaded == [False]
    assert "'flow' needs 0.0 GB of memory, and 0.0 GB are there for models" in told.value.said


def test_models_with_a_u_net_are_tried_in_any_case(home: Path) -> None:
    assert residency(home, 1, None, Loads()).load("small")
