"""Telegram: updates into studio calls, results into replies; see docs/telegram.md.

intake.py webhook.py  updates → the inbox, committed before Telegram forgets them
reading.py            what a message asks for, and whether it is meant for Marble at all
desk.py               letters → acts; each letter is dealt with once
acts.py commands.py   what buttons and reactions do, what commands do
keyboards.py          the buttons
progress.py           placeholders, and how far their jobs are
replies.py            the outbox → the placeholder becomes the picture
pace.py troubles.py   Telegram's limits, Telegram's errors
"""

import os

# Otherwise each flood wait is a warning about the type of its seconds.
os.environ.setdefault("PTB_TIMEDELTA", "true")
