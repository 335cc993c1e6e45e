"""Messages for people, an attribute each, in English; `bots.texts.chinese` has Chinese ones.

A message's `{placeholders}` are filled by `str.format`, or by `engine.sentences.fill` where it has
`{count:picture|pictures}`; a test holds every language to the same ones. What people wrote
themselves is put in as a value, never as a template.
"""

from collections.abc import Mapping
from typing import ClassVar

from bots.texts.commands import COMMANDS, CommandText
from engine.events import Stage


class Words:
    """Every message in English; a class of another language overrides them all."""

    __slots__ = ()

    language = "en"  # its tag
    sentences: ClassVar[Mapping[str, str]] = {}  # templates; a sentence is its own in English
    commands: ClassVar[Mapping[str, CommandText]] = COMMANDS

    # How long things take
    seconds = "{n} s"
    minutes = "{n} min"
    hours = "{n} h"

    # A job on its way
    submitted = "In line …"
    inline_waiting = "{prompt}\n\nIn line …"
    inline_offer = "Draw this"
    inline_hint = "Describe a picture"
    inline_silent = (
        "Nothing is drawn here: Telegram did not tell Marble of this message. Marble's owner can "
        "turn on inline feedback at @BotFather."
    )
    next_in_line = "next in line"
    nth_in_line = "number {place} in line"
    with_eta = "{line}, about {time}"
    paused = "{line}, paused: {reason}"
    stages: ClassVar[Mapping[Stage, str]] = {
        Stage.LOAD: "loading the model",
        Stage.ENCODE: "reading the prompt",
        Stage.DENOISE: "drawing",
        Stage.UPSCALE: "upscaling",
        Stage.DECODE: "creating the picture",
    }
    progress = "{stage} {bar} {step}/{total}"
    cancelled = "Cancelled."
    failed = "This could not be drawn. {reason}"
    lost_picture = "The picture's file is missing; a rerun draws it again."
    not_shown = "The picture is drawn and stored, but it cannot be shown here; use /show {name}."
    shrunk = "Shown smaller to fit the size limit here; ✉️ sends it in full size by DM."
    shrunk_everywhere = (
        "Shown smaller to fit the size limit of messages; Marble's owner has it in full size."
    )

    # A picture and its recipe
    alt_text = "Generated picture: {prompt}"
    alt_text_grid = "Grid of {count} generated pictures, numbered from the top left: {prompt}"
    made_from = "from {parent}"
    recipe_title = "Recipe of {name}"
    fields: ClassVar[Mapping[str, str]] = {
        "prompt": "prompt",
        "negative_prompt": "not in the picture",
        "seed": "seed",
        "steps": "steps",
        "guidance_scale": "guidance",
        "guidance_rescale": "guidance rescale",
        "width": "width",
        "height": "height",
        "count": "count",
        "picture": "picture",
        "sampler": "sampler",
        "schedule": "schedule",
        "shift": "shift",
        "noise": "noise",
        "ensd": "noise seed delta",
        "syntax": "prompt syntax",
        "areas": "texts for parts",
        "checkpoint": "model",
        "refiner": "second model",
        "refiner_at": "from (share of steps)",
        "refiner_by": "counted by",
        "aesthetic_score": "told beauty",
        "negative_aesthetic_score": "told beauty of what is not wanted",
        "vae": "VAE",
        "clip_skip": "clip skip",
        "loras": "LoRAs",
        "controls": "ControlNets",
        "strength": "strength",
        "image": "start image",
        "fit": "fit",
        "mask": "mask",
        "references": "edited pictures",
        "margins": "margins",
        "variations": "variations",
        "patches": "changes to the network",
        "upscale": "upscale",
        "style": "style",
        "parent": "made from",
        "match": "match with the prompt",
        # What moderators type
        "A place": "A place",
        "A person": "A person",
        "A rule": "A rule",
        "The reason": "The reason",
        "hours": "hours",
    }
    statuses: ClassVar[Mapping[str, str]] = {
        "queued": "in line",
        "running": "being drawn",
        "rendered": "drawn",
        "delivered": "drawn",
        "failed": "failed",
        "cancelled": "cancelled",
    }

    # Buttons and menus
    upscale = "Upscale"
    vary_subtle = "Vary a little"
    vary_strong = "Vary a lot"
    zoom_out = "Zoom out"
    edit = "Edit"
    region = "Edit a region"
    making_of = "How it was made"
    change = "Change recipe"
    recipe = "Recipe"
    original = "Original"
    delete = "Delete"
    rerun = "Rerun"
    same_seed = "Same seed"
    new_seed = "New seed"
    favourite = "Favourite"
    older = "Older"
    only_favourites = "Favourites"
    everything = "Everything"
    cancel = "Cancel"

    # Forms
    imagine_title = "Draw a picture"
    form_hint = "options may follow, for example --steps 30 --no fog"
    form_model = "Model"
    form_style = "Style"
    form_shape = "Shape"
    form_image = "Start image"
    form_picture = "A further picture that the words are about"
    form_usual = "as usual"
    form_more = "{count} more exist: write --{option} NAME among the words"
    form_strengths: ClassVar[Mapping[str, str]] = {
        "0.3": "0.3: a little",
        "0.5": "0.5: its layout stays",
        "0.7": "0.7: its rough shapes stay",
        "0.9": "0.9: nearly all of it",
    }

    # Changing a recipe
    change_title = "Change the recipe"
    change_prompt = "Prompt and options"
    change_hint = "the same seed keeps the composition, --seed new draws another"

    # Editing a picture by words
    edit_title = "Edit the picture"
    edit_prompt = "What to change"
    edit_prompt_hint = "for example: make it bronze, keep the pose"
    edit_question = "What should be changed in {name}? Reply with words like: make it bronze."
    edit_which = "Say which picture: give `picture`, a name like 12.3, or an `image`."
    describe_which = "Give one picture: an `image`, or in `picture` a name like 12.3."
    describe_how = (
        "Say which picture to describe: reply to it with `/describe`, send it with `/describe` "
        "below, or write its name: `/describe 12.3`."
    )
    region_open = "Paint or extend"
    region_how = (
        "Paint over what is to be drawn anew, or pull the canvas larger. The link works once, for "
        "ten minutes."
    )
    region_private = "Open your private chat with me to paint; only you can open it."
    described = "In words; a number draws them:"
    blend_which = (
        "Give two to five pictures: `image`, `image2` …, or in `pictures` names like 12.3 14."
    )
    blend_how = (
        "Say which two to five pictures to blend: send them to me in private as an album with "
        "`/blend` below, reply to one with another and `/blend`, or write their names: "
        "`/blend 12.3 14`. Words behind that say what the picture should show."
    )
    edit_how = (
        "Say what to change in which picture: reply to it with `/edit make it bronze`, or write "
        "its name: `/edit 12.3 make it bronze`."
    )

    # Starting from a picture
    no_picture = "That message has no picture."
    result_how = (
        "`--result NODE` chooses among the results of a ComfyUI graph: write it with a picture "
        "that is sent as a file, without other words."
    )
    choose_result = "Draw another result"
    results_gone = "That choice is no longer known; use the menu `Recipe` again."
    mask_alone = "A mask needs a start image: give that image, too."
    slow_picture = "That picture takes too long to download; use `/imagine` with `image`."
    start_title = "Start from this picture"
    start_prompt = "What it should show"
    start_strength = "How much to redraw (0–1)"

    # Answers
    deleted = "Deleted."
    cancel_asked = "Job {job} is cancelled."
    favourite_added = "{name} was added to your favourites."
    favourite_removed = "{name} was removed from your favourites."
    sent_by_dm = "Sent to you by DM."
    sent_anew = "The picture was sent as a new message."
    dm_closed = "I cannot send you a DM; allow direct messages from this server and try again."
    pick = "Which one?"
    nothing_yet = "No pictures yet. Describe one and it will appear here."
    nothing_found = "No prompt of yours has these words."
    no_favourites = "No favourites yet. “Favourite” below a picture adds it."
    history_title = "Your pictures"
    alike_title = "Your pictures that are most like it"
    favourites_title = "Your favourites"
    settings_title = "Your settings"
    settings_empty = "Nothing is set; each model's own defaults apply."
    settings_saved = "Saved. Used whenever you give no other value."
    settings_reset = "Your settings have been cleared."
    models_title = "Models"
    workflows_title = "Workflows"
    workflow_line = "{name}: {inputs}"
    model_line = "{name} ({family}, {width}×{height}, {steps} {steps:step|steps})"
    model_edits = "{line}, edits pictures by words"
    model_fixed = "{line}, always {option} {value}"
    model_lacks = "{line}, without {options}"
    queue_title = "The queue"
    queue_empty = "Nothing is running or waiting."
    queue_running = "▶ {job}, {who}: {what}"
    queue_waiting = "{place}. {job}, {who}: {what}"
    and_more = "… and {count} more"
    stats_title = "Statistics"
    stats_yours = (
        "You: {jobs} {jobs:job|jobs}, {pictures} {pictures:picture|pictures}, {favourites} "
        "{favourites:favourite|favourites}."
    )
    stats_here = (
        "Here: {jobs} {jobs:job|jobs}, {pictures} {pictures:picture|pictures} by {people} "
        "{people:person|people}."
    )
    export_ready = (
        "Everything stored about you: {pictures} {pictures:picture|pictures} and your history."
    )
    export_without = (
        "{count} more {count:picture is|pictures are} left out: the safety check does not allow "
        "showing {count:it|them} here. Ask Marble's owner for {count:it|them}."
    )
    export_too_large = (
        "{count} more {count:file is|files are} left out: too large for a message here. Ask "
        "Marble's owner for {count:it|them}."
    )
    export_part = "Part {part} of {count}."
    forget_question = (
        "This deletes your jobs, pictures, start images, favourites and settings for good. Are you "
        "sure?"
    )
    forget_confirm = "Delete everything"
    forgotten = (
        "Deleted: {jobs} {jobs:job|jobs} and {files} picture {files:file|files}. Messages in chats "
        "stay where they are; delete them there."
    )
    forget_nothing = "Nothing was stored about you."

    # More answers
    newest = "Newest"
    open_one = "Open one"
    you = "you"
    somebody = "somebody"
    nothing_to_cancel = "You have no waiting or running job."
    rules_title = "Rules for {where}"
    rules_open = "Drawing allowed: {open}"
    rule_aside = "(moderators set {asked}, which is outside what Marble's owner allows)"
    rule_from = "(set for {where})"
    rules_how = (
        "Write ranges as 1-30, lists with commas; “none” removes a rule. You can only be stricter "
        "than Marble's owner."
    )
    telegram_rules_how = (
        "Change them with `/rules --steps 1-30 --models starter --open no`; `none` removes a rule, "
        "`/rules group …` in a topic is for the whole group. You can only be stricter than "
        "Marble's owner. Rules: {names}"
    )
    rules_in_groups = (
        "Rules belong to a group: send this command there. Only Marble's owner sets rules for "
        "everywhere."
    )
    rule_and_value = "Give `rule` and `value` together."
    rules: ClassVar[Mapping[str, str]] = {
        "per_minute": "jobs per minute and person",
        "place_per_minute": "jobs per minute in total",
        "daily": "million pixel-steps per day and person",
        "waiting": "waiting jobs per person",
        "place_waiting": "waiting jobs in total",
        "running": "running jobs per person",
        "place_running": "running jobs in total",
        "blocked": "blocked words",
        "models": "models",
        "workflows": "workflows",
        "keep_days": "days that pictures are kept",
        "safety": "unsafe pictures",
        "default_count": "pictures of a job where nobody says how many",
        "pixels": "pixels of a finished picture",
        "images": "start images",
        "loras": "LoRAs",
        "controls": "ControlNets",
        "lora_weight": "weight of a LoRA",
        "control_strength": "strength of a ControlNet",
        "lora": "LoRAs by name",
        "control": "ControlNets by name",
        "vae": "VAEs",
        "upscaler": "upscalers",
        "upscale": "upscale factor",
        "schedule": "schedules",
        "sampler": "samplers",
    }
    this_channel = "this channel"
    this_thread = "this thread"
    this_server = "this server"
    this_group = "this group"
    this_topic = "this topic"
    channel_of_thread = "the channel of this thread"
    yes = "yes"
    no = "no"
    queue_paused = "The queue is paused: {reason}"
    queue_resumed = "The queue has been resumed."
    queue_not_paused = "The queue was not paused."
    settings_how = (
        "Change them with `/settings --steps 30 --size 512x768`, clear them with `/settings reset`."
    )
    mydata_how = (
        "`/mydata export` sends you everything stored about you, `/mydata delete` deletes it."
    )
    no_web = "Marble has no web page here: its owner has not set one up."
    web_link = "This link signs you in to Marble's web page. It works once, for ten minutes: {url}"
    web_open = "Open it here"
    web_browser = "Open it in a browser"
    web_ended = (
        "Signed out of the web page: {n} {n:session|sessions} ended. "
        "Links that were not used no longer work."
    )
    styles_title = "Styles here"
    styles_empty = "There are no styles here yet; moderators add them with /style add."
    style_line = "{name}: {prompt}"
    style_line_without = "{name}: {prompt} (not: {negative})"
    style_kept = "Style {name} is saved. Add `--style {name}` to a prompt to use it."
    style_removed = "Style {name} is removed. Pictures drawn with it do not change."
    style_how = (
        "Add one with `/style add noir film noir, hard shadows --no colour`, remove it with "
        "`/style remove noir`, use it with `--style noir`."
    )
    ban_whom = "Reply to a message of that person, or give an ID like telegram:123456."

    # Refusals
    your_words = "Your words, to copy:"
    unknown_message = "That message has no picture by Marble."
    unknown_form = (
        "That form is not valid any more: choose “Use as start image” on the picture again."
    )
    not_yet = "That picture is not drawn yet."
    busy = "Marble is too busy right now and nothing was queued; try again in a moment."
    disk_full = "Marble's disk is full, so nothing can be saved; Marble's owner has to free space."
    pictures_out = (
        "Marble cannot read its pictures now; try again later. Marble's owner can find the reason "
        "in the log."
    )
    database_out = (
        "Marble's database is unavailable, so nothing can be saved; Marble's owner can find the "
        "reason in the log."
    )
    start_first = "Start a chat with me first: the picture is sent there, too."
    guest_picture = (
        "Where I am no member I draw the words alone, not from a picture; send the picture here."
    )
    put_off = "{why} Your message is not lost; it will be answered later."
    album = "I can use one picture of an album: reply to that one and describe what you want."
    missing_permission = (
        "I need the permission “{permission}” in this channel to reply; a moderator can grant it."
    )
    few_further = (
        "Where only you have installed Marble, Discord lets me show at most {most} jobs of one "
        "request; leave out some of the choices in braces, or ask for the others separately."
    )
    moved = "This was requested in {channel}, where I can no longer show it."
    moved_permission = (
        "This was requested in {channel}, where I need the permission “{permission}”; a moderator "
        "can grant it."
    )
    permissions: ClassVar[Mapping[str, str]] = {  # by Discord's names
        "view_channel": "View Channels",
        "send_messages": "Send Messages",
        "send_messages_in_threads": "Send Messages in Threads",
        "attach_files": "Attach Files",
    }
    moderators_only = "Only moderators can do that."
    not_of_server = (
        "That needs permission to manage messages in the whole server; this channel alone is not "
        "enough."
    )
    photo_too_large = (
        "That file is larger than the 20 MB that Telegram gives to bots; send it as a photo."
    )
    photo_question = "What should I draw from this picture? Reply with a description."
    not_a_picture = "I cannot use this file. Send a photo, or a PNG, JPEG or WebP file."
    not_honoured = "Drawing it again. Could not be used: {what}."
    ignored = "Could not be used: {what}."
    missing = "Missing: {what}."
    not_drawn = "Cannot be drawn: {why}"
    starts_from_others = (
        "That recipe needs another picture, which is not in the file. Send it to /imagine as "
        "`image`."
    )
    restarting = "Marble is restarting; please try again in a minute."
    empty_prompt = "Describe a picture, for example: a marble scholar."
    unexpected = (
        "Something went wrong. Please try again; Marble's owner can find the reason in the log."
    )
    ask_again = "Marble restarted before it could reply. Please try again."

    # Moderators
    ban_done = "{who} may no longer request pictures here: {reason}"
    ban_lifted = "{who} may request pictures here again."
    no_ban = "{who} was not banned here."
    acts: ClassVar[Mapping[str, str]] = {  # by the names under which they are recorded
        "ban": "ban",
        "lift ban": "lift the ban of",
        "pause": "pause",
        "resume": "resume",
        "rules": "rules of Marble's owner",
        "policy": "rules",
        "open": "open",
        "style": "add a style",
        "remove style": "remove a style",
        "cancel": "cancel a job of",
        "ahead": "draw next a job of",
        "delete": "delete a picture of",
        "missing": "cannot show pictures in",
    }
    details: ClassVar[Mapping[str, str]] = {  # … of what was done
        "open": "drawing allowed",
        "reason": "reason",
        "until": "until",
        "name": "name",
        "job": "job",
        "no": "not in the picture",
        "permission": "missing permission",
    }
    acts_title = "What moderators did"
    acts_empty = "Nothing yet."

    # Long texts
    help = (
        "**Describe a picture:** `/imagine a marble scholar holding a book`\n"
        "It is drawn step by step: it starts as noise, and each step removes some of it.\n"
        "\n"
        "**Options** `steps` more is finer and slower · `guidance` how closely the prompt is "
        "followed · `negative` what to leave out · `count` several at once · `seed` the number "
        "that decides the noise: the same seed, prompt and options always give the same picture.\n"
        "\n"
        "**Size and style** `size` takes 768x512 or a ratio like 3:2 · `style` adds words saved on "
        "this server (`/style list`) · `model` and `lora` choose the model and LoRAs.\n"
        "Options can also be written in the prompt: `--seed 7 --size 3:2 --no fog`.\n"
        "\n"
        "**Buttons** U1–U4 upscale one of a grid, V1–V4 draw others like it, 1️⃣–4️⃣ show one "
        "alone, 🎲 draws all again; below a single picture: vary, upscale, zoom out, extend to a "
        "side, edit by words, change its recipe. They work for years.\n"
        "\n"
        "**From a picture** give `/imagine` an `image` (`strength`: how much to redraw), or "
        "right-click any picture → Apps → Use as start image. `/edit` changes a picture by words: "
        "make it bronze. `/blend` makes one of two to five. `/describe` says in words what one "
        "shows; `/making_of` shows how one came about.\n"
        "\n"
        "**React to a picture** 🌱 again with its seed · 🎲 again with a new seed · ✉️ recipe and "
        "full size by DM · ⭐ favourite · ❌ cancel or delete · 1️⃣–4️⃣ pick one of a grid\n"
        "\n"
        "**More** `/history` · `/show 12.3` a picture again · `/settings` your default options · "
        "`/queue` · `/cancel` · `/models` · `/stats` · `/privacy` · `/mydata` · `/web` your "
        "pictures in a browser"
    )
    telegram_help = (
        "**Describe a picture:** send a prompt, for example: a marble scholar holding a book\n"
        "In groups write `/imagine` before the prompt.\n"
        "\n"
        "**Options** anywhere in the prompt: `--steps` more is finer and slower · `--guidance` how "
        "closely the prompt is followed · `--no` what to leave out · `--count` several at once · "
        "`--size 512x768` · `--seed` the number that decides the noise: the same seed, prompt and "
        "options always give the same picture. A second line also says what to leave out.\n"
        "\n"
        "`--style` adds words saved in the group; `/style` lists them. Administrators decide with "
        "`/rules` what may be drawn in their group.\n"
        "\n"
        "**Buttons** below a picture draw it again, send the original file, or show its recipe. "
        "Reply to a picture with another prompt to draw it again with that one; reply with `/edit "
        "make it bronze` to change it by words. `/blend` makes one of two to five. "
        "`/web` shows your pictures in a browser."
    )
    privacy = (
        "**What is stored:** the recipes you request, their pictures, the pictures you give to "
        "start from, what the pictures show as numbers for the search, where and when you asked, "
        "your favourites and settings, the styles that you made for others, when you used the web "
        "page, bans, and what you did as a moderator: all with Marble's owner.\n"
        "**What is not:** other messages. Marble reads only what is meant for it: commands and "
        "menus, what begins with its name, buttons, reactions and replies to its own pictures, and "
        "what you write to it in private.\n"
        "**What you can do:** `/mydata export` sends you everything, `/mydata delete` deletes it "
        "for good. Bans stay, so that they remain in force; styles and what you did as a moderator "
        "stay without your name. Backups keep what they contain until newer ones replace them."
    )
