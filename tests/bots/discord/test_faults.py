"""What goes wrong at Discord, one fault after another, and what people see of it.

The table that this prints (`pytest -s`) has one row a fault.
"""

from __future__ import annotations

import asyncio
import io
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from PIL import Image

from bots.discord.handler import AT_ONCE
from bots.texts import EN
from storage import Status, Storage
from tests.bots.discord.conftest import Marble
from tests.conftest import PATIENCE
from tests.fakes.discord import FakeDiscord, Person, Reply
from tests.fakes.discord.rest import DEFER, DEFER_UPDATE
from tests.fakes.discord.world import MANAGE_GUILD, MANAGE_MESSAGES, Interaction, Message


@dataclass
class Scene:
    discord: FakeDiscord
    marble: Marble
    ann: Person

    async def waiting(self) -> Reply:
        """Ask for a picture that is not drawn before `go`."""
        self.marble.gate.unlink(missing_ok=True)
        reply = await self.ann.imagine("wait for a scholar")
        await reply.said("Drawing")
        return reply

    def go(self) -> None:
        self.marble.gate.touch()

    async def delivered(self) -> None:
        """Wait until no reply waits any more."""
        async with Storage.open(self.marble.data) as storage, asyncio.timeout(PATIENCE):
            while await storage.outbox.backlog():
                await asyncio.to_thread(time.sleep, 0.05)

    async def alone(self, message: Message) -> None:
        """See that a message is the only one in its channel, and holds the picture."""
        await self.discord.until(lambda: _is_picture(message), "the picture")
        assert self.discord.shown() == [message]


def _is_picture(message: Message) -> bool:
    return any(each.filename.startswith("marble-") for each in message.attachments)


def interaction(reply: Reply) -> Interaction:
    assert reply.interaction
    return reply.interaction


async def deadline(scene: Scene) -> str:
    """the 3 s deadline is missed"""
    ann = scene.ann
    late = await ann.typed("imagine", {"prompt": "too late"})
    late.deaf = True
    before = len(scene.discord.requests)
    await ann.sends(late)
    await scene.discord.until(lambda: len(scene.discord.requests) > before)
    reply = await ann.imagine("a cat")
    await reply.picture()
    assert "1 · " in reply.text  # the late one made no job
    return "no job is made, and nothing thinks for ever"


async def expiry(scene: Scene) -> str:
    """the token expires while it draws (401/50027)"""
    reply = await scene.waiting()
    interaction(reply).expired = True
    scene.go()
    await scene.alone(reply.message)
    return "the same message is edited through the channel"


async def early_404(scene: Scene) -> str:
    """the webhook is unknown before its time (404/10015)"""
    reply = await scene.waiting()
    interaction(reply).deaf = True
    scene.go()
    await scene.alone(reply.message)
    return "the same message is edited through the channel"


async def cannot_see(scene: Scene) -> str:
    """the channel is hidden from the bot meanwhile (403/50001)"""
    reply = await scene.waiting()
    interaction(reply).expired = True
    scene.discord.channel.visible = False
    scene.go()
    letter = await scene.ann.gets_dm("scholar")
    assert _is_picture(letter.message)
    scene.discord.channel.visible = True
    return "the picture comes by direct message"


async def too_large(scene: Scene) -> str:
    """the upload is refused for its size (413/40005)"""
    scene.discord.body_limit = 20_000
    reply = await scene.ann.imagine("a scholar")  # 128 × 128 of noise have 50 KB
    await reply.picture()
    [attachment] = reply.message.attachments
    scene.discord.body_limit = 2**26
    assert len(attachment.data) <= 20_000
    assert "Shown smaller" in reply.text
    image = Image.open(io.BytesIO(attachment.data))
    return f"it is encoded anew: {image.format} {image.width}×{image.height}, and says so"


async def deleted(scene: Scene) -> str:
    """somebody deletes the placeholder (404/10008)"""
    reply = await scene.waiting()
    message = reply.message
    message.deleted = True
    scene.go()
    await scene.discord.until(lambda: any(map(_is_picture, scene.discord.shown())), "a message")
    assert len(scene.discord.shown()) == 1
    return "the picture comes as a new message"


