"""Edits by words: which model does them, at which size, and what happens where none can."""

import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from bots.operations.edit_model import find_edit_model
from bots.operations.settings import load_settings
from bots.requests.default_options import save_options
from bots.requests.options import parse_values
from bots.requests.studio import Asker
from bots.texts import say, tell, words_of
from engine.errors import SettingError, UserError
from engine.recipe.parts import Lora, Margins
from storage import Job
from tests.bots.conftest import ADA, House
from tests.bots.fakes import EDITING, alter
from tests.bots.requests.test_options_by_model import finished

BRONZE = {"prompt": "make it bronze"}


@pytest.fixture
def ann() -> Asker:
    return replace(ADA, notes=[])


@pytest.fixture
def editing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model `tiny` edit by words; `starter` does not."""
    alter(monkeypatch, tiny={"references": 2, "multiple": 16})


async def drawn(house: House, asker: Asker, **values: Any) -> Job:
    job = await finished(house, await house.studio.imagine({"prompt": "a cat", **values}, asker))
    asker.notes.clear()
    return job


async def kept(house: House, width: int, height: int) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "PNG")
    return await house.studio.keep_image(file.getvalue())


@pytest.mark.usefixtures("editing")
async def test_a_picture_is_edited_by_its_own_model_if_that_can(house: House, ann: Asker) -> None:
    parent = await drawn(house, ann, checkpoint="tiny", seed=7, count=2, steps=3)
    job = await house.studio.edit(f"{parent.id}.2", BRONZE, ann)
    sha256 = parent.pictures[1].sha256
    recipe = job.recipe
    assert (recipe.prompt, recipe.checkpoint, recipe.steps) == ("make it bronze", "tiny", 3)
    assert (recipe.references, recipe.image, recipe.strength) == ((sha256,), None, None)
    assert (recipe.count, recipe.picture, recipe.seed != 7) == (1, None, True)
    assert (job.parent, job.parent_picture, ann.notes) == (parent.id, 1, [])


@pytest.mark.usefixtures("editing")
async def test_an_edit_keeps_how_its_own_model_draws_and_nothing_of_what_it_drew(
    house: House, ann: Asker
) -> None:
    loras = (Lora(name="Ink_v2", weight=0.5),)
    parent = await drawn(house, ann, checkpoint="tiny", loras=loras, sampler="euler")
    zoomed = await finished(house, await house.studio.zoom(str(parent.id), ann))
    recipe = (await house.studio.edit(str(zoomed.id), {**BRONZE, "steps": 5}, ann)).recipe
    assert (recipe.loras, recipe.sampler, recipe.steps) == (loras, "euler", 5)
    assert (recipe.margins, recipe.image, recipe.references) == (
        None,
        None,
        (zoomed.pictures[0].sha256,),
    )


@pytest.mark.usefixtures("editing")
async def test_the_owners_model_edits_what_the_pictures_own_cannot(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await drawn(house, ann, loras=(Lora(name="Ink_v2"),), steps=3)
    monkeypatch.setattr(house.studio, "_edit_model", "tiny")
    await save_options(house.storage.people, ann.person, {"steps": "50"})  # of the default model
    job = await house.studio.edit(str(parent.id), BRONZE, ann, saved_by=ann.person)
    assert (job.recipe.checkpoint, job.recipe.references) == ("tiny", (parent.pictures[0].sha256,))
    assert (job.recipe.loras, job.recipe.steps, ann.notes) == ((), 25, [])
    image = await kept(house, 64, 64)
    assert (await house.studio.edit_image(image, BRONZE, ann)).recipe.references == (image,)


@pytest.mark.usefixtures("editing")
async def test_the_default_model_edits_where_it_alone_can_and_a_typed_one_always(
    house: House, ann: Asker
) -> None:
    parent = await drawn(house, ann)
    await save_options(house.storage.people, ann.person, {"model": "tiny", "size": "96x64"})
    job = await house.studio.edit(str(parent.id), BRONZE, ann, saved_by=ann.person)
    assert (job.recipe.checkpoint, len(job.recipe.references)) == ("tiny", 1)
    assert (job.recipe.width, job.recipe.height) == (64, 64), "a saved size is not told"
    await save_options(house.storage.people, ann.person, {"steps": "50"})
    job = await house.studio.edit(str(parent.id), BRONZE, ann, saved_by=ann.person)
    assert job.recipe.steps == 50, "saved for that model"
    assert await house.studio.can_edit({}, ann, ann.person, parent.recipe)
    assert not await house.studio.can_edit({}, ann, None, parent.recipe)
    typed = {**BRONZE, "checkpoint": "tiny"}
    assert await house.studio.can_edit(typed, ann)
    assert (await house.studio.edit(str(parent.id), typed, ann)).recipe.checkpoint == "tiny"


@pytest.mark.usefixtures("editing")
async def test_without_a_model_that_edits_the_pictures_own_draws_anew_and_says_so(
    house: House, ann: Asker
) -> None:
    parent = await drawn(house, ann, width=72, height=64, steps=3, loras=(Lora(name="Ink_v2"),))
    job = await house.studio.edit(str(parent.id), BRONZE, ann)
    recipe, sha256 = job.recipe, parent.pictures[0].sha256
    assert (recipe.image, recipe.strength, recipe.references) == (sha256, 0.7, ())
    assert (recipe.checkpoint, recipe.steps, len(recipe.loras)) == ("starter", 3, 1)
    (note,) = ann.notes
    assert note == (
        "The model 'starter' does not edit by words, so it draws anew from the picture, at "
        "strength 0.7."
    )
    assert say(note, words_of("zh")) == (
        "模型 'starter' 不能按文字编辑图片，因此以这张图为起始图重画，强度 0.7。"
    )
    ann.notes.clear()
    weak = await house.studio.edit(str(parent.id), {**BRONZE, "strength": 0.4}, ann)
    assert (weak.recipe.strength, "strength 0.4" in ann.notes[0]) == (0.4, True)
    image = await kept(house, 640, 320)
    given = (await house.studio.edit_image(image, BRONZE, ann)).recipe
    assert (given.image, given.width, given.height) == (image, 128, 64)


@pytest.mark.usefixtures("editing")
@pytest.mark.parametrize(
    ("given", "size", "drawn_at"),
    [
        ((256, 192), None, (256, 192)),
        ((250, 190), None, (256, 192)),
        ((8000, 2000), None, (2048, 512)),
        ((3000, 2000), None, (1248, 832)),
        ((16, 16), None, (64, 64)),
        ((256, 192), "128x96", (128, 96)),
        ((256, 192), "100", (96, 96)),
    ],
)
async def test_an_edit_has_the_pictures_size_up_to_a_megapixel_unless_told(
    house: House,
    ann: Asker,
    given: tuple[int, int],
    size: str | None,
    drawn_at: tuple[int, int],
) -> None:
    values = {**BRONZE, "checkpoint": "tiny", **parse_values([("size", size)] if size else [])}
    recipe = (await house.studio.edit_image(await kept(house, *given), values, ann)).recipe
    assert (recipe.width, recipe.height) == drawn_at
    assert bool(ann.notes) == (size == "100")


@pytest.mark.usefixtures("editing")
async def test_words_may_be_about_several_pictures_as_many_as_the_model_takes(
    house: House, ann: Asker
) -> None:
    first, second, third = [await kept(house, 64, 64 + 8 * number) for number in range(3)]
    typed = {**BRONZE, "checkpoint": "tiny"}
    job = await house.studio.edit_image(first, typed, ann, others=(second,))
    assert job.recipe.references == (first, second)
    with pytest.raises(UserError) as caught:
        await house.studio.edit_image(first, typed, ann, others=(second, third))
    assert str(caught.value) == "The model 'tiny' takes at most 2 pictures to edit, not 3."
    with pytest.raises(UserError, match=r"'starter' does not edit by words, so .* 1 other, or"):
        await house.studio.edit_image(first, BRONZE, ann, others=(second,))


@pytest.mark.usefixtures("editing")
async def test_what_belongs_to_start_images_is_not_silently_ignored(
    house: House, ann: Asker
) -> None:
    image = await kept(house, 64, 64)
    typed = {**BRONZE, "checkpoint": "tiny", "fit": "pad", "strength": 0.5}
    with pytest.raises(UserError) as caught:
        await house.studio.edit_image(image, typed, ann)
    assert str(caught.value) == (
        "The model 'tiny' edits by words, without a start image: leave out --strength, --fit."
    )
    assert "不用起始图" in tell(caught.value, words_of("zh"))
    typed = {**BRONZE, "checkpoint": "tiny", **parse_values([("iw", "2")])}
    with pytest.raises(UserError, match=r"leave out --iw\.$"):
        await house.studio.edit_image(image, typed, ann)
    assert not await house.storage.history.page(person=ann.person)


async def test_a_picture_of_a_model_that_is_gone_is_edited_by_another(
    house: House, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await drawn(house, ann, checkpoint="tiny")
    get = house.studio.catalogue.get

    def without(name: str) -> Any:
        return get("gone" if name == "tiny" else name)

    monkeypatch.setattr(house.studio.catalogue, "get", without)
    job = await house.studio.edit(str(parent.id), BRONZE, ann)
    assert (job.recipe.checkpoint, job.recipe.strength) == ("starter", 0.7)


@pytest.mark.usefixtures("editing")
async def test_an_edited_picture_is_varied_with_what_it_was_made_from(
    house: House, ann: Asker
) -> None:
    parent = await drawn(house, ann, checkpoint="tiny")
    edited = await finished(house, await house.studio.edit(str(parent.id), BRONZE, ann))
    source, result = parent.pictures[0].sha256, edited.pictures[0].sha256
    again = await house.studio.rerun(str(edited.id), {}, ann)
    assert again.recipe == edited.recipe
    subtle = (await house.studio.vary(str(edited.id), ann)).recipe
    assert (subtle.references, subtle.image) == ((source,), result)
    strong = (await house.studio.vary(str(edited.id), ann, strong=True)).recipe
    assert (strong.references, strong.image, len(strong.variations)) == ((source,), None, 1)
    zoomed = (await house.studio.zoom(str(edited.id), ann)).recipe
    assert (zoomed.references, zoomed.image) == ((), result)
    other = (await house.studio.rerun(str(edited.id), {"checkpoint": "starter"}, ann)).recipe
    assert (other.references, other.image, other.strength) == ((), source, 0.7)
    twice = (await house.studio.edit(str(edited.id), {"prompt": "add a hat"}, ann)).recipe
    assert twice.references == (result,)


def test_the_owners_model_is_checked_at_the_start(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(monkeypatch, tiny=EDITING)

    def found(name: str) -> str | None:
        settings = load_settings({"MARBLE_EDIT_MODEL": name}, env_file="")
        return find_edit_model(settings, house.studio.catalogue)

    assert (found(""), found("TINY")) == (None, "tiny")
    with pytest.raises(UserError, match=r"^MARBLE_EDIT_MODEL: There is no model 'tini' \(did you"):
        found("tini")
    with pytest.raises(SettingError) as caught:
        found("starter")
    assert str(caught.value) == (
        "MARBLE_EDIT_MODEL must be a model that edits by words (`marble models` shows which do), "
        "not 'starter'."
    )


@pytest.mark.usefixtures("editing")
async def test_a_blend_shows_all_pictures_to_a_model_that_sees_them(
    house: House, ann: Asker
) -> None:
    cat = await drawn(house, ann, checkpoint="tiny", steps=3, width=64, height=96)
    dog = await drawn(house, ann, count=2)
    names = [str(cat.id), f"{dog.id}.2"]
    job = await house.studio.blend(names, [], {}, ann)
    recipe = job.recipe
    assert recipe.references == (cat.pictures[0].sha256, dog.pictures[1].sha256)
    assert (recipe.prompt, recipe.steps) == ("Blend these pictures into one.", 3)
    assert (recipe.width, recipe.height, recipe.image) == (64, 64, None)
    assert (job.parent, job.parent_picture, ann.notes) == (cat.id, 0, [])
    teal = await kept(house, 80, 80)
    words = {"prompt": "at night", "checkpoint": "tiny"}
    job = await house.studio.blend([], [teal, cat.pictures[0].sha256], words, ann)
    assert (job.recipe.prompt, job.parent) == ("at night", None)
    with pytest.raises(UserError, match="takes at most 2 pictures to edit, not 3"):
        await house.studio.blend(names, [teal], words, ann)


async def test_a_model_that_sees_no_pictures_starts_from_all_laid_over_each_other(
    house: House, ann: Asker
) -> None:
    cat = await drawn(house, ann, checkpoint="tiny", steps=3, width=64, height=96)
    dog = await drawn(house, ann, prompt="a dog")
    job = await house.studio.blend([str(cat.id), str(dog.id)], [], {}, ann)
    recipe = job.recipe
    assert (recipe.prompt, recipe.checkpoint, recipe.strength) == ("a cat, a dog", "tiny", 0.7)
    assert (recipe.width, recipe.height, recipe.references) == (80, 80, ())
    assert ann.notes == [
        "The model 'tiny' does not see several pictures, so it starts from all of them laid over "
        "each other, at strength 0.7."
    ]
    assert "叠在一起" in say(ann.notes[0], words_of("zh"))
    ann.notes.clear()
    red, blue = await plain_picture(house, "red"), await plain_picture(house, "blue")
    job = await house.studio.blend([], [red, blue, blue], {"prompt": "a", "strength": 0.5}, ann)
    assert job.recipe.image is not None
    mean = Image.open(io.BytesIO(house.storage.pictures.store.read(job.recipe.image)))
    assert mean.getpixel((5, 5)) == (85, 0, 170)
    assert "at strength 0.5" in ann.notes[0]


async def plain_picture(house: House, colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return await house.studio.keep_image(file.getvalue())


async def test_a_blend_that_cannot_be_is_refused_in_a_sentence(house: House, ann: Asker) -> None:
    red = await plain_picture(house, "red")
    for count in (1, 6):
        with pytest.raises(UserError, match=f"made of two to 5 pictures, not {count}"):
            await house.studio.blend([], [red] * count, {"prompt": "a cat"}, ann)
    with pytest.raises(UserError, match="say what the blended picture should show") as refused:
        await house.studio.blend([], [red, red], {}, ann)
    assert "按文字来画" in tell(refused.value, words_of("zh"))
    grid = await drawn(house, ann, count=2)
    with pytest.raises(UserError, match="2 pictures"):
        await house.studio.blend([str(grid.id)], [red], {}, ann)


async def test_a_part_of_a_picture_is_drawn_anew_with_other_words(house: House, ann: Asker) -> None:
    house.executor.times = 8
    parent = await drawn(house, ann, seed=7, count=2)
    name, picture = f"{parent.id}.2", parent.pictures[1]
    white = Image.new("L", (picture.width, picture.height), "black")
    white.paste("white", (0, 0, 8, 8))
    white.save(file := io.BytesIO(), "PNG")
    mask = await house.studio.keep_mask(picture.sha256, file.getvalue())
    job = await house.studio.repaint(name, mask, {}, ann)
    assert (job.parent, job.parent_picture) == (parent.id, 1)
    recipe = job.recipe
    assert (recipe.image, recipe.mask, recipe.prompt) == (picture.sha256, mask, "a cat")
    assert (recipe.count, recipe.picture, recipe.strength) == (1, None, 1.0)
    values = parse_values([("strength", "0.5"), ("seed", "3")])
    other = (await house.studio.repaint(name, mask, {"prompt": "a dog", **values}, ann)).recipe
    assert (other.prompt, other.strength, other.seed, other.mask) == ("a dog", 0.5, 3, mask)


async def test_a_picture_is_extended_with_its_words_or_others(house: House, ann: Asker) -> None:
    house.executor.times = 8
    parent = await drawn(house, ann)
    picture = parent.pictures[0]
    margins = Margins(right=picture.width)
    recipe = (await house.studio.extend(str(parent.id), margins, {}, ann)).recipe
    assert (recipe.image, recipe.margins, recipe.prompt) == (picture.sha256, margins, "a cat")
    assert (recipe.width, recipe.height) == (2 * picture.width, picture.height)
    sky = await house.studio.extend(str(parent.id), margins, {"prompt": "the sea"}, ann)
    assert (sky.recipe.prompt, sky.recipe.margins, sky.parent) == ("the sea", margins, parent.id)
