"""`marble clip`: vectors of pictures, by which they are found by meaning."""

import argparse
from typing import Final

from bots.operations.settings import Settings
from bots.requests.likeness import Likeness
from bots.terminal.console import open_console
from engine.executors.embedding import MOST, Embedding
from engine.sentences import fill
from storage import Storage

DONE: Final = "{n} {n:picture has a vector|pictures have vectors} by {model}."


async def index(arguments: argparse.Namespace, settings: Settings) -> None:
    """Make the vectors of all pictures that have none by this model, the newest first.

    It may be ended and begun again at any time.
    """
    console = open_console()
    async with (
        Storage.open(settings.data_dir, settings.database_url, settings.pictures_url) as storage,
        Embedding(settings.clip_model) as embedding,
    ):
        likeness = Likeness(storage, embedding)
        with console.status("Loading the model …") as status:
            tower = await likeness.tower()
            await storage.vectors.prune()
            have, drawn = await storage.vectors.count(tower)
            before = None
            while some := await storage.vectors.lacking(tower, before=before, limit=MOST):
                before = (some[-1].job, some[-1].index)
                left_out = await likeness.index(some)
                have += len(some) - len(left_out)
                for picture, why in left_out:
                    console.print(f"{picture.name} is left out: {why}", soft_wrap=True)
                status.update(f"Pictures with vectors: {have:,} of {drawn:,} …")
            have, _ = await storage.vectors.count(tower)  # another process may make some, too
        console.print(fill(DONE, n=have, model=tower.name))