async def bucket_429(scene: Scene) -> str:
    """one route is limited (429)"""
    reply = await scene.waiting()
    fault = scene.discord.faults.limit(f"PATCH /webhooks/.*{interaction(reply).token}.*", 1.0)
    scene.go()
    other = await scene.ann.imagine("a cat")
    await other.picture()
    await scene.discord.until(lambda: _is_picture(reply.message))
    assert fault.seen == 1
    return "it waits as told, and other messages do not"


async def global_429(scene: Scene) -> str:
    """everything is limited (429, global)"""
    reply = await scene.waiting()
    fault = scene.discord.faults.limit("PATCH .*", 0.5, everywhere=True)
    scene.go()
    await scene.alone(reply.message)
    assert fault.seen == 1
    return "it waits as told"


async def outage(scene: Scene) -> str:
    """Discord answers 502 three times"""
    reply = await scene.waiting()
    fault = scene.discord.faults.add("PATCH .*", 502, times=3)
    scene.go()
    await scene.alone(reply.message)
    assert fault.seen == 3
    return "it is tried again until it arrives, once"


async def acknowledgement_lost(scene: Scene) -> str:
    """the answer to the acknowledgement is lost with its connection"""
    fault = scene.discord.faults.lose("POST /interactions/.*/callback")
    reply = await scene.ann.imagine("a cat")
    await reply.picture()
    assert fault.seen == 1
    await scene.alone(reply.message)
    return "it is said again, which tells that it was heard; one job, one reply"


async def acknowledgement_stopped(scene: Scene) -> str:
    """a proxy answers the acknowledgement in Discord's stead (403, a page)"""
    fault = scene.discord.faults.page("POST /interactions/.*/callback", 403)
    reply = await scene.ann.imagine("a cat")
    await reply.picture()
    assert fault.seen == 1
    await scene.alone(reply.message)
    return "it is said again at once; one job, one reply"


async def edit_lost(scene: Scene) -> str:
    """the answer to the picture is lost with its connection, twice"""
    reply = await scene.waiting()
    fault = scene.discord.faults.lose("PATCH .*", times=2)
    scene.go()
    await scene.alone(reply.message)
    await scene.discord.until(lambda: fault.seen == 2)
    await scene.delivered()
    assert scene.discord.shown() == [reply.message]
    return "the same edit is made again, and leaves one picture"


async def placeholder_lost(scene: Scene) -> str:
    """the answer to a reaction's placeholder is lost with its connection"""
    first = await scene.ann.imagine("a cat")
    await first.picture()
    fault = scene.discord.faults.lose("POST /channels/.*/messages")
    await scene.ann.reacts("🌱", first)
    again = await scene.ann.gets_reply_to(first)
    await again.picture()
    assert fault.seen == 1
    assert scene.discord.shown() == [first.message, again.message]
    return "its nonce finds the one that is there, which becomes the picture"


async def placeholder_lost_and_cancelled(scene: Scene) -> str:
    """the answer to a reaction's placeholder is lost, and the job cancelled"""
    first = await scene.waiting()
    scene.go()
    await first.picture()
    scene.marble.gate.unlink()
    fault = scene.discord.faults.lose("POST /channels/.*/messages")
    await scene.ann.reacts("🌱", first)
    again = await scene.ann.gets_reply_to(first)
    await scene.discord.until(lambda: fault.seen == 1)
    await scene.ann.types("cancel")
    await again.said("Cancelled.")
    assert scene.discord.shown() == [first.message, again.message]
    scene.go()
    return "its nonce finds the one that is there, which says so"


async def placeholder_deleted(scene: Scene) -> str:
    """somebody deletes a reaction's placeholder"""
    first = await scene.waiting()
    scene.go()
    await first.picture()
    scene.marble.gate.unlink()
    await scene.ann.reacts("🌱", first)
    placeholder = await scene.ann.gets_reply_to(first)
    placeholder.message.deleted = True
    scene.go()
    again = await scene.ann.gets_reply_to(first)
    await again.picture()
    assert scene.discord.shown() == [first.message, again.message]
    return "the picture comes as a new message, in the channel"


