"""What people say and what they get, end to end, on an engine that answers at once."""

from tests.fakes.process import Marble
from tests.fakes.telegram.people import Person, labels, text_of


async def test_words_become_a_placeholder_that_becomes_the_picture(
    marble: Marble, ada: Person
) -> None:
    said = await ada.says("a marble scholar --seed 7")
    placeholder = await ada.chat.answer(said)
    picture = await ada.chat.picture(said)
    assert picture is placeholder
    assert text_of(picture).startswith("a marble scholar\n1 · ")
    assert {"Same seed", "New seed", "Original", "Recipe", "Delete"} <= set(labels(picture))
    assert len(ada.chat.shown) == 1
