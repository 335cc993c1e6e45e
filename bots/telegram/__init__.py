"""Telegram: updates into studio calls, results into replies; see docs/telegram.md.

adapter.py              the connection: opens it, closes it, delivers replies
updates.py              updates → the inbox, committed before Telegram forgets them
messages.py             what an update asks for, if it is meant for Marble at all
handler.py request.py   each update is handled once: who asks, where, and the answer
commands.py imagine.py moderation.py  what commands do
actions.py keyboards.py what buttons and reactions do; the buttons
inline.py inline_messages.py  pictures for chats in which Marble is no member
progress.py             the placeholder that shows a job's progress
replies.py              the outbox → the placeholder becomes the picture
connection.py rate_limits.py errors.py supergroups.py features.py  the bot, Telegram's limits, its
                        errors, groups that change their id, and what is newer than the library
"""

import os

# Otherwise each flood wait is a warning about the type of its seconds.
os.environ.setdefault("PTB_TIMEDELTA", "true")
