"""`/history like …`: one's own pictures by what they show."""

from bots.requests.likeness import Likeness
from engine.executors.embedding import Embedding
from storage import Storage
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Person, person, text_of
from tests.fakes.telegram.server import TelegramServer


async def test_own_pictures_are_found_by_what_they_show(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    for someone in (ada, person(telegram, 2)):
        await someone.chat.picture(await someone.says("a lion"))
    refused = await ada.chat.words(await ada.says("/history like a lion"), "compared with words")
    assert "marble clip index" in text_of(refused)
    async with Storage.open(marble.folder / "data") as storage, Embedding("starter") as embedding:
        likeness = Likeness(storage, embedding)
        assert await likeness.index(await storage.vectors.lacking(await likeness.tower())) == []
    page = text_of(await ada.chat.words(await ada.says("/history like a lion"), "most like it"))
    assert "1.1 · " in page
    assert "2.1" not in page
    await ada.chat.words(await ada.says("/history like 2"), "There is no picture 2")
    await ada.chat.words(await ada.says("/history lions"), "favourites, like")