async def resume(scene: Scene) -> str:
    """the gateway's connection breaks, with a command meanwhile (RESUME)"""
    gateway = scene.discord.gateway
    resumed = gateway.resumed
    await gateway.drop()
    meanwhile = await scene.ann.imagine("a cat")
    await meanwhile.picture()
    assert gateway.resumed == resumed + 1
    return "the session is resumed, the command answered"


async def reconnect(scene: Scene) -> str:
    """the gateway asks to reconnect (opcode 7)"""
    gateway = scene.discord.gateway
    resumed = gateway.resumed
    await gateway.ask_to_reconnect()
    await scene.discord.until(lambda: gateway.resumed > resumed, "resuming")
    await (await scene.ann.imagine("a cat")).picture()
    return "the session is resumed"


async def invalid_session(scene: Scene) -> str:
    """the session becomes invalid (opcode 9)"""
    gateway = scene.discord.gateway
    identified = gateway.identified
    await gateway.invalidate()
    await scene.discord.until(lambda: gateway.identified > identified, "identifying")
    await (await scene.ann.imagine("a cat")).picture()
    return "a new session begins; commands are not registered again"


async def duplicates(scene: Scene) -> str:
    """an event is delivered three times"""
    ann = scene.ann
    deed = await ann.typed("imagine", {"prompt": "a cat"})
    await ann.sends(deed, times=3)
    await scene.discord.until(lambda: deed.refusals == 2, "refusals")
    reply = Reply(ann, deed)
    await reply.picture()
    assert scene.discord.shown() == [reply.message]
    return "one job, one reply"


async def restart(scene: Scene) -> str:
    """the process is killed with a job at work and one waiting"""
    first, second = await scene.waiting(), await scene.waiting()
    await scene.marble.kill()
    scene.go()
    await scene.marble.start()
    for reply in (first, second):
        await reply.picture()
    assert scene.discord.shown() == [first.message, second.message]
    return "both are drawn after the restart, each in its own message"


async def killed_and_expired(scene: Scene) -> str:
    """the process is killed, and the token expired when it is back"""
    reply = await scene.waiting()
    await scene.marble.kill()
    interaction(reply).expired = True
    scene.go()
    await scene.marble.start()
    await scene.alone(reply.message)
    return "the same message is edited through the channel"


async def guest(scene: Scene) -> str:
    """a user install in a server without the bot, and the token expired"""
    elsewhere = scene.discord.add_guild(name="Elsewhere", joined=False)
    there = scene.ann.at(elsewhere.channels[0])
    there.installed_by_user = True
    scene.marble.gate.unlink(missing_ok=True)
    reply = await there.imagine("wait for a scholar")
    await reply.said("Drawing")
    interaction(reply).expired = True
    scene.go()
    letter = await there.gets_dm("scholar")
    assert _is_picture(letter.message)
    return "the picture comes by direct message"


async def cloudflare(scene: Scene) -> str:
    """Cloudflare's pages answer instead (403, 404, 401, 503)"""
    reply = await scene.waiting()
    statuses = (403, 404, 401, 503)
    faults = [scene.discord.faults.page("(PATCH|POST) .*", status) for status in statuses]
    scene.go()
    await scene.alone(reply.message)
    assert all(fault.seen for fault in faults)
    return "they are the network: it is tried again until it arrives"


async def no_verdicts(scene: Scene) -> str:
    """JSON with code 40333, 0, or one that nobody knows"""
    reply = await scene.waiting()
    codes = ((403, 40333), (404, 0), (403, 499_999))
    faults = [scene.discord.faults.add("PATCH .*", *code) for code in codes]
    scene.go()
    await scene.alone(reply.message)
    assert all(fault.seen for fault in faults)
    return "they are no verdicts: it is tried again until it arrives"


