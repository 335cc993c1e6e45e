"""What people say and what they get, end to end, on an engine that answers at once.

One process serves all of these tests: each has people and groups of its own.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from bots.telegram.actions import BUTTONS
from engine.formats.metadata import read_recipe, write_png
from tests.bots.telegram.conftest import a_marble, a_server
from tests.bots.workflow_graphs import two_results
from tests.engine.formats import others
from tests.engine.formats.test_comfy import default_graph
from tests.factories import make_recipe
from tests.fakes.process import Marble
from tests.fakes.telegram.people import (
    ANONYMOUS,
    FIRST_PERSON,
    Chat,
    Person,
    group,
    labels,
    person,
    text_of,
)
from tests.fakes.telegram.server import BOT, NAME, TelegramServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
NUMBERS = itertools.count(1)
BOSS = 900
IN_PRIVATE = "This concerns personal data: use it with your own account, in a private chat with me."
Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telegram() -> AsyncIterator[TelegramServer]:
    async with a_server() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def marble(
    telegram: TelegramServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Marble]:
    folder = tmp_path_factory.mktemp("talking")
    async with a_marble(
        telegram, folder, MARBLE_MODERATORS=f"telegram:{FIRST_PERSON + BOSS}"
    ) as marble:
        yield marble


@pytest.fixture
def somebody(telegram: TelegramServer, marble: Marble) -> Callable[..., Person]:
    """Return a function that returns somebody new."""
    return lambda language="en": person(telegram, next(NUMBERS), language)


@pytest.fixture
def ada(somebody: Callable[..., Person]) -> Person:
    return somebody()


@pytest.fixture
def bob(somebody: Callable[..., Person]) -> Person:
    return somebody()


@pytest.fixture
def statues(telegram: TelegramServer, marble: Marble) -> Chat:
    """Return a group where the bot is a member like any other."""
    return group(telegram, next(NUMBERS))


def file_of(server: TelegramServer, message: Json) -> bytes:
    """Return the bytes of a message's picture."""
    shown = message["photo"][-1] if "photo" in message else message["document"]
    return server.files[shown["file_id"]]


def seed_of(message: Json) -> str:
    [facts] = [line for line in text_of(message).splitlines() if " · seed " in line]
    return facts.partition(" · seed ")[2].partition(" ")[0]


async def test_words_become_a_placeholder_that_becomes_the_picture(ada: Person) -> None:
    said = await ada.says("a marble scholar wait --seed 7")
    placeholder = await ada.chat.words(said, "1/")
    assert labels(placeholder) == ["Cancel"]
    await ada.presses(placeholder, "Cancel")
    assert await ada.chat.words(said, "Cancelled.") is placeholder
    said = await ada.says("a marble scholar --seed 7")
    placeholder = await ada.chat.answer(said)
    picture = await ada.chat.picture(said)
    assert picture is placeholder
    assert text_of(picture).startswith("a marble scholar\n")
    assert seed_of(picture) == "7"
    assert len(ada.chat.shown) == 2


async def test_a_size_that_the_model_does_not_draw_is_rounded_and_said(
    telegram: TelegramServer, ada: Person
) -> None:
    said = await ada.says("a marble scholar --size 100x67")
    await ada.chat.words(said, "The model 'starter' draws 96×64 instead of 100×67 pixels")
    file = file_of(telegram, await ada.chat.picture(said))
    assert Image.open(io.BytesIO(file)).size == (96, 64)


async def test_the_same_seed_gives_the_same_picture_and_a_new_one_another(
    telegram: TelegramServer, ada: Person
) -> None:
    first = await ada.chat.picture(await ada.says("a bronze cat"))
    await ada.presses(first, "Same seed")
    again = await ada.chat.picture(first)
    await ada.presses(again, "New seed")
    other = await ada.chat.picture(again)
    pixels = [Image.open(io.BytesIO(file_of(telegram, m))).tobytes() for m in (first, again, other)]
    assert pixels[0] == pixels[1] != pixels[2]
    assert seed_of(first) == seed_of(again) != seed_of(other)


async def test_a_copied_caption_asks_for_the_same_words_once(ada: Person) -> None:
    said = await ada.says("a \\{red, blue\\} cat --seed 7 --size 64")
    first = await ada.chat.picture(said)
    assert text_of(first).startswith("a \\{red, blue\\} cat\n")
    again = await ada.chat.picture(await ada.says(text_of(first)))
    assert text_of(again).partition("\n")[0] == text_of(first).partition("\n")[0]
    recipe = await ada.chat.words(await ada.says("recipe", answering=again), "Recipe of")
    assert "prompt: a \\{red, blue\\} cat\n" in text_of(recipe)
    assert "not in the picture" not in text_of(recipe)
    assert len(ada.chat.shown) == 3


