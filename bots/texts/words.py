"""What Marble says to people, as one field a message; a language is one value of each.

A field's `{placeholders}` are filled by `str.format`; a test holds every language to the same ones.
What people wrote themselves is put in as a value, never as a template.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.events import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Hold every message of one language."""

    language: str  # its tag

    # How long things take
    seconds: str
    minutes: str
    hours: str

    # A job on its way
    submitted: str
    next_in_line: str
    nth_in_line: str
    with_eta: str
    paused: str
    stages: Mapping[Stage, str]
    progress: str
    cancelled: str
    failed: str
    lost_picture: str
    not_shown: str
    shrunk: str
    shrunk_everywhere: str

    # A picture and its recipe
    alt_text: str
    alt_text_grid: str
    made_from: str
    recipe_title: str
    fields: Mapping[str, str]
    statuses: Mapping[str, str]

    # Buttons and menus
    upscale: str
    vary_subtle: str
    vary_strong: str
    zoom_out: str
    edit: str
    recipe: str
    original: str
    delete: str
    rerun: str
    same_seed: str
    new_seed: str
    favourite: str
    older: str
    only_favourites: str
    everything: str
    cancel: str

    # Editing a recipe
    edit_title: str
    edit_prompt: str
    edit_negative: str
    edit_seed: str
    edit_seed_hint: str
    edit_changes: str
    edit_changes_hint: str

    # Starting from a picture
    no_picture: str
    mask_alone: str
    slow_picture: str
    start_title: str
    start_prompt: str
    start_strength: str

    # Answers
    deleted: str
    cancel_asked: str
    favourite_added: str
    favourite_removed: str
    sent_by_dm: str
    sent_anew: str
    dm_closed: str
    pick: str
    nothing_yet: str
    no_favourites: str
    history_title: str
    favourites_title: str
    settings_title: str
    settings_empty: str
    settings_saved: str
    settings_reset: str
    models_title: str
    model_line: str
    queue_title: str
    queue_empty: str
    queue_running: str
    queue_waiting: str
    and_more: str
    stats_yours: str
    stats_here: str
    export_ready: str
    export_without: str
    export_too_large: str
    export_part: str
    forget_question: str
    forget_confirm: str
    forgotten: str
    forget_nothing: str

    # More answers
    newest: str
    open_one: str
    you: str
    somebody: str
    nothing_to_cancel: str
    rules_title: str
    rules_open: str
    rule_aside: str
    rule_from: str
    rules_how: str
    telegram_rules_how: str
    rules_in_groups: str
    rule_and_value: str
    rules: Mapping[str, str]
    this_channel: str
    this_server: str
    this_group: str
    this_topic: str
    channel_of_thread: str
    yes: str
    no: str
    queue_paused: str
    queue_resumed: str
    queue_not_paused: str
    settings_how: str
    mydata_how: str
    styles_title: str
    styles_empty: str
    style_line: str
    style_line_without: str
    style_kept: str
    style_removed: str
    style_how: str
    ban_whom: str

    # Refusals
    unknown_message: str
    unknown_form: str
    not_drawn: str
    busy: str
    disk_full: str
    database_out: str
    put_off: str
    album: str
    missing_permission: str
    permissions: Mapping[str, str]  # by Discord's names
    moderators_only: str
    not_of_server: str
    photo_too_large: str
    photo_question: str
    not_a_picture: str
    not_honoured: str
    ignored: str
    starts_from_others: str
    restarting: str
    empty_prompt: str
    unexpected: str
    ask_again: str

    # Moderators
    ban_done: str
    ban_lifted: str
    no_ban: str
    acts: Mapping[str, str]  # by the names under which they are recorded
    details: Mapping[str, str]  # … of what was done
    acts_title: str
    acts_empty: str

    # Long texts
    help: str
    telegram_help: str
    privacy: str