async def no_picture_taken(scene: Scene) -> str:
    """the picture is refused by every way (403/20009, 50007)"""
    reply = await scene.waiting()
    faults = scene.discord.faults
    for route in ("PATCH /webhooks/.*", "PATCH /channels/.*", "POST /channels/.*/messages"):
        faults.add(route, 403, 20009)
    faults.add("POST /channels/.*/messages", 403, 50007)
    scene.go()
    text = await reply.said("drawn and stored")
    assert f"/show {text.splitlines()[1].split()[1]}." in text
    assert scene.discord.shown() == [reply.message]
    return "its message says so, and how to see it"


async def no_picture_here(scene: Scene) -> str:
    """the picture is refused in the channel alone (403/20009)"""
    reply = await scene.waiting()
    faults = scene.discord.faults
    for route in ("PATCH /webhooks/.*", "PATCH /channels/.*", "POST /channels/.*/messages"):
        faults.add(route, 403, 20009)
    scene.go()
    assert _is_picture((await scene.ann.gets_dm("scholar")).message)
    await reply.said("by DM")
    return "it comes by direct message, and its message says so"


async def archived_thread(scene: Scene) -> str:
    """the thread is archived meanwhile (400/50083)"""
    thread = scene.discord.add_thread(scene.discord.channel)
    there = scene.ann.at(thread)
    first = await there.imagine("a cat")
    await first.picture()
    scene.marble.gate.unlink(missing_ok=True)
    reply = await there.imagine("wait for a scholar")
    await reply.said("Drawing")
    scene.discord.faults.add("PATCH .*", 400, 50083, times=2)  # by token, and as a message
    scene.go()
    await scene.discord.until(
        lambda: len([m for m in scene.discord.shown(thread) if _is_picture(m)]) == 2, "a message"
    )
    return "a new message wakes the thread"


async def locked_thread(scene: Scene) -> str:
    """the thread is locked meanwhile (400/50083, 403/160005)"""
    reply = await scene.waiting()
    scene.discord.faults.add("PATCH .*", 400, 50083, times=2)
    scene.discord.faults.add("POST /channels/.*/messages", 403, 160005)
    scene.go()
    assert _is_picture((await scene.ann.gets_dm("scholar")).message)
    assert reply.text
    return "the picture comes by direct message"


async def answered_deleted(scene: Scene) -> str:
    """what a reply answers is gone (400/50035)"""
    first = await scene.ann.imagine("a cat")
    await first.picture()
    errors = {"message_reference": {"_errors": [{"code": "X", "message": "Unknown message"}]}}
    fault = scene.discord.faults.add("POST /channels/.*/messages", 400, 50035, errors=errors)
    await scene.ann.reacts("🌱", first)
    await scene.discord.until(
        lambda: len([m for m in scene.discord.shown() if _is_picture(m)]) == 2, "the picture"
    )
    assert fault.seen == 1
    assert scene.discord.shown()[-1].reference is None
    return "it is sent as no reply"


async def placeholder_limited(scene: Scene) -> str:
    """a reaction's placeholder is limited for longer than is waited for (429)"""
    first = await scene.ann.imagine("a cat")
    await first.picture()
    fault = scene.discord.faults.limit("POST /channels/.*/messages", 61.0)
    await scene.ann.reacts("🌱", first)
    again = await scene.ann.gets_reply_to(first)
    await again.picture()
    assert fault.seen == 1
    assert scene.discord.shown() == [first.message, again.message]
    told = [message.content for message in scene.discord.messages.values()]
    assert not any("went wrong" in text for text in told)
    return "the job is drawn, and comes as a new message"


async def answer_limited(scene: Scene) -> str:
    """an ordinary answer is limited, by pages, too (429)"""
    await (await scene.ann.imagine("a cat")).picture()
    fault = scene.discord.faults.page("PATCH /webhooks/.*", 429, Retry_After="1")
    other = scene.discord.faults.page("PATCH /webhooks/.*", 403)
    history = await scene.ann.types("history")
    await history.said("a cat")
    assert (fault.seen, other.seen) == (1, 1)
    return "it waits, and is sent"