async def test_every_flag_is_read_wherever_it_stands(telegram: TelegramServer, ada: Person) -> None:
    said = await ada.says('a cat —size 64x128 in "rain" --no "blur, dogs" --steps 9\nugly')
    picture = await ada.chat.picture(said)
    await ada.presses(picture, "Original")
    document = await ada.chat.picture_file(picture)
    recipe = read_recipe(file_of(telegram, document)).recipe
    assert (recipe.prompt, recipe.negative_prompt) == (
        'a cat in "rain"',
        "blur, dogs, ugly",
    )
    assert (recipe.width, recipe.height, recipe.steps) == (64, 128, 9)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a cat --sead 7", "There is no option '--sead' (did you mean '--seed'?)."),
        ("a cat --steps many", "steps must be a whole number between 1 and 150, not 'many'."),
        ("a cat --seed", "--seed must be followed by a value (for example N), not ''."),
        ("a cat --model nowhere", "There is no model 'nowhere'; available models: starter."),
        ("a" * 2001, "prompt must be at most 2,000 characters, not 2,001 characters."),
        ("https://example.com/cat.png a cat", "give the picture itself as the start image"),
        ("/paint a cat", "There is no command '/paint' (did you mean '/imagine'?)."),
        ("/sculpt a cat", "There is no command '/sculpt'."),
        ("/favourites", "There is no command '/favourites' (did you mean '/history favourites'?)."),
        ("/Upscale", "There is no command '/upscale': press 'Upscale' below a picture, or answer "
         "the picture with 'upscale'."),
        ("/vary 3", "press 'Vary a little' below a picture, or answer the picture with 'vary'."),
        ("/zoom_out", "press 'Zoom out' below a picture"),
        ("/pan_left", "press '⬅️' below a picture, or answer the picture with 'pan left'."),
        ("/reroll", "press 'New seed' below a picture"),
        ("/remix", "There is no '/remix' here: answer the picture with other words or options."),
        ("/ask how?", "There is no command '/ask'."),
        ("/subscribe", "There is no command '/subscribe'."),
        ("/shorten a cat", "There is no command '/shorten' (did you mean '/making_of'?)."),
        ("/shrten a cat", "There is no command '/shrten'."),
        ("/stealth", "There is no command '/stealth' (did you mean '/privacy'?)."),
        ("/seed", "press 'Recipe' below a picture, or answer the picture with 'seed'."),
        ("/sculpt?", "There is no command '/sculpt'."),
        ("/imagine: ", "Describe a picture, for example"),
        ("a cat --seed 7 --seed 8", "--seed is given twice, as '7' and as '8'; give it once."),
        ("a cat --ar 3x2", "size must be 3:2 where a ratio is meant"),
        ("a cat --ar 50:1", "size must be a ratio of at most 32:1 or 1:32, not '50:1'."),
        ("/show 99999", "There is no picture 99999 that you may see here."),
        ("/show ../../etc/passwd", "pictures have names like 12 or 12.3."),
        ("fail", "The marble cracked."),
        ("break", "An unexpected error occurred"),
        ("/settings --seed 5", "There is no option '--seed'"),
        ("/pause lunch", "Only moderators can do that."),
    ],
)  # fmt: skip
async def test_bad_input_gets_one_sentence(ada: Person, text: str, sentence: str) -> None:
    said = await ada.says(text)
    answer = await ada.chat.words(said, sentence)
    assert "Traceback" not in text_of(answer)
    assert len(ada.chat.shown) == 1


async def test_several_pictures_come_as_one_grid_of_which_each_can_be_picked(
    telegram: TelegramServer, ada: Person
) -> None:
    grid = await ada.chat.picture(await ada.says("owls --count 3 --size 64"))
    assert labels(grid)[:9] == ["U1", "U2", "U3", "V1", "V2", "V3", "1", "2", "3"]
    together = grid["photo"]
    await ada.presses(grid, "3")
    await telegram.until(lambda: "Everything" in labels(grid))
    assert text_of(grid).splitlines()[1].partition(" ")[0].endswith(".3")
    assert grid["photo"] != together
    await ada.presses(grid, "Same seed")
    alone = await ada.chat.picture(grid)
    name = text_of(alone).splitlines()[1].rpartition("from ")[2]
    assert name.endswith(".3")
    await ada.presses(grid, "Everything")
    await telegram.until(lambda: "3" in labels(grid))
    assert len(grid["photo"]) == len(together)
    await ada.presses(grid, "U2")
    _, large = await ada.chat.results(grid, 2)
    assert text_of(large).splitlines()[1].endswith(".2")
    await ada.presses(large, "Recipe")
    assert "upscale: " in text_of(await ada.chat.words(large, "Recipe of"))


async def test_an_answer_that_names_a_button_does_what_that_does(
    telegram: TelegramServer, ada: Person, statues: Chat
) -> None:
    grid = await ada.chat.picture(await ada.says("owls --count 3 --size 64"))
    number = text_of(grid).splitlines()[1].partition(" ")[0]
    large = await ada.chat.picture(await ada.says("U2", answering=grid))
    assert text_of(large).splitlines()[1].endswith(f"from {number}.2")
    told = await ada.chat.words(await ada.says("recipe", answering=large), "Recipe of")
    assert "upscale: " in text_of(told)
    for text in ("/v3", "vary 3"):
        varied = await ada.chat.picture(await ada.says(text, answering=grid))
        assert text_of(varied).splitlines()[1].endswith(f"from {number}.3")
    again = await ada.chat.picture(await ada.says("🔄", answering=large))
    drawn = text_of(large).splitlines()[1].partition(" ")[0]
    assert text_of(again).splitlines()[1].endswith(f" from {drawn}")
    assert seed_of(again) != seed_of(large)
    await ada.says("3", answering=grid)
    await telegram.until(lambda: "Everything" in labels(grid))
    said = await ada.says("Favourite", answering=grid)
    await ada.chat.words(said, f"{number}.3 was added to your favourites")
    said = await ada.says("remix", answering=grid)
    await ada.chat.words(said, "There is no 'remix' here: answer the picture with other words")
    said = await ada.says("u5", answering=grid)
    await ada.chat.words(said, f"There is no picture {number}.5")
    words = await ada.chat.picture(await ada.says("u1 with a hat --size 64", answering=grid))
    assert text_of(words).startswith("u1 with a hat\n")
    words = await ada.chat.picture(await ada.says("/imagine u1 --size 64", answering=grid))
    assert text_of(words).startswith("u1\n")

    said = await ada.says("/imagine owls --count 2 --size 64", to=statues)
    grid = await statues.picture(said)
    varied = await statues.picture(await ada.says("v1", to=statues, answering=grid))
    assert text_of(varied).splitlines()[1].endswith(".1")


async def test_the_bots_own_name_in_front_is_no_word_for_a_picture(
    ada: Person, statues: Chat
) -> None:
    picture = await ada.chat.picture(await ada.says(f"@{NAME.upper()}, a cat --size 64"))
    assert text_of(picture).startswith("a cat\n")
    picture = await ada.chat.picture(await ada.says(f"@{NAME}s are cats --size 64"))
    assert text_of(picture).startswith(f"@{NAME}s are cats\n")
    said = await ada.says("/imagine owls --size 64", to=statues)
    grid = await statues.picture(said)
    said = await ada.says(f"@{NAME} U1", to=statues, answering=grid)
    assert "from" in text_of(await statues.picture(said))


