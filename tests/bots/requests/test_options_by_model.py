"""Options that a model does not have, and sizes that it does not draw."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.admission.rulebook import UNLIMITED
from bots.presentation.lines import recipe_lines
from bots.requests.default_options import save_options
from bots.requests.options import parse_values
from bots.requests.studio import Asker
from bots.requests.styles import Stylebook
from bots.texts import say, tell, words_of
from engine.errors import PromptError, UserError
from engine.recipe.parts import Control, Lora, Upscale
from engine.recipe.recipe import Recipe
from storage import Job
from tests.bots.conftest import ADA, House
from tests.bots.fakes import DISTILLED, EDITING, alter
from tests.factories import make_recipe, pixels

ZH = words_of("zh")


@pytest.fixture
def ann() -> Asker:
    return replace(ADA, notes=[])


@pytest.fixture
def distilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the model `tiny` a distilled one; `starter` has every option."""
    alter(monkeypatch, tiny=DISTILLED)


async def finished(house: House, job: Job) -> Job:
    async for _ in house.worker.follow(job.id):
        pass
    return await house.storage.jobs.get(job.id)


@pytest.mark.usefixtures("distilled")
@pytest.mark.parametrize(
    ("typed", "sentence", "chinese"),
    [
        (
            {"negative_prompt": "fog"},
            "The model 'tiny' has no option --negative: leave it out, or choose another model.",
            "模型 'tiny' 没有“不要出现”这一选项：请去掉它，或换一个模型。",
        ),
        (
            {"guidance_scale": 4.0},
            "The model 'tiny' always draws with --guidance 1: leave it out, or choose another "
            "model.",
            "模型 'tiny' 的“引导强度”只能是 1：请去掉它，或换一个模型。",
        ),
        (
            {"controls": (Control(model="canny", image="a" * 64),)},
            "The model 'tiny' has no option --control: leave it out, or choose another model.",
            "模型 'tiny' 没有“ControlNet”这一选项：请去掉它，或换一个模型。",
        ),
    ],
)
async def test_an_option_that_the_model_lacks_is_answered_before_a_job_is_stored(
    house: House, ann: Asker, typed: dict[str, Any], sentence: str, chinese: str
) -> None:
    first = await house.studio.imagine({"prompt": "a cat", "checkpoint": "tiny"}, ann)
    other = await house.studio.imagine({"prompt": "a cat"}, ann)
    for asking in (
        house.studio.imagine({"prompt": "a cat", "checkpoint": "tiny", **typed}, ann),
        house.studio.rerun(str(first.id), typed, ann),
        house.studio.rerun(str(other.id), {"checkpoint": "tiny", **typed}, ann),
        house.studio.remake(make_recipe(checkpoint="tiny"), typed, ann),
    ):
        with pytest.raises(UserError) as caught:
            await asking
        assert str(caught.value) == sentence
        assert tell(caught.value, ZH) == chinese
    assert len(await house.storage.history.page(person=ann.person)) == 2


