"""`marble serve`: draw for everybody until told to stop, and hand out what is ready.

Today it draws what terminals left to it (`marble imagine … --later`).
"""

from collections.abc import Sequence

from bots.app import open_app
from bots.delivery import Delivery, Shown, Way
from bots.settings import Settings
from storage import Parcel


class Shelf:
    """Answer terminals that did not wait: their pictures lie in their history."""

    name: str = "terminal"
    ways: Sequence[Way] = (Way("keep", repeatable=True),)

    async def deliver(self, parcel: Parcel, way: Way) -> Shown:
        """Do nothing: there is no message to send."""
        return {}


async def serve(settings: Settings) -> None:
    """Work until cancelled; jobs at hand are then given back to the queue."""
    async with open_app(settings, serving=True) as app:
        shelf = Shelf()
        delivery = Delivery(app.storage.jobs, app.storage.outbox, {shelf.name: shelf})
        await delivery.run()