async def test_talk_below_a_picture_in_a_group_is_not_drawn(
    ada: Person, bob: Person, statues: Chat
) -> None:
    statues.promote()
    picture = await statues.picture(await ada.says("/imagine owls --size 64", to=statues))
    await bob.says("/shorten a cat", to=statues)  # perhaps another bot's
    for text in ("thanks!", "lol", "😂", "❤️", "✨", "太棒了", "-no way", "https://example.com wow"):
        await bob.says(text, to=statues, answering=picture)
    for text in ("thanks!", "lol", "😂", "❤️", "✨", "太棒了"):
        await ada.says(text, to=statues, answering=picture)
    await bob.says("who is that on the left?", to=statues, answering=picture)
    await bob.sends_photo(a_picture(), "like this one", to=statues, answering=picture)
    await ada.sends_photo(a_picture(), to=statues, answering=picture)
    drawn = [picture]
    for who, text in (
        (ada, "a jade owl"),
        (bob, "--steps 3"),
        (bob, "/imagine a jade owl"),
        (bob, f"@{NAME} thanks"),
        (bob, "v1"),
        (bob, "🔄"),
    ):
        said = await who.says(text, to=statues, answering=picture)
        drawn.append(await statues.picture(said))
    assert statues.shown == drawn


async def test_a_sticker_below_a_picture_is_talk_in_a_group_alone(
    telegram: TelegramServer, ada: Person, statues: Chat
) -> None:
    sticker = {"file_id": "s", "file_unique_id": "s", "type": "regular", "width": 9, "height": 9}
    sticker |= {"is_animated": False, "is_video": False}

    async def answers_by_a_sticker(picture: Json) -> Json:
        said = telegram.new_message(
            picture["chat"]["id"], **{"from": ada.user}, sticker=sticker, reply_to_message=picture
        )
        await telegram.add_update("message", said)
        return said

    picture = await statues.picture(await ada.says("/imagine an owl", to=statues))
    await answers_by_a_sticker(picture)
    alone = await ada.chat.picture(await ada.says("an owl"))
    await ada.chat.words(await answers_by_a_sticker(alone), "Describe a picture")
    later = await statues.picture(await ada.says("/imagine an end", to=statues))
    assert statues.shown == [picture, later]


async def test_what_begins_with_the_bots_name_is_drawn_in_a_group(
    telegram: TelegramServer, ada: Person, bob: Person, statues: Chat
) -> None:
    statues.promote()
    origin = {"type": "user", "date": 1, "sender_user": ada.user}
    await bob.says(f"@{NAME} a cat", to=statues, forward_origin=origin)
    await bob.says(f"ask @{NAME} for a cat", to=statues)
    topic = statues.topic(77)
    picture = await statues.picture(await bob.says(f"@{NAME}, a cat --seed 7", to=statues))
    assert text_of(picture).startswith("a cat\n")
    inside = await topic.picture(await bob.says(f"@{NAME.upper()} a dog", to=topic))
    photo = await ada.sends_photo(a_picture(), "look at this", to=statues)
    below = await statues.picture(await bob.says(f"@{NAME} as jade", to=statues, answering=photo))
    captioned = await ada.sends_photo(a_picture(), f"@{NAME} as gold", to=statues)
    with_it = await statues.picture(captioned)
    said = await bob.says(f"@{NAME}", to=statues)
    question = await statues.words(said, "Describe a picture")
    assert bob.is_asked(question)
    answer = await statues.picture(await bob.says("an owl", to=statues, answering=question))
    unknown = await bob.says(f"/ask@{NAME} how?", to=statues)
    refused = await statues.words(unknown, "There is no command '/ask'.")
    grid = await statues.picture(await bob.says(f"@{NAME} owls --count 2 --size 64", to=statues))
    large = await statues.picture(await bob.says(f"@{NAME} U2", to=statues))
    number = text_of(grid).splitlines()[1].partition(" ")[0]
    assert text_of(large).splitlines()[1].endswith(f"from {number}.2")
    drawn = [picture, inside, below, with_it, question, answer, refused, grid, large]
    assert statues.shown == drawn


async def test_a_buttons_name_below_ones_own_picture_is_no_word_to_draw(
    ada: Person, somebody: Callable[..., Person]
) -> None:
    li = somebody("zh-hans")
    for text in ("U1", "upscale", "/v2"):
        said = await ada.sends_photo(a_picture(), text)
        await ada.chat.words(said, "names a button below Marble's pictures")
    photo = await ada.sends_photo(a_picture(), "a cat --size 64")
    await ada.chat.picture(photo)
    said = await ada.says("vary", answering=photo)
    await ada.chat.words(said, "'vary' names a button below Marble's pictures")
    await li.chat.words(await li.sends_photo(a_picture(), "放大"), "按钮的名称")


async def test_what_a_second_line_is_taken_for_is_said(
    ada: Person, somebody: Callable[..., Person]
) -> None:
    said = await ada.says("a cat\nin a hat\n\nat night --size 64")
    await ada.chat.words(said, "What stands below the first line, 'in a hat at night', was read as")
    assert text_of(await ada.chat.picture(said)).startswith("a cat\n")
    said = await ada.says("a cat\n--size 64")
    picture = await ada.chat.picture(said)
    said = await ada.says("a dog\nfog", answering=picture)
    await ada.chat.words(said, "What stands below the first line, 'fog', was read as")
    await ada.chat.picture(said)
    said = await ada.says("a cat --model nowhere\nin a hat")
    refused = text_of(await ada.chat.words(said, "There is no model 'nowhere'"))
    assert "What stands below the first line, 'in a hat', was read as" in refused
    li = somebody("zh-hans")
    await li.chat.words(await li.says("一只猫\n模糊"), "第一行以下的内容")
    said = await ada.says("a {red, blue} cat\nfog --size 64")
    told = text_of(await ada.chat.words(said, "That makes 2 jobs"))
    assert told.count("'fog'") == 1


async def test_u1_alone_means_the_latest_grid_of_a_private_chat(ada: Person, bob: Person) -> None:
    first = await ada.chat.picture(await ada.says("u1"))
    assert text_of(first).startswith("u1\n")
    grid = await ada.chat.picture(await ada.says("owls --count 2 --size 64"))
    number = text_of(grid).splitlines()[1].partition(" ")[0]
    await bob.chat.picture(await bob.says("cats --count 2 --size 64"))
    large = await ada.chat.picture(await ada.says("U2"))
    assert text_of(large).splitlines()[1].endswith(f"from {number}.2")


