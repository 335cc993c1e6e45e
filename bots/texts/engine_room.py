"""What people read in the engine room of the web page, in English.

`bots.texts.chinese.engine_room` has Chinese. What other pages and the chats need as well is in
`bots.texts.web` and `bots.texts.words`.
"""

from collections.abc import Mapping
from typing import ClassVar


class EngineRoom:
    """Every message of the engine room in English; a class of another language overrides all."""

    __slots__ = ()

    # Every page
    title = "Engine room"
    tabs: ClassVar[Mapping[str, str]] = {
        "queue": "Queue",
        "figures": "Figures",
        "devices": "Devices",
        "models": "Models",
        "rules": "Rules",
        "bans": "Bans",
        "log": "Log",
        "upkeep": "Upkeep",
    }
    pages = "Pages of the engine room"
    stale = "This cannot be read at the moment and may be old; it is tried again."
    cancel = "Cancel"
    person = "Person"
    place = "Place"
    place_how = "Such as discord:SERVER, discord:SERVER/CHANNEL or telegram:CHAT; * is everywhere."
    person_how = "Such as discord:123 or telegram:123."
    reason = "Reason"
    show = "Show"
    older = "Older"
    by = "By"
    state = "State"

    # The queue
    counts = "{running} {running:job|jobs} running, {waiting} waiting."
    replies = "{count} {count:reply waits|replies wait} to be delivered."
    paused_for = "Paused for {time} by {by}: {reason}"
    paused = "Nothing starts: {reason}"
    pause = "Pause"
    pause_reason = "Reason that people who wait see"
    resume = "Resume"
    position = "In line"
    runs = "runs"
    job = "Job"
    what = "What"
    steps = "{n} {n:step|steps}"
    age = "Age"
    ready_in = "Ready in"
    lost = "again: the process that drew it died"
    alone = "alone: a process that drew it died"
    ahead = "put before others"
    next = "Draw next"
    next_job = "Draw job {job} next"
    cancel_job = "Cancel job {job}"

    # Figures
    figures_about = "The last 24 hours, by the hour (UTC) in which jobs ended."
    figures_cut = "There were so many jobs that only the latest are counted."
    pictures = "Pictures"
    waits = "Seconds from asking to the picture"
    half_within = "half within"
    most_within = "19 of 20 within"
    failures = "Failed jobs"
    cancelled = "Cancelled"
    drawn = "Drawn"
    hour = "Hour"
    at_most = "The most is {value}, at {hour}."
    none_yet = "There is nothing to show yet."
    as_table = "The same as a table"
    errors = "Most frequent errors"
    times = "Times"
    error = "Error"
    budgets = "Budgets"
    budgets_about = (
        "Who spent most in the last 24 hours, in millions of pixels × steps. What failed or was "
        "cancelled costs nothing."
    )
    budgets_plot = (
        "The bars rise by what was spent until each hour; their upper edge is the budget, or what "
        "was spent most."
    )
    spent_of = "{spent} of {budget}"
    hours = "By the hour"
    budget_everywhere = "Each person may spend {budget} a day where no place has its own rule."
    no_budget = "Nobody's budget is limited where no place has its own rule."
    spent = "Spent"
    jobs = "Jobs"

    # Devices
    engines = "Engines"
    no_engine = "No engine runs yet."
    device = "Device"
    kind = "Kind"
    up = "up"
    held = "Models loaded"
    no_model = "none yet"
    restarts = "Restarts"
    running_jobs = "Jobs"
    width = "Rows in a call"
    width_about = (
        "Rows in a call of the network are a mean since the engine's start; with guidance a "
        "picture has two. The memory is that of the engine's process."
    )
    memory = "Memory"
    gpus = "GPUs"
    busy = "Busy"
    heat = "Temperature"
    machine = "Machine"
    processors = "{n} {n:processor|processors}; load {load} in the last minute."
    machine_memory = "{available} of {memory} of memory are free."

    # Models
    models_about = "What is in the folder of models."
    # By the names of `engine.models.memory_plan.Fit`; size: what is missing, or taken at a time.
    fits: ClassVar[Mapping[str, str]] = {
        "whole": "fits",
        "in_turns": "fits, its parts in turns: {size} at a time",
        "by_groups": "fits, by groups: {size} at a time",
        "not": "does not fit: {size} more",
    }
    fits_unknown = "Whether they fit into memory is shown once an engine has started."
    model = "Model"
    size = "Size"
    defaults = "Defaults"
    check = "Check"
    check_model = "Check {name}"
    check_all = "Check all"
    check_about = (
        "A check loads the model; one of a single model also draws a small picture. It takes "
        "memory beside the engine."
    )
    parts = "Beside the models"
    offers = "Fetch a model"
    offers_about = "From the Hugging Face hub, into the folder of models."
    no_folder = "Models need a folder to be fetched into: name one with MARBLE_MODELS_DIR."
    licence = "Licence"
    gated = "accept it on the hub first"
    gpu_memory = "GPU memory"
    get = "Fetch"
    get_model = "Fetch {name}"
    address = "owner/name of a folder on the hub, or owner/name/file.safetensors"

    # Commands that run
    commands: ClassVar[Mapping[str, str]] = {
        "doctor": "Findings",
        "check": "Check of models: {about}",
        "get": "Fetching {about}",
        "backup": "Backup",
    }
    all_models = "all"
    running_since = "It has been running for {time}, started by {by}."
    ended_well = "It ended after {time}, {at}."
    ended_badly = "It did not succeed, {at}."
    was_cancelled = "It was cancelled, {at}."
    progress = "Progress"

    # Rules
    rules_choose = "Rules of a place"
    rules_places = "Places with rules of their own"
    everywhere = "everywhere"
    rules_in_force = "In force in {place}"
    rules_owner = "The owner's rules of {place}"
    rules_moderators = "Moderators' rules of {place}"
    rules_about = (
        "An empty field leaves the rule to the places around this one. A list with a comma alone "
        "allows none of its names. In force now is what stands below each field."
    )
    rules_narrow = "They can only be stricter than the owner's."
    rules_now = "now: {value}"
    no_rule = "no limit"
    rules_save = "Save the rules"
    rules_saved = "The rules of {place} were saved."
    rules_unchanged = "No rule was changed."
    is_open = "Pictures may be asked for here"
    as_around = "Yes, unless a place around it says no"

    # Bans
    bans_about = "Bans that hold now, the newest first."
    bans_cut = "Only the newest {count} are listed."
    no_bans = "Nobody is banned."
    ban = "Ban"
    ban_hours = "Hours (empty: without end)"
    until = "Until"
    no_end = "without end"
    lift = "Lift"
    lift_of = "Lift the ban of {person} in {place}"

    # Log
    log_about = "What owners and moderators did, the newest first. Times are in UTC."
    log_empty = "There is no such entry."
    when = "When"
    act = "What was done"
    target = "To whom or what"
    detail = "Details"

    # Upkeep
    disk = "Disk"
    disk_free = "{free} of {total} are free where Marble keeps its data."
    database = "Database"
    findings = "Findings"
    findings_about = "What the command marble doctor says of everything that Marble stands on."
    examine = "Run marble doctor now"
    finding_states: ClassVar[Mapping[str, str]] = {
        "ok": "good",
        "look": "worth a look",
        "wrong": "wrong",
    }
    subject = "Subject"
    finding = "Finding"
    backups = "Backups of the database"
    backups_about = (
        "The latest {kept} of every night are kept; those made here stay until you delete them in "
        "the folder “backups”. They hold no pictures."
    )
    no_backups = "There is no backup yet."
    back_up = "Make one now"
    file = "File"
