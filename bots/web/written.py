"""What somebody wrote into a form that was not taken: it is shown, so that nothing is lost."""

from __future__ import annotations

from typing import Final

from aiohttp import BodyPartReader, web

from bots.requests.options import OPTIONS
from bots.web.option_fields import UPLOADS
from bots.web.request import LONGEST, UNREADABLE, Request
from engine.errors import MarbleError

RULE: Final = "rule."
# The fields that people write into, beside the rules'; tokens and what buttons send are not shown.
WRITTEN: Final = frozenset(
    {"prompt", "words", "others", "reason", "person", "hours", *(each.name for each in OPTIONS)}
)
FIELDS: Final = 100  # of a form, at most, that are looked at
UNTAKEN: Final = (*UNREADABLE, MarbleError, web.HTTPException, ConnectionError)


async def read_written(request: Request) -> list[tuple[str, str]]:
    """Return label and text of each field that somebody wrote into, as far as they can be read."""
    try:
        fields = await _texts(request)
    except UNTAKEN:
        return []
    labels = request.words.fields
    return [
        (labels.get(plain := name.removeprefix(RULE), plain), text)
        for name, text in fields
        if text.strip() and (name in WRITTEN or name.startswith(RULE))
    ]


async def _texts(request: Request) -> list[tuple[str, str]]:
    """Return the texts of a form; of who is not signed in no file is kept, not even for a while."""
    http = request.http
    if request.session or not http.content_type.startswith("multipart/"):
        form = await request.form()
        return [(name, text) for name, text in form.items() if isinstance(text, str)]
    found: list[tuple[str, str]] = []
    if not 0 < (http.content_length or 0) <= UPLOADS:
        return found
    reader = await http.multipart()
    for _ in range(FIELDS):
        if (part := await reader.next()) is None:
            break
        if isinstance(part, BodyPartReader) and part.name and part.filename is None:
            found.append((part.name, await _read(part)))
    return found


async def _read(part: BodyPartReader) -> str:
    """Return the text of a field, as much of it as a form may hold."""
    text = b""
    while len(text) < LONGEST and (chunk := await part.read_chunk()):
        text += chunk
    return text[:LONGEST].decode("utf-8", "replace")