async def test_a_button_asks_what_to_change_in_one_picture_of_a_grid(
    telegram: TelegramServer, ada: Person, bob: Person, statues: Chat
) -> None:
    said = await ada.says("/imagine owls --count 2 --size 64", to=statues)
    grid = await statues.picture(said)
    await ada.presses(grid, "2")
    await telegram.until(lambda: "Everything" in labels(grid))
    await ada.presses(grid, "Edit")
    question = await statues.words(grid, "What should be changed in")
    assert ada.is_asked(question)
    assert not bob.is_asked(question)
    changed = await statues.picture(
        await bob.says("make it bronze", to=statues, answering=question)
    )
    assert text_of(changed).startswith("make it bronze")
    name = text_of(question).removeprefix("What should be changed in ").partition("?")[0]
    assert name.endswith(".2")
    assert text_of(changed).splitlines()[1].endswith(f"from {name}")


async def test_an_answer_to_a_result_redraws_it_with_other_words(ada: Person) -> None:
    first = await ada.chat.picture(await ada.says("a gold owl --seed 5"))
    said = await ada.says("a jade owl", answering=first)
    second = await ada.chat.picture(said)
    assert text_of(second).startswith("a jade owl\n")
    assert seed_of(second) == "5"
    said = await ada.says("--steps 3", answering=second)
    assert text_of(await ada.chat.picture(said)).startswith("a jade owl\n")


async def test_each_choice_in_braces_becomes_a_picture_of_its_own(
    telegram: TelegramServer, ada: Person
) -> None:
    said = await ada.says("a {red, blue} cat --seed 7")
    await ada.chat.words(said, "That makes 2 jobs, one for each choice in braces.")
    results = await ada.chat.results(said, 2)
    texts = sorted(text_of(each) for each in results)
    for text, words in zip(texts, ("a blue cat", "a red cat"), strict=True):
        assert text.startswith(f"{words}\n")
        assert "seed 7" in text
    refused = await ada.says("{a, b, c, d}{1, 2, 3} cat")
    await ada.chat.words(refused, "make more than 10 jobs")


async def test_a_recipe_and_the_history_can_be_read(ada: Person) -> None:
    picture = await ada.chat.picture(await ada.says("a stone fish --seed 3"))
    await ada.presses(picture, "Recipe")
    recipe = await ada.chat.words(picture, "Recipe of")
    assert "prompt: a stone fish" in text_of(recipe)
    said = await ada.says("/history")
    assert "a stone fish" in text_of(await ada.chat.words(said, "Your pictures"))
    said = await ada.says("/show")
    assert seed_of(await ada.chat.picture(said)) == "3"


async def test_the_history_has_pages(telegram: TelegramServer, ada: Person, statues: Chat) -> None:
    # In two chats, because more messages than Telegram takes of one at once would have to wait.
    asked = [(ada.chat, ""), (statues, "/imagine "), (statues, "/imagine ")] * 4
    for number, (chat, command) in enumerate(asked):
        await chat.picture(await ada.says(f"{command}fish number {number}", to=chat))
    page = await ada.chat.words(await ada.says("/history"), "Your pictures")
    assert text_of(page).count("\n") == 10
    await ada.presses(page, "Older")
    await telegram.until(lambda: "fish number 0" in text_of(page))
    assert labels(page) == []


async def test_a_result_can_be_deleted_by_whom_it_belongs_to(
    telegram: TelegramServer, ada: Person, bob: Person, statues: Chat
) -> None:
    said = await ada.says("/imagine a cat", to=statues)
    picture = await statues.picture(said)
    query = await bob.presses(picture, "Delete")
    assert (await telegram.answer_to(query)).startswith(
        "Only the person who requested it, or a moderator"
    )
    await ada.presses(picture, "Delete")
    await telegram.until(lambda: (statues.id, picture["message_id"]) in telegram.deleted)


async def test_nobody_cancels_for_others(
    telegram: TelegramServer, ada: Person, bob: Person, statues: Chat
) -> None:
    said = await ada.says("/imagine a cat wait", to=statues)
    placeholder = await statues.words(said, "1/")
    other = await bob.says("/cancel", to=statues, answering=placeholder)
    assert await statues.words(other, "Only the person who requested it")
    statues.promote(bob.id)
    await bob.says("/cancel", to=statues, answering=placeholder)
    assert await statues.words(said, "Cancelled.") is placeholder


async def test_a_changed_app_sees_nobody_elses_pictures(
    telegram: TelegramServer, ada: Person, bob: Person
) -> None:
    secret = await ada.chat.picture(await ada.says("a secret"))
    own = await bob.chat.picture(await bob.says("a cat"))
    number = text_of(secret).splitlines()[1].partition(" ")[0]
    for act in BUTTONS:
        for name in (number, "99999"):  # what is not there is told of in the same words
            answer = await telegram.answer_to(await bob.sends_data(own, f"{act}:{name}"))
            assert answer.startswith(f"There is no picture {name} that you may see here."), act
    for data in ("nonsense", "x:y:z"):
        answer = await telegram.answer_to(await bob.sends_data(own, data))
        assert answer == "That message has no picture by Marble."
    assert bob.chat.shown == [own]


async def test_a_changed_app_changes_no_message_that_shows_another_picture(
    telegram: TelegramServer, ada: Person, bob: Person, statues: Chat
) -> None:
    others = await statues.picture(await ada.says("/imagine a cat", to=statues))
    own = await statues.picture(await bob.says("/imagine a dog", to=statues))
    number = text_of(own).splitlines()[1].partition(" ")[0]
    buttons = labels(others)
    for data in (f"delete:{number}", f"pick:{number}"):
        answer = await telegram.answer_to(await bob.sends_data(others, data))
        assert answer == "That message has no picture by Marble."
    answer = await telegram.answer_to(await bob.sends_data(others, f"older:{number}"))
    assert answer == IN_PRIVATE
    assert labels(others) == buttons
    assert statues.shown == [others, own]


async def test_in_groups_marble_hears_only_what_is_meant_for_it(ada: Person, statues: Chat) -> None:
    statues.promote()
    await ada.says("hello everybody", to=statues)
    await ada.says("/imagine@another_bot a cat", to=statues)
    await ada.says("/frobnicate", to=statues)
    said = await ada.says(f"/imagine@{NAME} a dog", to=statues)
    picture = await statues.picture(said)
    assert statues.shown == [picture]
    said = await ada.says("a wet dog", to=statues, answering=picture)
    assert text_of(await statues.picture(said)).startswith("a wet dog")