FAULTS: Final[tuple[Callable[[Scene], Awaitable[str]], ...]] = (
    deadline,
    expiry,
    early_404,
    cannot_see,
    too_large,
    deleted,
    bucket_429,
    global_429,
    outage,
    acknowledgement_lost,
    acknowledgement_stopped,
    edit_lost,
    placeholder_lost,
    placeholder_lost_and_cancelled,
    placeholder_deleted,
    resume,
    reconnect,
    cloudflare,
    no_verdicts,
    no_picture_taken,
    no_picture_here,
    archived_thread,
    locked_thread,
    answered_deleted,
    placeholder_limited,
    answer_limited,
    invalid_session,
    duplicates,
    restart,
    killed_and_expired,
    guest,
)


async def test_every_fault_ends_as_promised(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    scene = Scene(discord, marble, ann)
    for fault in FAULTS:
        for message in discord.shown():
            message.deleted = True
        what = await fault(scene)
        print(f"{fault.__doc__:68} → {what}")  # noqa: T201  # shown with -s
    assert discord.syncs == 1
    await marble.stop()
    assert "Traceback" not in marble.log
    async with Storage.open(marble.data) as storage:
        jobs = await storage.history.page(limit=50)
        others = [job.status for job in jobs if job.status is not Status.DELIVERED]
        assert others == [Status.CANCELLED]
        assert not await storage.outbox.backlog()


async def test_while_the_database_is_locked_people_hear_so_and_nothing_is_queued(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    with closing(sqlite3.connect(marble.data / "marble.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = await ann.imagine("a cat")
        assert "nothing was queued" in await refused.said("too busy")
        # The acknowledgement, for which Discord waits 3 s, did not wait for the database.
        assert interaction(refused).first == DEFER
        other.execute("ROLLBACK")
    assert refused.ephemeral
    assert str(marble.data) not in refused.text
    await (await ann.imagine("a cat")).picture()


WRITING: Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ("settings set", {"steps": 9}),
    ("settings reset", {}),
    ("style add", {"name": "noir", "prompt": "dark"}),
    ("style remove", {"name": "noir"}),
    ("moderate ban", {"reason": "floods"}),
    ("moderate unban", {}),
    ("moderate channel", {"open": False}),
    ("moderate pause", {"reason": "care"}),
    ("moderate resume", {}),
    ("cancel", {}),
)


async def test_while_the_database_is_locked_whatever_writes_is_acknowledged_first(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES | MANAGE_GUILD)
    cold.settings["MARBLE_OWNERS"] = f"discord:{judge.id}"
    await cold.start()
    first = await judge.imagine("a cat")
    await first.picture()
    waiting = await judge.imagine("wait for a scholar")
    await waiting.said("Drawing")
    await (await judge.types("style add", name="noir", prompt="dark")).said("noir")
    with closing(sqlite3.connect(cold.data / "marble.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        people = {"person": ann}
        replies = [
            await judge.types(name, **options, **(people if name.endswith("ban") else {}))
            for name, options in WRITING
        ]
        replies.append(await judge.clicks("Favourite", first))
        dropped = await judge.clicks("Cancel", waiting)
        for reply in replies:
            assert interaction(reply).first == DEFER
        assert interaction(dropped).first == DEFER_UPDATE
        other.execute("ROLLBACK")
    for reply in replies:
        await reply.said()
        assert reply.ephemeral
    await discord.until(lambda: interaction(dropped).followups, "an answer")
    assert "Traceback" not in cold.log


async def test_a_burst_while_the_database_is_locked_hears_so_together(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    crowd = 4 * AT_ONCE
    with closing(sqlite3.connect(marble.data / "marble.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        refused = await asyncio.gather(*(ann.imagine("a cat") for _ in range(crowd)))
        for each in refused:
            await each.said("nothing was queued")
        print(f"{crowd} commands heard that it is locked in {time.monotonic() - began:.1f} s")  # noqa: T201
        other.execute("ROLLBACK")
    assert all(each.ephemeral for each in refused)
    await (await ann.imagine("a cat")).picture()
    async with Storage.open(marble.data) as storage:
        assert len(await storage.history.page()) == 1


async def test_a_reaction_that_was_refused_works_when_it_is_put_again(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a cat")
    await first.picture()
    with closing(sqlite3.connect(marble.data / "marble.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await ann.reacts("🎲", first)
        await ann.gets_dm("nothing was queued")
        other.execute("ROLLBACK")
    judge = discord.person("judge", MANAGE_MESSAGES)
    await (await judge.types("moderate channel", open=False)).said("no")
    await ann.reacts("🎲", first)
    await ann.gets_dm("turned off")
    await (await judge.types("moderate channel", open=True)).said("yes")
    await ann.reacts("🎲", first, times=3)
    await (await ann.gets_reply_to(first)).picture()
    assert len(discord.shown()) == 2


async def test_while_it_ends_new_work_is_refused_in_words(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    scene = Scene(discord, marble, ann)
    first = await ann.imagine("a cat")
    await first.picture()
    reply = await scene.waiting()
    stopping = asyncio.create_task(marble.stop(), name="stop")
    async with asyncio.timeout(PATIENCE):
        while "Marble stops after" not in marble.log:
            await asyncio.to_thread(time.sleep, 0.05)
    late = await ann.imagine("a dog")
    assert late.ephemeral
    assert "is restarting" in late.text
    await ann.reacts("🌱", first)
    assert "is restarting" in (await ann.gets_dm("restarting")).text
    scene.go()
    await scene.discord.until(lambda: _is_picture(reply.message), "the picture")
    assert await stopping == 0
    assert "Traceback" not in marble.log
    # It did not count as done: after the restart the same reaction works.
    await marble.start()
    await ann.reacts("🌱", first)
    await (await ann.gets_reply_to(first)).picture()


async def test_a_picture_store_that_is_away_is_waited_for_and_a_lost_file_is_told(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("wait for a scholar")
    await reply.said("Drawing")
    refused = discord.faults.add("PATCH /webhooks/.*", 503, times=100)
    marble.gate.touch()
    await discord.until(lambda: refused.seen, "a try to deliver")
    await marble.kill()
    refused.times = refused.seen
    pictures, away = marble.data / "pictures", marble.data / "away"
    pictures.rename(away)
    await marble.start()
    await says(marble, "The reply of job 1 waits: The picture store")
    shown = await ann.types("show", picture="1")
    assert await shown.said("pictures") == EN.pictures_out
    pictures.mkdir(exist_ok=True)
    pictures.rmdir()
    away.rename(pictures)
    await reply.picture()
    assert "Traceback" not in marble.log
    for file in pictures.rglob("*.png"):
        file.unlink()
    lost = await ann.types("show", picture="1")
    assert (await lost.said("missing")).endswith(EN.lost_picture)
    letter = await ann.clicks("Original", reply)
    assert await letter.said("missing") == EN.lost_picture


async def says(marble: Marble, words: str) -> None:
    """Wait until something is logged."""
    async with asyncio.timeout(PATIENCE):
        while words not in marble.log:
            await asyncio.to_thread(time.sleep, 0.05)


async def test_a_revoked_token_stops_this_adapter_alone_and_loudly_until_it_works(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    before = len(discord.requests)
    kept, discord.token = discord.token, "another.discord.token"
    await discord.gateway.invalidate()
    await discord.until(lambda: discord.refused, "the refusal")
    await says(marble, "discord refuses Marble: Discord does not know its token")
    assert discord.refused == 1
    assert {path for _, _, path in discord.requests[before:]} == {"/users/@me"}
    assert len(discord.requests) - before <= 2  # no storm
    discord.token = kept
    await discord.until(lambda: discord.gateway.connected, "connecting")
    await (await ann.imagine("a cat")).picture()
    assert discord.token not in marble.log
    assert await marble.stop() == 0


async def test_a_gateway_that_closes_with_4004_is_asked_about_the_token_first(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    identified = discord.gateway.identified
    await discord.gateway.drop(4004)
    await discord.until(lambda: discord.gateway.identified > identified, "identifying")
    await (await ann.imagine("a cat")).picture()
    assert "refuses Marble" not in marble.log


async def test_a_page_at_the_start_is_no_verdict_on_the_token(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    pages = [discord.faults.page("GET /users/@me", status) for status in (401, 403, 407)]
    await cold.start()
    await (await ann.imagine("a cat")).picture()
    assert all(page.seen for page in pages)
    assert "refuses Marble" not in cold.log
