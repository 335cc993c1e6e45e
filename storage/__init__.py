"""Durable storage: jobs, their outbox, history, and the picture files.

    async with Storage.open(Path("data"), os.environ.get("MARBLE_DATABASE_URL")) as storage:
        await storage.worker.requeue_lost()             # at the start, and now and then
        job = await storage.jobs.add(                   # committed: now say "queued"
            NewJob(recipe=recipe, person="terminal:ada", place="terminal", reply={"any": "json"})
        )
        await storage.jobs.acknowledged(job.id, "terminal/7")        # the placeholder's message
        await storage.jobs.list_queued(after=0)         # oldest first; the queue orders them
        job = await storage.worker.claim(job.id)        # running, or None: somebody was faster
        await storage.jobs.rendered(job.id, job.epoch, pictures)     # engine.events.Picture
        await storage.jobs.failed(job.id, job.epoch, "why")          # or so,
        await storage.jobs.release(job.id, job.epoch)                # or given back,
        await storage.jobs.cancel(job.id)                            # or `TooLate` is raised
        for pending in await storage.outbox.list_due(["terminal"]):   # replies that wait
            await storage.jobs.delivered(pending.job.id, {"terminal/7": None})  # it has arrived
        job = await storage.jobs.get(12)                # with job.pictures; or `UnknownJob`
        job, picture = await storage.jobs.by_message("terminal/7")   # for buttons; or None
        storage.pictures.path(job.pictures[0])          # its file; picture.name is "12.1"
        await storage.history.page(person="terminal:ada", before=12)  # the next page
        await storage.history.search("marble 学者 schol*")

Beside these: `inbox` (what a platform handed over), `history.lineage` and `.stats`, `figures` (of
the last day), `favourites`, `people` (settings), `styles`, `moderation` (bans, pauses, acts),
`care` (check, backup, prune), `exports`, `privacy` (forget): docs/storage.md.
Records are frozen. Every error is an `engine.errors.UserError`: one sentence fit for people.
Several processes may open one database: a process never touches a living one's running jobs.
"""

from storage.errors import (
    DatabaseFault,
    IllegalStep,
    StaleEpoch,
    StorageError,
    TooLate,
    UnknownJob,
    UnknownPicture,
)
from storage.jobs.jobs import Jobs
from storage.jobs.outbox import Outbox
from storage.records import InboxEntry, Job, NewJob, Pause, PendingReply, Picture, parse_name
from storage.states import Status
from storage.storage import Storage

__all__ = [
    "DatabaseFault",
    "IllegalStep",
    "InboxEntry",
    "Job",
    "Jobs",
    "NewJob",
    "Outbox",
    "Pause",
    "PendingReply",
    "Picture",
    "StaleEpoch",
    "Status",
    "Storage",
    "StorageError",
    "TooLate",
    "UnknownJob",
    "UnknownPicture",
    "parse_name",
]