async def test_an_answer_goes_into_the_topic_where_it_was_asked(ada: Person, statues: Chat) -> None:
    topic = statues.topic(77)
    said = await ada.says("/imagine a cat", to=topic)
    picture = await topic.picture(said)
    assert picture["message_thread_id"] == 77
    await ada.presses(picture, "New seed")
    assert (await topic.picture(picture))["message_thread_id"] == 77


async def test_a_command_without_words_asks_for_them(
    telegram: TelegramServer, ada: Person, statues: Chat
) -> None:
    said = await ada.says("/imagine", to=statues)
    question = await statues.words(said, "Describe a picture")
    assert ada.is_asked(question)
    answer = await ada.says("a marble owl", to=statues, answering=question)
    assert text_of(await statues.picture(answer)).startswith("a marble owl")


async def test_reactions_do_what_buttons_do_where_telegram_tells_of_them(
    telegram: TelegramServer, ada: Person, statues: Chat
) -> None:
    statues.promote()
    picture = await statues.picture(await ada.says("/imagine a cat", to=statues))
    await ada.reacts(picture, "👍")
    again = await statues.picture(picture)
    assert seed_of(again) == seed_of(picture)
    await ada.reacts(again, "🎉")  # means nothing
    await ada.reacts(again, "✍\ufe0f")
    await statues.words(again, "Recipe of")
    await ada.reacts(again, "💔", before=("🔥",))
    await telegram.until(lambda: (statues.id, again["message_id"]) in telegram.deleted)
    assert len(telegram.of_bot(statues.id)) == 2


async def test_a_reaction_put_anew_draws_nothing_anew(
    telegram: TelegramServer, ada: Person, bob: Person, statues: Chat
) -> None:
    statues.promote()
    picture = await statues.picture(await ada.says("/imagine a cat", to=statues))
    await ada.reacts(picture, "👍")
    await statues.picture(picture)
    await ada.takes_back(picture, "👍")
    await ada.reacts(picture, "👍")
    await bob.reacts(picture, "👍")  # another person's is another one
    await telegram.until(lambda: len(statues.shown) == 3)
    await statues.picture(await ada.says("/imagine the end", to=statues))
    assert len(statues.shown) == 4


async def test_favourites_come_and_go_by_button_and_by_reaction(
    telegram: TelegramServer, ada: Person, statues: Chat
) -> None:
    async def favourites() -> str:
        return text_of(await ada.chat.words(await ada.says("/history favourites"), "avourites"))

    statues.promote()
    grid = await statues.picture(await ada.says("/imagine cats --count 2 --size 64", to=statues))
    job = text_of(grid).splitlines()[1].partition(" ")[0]
    assert "No favourites" in await favourites()
    query = await ada.presses(grid, "Favourite")
    assert await telegram.answer_to(query) == f"{job} was added to your favourites."
    assert (await favourites()).splitlines()[1:] == [f"{job}.2 · cats", f"{job}.1 · cats"]
    query = await ada.presses(grid, "Favourite")
    assert await telegram.answer_to(query) == f"{job} was removed from your favourites."
    await ada.reacts(grid, "❤")
    while "No favourites" in await favourites():
        pass
    await ada.takes_back(grid, "❤")
    while "No favourites" not in await favourites():
        pass
    await ada.reacts(grid, "❤")  # as often as one likes
    while "No favourites" in await favourites():
        pass


async def test_a_link_that_starts_the_bot_shows_nobodys_picture(
    telegram: TelegramServer, ada: Person, bob: Person
) -> None:
    secret = await ada.chat.picture(await ada.says("a secret"))
    number = text_of(secret).splitlines()[1].partition(" ")[0]
    for command in (f"/start {number}", f"/start show-{number}"):
        assert await bob.chat.words(await bob.says(command), "Describe a picture")
    refused = await bob.chat.words(await bob.says("/start region-nobodys"), "by somebody else")
    assert number not in text_of(refused)
    assert "that you may see here" in text_of(
        await bob.chat.words(await bob.says(f"/show {number}"), "may see")
    )


async def test_an_anonymous_administrator_is_their_group(
    telegram: TelegramServer, ada: Person, statues: Chat
) -> None:
    picture = await statues.picture(await ada.says("/imagine a cat", to=statues))
    message = telegram.new_message(
        statues.id,
        **{"from": ANONYMOUS, "sender_chat": telegram.chats[statues.id], "text": "/ban 2 rude"},
        reply_to_message=picture,
    )
    await telegram.add_update("message", message)
    await statues.words(message, f"telegram:{ada.id} may no longer request pictures here: rude")
    said = await ada.says("/imagine another", to=statues)
    await statues.words(said, "You may not request pictures here until")
    said = await ada.says("elsewhere")
    await ada.chat.picture(said)


async def test_who_writes_as_a_channel_moderates_nothing_and_hears_so(
    telegram: TelegramServer, statues: Chat
) -> None:
    channel = {"id": -1009, "type": "channel", "title": "Casts"}
    message = telegram.new_message(
        statues.id, **{"from": ANONYMOUS, "sender_chat": channel, "text": "/rules --open no"}
    )
    await telegram.add_update("message", message)
    await statues.words(message, "Only moderators")


async def test_a_command_that_is_passed_on_in_a_group_is_not_obeyed(
    ada: Person, bob: Person, statues: Chat
) -> None:
    statues.promote(bob.id)
    origin = {"type": "user", "date": 1, "sender_user": ada.user}
    await bob.says("/rules --open no", to=statues, forward_origin=origin)
    shown = await statues.words(await bob.says("/rules", to=statues), "Rules for")
    assert "allowed: yes" in text_of(shown)
    assert len(statues.shown) == 1
    asked = await ada.says("/imagine a cat --steps 2", forward_origin=origin)
    await ada.chat.picture(asked)


async def test_in_a_topic_only_a_real_answer_names_somebody_to_ban(
    ada: Person, bob: Person, statues: Chat
) -> None:
    topic = statues.topic(77)
    statues.promote(bob.id)
    refused = await bob.says("/ban rude", to=topic)
    await topic.words(refused, "Reply to a message of that person")
    spoken = await ada.says("hello", to=topic)
    said = await bob.says("/ban rude", to=topic, answering=spoken)
    await topic.words(said, f"telegram:{ada.id} may no longer request pictures here: rude")