@pytest.mark.usefixtures("distilled")
async def test_a_lora_in_the_words_counts_as_typed(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(monkeypatch, tiny={"lacks": frozenset({"loras"})})
    asking = house.studio.imagine({"prompt": "a cat <lora:Ink_v2>", "checkpoint": "tiny"}, ann)
    with pytest.raises(UserError, match="has no option --lora"):
        await asking


@pytest.mark.usefixtures("distilled")
async def test_what_stands_there_by_default_needs_no_words(house: House, ann: Asker) -> None:
    typed = {"negative_prompt": "", "guidance_scale": 1.0, "guidance_rescale": 0.0}
    job = await house.studio.imagine({"prompt": "a cat", "checkpoint": "tiny", **typed}, ann)
    assert (job.recipe.guidance_scale, job.recipe.negative_prompt, ann.notes) == (1.0, "", [])
    await house.studio.rerun(str(job.id), {}, ann)
    assert ann.notes == []


@pytest.mark.usefixtures("distilled")
async def test_what_the_new_model_lacks_of_an_old_recipe_is_left_out_and_said(
    house: House, ann: Asker
) -> None:
    typed = {"prompt": "a cat", "negative_prompt": "fog", "guidance_scale": 7.5}
    first = await house.studio.imagine(typed, ann)
    assert ann.notes == []
    job = await house.studio.rerun(str(first.id), {"checkpoint": "tiny"}, ann)
    assert (job.recipe.guidance_scale, job.recipe.negative_prompt) == (1.0, "")
    assert [str(note) for note in ann.notes] == [
        "The model 'tiny' always draws with --guidance 1, so that is used instead of 7.5.",
        "Left out, since the model 'tiny' has no such option: --negative.",
    ]
    assert [say(note, ZH) for note in ann.notes] == [
        "模型 'tiny' 的“引导强度”只能是 1，已代替 7.5。",
        "模型 'tiny' 没有以下选项，已略去：不要出现。",
    ]


async def test_a_recipe_from_elsewhere_and_one_whose_model_was_replaced_go_the_same_way(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await house.studio.imagine(
        {"prompt": "a cat", "checkpoint": "tiny", "negative_prompt": "fog"}, ann
    )
    old = await finished(house, old)
    alter(monkeypatch, tiny=DISTILLED)
    foreign = make_recipe(checkpoint="tiny", negative_prompt="fog", guidance_rescale=0.5)
    for asking in (
        house.studio.remake(foreign, {}, ann),
        house.studio.vary(str(old.id), ann),
        house.studio.zoom(str(old.id), ann),
    ):
        ann.notes.clear()
        job = await asking
        assert (job.recipe.negative_prompt, job.recipe.guidance_scale) == ("", 1.0)
        assert {note.code for note in ann.notes} == {"fixed_kept", "left_out"}


@pytest.mark.usefixtures("distilled")
async def test_default_options_that_the_model_lacks_are_left_out_and_said(
    house: House, ann: Asker
) -> None:
    saved = {"negative": "fog", "model": "tiny", "steps": "3"}
    await save_options(house.storage.people, ann.person, saved)
    job = await house.studio.imagine({"prompt": "a cat"}, ann, saved_by=ann.person)
    assert (job.recipe.negative_prompt, job.recipe.steps) == ("", 3)
    assert [str(note) for note in ann.notes] == [
        "Left out, since the model 'tiny' has no such option: --negative."
    ]
    typed = {"prompt": "a cat", "negative_prompt": "rain"}
    with pytest.raises(UserError, match="has no option --negative"):
        await house.studio.imagine(typed, ann, saved_by=ann.person)


async def test_a_shift_is_for_flow_models(house: House, ann: Asker, models: Path) -> None:
    assert "shift" in house.studio.catalogue.get("tiny").lacks
    for typed in ({"shift": 3.0}, {"shift": 3.0, "checkpoint": "tiny"}):
        with pytest.raises(UserError, match="has no option --shift: leave it out"):
            await house.studio.imagine({"prompt": "a cat", **typed}, ann)
    job = await house.studio.imagine({"prompt": "a cat", "shift": None}, ann)
    assert (job.recipe.shift, ann.notes) == (None, [])
    foreign = make_recipe(checkpoint="tiny", shift=3.0)
    job = await house.studio.remake(foreign, {}, ann)
    assert (job.recipe.shift, [str(note) for note in ann.notes]) == (
        None,
        ["Left out, since the model 'tiny' has no such option: --shift."],
    )


async def test_embeddings_are_said_to_be_unknown_by_models_without_clip(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(monkeypatch, tiny={"embeds": False})
    typed = {"prompt": "a (gold:1.3) cat (embedding:ink:1.2) BREAK", "checkpoint": "tiny"}
    await house.studio.imagine(typed, ann)
    (note,) = ann.notes
    assert note == (
        "The model 'tiny' knows no embeddings, so 'embedding:ink' stands for nothing there."
    )
    assert say(note, ZH) == "模型 'tiny' 不支持嵌入，因此 'embedding:ink' 在那里不起作用。"


async def test_break_is_said_to_be_text_by_models_without_windows(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(monkeypatch, tiny={"breaks": False})
    typed = {"prompt": "a (gold:1.3) cat BREAK a dog", "checkpoint": "tiny"}
    job = await house.studio.imagine(typed, ann)
    (note,) = ann.notes
    assert note == (
        "The model 'tiny' reads 'BREAK' as plain text: it has no windows of tokens that it could "
        "start."
    )
    assert say(note, ZH) == (
        "模型 'tiny' 把 'BREAK' 当作普通文字来读：它没有可由此另起的词元窗口。"
    )
    assert job.recipe.prompt == typed["prompt"]


async def test_signs_of_a1111_are_said_to_be_words_until_they_are_asked_for(
    house: House, ann: Asker
) -> None:
    typed = {"prompt": "a [cat:dog:0.5] AND [x]", "negative_prompt": "(fog)"}
    job = await house.studio.imagine(typed, ann)
    (note,) = ann.notes
    assert note == (
        "Drawn as words here: '[cat:dog:0.5]', '[x]', 'AND'; to have such signs read as A1111 "
        "reads them, add --syntax a1111."
    )
    assert say(note, ZH) == (
        "'[cat:dog:0.5]', '[x]', 'AND' 在这里按文字画出；要像 A1111 那样读取，请加上 "
        "--syntax a1111。"
    )
    ann.notes.clear()
    again = await house.studio.rerun(str(job.id), {"syntax": "a1111"}, ann)
    assert (again.recipe.syntax, again.recipe.prompt) == ("a1111", typed["prompt"])
    await house.studio.rerun(str(again.id), {"prompt": "a [b|c]"}, ann)
    await house.studio.rerun(str(job.id), {"seed": 5}, ann)  # they were told
    assert ann.notes == []
    many = "[a|b|c|d|e|f|g][a|b|c|d|e|f|g|h|i|j|k]"
    with pytest.raises(PromptError, match="change between more than 64 texts"):
        await house.studio.imagine({**typed, "prompt": many, "syntax": "a1111", "steps": 150}, ann)


async def test_weights_are_said_to_be_text_by_models_that_know_none(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(monkeypatch, tiny={"weighs": False, "lacks": frozenset()})
    typed = {"prompt": "a (gold:1.3) cat BREAK ((night)) (and day)", "negative_prompt": "(fog:0.5)"}
    plain = await house.studio.imagine(typed, ann)
    assert ann.notes == []
    job = await house.studio.imagine({**typed, "checkpoint": "tiny"}, ann)
    (note,) = ann.notes
    assert note == (
        "The model 'tiny' reads '(gold:1.3)', '((night))', 'BREAK', '(fog:0.5)' as plain text: it "
        "knows no weights of words, no BREAK and no embeddings."
    )
    assert say(note, ZH) == (
        "模型 'tiny' 把 '(gold:1.3)', '((night))', 'BREAK', '(fog:0.5)' 当作普通文字来读：它不支持"
        "词语权重、BREAK 和嵌入。"
    )
    assert job.recipe.prompt == typed["prompt"]
    for asking, said in (
        (house.studio.rerun(str(job.id), {"seed": 5}, ann), 0),  # they were told
        (house.studio.rerun(str(job.id), {"prompt": "a cat (black)"}, ann), 0),
        (house.studio.rerun(str(job.id), {"prompt": "a (cat:1.1)"}, ann), 1),
        (house.studio.rerun(str(plain.id), {"checkpoint": "tiny"}, ann), 1),
        (house.studio.remake(replace(plain.recipe, checkpoint="tiny"), {}, ann), 1),
    ):
        ann.notes.clear()
        await asking
        assert [note.code for note in ann.notes] == ["unweighted"] * said


async def test_a_negative_prompt_that_is_not_read_is_said_so(house: House, ann: Asker) -> None:
    words = {"prompt": "a cat", "negative_prompt": "dog"}
    job = await house.studio.imagine({**words, "guidance_scale": 1.0}, ann)
    (note,) = ann.notes
    model = job.recipe.checkpoint
    assert note == (
        f"At guidance 1 the model {model!r} reads no negative prompt, so it has no effect."
    )
    assert say(note, ZH) == f"引导强度为 1 时，模型 {model!r} 不读取反向提示词，因此它不起作用。"
    for asking, said in (
        (house.studio.rerun(str(job.id), {"seed": 5}, ann), 0),  # they were told
        (house.studio.rerun(str(job.id), {"negative_prompt": "fog"}, ann), 1),
        (house.studio.rerun(str(job.id), {"guidance_scale": 2.0}, ann), 0),
        (house.studio.imagine(words, ann), 0),
        # CFG++ follows the negative prompt's prediction at 1, too.
        (house.studio.rerun(str(job.id), {**words, "sampler": "euler_cfg_pp"}, ann), 0),
    ):
        ann.notes.clear()
        await asking
        assert [note.code for note in ann.notes] == ["negative_unread"] * said


async def test_a_shift_that_a_text_gives_can_be_typed_back(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(monkeypatch, tiny={"lacks": frozenset()})
    shift = 3.1581929096897672  # e^1.15, as graphs give it
    job = await house.studio.remake(make_recipe(checkpoint="tiny", shift=shift), {}, ann)
    shown = dict(recipe_lines(job, words_of("en")))["shift"]
    typed = parse_values([("shift", shown)])
    again = await house.studio.rerun(str(job.id), {"shift": None}, ann)
    assert again.recipe.shift is None
    again = await house.studio.rerun(str(again.id), typed, ann)
    assert (again.recipe, ann.notes) == (job.recipe, [])


@pytest.mark.usefixtures("distilled")
async def test_a_rule_of_an_option_binds_only_models_that_have_it(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(house.storage, Roles(), {**UNLIMITED, "guidance": [3, 10]})
    monkeypatch.setattr(house.studio, "_gate", gate)
    ann = replace(ann, person="telegram:5")  # rules bind nobody at a terminal
    job = await house.studio.imagine({"prompt": "a cat", "checkpoint": "tiny"}, ann)
    assert job.recipe.guidance_scale == 1
    with pytest.raises(UserError, match="Here guidance must be between 3 and 10, not 1"):
        await house.studio.imagine({"prompt": "a cat", "guidance_scale": 1.0}, ann)


@pytest.mark.usefixtures("distilled")
async def test_a_style_keeps_its_words_and_its_negative_prompt_is_left_out_and_said_once(
    house: House, ann: Asker
) -> None:
    book = Stylebook(house.storage, Gate(house.storage, Roles(), {"blocked": []}))
    await book.add(ann.place, "noir", "film noir", "colour", by="x:mod")
    noir = {"prompt": "a cat", "style": "noir"}
    plain = await house.studio.imagine(noir, ann)
    assert (plain.recipe.negative_prompt, ann.notes) == ("colour", [])
    job = await house.studio.imagine({**noir, "checkpoint": "tiny"}, ann)
    assert (job.recipe.prompt, job.recipe.negative_prompt) == ("a cat, film noir", "")
    assert job.style == "noir"
    (note,) = ann.notes
    assert note == (
        "Left out, since the model 'tiny' has no option --negative: what the style noir does not "
        "want to show."
    )
    assert "风格 noir" in say(note, ZH)
    ann.notes.clear()
    again = await house.studio.rerun(str(job.id), {"style": "noir"}, ann)
    assert (again.recipe.negative_prompt, [n.code for n in ann.notes]) == ("", ["style_left_out"])
    ann.notes.clear()
    with_typed = {**noir, "checkpoint": "tiny", "negative_prompt": "fog"}
    with pytest.raises(UserError, match="has no option --negative"):
        await house.studio.imagine(with_typed, ann)
    assert ann.notes == []


@pytest.mark.parametrize(
    ("model", "size", "drawn", "said"),
    [
        ("starter", "96x64", (96, 64), None),
        ("starter", "100x67", (96, 64), "'starter' draws 96×64 instead of 100×67 pixels"),
        ("tiny", "96x64", (96, 64), None),
        ("tiny", "104x72", (96, 64), "'tiny' draws 96×64 instead of 104×72 pixels"),
        ("tiny", "2041", (2048, 2048), "'tiny' draws 2048×2048 instead of 2041×2041 pixels"),
        ("tiny", "16:9", (112, 64), None),
        ("starter", "16:9", (112, 64), None),
    ],
)
async def test_a_size_off_the_models_grid_is_rounded_and_said_and_a_shape_fits(
    house: House,
    ann: Asker,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    size: str,
    drawn: tuple[int, int],
    said: str | None,
) -> None:
    alter(monkeypatch, tiny={"multiple": 16})
    typed = {"prompt": "a cat", "checkpoint": model, **parse_values([("size", size)])}
    job = await house.studio.imagine(typed, ann)
    assert (job.recipe.width, job.recipe.height) == drawn
    notes = [str(note) for note in ann.notes]
    assert notes == ([notes[0]] if said else [])
    assert (said or "") in "".join(notes)
    ann.notes.clear()
    other = await house.studio.imagine({"prompt": "a dog"}, ann)
    again = await house.studio.rerun(
        str(other.id), {"checkpoint": model, **parse_values([("size", size)])}, ann
    )
    assert (again.recipe.width, again.recipe.height) == drawn
    assert [str(note) for note in ann.notes] == notes


@pytest.mark.usefixtures("distilled")
async def test_the_size_of_an_old_recipe_is_rounded_for_another_model(
    house: House, ann: Asker
) -> None:
    typed = {"prompt": "a cat", "width": 72, "height": 64, "guidance_scale": 1.0}
    first = await house.studio.imagine(typed, ann)
    job = await house.studio.rerun(str(first.id), {"checkpoint": "tiny"}, ann)
    assert (job.recipe.width, job.recipe.height) == (64, 64)
    assert [note.code for note in ann.notes] == ["size_rounded"]
    assert "每边须为 16 的倍数" in say(ann.notes[0], ZH)


@pytest.mark.usefixtures("distilled")
def test_a_picture_that_is_only_enlarged_keeps_its_size(house: House) -> None:
    start = {"image": "a" * 64, "width": 72, "guidance_scale": 1.0}
    recipe = make_recipe(checkpoint="tiny", upscale=Upscale(), **start)
    assert house.studio.builder.fit(recipe) == (recipe, ())
    drawn = replace(recipe, strength=0.5)
    assert house.studio.builder.fit(drawn).recipe == replace(drawn, width=64)


@pytest.mark.usefixtures("distilled")
async def test_a_picture_goes_on_to_one_side_by_whole_multiples(house: House, ann: Asker) -> None:
    drawn = await house.studio.imagine({"prompt": "a cat", "checkpoint": "tiny"}, ann)
    drawn = await finished(house, drawn)
    for direction in ("left", "down"):
        job = await house.studio.pan(str(drawn.id), ann, direction)
        assert sorted((job.recipe.width, job.recipe.height)) == [64, 96]
    assert ann.notes == []


async def test_references_become_a_start_image_for_a_model_that_takes_none(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, second, third = [house.studio._keep(picture(seed)) for seed in (1, 2, 3)]
    pictures = (image, second, third)
    recipe = make_recipe(checkpoint="tiny", references=pictures, guidance_scale=1.0)
    alter(monkeypatch, tiny=EDITING)
    job = await house.studio.remake(recipe, {}, ann)
    assert job.recipe.references == (image, second)
    assert [str(note) for note in ann.notes] == [
        "The model 'tiny' takes 2 pictures to edit, so the others are left out."
    ]
    ann.notes.clear()
    job = await house.studio.rerun(str(job.id), {"checkpoint": "starter"}, ann)
    found = job.recipe.references, job.recipe.image, job.recipe.strength
    assert found == ((), image, 0.7)
    assert [str(note) for note in ann.notes] == [
        "The model 'starter' does not edit by words, so it draws anew from the picture, at "
        "strength 0.7."
    ]
    assert "不能按文字编辑图片" in say(ann.notes[0], ZH)


def test_without_anything_to_leave_out_a_recipe_stays_as_it_is(house: House) -> None:
    recipe: Recipe = make_recipe(negative_prompt="fog", loras=(Lora(name="Ink_v2"),))
    assert house.studio.builder.fit(recipe) == (recipe, ())
    assert house.studio.builder.change(recipe, {}) == (recipe, ())


def picture(seed: int) -> Any:
    from PIL import Image

    return Image.fromarray(pixels(seed, 64, 64))
