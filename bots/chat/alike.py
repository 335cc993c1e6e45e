"""One's own pictures that are most like words, or like a picture that one may see."""

from bots.chat.access import Purpose, Requester, check_personal, find_picture
from bots.requests.derive import the_picture
from bots.requests.likeness import NAME, read_like
from bots.service.app import App
from storage.records import Alike


async def find_alike(app: App, requester: Requester, like: str, limit: int) -> tuple[Alike, ...]:
    """Return the asker's own pictures nearest to words, or to the picture of a name: best first.

    Raises `UserError`, also where others would read the answer.
    """
    check_personal(requester.viewer)
    like, person = read_like(like), requester.viewer.person
    if not NAME.fullmatch(like):
        return await app.likeness.find(like, limit, person)
    target = await find_picture(app, like, requester, Purpose.TELL)
    return await app.likeness.find(the_picture(target.job, target.picture), limit, person)