async def test_moderators_ban_pause_and_read_what_was_done(
    telegram: TelegramServer, ada: Person
) -> None:
    boss = person(telegram, BOSS)
    said = await boss.says(f"/ban telegram:{ada.id} floods the queue")
    await boss.chat.words(said, "floods the queue")
    await ada.chat.words(await ada.says("a cat"), "You may not request pictures here: floods")
    await boss.chat.words(await boss.says("/log"), "floods the queue")
    said = await boss.says(f"/unban telegram:{ada.id}")
    await boss.chat.words(said, "may request pictures here again")
    await boss.chat.words(await boss.says("/pause lunch"), "The queue is paused: lunch")
    waiting = await ada.says("a cat")
    await ada.chat.words(waiting, "paused: lunch")
    await boss.chat.words(await boss.says("/resume"), "The queue has been resumed.")
    await ada.chat.picture(waiting)


async def test_styles_are_kept_by_who_moderates_and_worn_by_who_asks(
    ada: Person, bob: Person, statues: Chat
) -> None:
    await statues.words(await ada.says("/style add noir x", to=statues), "Only moderators")
    statues.promote(bob.id)
    said = await bob.says("/style add Noir film noir --no colour", to=statues)
    await statues.words(said, "Style noir is saved")
    listed = await ada.says("/style", to=statues)
    await statues.words(listed, "noir: film noir (not: colour)")
    # What people typed is shown as they typed it, and keeps no list from being shown.
    await statues.words(await bob.says("/style add odd **a `b** c`", to=statues), "odd is saved")
    await statues.words(await ada.says("/style", to=statues), "odd: **a `b** c`\n")
    rules = await bob.says("/rules --blocked **gore `wet** dragon` --steps 1-9", to=statues)
    await statues.words(rules, "blocked words: **gore `wet** dragon`\n")
    await bob.says("/rules --blocked none --steps none", to=statues)
    picture = await statues.picture(await ada.says("/imagine a cat --style noir", to=statues))
    assert text_of(picture).startswith("a cat, film noir")
    assert "style noir" in text_of(picture)
    elsewhere = await ada.says("a cat --style noir")
    await ada.chat.words(elsewhere, "There is no style 'noir' here")
    said = await bob.says("/style remove noir", to=statues)
    await statues.words(said, "is removed")
    said = await bob.says("/style shred noir", to=statues)
    await statues.words(said, "There is no option 'shred'")


async def test_administrators_say_what_holds_in_their_group_and_its_topics(
    ada: Person, bob: Person, statues: Chat
) -> None:
    topic = statues.topic(77)
    await statues.words(await ada.says("/rules", to=statues), "Only moderators")
    statues.promote(bob.id)
    said = await bob.says(
        "/rules —steps 1-9 --models Starter --blocked wet dragon, gore\n--per-minute 60", to=statues
    )
    shown = text_of(await statues.words(said, "Rules for this group"))
    for line in ("Drawing allowed: yes", "steps: 1-9", "models: starter", "wet dragon"):
        assert line in shown
    done = f"telegram:{bob.id} · rules · steps: 1-9, models: starter"
    await statues.words(await bob.says("/log", to=statues), done)
    refused = await ada.says("/imagine a cat --steps 10", to=topic)
    await topic.words(refused, "Here steps must be between 1 and 9, not 10.")
    await topic.words(
        await bob.says("/rules --steps 1-5 --open no", to=topic), "Rules for this topic"
    )
    await topic.words(await ada.says("/imagine a cat --steps 2", to=topic), "turned off")
    await statues.picture(await ada.says("/imagine a cat --steps 8", to=statues))
    said = await bob.says("/rules group --blocked none --count 1-2", to=topic)
    assert "wet dragon" not in text_of(await topic.words(said, "Rules for this group"))
    await topic.words(await bob.says("/rules --open YES", to=topic), "allowed: yes")
    await topic.picture(await ada.says("/imagine a wet dragon --steps 5", to=topic))
    await ada.chat.picture(await ada.says("a wet dragon --steps 10"))


@pytest.mark.parametrize(
    ("typed", "said", "chinese"),
    [
        ("--steps 9", "steps must be a range like LOW-HIGH between 1 and 150", "步数 应为 低-高"),
        ("--models startr", "did you mean 'starter'?", "没有模型"),
        ("--stepps 1-9", "There is no option '--stepps' (did you mean '--steps'?).", "没有选项"),
        ("--size 64", "There is no option '--size'", "没有选项"),
        ("--daily 5", "There is no option '--daily'", "没有选项"),
        ("grop --steps 1-9", "There is no option 'grop' (did you mean 'group'?).", "没有选项"),
        ("--open perhaps", "open must be one of yes, no", "open 应为以下之一"),
        ("--per-minute many", "must be a whole number from 0 (no limit)", "应为 0（不限）到"),
        ("--steps", "--steps must be followed by a value", "应为后面带一个值"),
    ],
)
async def test_a_rule_that_cannot_be_is_told_in_a_sentence_and_changes_nothing(
    telegram: TelegramServer, bob: Person, statues: Chat, typed: str, said: str, chinese: str
) -> None:
    li = Person(telegram, bob.id, "zh-hans")
    statues.promote(bob.id)
    rules = f"/rules --count 1-2 {typed}" if typed.startswith("--") else f"/rules {typed}"
    await statues.words(await bob.says(rules, to=statues), said)
    await statues.words(await li.says(rules, to=statues), chinese)
    shown = text_of(await statues.words(await li.says("/rules", to=statues), "此群组的规则"))
    assert "张数" not in shown


async def test_rules_are_a_groups_even_for_marbles_own_moderators(
    telegram: TelegramServer, ada: Person
) -> None:
    await ada.chat.words(await ada.says("/rules"), "Only moderators")
    boss = person(telegram, BOSS)
    await boss.chat.words(await boss.says("/rules --steps 1-9"), "send this command there")
    await ada.chat.picture(await ada.says("a cat --steps 10"))


async def test_settings_hold_where_nothing_else_is_typed(ada: Person) -> None:
    await ada.chat.words(await ada.says("/settings"), "Nothing is set")
    said = await ada.says("/settings --size 64x96 --steps 2")
    assert "--size 64x96" in text_of(await ada.chat.words(said, "Saved."))
    assert "64×96" in text_of(await ada.chat.picture(await ada.says("a cat")))
    assert "64×72" in text_of(await ada.chat.picture(await ada.says("a cat --size 64x72")))
    await ada.chat.words(await ada.says("/settings reset"), "have been cleared")


