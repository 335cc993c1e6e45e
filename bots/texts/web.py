"""What people read on the web page alone, in English; `bots.texts.chinese.web` has Chinese.

The same holds as for `bots.texts.words.Words`; what both need is there.
"""

from collections.abc import Mapping
from typing import ClassVar


class WebWords:
    """Every message of the page in English; a class of another language overrides them all."""

    __slots__ = ()

    language = "en"  # its tag
    language_name = "English"

    # Every page
    skip = "Skip to the content"
    choose_language = "Language"
    change_language = "Change"
    engine_room = "Engine room"
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
    signing_in = "Signing in …"
    needs_script = (
        "This page needs JavaScript; send /web to Marble for a link that works without it."
    )
    account = "Account"
    signed_in_as = "You are signed in as {person}."
    sign_out = "Sign out"
    sign_out_here = "On this device alone:"
    sign_out_everywhere = "Sign out everywhere"
    sign_out_all = "On every device (the same as /web logout):"

    # Pictures
    pictures = "Pictures"
    search = "Search the prompts"
    like = "Or what they show"
    find = "Find"
    progress = "Steps drawn"
    on_its_way = "On its way"
    all_of = "all of {name}"
    show_unsafe = "Hidden by the safety check; show it"
    actions = "Actions"
    pan: ClassVar[Mapping[str, str]] = {
        "left": "Continue to the left",
        "right": "Continue to the right",
        "up": "Continue upwards",
        "down": "Continue downwards",
    }
    describe = "Describe in words"
    start_from_it = "Start from it"
    blend = "Blend with others"
    blend_others = "Other pictures of Marble's, by name"
    blend_files = "Other pictures, as files"
    png_holds = (
        "The PNG holds its recipe: drop it into ComfyUI for the same picture there; A1111 and "
        "Marble read it, too."
    )
    png_without_graph = (
        "The PNG holds its recipe, which Marble reads; it holds no graph for ComfyUI."
    )
    lineage = "Related pictures"
    made_from = "It was made from"
    made_of_it = "Made from it"
    delete_job = "Delete job {job}"
    delete_what = (
        "This deletes job {job} with all its pictures and its recipe for good, also from the "
        "favourites of others. Messages in chats that show it stay where they are; delete them "
        "there. A job that still waits or runs is cancelled instead."
    )
    delete_for_good = "Delete for good"
    keep_it = "Keep it"
    reply_on_its_way = (
        "Its reply is still on its way to the chat, so nothing was deleted; try again in a minute."
    )

    # Asking for pictures
    imagine = "Draw"
    options = "Options"
    choose_file = "A picture to start from"
    image_hint = (
        "Choose, drop or paste one. Without words, the recipe that the file holds is drawn again."
    )
    read_recipe = "Read its recipe"
    recipe_of = "Written by {source}"
    starts_from = "Starts from {name}."
    without_it = "Without it"

    # The brush
    brush = "Edit a region of"
    canvas = "The picture, to paint on what is to be drawn anew"
    tool = "Tool"
    tools: ClassVar[Mapping[str, str]] = {
        "brush": "Brush",
        "lasso": "Lasso",
        "erase": "Eraser",
        "extend": "Larger canvas",
    }
    brush_size = "Size"
    feather = "Soft edge"
    undo = "Undo"
    redo = "Redo"
    clear = "Clear"
    brush_keys = (
        "With the keyboard: arrows move the brush, space paints, Shift with an arrow paints on, "
        "[ and ] change its size, Ctrl+Z undoes."
    )
    margins = "Pixels to add"
    edges: ClassVar[Mapping[str, str]] = {
        "left": "Left",
        "right": "Right",
        "top": "Top",
        "bottom": "Bottom",
    }
    pull: ClassVar[Mapping[str, str]] = {
        "left": "Pull the left edge: arrow keys",
        "right": "Pull the right edge: arrow keys",
        "top": "Pull the top edge: arrow keys",
        "bottom": "Pull the bottom edge: arrow keys",
    }
    mask_file = "A mask: white where something new is drawn"
    what_there = "What the whole picture shows then"
    what_there_hint = "Options may follow: --seed 7 --steps 30"
    strength = "Strength"
    nothing_painted = "Nothing is painted yet: paint over what is to be drawn anew."
    unreachable = "Marble cannot be reached. Try again in a moment."
    without_chat = (
        "This was opened from a message more than a day ago, by somebody else, or for another "
        "picture: what you draw here comes to your pictures alone, and to no chat."
    )
    mask_or_margins = "Give a mask or margins, not both: each is a drawing of its own."
    away = "Marble cannot be reached; what you painted is still here. Try again in a moment."
    compare = "Before and after"
    compare_how = "How much is shown from before"
    before = "Before"
    after = "After"
    results = "Results"

    # What goes wrong
    too_many_streams = "Live progress is shown in other tabs already; this one asks now and then."
    went_wrong = "That did not work"
    no_page = "There is no such page."
    bad_request = "This request cannot be read; reload the page and try again."
    too_large = "That is too large: at most {limit} can be sent at once."
    broken = (
        "Something failed inside Marble. Its owner finds the reason in the log; try again later."
    )
    not_signed_in = "You are not signed in."
    signed_out = "You are not signed in any more, so nothing was done."
    written = "What you wrote"
    written_how = "It was not kept: copy what you need before you leave this page."
    link_used = (
        "This link was used, or is older than ten minutes. Send /web to Marble for a new one."
    )
    not_telegram = "This was not signed by Telegram for this bot."
    open_again = (
        "This sign-in was used already or is older than a day; open the page from Telegram again."
    )
    forged = (
        "This was not sent by a page of {address}, so nothing was done. Open Marble at that "
        "address, and try again there."
    )
    form_ended = (
        "This page is older than your sign-in, so nothing was done. Reload it, and try again."
    )
    too_many = "That was too often in a minute; wait a moment and try again."
    home = "To the first page"
