"""What people read on the web page alone, in English; `bots.texts.chinese.web` has Chinese.

The same holds as for `bots.texts.words.Words`; what both need is there.
"""


class WebWords:
    """Every message of the page in English; a class of another language overrides them all."""

    __slots__ = ()

    language = "en"  # its tag
    language_name = "English"

    # Every page
    skip = "Skip to the content"
    choose_language = "Language"
    change_language = "Change"
    navigation = "Pages"

    # Signing in and out
    sign_in = "Sign in"
    sign_in_how = (
        "Send /web to Marble in Discord or in a private chat on Telegram: the answer is a link "
        "that works once, for ten minutes. At the terminal of this machine, run `marble web`."
    )
    enter_as = "This link signs you in as {person}."
    enter_once = "It works once. If you did not ask Marble for it, close this page."
    enter = "Sign in"
    account = "Account"
    signed_in_as = "You are signed in as {person}."
    sign_out = "Sign out"
    sign_out_here = "On this device alone:"
    sign_out_everywhere = "Sign out everywhere"
    sign_out_all = "On every device, which /web logout does, too:"

    # What goes wrong
    went_wrong = "That did not work"
    no_page = "There is no such page."
    bad_request = "This request cannot be read; reload the page and try again."
    too_large = "That is too large."
    broken = (
        "Something failed inside Marble. Its owner finds the reason in the log; try again later."
    )
    not_signed_in = "You are not signed in."
    link_used = (
        "This link was used, or is older than ten minutes. Send /web to Marble for a new one."
    )
    forged = (
        "This was not asked for by a page of Marble's, so nothing was done. Reload, and try again."
    )
    too_many = "That was too often in a minute; wait a moment and try again."
    home = "To the first page"