async def test_people_get_what_is_kept_of_them_and_have_it_removed(
    telegram: TelegramServer, ada: Person
) -> None:
    await ada.chat.picture(await ada.says("a private owl"))
    await ada.says("/mydata export")
    [export] = await telegram.until(
        lambda: [m for m in ada.chat.shown if "1 picture and your history" in text_of(m)]
    )
    with zipfile.ZipFile(io.BytesIO(file_of(telegram, export))) as archive:
        about = json.loads(archive.read("person.json"))
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 1
    assert about["jobs"][0]["recipe"]["prompt"] == "a private owl"
    question = await ada.chat.words(await ada.says("/mydata delete"), "for good. Are you sure?")
    await ada.presses(question, "Delete everything")
    await ada.chat.words(question, "Deleted: 1 job")
    await ada.chat.words(await ada.says("/history"), "No pictures yet.")


@pytest.mark.parametrize("command", ["help", "start", "privacy", "queue", "models", "stats"])
@pytest.mark.parametrize("language", ["en", "zh-hans", "fr"])
async def test_every_command_answers_in_every_language(
    somebody: Callable[..., Person], command: str, language: str
) -> None:
    who = somebody(language)
    answer = await who.chat.answer(await who.says(f"/{command}"))
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text_of(answer))
    assert chinese == (language == "zh-hans")


async def test_commands_are_listed_by_scope_and_language(
    telegram: TelegramServer, marble: Marble
) -> None:
    lists = await telegram.until(lambda: telegram.commands if len(telegram.commands) == 6 else None)
    names = {key: {each["command"] for each in listed} for key, listed in lists.items()}
    assert {"ban", "rules"} <= names["all_chat_administrators", ""]
    assert "ban" not in names["all_private_chats", "zh"]
    assert {"imagine", "queue", "cancel", "history", "settings", "mydata"} <= names[
        "all_group_chats", ""
    ]


def a_picture(kind: str = "PNG", side: int = 64) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(out, kind)
    return out.getvalue()


async def image_of(server: TelegramServer, asker: Person, result: Json) -> str | None:
    """Return the start image that a result's recipe names."""
    await asker.presses(result, "Original")
    document = await asker.chat.picture_file(result)
    return read_recipe(file_of(server, document)).recipe.image


async def test_a_photo_with_words_is_where_the_picture_starts(
    telegram: TelegramServer, ada: Person
) -> None:
    result = await ada.chat.picture(await ada.sends_photo(a_picture(), "as marble --strength 0.5"))
    assert text_of(result).startswith("as marble\n")
    image = await image_of(telegram, ada, result)
    assert image
    photo = await ada.sends_photo(a_picture())
    question = await ada.chat.words(photo, "What should I draw from this picture?")
    assert ada.is_asked(question)
    answer = await ada.says("as bronze", answering=question)
    assert await image_of(telegram, ada, await ada.chat.picture(answer)) == image
    answer = await ada.says("/imagine as gold", answering=photo)
    assert await image_of(telegram, ada, await ada.chat.picture(answer)) == image


async def test_an_album_without_words_is_answered_once(ada: Person, statues: Chat) -> None:
    photos = [await ada.sends_photo(a_picture(), album="9") for _ in range(3)]
    await ada.chat.words(photos[0], "reply to that one and describe what you want")
    result = await ada.chat.picture(await ada.says("as jade", answering=photos[1]))
    worded = [await ada.sends_photo(a_picture(), "as gold", album="10")]
    worded += [await ada.sends_photo(a_picture(), album="10") for _ in range(2)]
    other = await ada.chat.picture(worded[0])
    await ada.sends_photo(a_picture(), album="11", to=statues)
    last = await statues.picture(await ada.says("/imagine an owl", to=statues))
    assert [each for each in ada.chat.shown if "photo" in each] == [result, other]
    assert len(ada.chat.shown) == 3
    assert statues.shown == [last]


async def test_a_file_is_a_picture_too_where_it_is_one(ada: Person) -> None:
    await ada.chat.picture(await ada.sends_file(a_picture("WEBP"), "image/webp", "as marble"))
    said = await ada.sends_file(b"no picture", "image/png", "as marble")
    answer = await ada.chat.answer(said)
    assert "Traceback" not in text_of(answer)
    assert "photo" not in answer
    said = await ada.sends_file(a_picture("GIF"), "image/gif", "as marble")
    assert "GIF" in text_of(await ada.chat.answer(said))
    said = await ada.sends_file(b"%PDF", "application/pdf")
    await ada.chat.words(said, "I cannot use this file")


async def test_a_file_that_says_what_it_was_made_from_is_drawn_again(ada: Person) -> None:
    first = await ada.chat.picture(await ada.says("an owl --size 64"))
    line = (
        "an owl\nSteps: 2, Sampler: Euler, CFG scale: 4, Seed: 5, Size: 64x64, Model: starter, "
        "RNG: CPU, Tiling: True, Version: v1.10.1"
    )
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + line.encode("utf-16-be")
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(out, "JPEG", exif=exif)
    said = await ada.sends_file(out.getvalue(), "image/jpeg")
    await ada.chat.words(said, "Could not be used: Tiling: True")
    assert seed_of(await ada.chat.picture(said)) == "5"
    assert seed_of(first) != "5"
    # One that starts from stored pictures may start from somebody else's.
    others = write_png(Image.new("RGB", (64, 64)), make_recipe(image="a" * 64, strength=0.5), 0)
    await ada.chat.words(
        await ada.sends_file(others, "image/png"), "What should I draw from this picture"
    )


async def test_a_file_that_cannot_be_drawn_is_shown(ada: Person) -> None:
    graph = default_graph()
    graph["9"]["inputs"]["images"] = ["lost", 0]
    said = await ada.sends_file(others.png({"prompt": json.dumps(graph)}), "image/png")
    text = text_of(await ada.chat.words(said, "Cannot be drawn: In the ComfyUI graph"))
    assert "beautiful scenery nature glass bottle landscape" in text
    assert "steps: 20 (KSampler (node 3): steps)" in text
    await ada.chat.words(said, "What should I draw from this picture")
    nameless = others.png({"parameters": f"an owl\n{others.LINE}"})
    said = await ada.sends_file(nameless, "image/png")
    await ada.chat.words(said, "does not name its model: choose one with")
    assert "seed: 11 (Seed)" in text_of(await ada.chat.words(said, "(A1111)"))


