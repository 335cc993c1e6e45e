"""The image safety check, on classifiers with real files: its findings, and how it fails closed."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.decode.vae import Pixels
from engine.errors import UserError
from engine.events import Picture, Verdict
from engine.executors.child import ChildExecutor
from engine.executors.config import EngineConfig
from engine.executors.inprocess import InProcessExecutor
from engine.finish.safety import (
    AGAIN,
    BrokenClassifier,
    Classifier,
    SafetyChecker,
    load_classifier,
    verdict_of,
)
from engine.recipe.parts import Upscale
from engine.spec import Spec
from tests.classifiers import make_classifier
from tests.engine.executors.test_executors import collect
from tests.factories import make_recipe, pixels

LIMITS = {"nsfw": 0.5}
BLACK: Pixels = np.zeros((24, 48, 3), np.uint8)
WHITE: Pixels = np.full((48, 24, 3), 255, np.uint8)


@pytest.mark.parametrize(("answer", "verdict"), [("normal", "safe"), ("nsfw", "unsafe")])
def test_a_picture_is_what_the_labels_say(tmp_path: Path, answer: str, verdict: str) -> None:
    folder = make_classifier(tmp_path, answer)
    assert SafetyChecker(str(folder), LIMITS).check(pixels(1)) is Verdict(verdict)


def test_it_looks_at_the_pixels_and_needs_no_torchvision(tmp_path: Path) -> None:
    folder = str(make_classifier(tmp_path, by_brightness=True))
    checker = SafetyChecker(folder, LIMITS)
    assert [checker.check(each) for each in (BLACK, WHITE)] == [Verdict.SAFE, Verdict.UNSAFE]
    assert type(load_classifier(folder).processor).__name__ == "ViTImageProcessorPil"


def test_labels_that_exclude_each_other_share_one_probability_and_others_do_not(
    tmp_path: Path,
) -> None:
    one = load_classifier(str(make_classifier(tmp_path / "one", "nsfw")))
    assert sum(one.scores(BLACK).values()) == pytest.approx(1)
    problem = "multi_label_classification"
    several = load_classifier(str(make_classifier(tmp_path / "many", "nsfw", problem=problem)))
    assert several.scores(BLACK) == pytest.approx({"normal": 0.0067, "nsfw": 0.9933}, abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "limits", "verdict"),
    [
        ({"a": 0.5, "b": 0.5}, {"a": 0.5}, Verdict.UNSAFE),
        ({"a": 0.49, "b": 0.51}, {"a": 0.5}, Verdict.SAFE),
        ({"a": 0.1, "b": 0.4, "c": 0.5}, {"a": 0.5, "b": 0.3}, Verdict.UNSAFE),
        ({"a": float("nan")}, {"a": 0.5}, Verdict.UNCHECKED),
        ({"a": 0.9, "b": float("inf")}, {"a": 0.5, "b": 0.5}, Verdict.UNCHECKED),
    ],
)
def test_any_label_over_its_limit_is_unsafe_and_no_number_is_no_answer(
    scores: dict[str, float], limits: dict[str, float], verdict: Verdict
) -> None:
    assert verdict_of(scores, limits) is verdict


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    without_weights(folder)
    torch.save(weights, folder / "pytorch_model.bin")


def truncated(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def headless(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: each for name, each in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def of_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    broken = {name: torch.full_like(each, torch.nan) for name, each in weights.items()}
    save_file(broken, folder / "model.safetensors", {"format": "pt"})


def with_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('code of a model ran')\n")


def with_twins(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"id2label": {"0": "NSFW", "1": "nsfw"}, "label2id": {"NSFW": 0, "nsfw": 1}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def without_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        without_weights,
        pickled,
        truncated,
        headless,
        of_nan,
        with_code,
        with_twins,
        without_processor,
    ],
)
def test_a_broken_classifier_leaves_every_picture_unchecked(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = make_classifier(tmp_path)
    spoil(folder)
    assert SafetyChecker(str(folder), LIMITS).check(BLACK) is Verdict.UNCHECKED


@pytest.mark.parametrize("name", ["/no/such/folder", "folder", "./a/b", "~/nothing"])
def test_a_folder_that_is_not_there_is_told_and_not_asked_for(name: str) -> None:
    with pytest.raises(BrokenClassifier, match="there is no such folder"):
        load_classifier(name)


def test_a_limit_for_no_label_is_a_mistake_and_not_a_pass(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_classifier(tmp_path)
    assert SafetyChecker(str(folder), {"porn": 0.5}).check(BLACK) is Verdict.UNCHECKED
    assert "it has no label 'porn'; its labels are normal, nsfw" in caplog.text
    assert SafetyChecker(str(folder), {}).check(BLACK) is Verdict.UNCHECKED


def test_a_classifier_that_could_not_be_loaded_is_tried_again_now_and_then(tmp_path: Path) -> None:
    tries, now = [], [0.0]

    def load(name: str) -> Classifier:
        tries.append(now[0])
        return load_classifier(name)

    checker = SafetyChecker(str(tmp_path / "later"), LIMITS, load, lambda: now[0])
    assert [checker.check(BLACK) for _ in range(3)] == [Verdict.UNCHECKED] * 3
    make_classifier(tmp_path / "later")
    now[0] = AGAIN
    assert [checker.check(BLACK) for _ in range(2)] == [Verdict.SAFE] * 2
    assert tries == [0.0, AGAIN]


def test_a_picture_waits_for_the_classifier_that_another_one_loads(tmp_path: Path) -> None:
    folder, loading, go_on = make_classifier(tmp_path), Event(), Event()

    def load(name: str) -> Classifier:
        loading.set()
        assert go_on.wait(60)
        return load_classifier(name)

    checker = SafetyChecker(str(folder), LIMITS, load)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(checker.check, BLACK)
        assert loading.wait(60)
        second = threads.submit(checker.check, BLACK)
        wait([second], 0.2)  # it would say "unchecked" meanwhile
        go_on.set()
        assert [first.result(), second.result()] == [Verdict.SAFE] * 2


async def verdicts(config: EngineConfig, executor: type) -> list[Verdict]:
    spec = Spec(job=1, epoch=1, recipe=make_recipe(count=2, steps=1))
    async with executor(config) as engine:
        events = await collect(engine, spec)
    return [event.verdict for event in events if isinstance(event, Picture)]


@pytest.mark.parametrize(
    ("answer", "verdict"), [("normal", Verdict.SAFE), ("nsfw", Verdict.UNSAFE)]
)
async def test_the_engines_process_judges_every_finished_picture(
    tiny_folder: Path, tmp_path: Path, answer: str, verdict: Verdict
) -> None:
    config = EngineConfig(
        starter=tiny_folder,
        device="cpu",
        safety_model=str(make_classifier(tmp_path, answer)),
        safety_labels=LIMITS,
    )
    assert await verdicts(config, ChildExecutor) == [verdict] * 2


async def test_without_a_classifier_or_with_a_broken_one_pictures_are_drawn_unchecked(
    tiny_folder: Path, tmp_path: Path
) -> None:
    plain = EngineConfig(starter=tiny_folder, device="cpu")
    broken = EngineConfig(
        starter=tiny_folder, device="cpu", safety_model=str(tmp_path), safety_labels=LIMITS
    )
    for config in (plain, broken):
        assert await verdicts(config, InProcessExecutor) == [Verdict.UNCHECKED] * 2


async def test_a_larger_copy_is_judged_by_itself(tiny_folder: Path, tmp_path: Path) -> None:
    config = EngineConfig(
        starter=tiny_folder,
        device="cpu",
        safety_model=str(make_classifier(tmp_path, "nsfw")),
        safety_labels=LIMITS,
    )
    recipe = make_recipe(steps=1, upscale=Upscale(factor=2.0))
    async with InProcessExecutor(config) as engine:
        events = await collect(engine, Spec(job=1, epoch=1, recipe=recipe))
    [picture] = [event for event in events if isinstance(event, Picture)]
    assert (picture.width, picture.verdict) == (128, Verdict.UNSAFE)


def test_what_went_wrong_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^The safety classifier '.*' cannot be used: .*\.$"):
        load_classifier(str(tmp_path))
