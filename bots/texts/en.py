"""English."""

from typing import Final

from bots.texts.words import Words
from engine.events import Stage

EN: Final = Words(
    language="en",
    seconds="{n} s",
    minutes="{n} min",
    hours="{n} h",
    submitted="In line …",
    next_in_line="next in line",
    nth_in_line="number {place} in line",
    with_eta="{line}, about {time}",
    paused="{line}, paused: {reason}",
    stages={
        Stage.LOAD: "loading the model",
        Stage.ENCODE: "reading the brief",
        Stage.DENOISE: "chiselling",
        Stage.UPSCALE: "enlarging",
        Stage.DECODE: "revealing",
    },
    progress="{stage} {bar} {step}/{total}",
    cancelled="Cancelled.",
    failed="This could not be drawn. {reason}",
    lost_picture="The picture's file is gone; a rerun draws it again.",
    not_shown="The picture is drawn and kept, but it cannot be shown here; /show {name} shows it.",
    shrunk="Shown smaller, to fit this place's limit; ✉️ sends it in full size by DM.",
    shrunk_everywhere="Smaller than it is, to fit what a message can carry; whoever runs this "
    "Marble has it in full size.",
    alt_text="Generated picture: {prompt}",
    alt_text_grid="Grid of {count} generated pictures, numbered from the top left: {prompt}",
    made_from="from {parent}",
    recipe_title="Recipe of {name}",
    fields={
        "prompt": "prompt",
        "negative_prompt": "not in the picture",
        "seed": "seed",
        "steps": "steps",
        "guidance_scale": "guidance",
        "width": "width",
        "height": "height",
        "count": "count",
        "picture": "picture",
        "sampler": "sampler",
        "schedule": "schedule",
        "checkpoint": "model",
        "strength": "strength",
        "image": "start image",
        "mask": "mask",
        "style": "style",
        "parent": "made from",
        "status": "status",
    },
    statuses={
        "queued": "in line",
        "running": "being drawn",
        "rendered": "drawn",
        "delivered": "drawn",
        "failed": "failed",
        "cancelled": "cancelled",
    },
    upscale="Upscale",
    vary_subtle="Vary a little",
    vary_strong="Vary a lot",
    zoom_out="Zoom out",
    edit="Edit",
    recipe="Recipe",
    original="Original",
    delete="Delete",
    rerun="Rerun",
    same_seed="Same seed",
    new_seed="New seed",
    favourite="Favourite",
    older="Older",
    only_favourites="Favourites",
    everything="Everything",
    cancel="Cancel",
    edit_title="Edit the recipe",
    edit_prompt="What it shows",
    edit_negative="What it should not show",
    edit_seed="Seed",
    edit_seed_hint="keep it for the same composition, or write: new",
    edit_changes="Other options",
    edit_changes_hint="for example --steps 30 --size 512x768",
    mask_alone="A mask says where a start image is painted anew: give that image, too.",
    no_picture="There is no picture in that message.",
    slow_picture="That picture takes too long to fetch; use `/imagine` with `image`.",
    start_title="Start from this picture",
    start_prompt="What it should show",
    start_strength="How much is drawn anew (0–1)",
    deleted="Deleted.",
    cancel_asked="Job {job} is cancelled.",
    favourite_added="{name} is among your favourites.",
    favourite_removed="{name} is no longer among your favourites.",
    sent_by_dm="Sent to you by DM.",
    sent_anew="The picture came as a new message.",
    dm_closed="I cannot write to you; allow direct messages from this server and try again.",
    pick="Which one?",
    nothing_yet="Nothing yet. Describe a picture and it will be here.",
    no_favourites="No favourites yet. Put ⭐ on a picture to keep it.",
    history_title="Your pictures",
    favourites_title="Your favourites",
    settings_title="Your settings",
    settings_empty="Nothing is set; each model's own defaults hold.",
    settings_saved="Saved. From now on this holds wherever you type nothing else.",
    settings_reset="Your settings are empty again.",
    models_title="Models",
    model_line="{name} ({family}, {width}×{height}, {steps} steps)",
    queue_title="The queue",
    queue_empty="Nothing runs and nothing waits.",
    queue_running="▶ {job}, {who}: {what}",
    queue_waiting="{place}. {job}, {who}: {what}",
    and_more="… and {count} more",
    stats_yours="You: {jobs} jobs, {pictures} pictures, {favourites} favourites.",
    stats_here="Here: {jobs} jobs, {pictures} pictures by {people} people.",
    export_ready="Everything that is kept of you: {pictures} pictures and your history.",
    export_without="{count} more pictures are left out: the safety check does not let them be "
    "shown here. Whoever runs this Marble can hand them to you.",
    export_too_large="{count} more files are left out: a message here cannot carry them. Whoever "
    "runs this Marble can hand them to you.",
    export_part="Part {part} of {count}.",
    forget_question="This removes your jobs, pictures, start images, favourites and settings for "
    "good. Sure?",
    forget_confirm="Remove everything",
    forgotten="Removed: {jobs} jobs and {files} picture files. Messages in chats stay where they "
    "are; delete them there.",
    forget_nothing="Nothing was kept of you.",
    newest="Newest",
    open_one="Open one",
    you="you",
    somebody="somebody",
    nothing_to_cancel="You have no job that waits or is drawn.",
    rules_title="What holds in {where}",
    rules_open="Pictures may be asked for: {open}",
    rule_aside="(moderators asked for {asked}, of which Marble's owner lets nothing any more)",
    rule_from="(set for {where})",
    rules_how="Bounds are written 1-30, several models or words with commas; “none” removes "
    "a rule. Nothing here widens what Marble's owner allows.",
    telegram_rules_how="Change them with `/rules --steps 1-30 --models starter --open no`; `none` "
    "removes a rule, `/rules group …` in a topic is for the whole group. Nothing here widens what "
    "Marble's owner allows. There are: {names}",
    rules_in_groups="Groups have rules: say this in one. What holds everywhere is for Marble's "
    "owner to say.",
    rule_and_value="Give `rule` and `value` together: which rule, and what it is to be.",
    rules={
        "per_minute": "jobs a minute of one person",
        "place_per_minute": "jobs a minute of all together",
        "daily": "million pixel-steps a day of one person",
        "waiting": "waiting jobs of one person",
        "place_waiting": "waiting jobs of all together",
        "running": "running jobs of one person",
        "place_running": "running jobs of all together",
        "blocked": "blocked words",
        "models": "models",
        "keep_days": "days that pictures are kept",
        "safety": "unsafe pictures",
        "pixels": "pixels of a finished picture",
        "images": "pictures to start from",
        "loras": "LoRAs",
        "controls": "ControlNets",
        "lora_weight": "weight of a LoRA",
        "control_strength": "strength of a ControlNet",
        "lora": "LoRAs by name",
        "control": "ControlNets by name",
        "vae": "VAEs",
        "upscaler": "upscalers",
        "upscale": "times larger",
        "schedule": "schedules",
        "sampler": "samplers",
    },
    this_channel="this channel",
    this_server="this server",
    this_group="this group",
    this_topic="this topic",
    channel_of_thread="the channel of this thread",
    yes="yes",
    no="no",
    queue_paused="The queue is paused: {reason}",
    queue_resumed="Jobs start again.",
    queue_not_paused="The queue was not paused.",
    settings_how="Change them with `/settings --steps 30 --size 512x768`, forget them with "
    "`/settings reset`.",
    mydata_how="`/mydata export` hands you everything that is kept of you, `/mydata delete` "
    "removes it.",
    styles_title="Styles here",
    styles_empty="No styles are kept here yet; moderators add them with /style add.",
    style_line="{name}: {prompt}",
    style_line_without="{name}: {prompt} (not: {negative})",
    style_kept="Style {name} is kept; `--style` and its name, among the words of a prompt, use it.",
    style_removed="Style {name} is gone; pictures that were drawn with it keep its words.",
    style_how="Add one with `/style add noir film noir, hard shadows --no colour`, remove it with "
    "`/style remove noir`, use it with `--style noir`.",
    ban_whom="Answer a message of whoever is meant, or name them like telegram:123456.",
    unknown_message="I know of no picture in that message.",
    unknown_form="I did not open that form for you: choose “Use as start image” on the picture "
    "again.",
    not_drawn="That picture is not drawn yet.",
    busy="That takes too long right now and nothing was queued; try again in a moment.",
    disk_full="The disk of this Marble is full, so nothing can be kept; whoever runs it has to "
    "make room.",
    database_out="The database of this Marble cannot be used right now, so nothing can be kept; "
    "whoever runs it finds the reason in the log.",
    put_off="{why} What you sent is not lost: it is dealt with after that.",
    album="Marble starts from one picture: answer the one that you mean with words.",
    missing_permission="I need the permission “{permission}” in this channel to answer; a "
    "moderator can give it to me.",
    permissions={
        "view_channel": "View Channels",
        "send_messages": "Send Messages",
        "send_messages_in_threads": "Send Messages in Threads",
        "attach_files": "Attach Files",
    },
    moderators_only="Only moderators can do that.",
    not_of_server="Only who may manage messages in all of this server can do that, not in this "
    "channel alone.",
    photo_too_large="That file has more than the 20 MB that Telegram hands to bots; send it as a "
    "photo.",
    photo_question="What should become of this picture? Answer with words.",
    not_honoured="Drawn again; not honoured: {what}.",
    ignored="Not honoured: {what}.",
    starts_from_others="That recipe starts from a picture that its file does not hold; give that "
    "picture to /imagine as its image.",
    not_a_picture="Marble can start from no such thing; send a photo, or a PNG, JPEG or WebP file.",
    restarting="Marble is being restarted; please ask again in a minute.",
    empty_prompt="Describe a picture, for example: a marble scholar.",
    unexpected="Something went wrong here, and its owner finds it in the log. Please try again.",
    ask_again="Marble was restarted before it could answer this. Please ask again.",
    ban_done="{who} may not ask for pictures here: {reason}",
    ban_lifted="{who} may ask for pictures here again.",
    no_ban="{who} was not banned here.",
    acts={
        "ban": "ban",
        "lift ban": "lift the ban of",
        "pause": "pause",
        "resume": "resume",
        "rules": "the owner's rules",
        "policy": "rules",
        "open": "open",
        "style": "keep a style",
        "remove style": "remove a style",
        "cancel": "cancel a job of",
        "delete": "delete a picture of",
    },
    details={
        "open": "pictures may be asked for",
        "reason": "reason",
        "until": "until",
        "name": "name",
        "job": "job",
        "no": "not in the picture",
    },
    acts_title="What moderators did",
    acts_empty="Nothing yet.",
    help=(
        "**Say what you want to see:** `/imagine a marble scholar holding a book`\n"
        "A picture is drawn step by step: first all is noise, and each step chisels some away.\n"
        "\n"
        "**Options** `steps` more is finer and slower · `guidance` how closely your words are "
        "followed · `negative` what to leave out · `count` several at once · `seed` the number "
        "that decides the noise: the same seed, words and options give the same picture, always.\n"
        "\n"
        "**Shape and style** `size` takes 768x512 or a shape like 3:2 · `style` adds words that "
        "this server keeps by a name (`/style list`) · `model` and `lora` say which hand draws.\n"
        "Options may stand among your words, too: `--seed 7 --size 3:2 --no fog`.\n"
        "\n"
        "**Buttons** U1–U4 enlarge one of a grid, V1–V4 draw others like it, 🔁 all anew; below a "
        "single picture: vary, enlarge, zoom out, go on to a side, edit its recipe. They work for "
        "years.\n"
        "\n"
        "**From a picture** give `/imagine` an `image` (`strength`: how much is drawn anew), or "
        "right-click any picture → Apps → Use as start image.\n"
        "\n"
        "**React to a picture** 🌱 again from its seed · 🎲 again with a new seed · ✉️ recipe and "
        "full size by DM · ⭐ keep · ❌ cancel or delete · 1️⃣–4️⃣ pick one of a grid\n"
        "\n"
        "**More** `/history` · `/settings` what holds when you type nothing else · `/queue` · "
        "`/cancel` · `/models` · `/stats` · `/privacy` · `/mydata`"
    ),
    telegram_help=(
        "**Say what you want to see:** any words become a picture, for example: a marble scholar "
        "holding a book\n"
        "In groups write `/imagine` before the words.\n"
        "\n"
        "**Options** anywhere among the words: `--steps` more is finer and slower · `--guidance` "
        "how closely your words are followed · `--no` what to leave out · `--count` several at "
        "once · `--size 512x768` · `--seed` the number that decides the noise: the same seed, "
        "words and options give the same picture, always. A second line says what to leave out, "
        "too.\n"
        "\n"
        "`--style` adds words that the group keeps by a name; `/style` lists them. "
        "Administrators say by `/rules` what may be drawn in their group.\n"
        "\n"
        "**Buttons** below a picture draw it again, hand you the file as it is, or tell its "
        "recipe. Answer a picture with other words to draw it again with these."
    ),
    privacy=(
        "**What is kept:** the recipes you ask for, their pictures, the pictures you give to start "
        "from, where and when you asked, your favourites and settings, the styles that you made "
        "for others, bans, and what you did as a moderator: all with whoever runs this Marble.\n"
        "**What is not:** other messages. Marble reads only what is said to it: commands and "
        "menus, buttons, reactions and answers to its own pictures, and what you write to it in "
        "private.\n"
        "**What you can do:** `/mydata export` hands you everything, `/mydata delete` removes it "
        "for good. Bans stay, so that they hold; styles and what you did as a moderator stay "
        "without your name. Backups hold what they held until newer ones replace them."
    ),
)