async def test_a_workflow_or_a_line_in_a_text_file_is_drawn_as_in_a_picture(ada: Person) -> None:
    graph = json.dumps(two_results()).encode()
    said = await ada.sends_file(graph, "application/json", name="two.JSON")
    assert seed_of(await ada.chat.picture(said)) == "156680208700286"
    other = await ada.sends_file(graph, "application/json", "--result 61", name="two.json")
    assert seed_of(await ada.chat.picture(other)) == "7"
    line = (
        "{an} owl\nSteps: 2, Sampler: Euler, CFG scale: 4, Seed: 5, Size: 64x64, Model: starter, "
        "RNG: CPU, Version: v1.10.1"
    )
    written = await ada.sends_file(line.encode("utf-16"), "text/plain", name="owl.txt")
    assert seed_of(await ada.chat.picture(written)) == "5"


async def test_a_text_file_that_is_not_drawn_is_shown_or_named(ada: Person) -> None:
    graph = default_graph()
    graph["9"]["inputs"]["images"] = ["lost", 0]
    data = json.dumps(graph).encode()
    said = await ada.sends_file(data, "application/json", name="lost.json")
    text = text_of(await ada.chat.words(said, "Cannot be drawn: In the ComfyUI graph"))
    assert "steps: 20 (KSampler (node 3): steps)" in text
    said = await ada.sends_file(b'{"nodes": [', "application/json", name="torn.json")
    await ada.chat.words(said, "The file holds no ComfyUI workflow: it is not valid JSON.")
    said = await ada.sends_file(b"milk, eggs", "text/plain", name="list.txt")
    await ada.chat.words(said, "no text that a program writes about one")
    drawn = await ada.sends_file(data, "application/json", "an owl --size 64", name="lost.json")
    await ada.chat.picture(drawn)


async def test_in_groups_photos_are_left_alone_unless_marble_is_asked(
    ada: Person, statues: Chat
) -> None:
    statues.promote()
    photo = await ada.sends_photo(a_picture(), "look at this", to=statues)
    said = await ada.says("/imagine as jade", to=statues, answering=photo)
    picture = await statues.picture(said)
    captioned = await ada.sends_photo(a_picture(), "/imagine as gold", to=statues)
    other = await statues.picture(captioned)
    assert statues.shown == [picture, other]


async def test_results_are_varied_enlarged_and_seen_from_afar(ada: Person) -> None:
    result = await ada.chat.picture(await ada.says("an owl --size 64"))
    for number, button in enumerate(("Vary a little", "Vary a lot", "Upscale", "Zoom out"), 1):
        await ada.presses(result, button)
        await ada.chat.results(result, number)
    derived = await ada.chat.results(result, 4)
    parents = {text_of(each).rpartition(" from ")[2].partition(".")[0] for each in derived}
    assert parents == {text_of(result).splitlines()[1].partition(" ")[0]}


async def test_marble_is_silent_to_service_messages(telegram: TelegramServer, ada: Person) -> None:
    pinned = telegram.new_message(ada.id, **{"from": ada.user}, pinned_message=None)
    await telegram.add_update("message", pinned)
    said = await ada.says("a cat")
    await ada.chat.picture(said)
    assert len(ada.chat.shown) == 1


async def test_a_person_who_blocks_the_bot_harms_nobody(
    telegram: TelegramServer, ada: Person, bob: Person, marble: Marble
) -> None:
    await ada.says("a cat")
    ada.blocks_the_bot()
    await bob.chat.picture(await bob.says("a dog"))
    await telegram.until(lambda: any(c.status == 403 for c in telegram.calls))
    await bob.chat.picture(await bob.says("another dog"))


async def test_reactions_and_buttons_of_strangers_messages_are_nothing(
    telegram: TelegramServer, ada: Person, statues: Chat
) -> None:
    statues.promote()
    said = await ada.says("hello", to=statues)
    await ada.reacts(said, "👍")
    picture = await statues.picture(await ada.says("/imagine a cat", to=statues))
    assert statues.shown == [picture]
    assert BOT not in {said["from"]["id"]}


async def test_progress_is_shown_with_previews(ada: Person, marble: Marble) -> None:
    said = await ada.says("a cat preview")
    preview = await ada.chat.answer(said)
    server = ada.server
    await server.until(lambda: "photo" in preview and labels(preview) == ["Cancel"])
    (marble.folder / "data" / "gate").touch()
    try:
        assert await ada.chat.picture(said) is preview
        assert len(ada.chat.shown) == 1
    finally:
        await asyncio.to_thread((marble.folder / "data" / "gate").unlink)


async def test_the_first_of_several_pictures_is_shown_while_the_others_are_drawn(
    ada: Person, marble: Marble
) -> None:
    said = await ada.says("a cat slowly --count 3 --size 64")
    first = await ada.chat.answer(said)
    await ada.server.until(lambda: "photo" in first and labels(first) == ["Cancel"])
    assert "1/3" in text_of(first)
    (marble.folder / "data" / "gate").touch()
    try:
        await ada.server.until(lambda: "U3" in labels(first))
        assert ada.chat.shown == [first]
    finally:
        await asyncio.to_thread((marble.folder / "data" / "gate").unlink)


async def test_words_too_long_for_a_caption_are_cut(ada: Person) -> None:
    said = await ada.says("🗿 " * 700)
    caption = text_of(await ada.chat.picture(said))
    assert caption.splitlines()[0].endswith("…")
    assert len(caption.encode("utf-16-le")) // 2 <= 1024


async def test_a_very_long_or_large_picture_is_fitted(
    ada: Person, telegram: TelegramServer
) -> None:
    picture = await ada.chat.picture(await ada.says("a wall --size 2048x64"))
    width, height = Image.open(io.BytesIO(file_of(telegram, picture))).size
    assert (width, height) == (1280, 64)
    await ada.presses(picture, "Original")
    document = await ada.chat.picture_file(picture)
    assert Image.open(io.BytesIO(file_of(telegram, document))).size == (2048, 64)
