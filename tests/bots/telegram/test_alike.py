"""`/history like …`: one's own pictures by what they show, and how well they match their prompt."""

from bots.requests.likeness import Likeness
from engine.executors.embedding import Embedding
from storage import Storage
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Person, group, person, text_of
from tests.fakes.telegram.server import TelegramServer


async def test_own_pictures_are_found_by_words_and_by_a_picture_that_one_may_see(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    statues, bo = group(telegram, 1), person(telegram, 2)
    hers = await ada.chat.picture(await ada.says("a lion"))
    await bo.chat.picture(await bo.says("一头狮子"))
    await statues.picture(await bo.says("/imagine a bear", to=statues))
    bo = person(telegram, 2, "zh-hans")
    refused = text_of(await ada.chat.answer(await ada.says("/history like a lion")))
    assert "“marble clip index”" in refused
    async with Storage.open(marble.folder / "data") as storage, Embedding("starter") as embedding:
        likeness = Likeness(storage, embedding)
        lacking = await storage.vectors.lacking(await likeness.tower())
        assert await likeness.index(lacking) == []
        [match] = (await storage.vectors.matches(1)).values()

    async def names_in_answer(who: Person, command: str, title: str) -> list[str]:
        lines = text_of(await who.chat.words(await who.says(command), title)).splitlines()
        return [line.partition(" · ")[0] for line in lines[1:]]

    title, in_chinese = "Your pictures that are most like it", "与之最相似的你的图片"
    assert await names_in_answer(ada, "/history like a lion", title) == ["1.1"]
    assert await names_in_answer(ada, "/history like 3", title) == ["1.1"]  # from the group
    assert sorted(await names_in_answer(bo, "/history like 狮子", in_chinese)) == ["2.1", "3.1"]
    assert await names_in_answer(bo, "/history like 3.1", in_chinese) == ["2.1"]
    for who, command, told in (
        (ada, "/history like 2", "There is no picture 2 that you may see here"),
        (bo, "/history like 1.1", "没有你可以看的图片 1.1"),
        (ada, "/history lions", "There is no option 'lions'"),
    ):
        assert told in text_of(await who.chat.answer(await who.says(command)))
    # In a group nobody's list is shown, whatever it holds.
    for name in ("a lion", "1", "2"):
        said = await ada.says(f"/history like {name}", to=statues)
        assert "in a private chat" in text_of(await statues.answer(said))
    recipe = await ada.chat.words(await ada.says("recipe", answering=hers), "Recipe of")
    assert f"match with the prompt: {match:.3f}" in text_of(recipe)
