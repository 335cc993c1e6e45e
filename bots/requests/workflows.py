"""Draw what the owner's workflows say, with what people set in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bots.admission.gate import Gate
from bots.admission.rulebook import WORKFLOWS, is_among
from bots.requests.loaded_pictures import OURS, describe, find_beside
from bots.requests.options import Flag, Values, parse_values
from bots.requests.permutations import permutations
from bots.requests.studio import Asker, Studio
from bots.requests.typed_options import Typed
from bots.requests.workflow_file import IMAGE, MASK, Workflow
from bots.requests.workflow_folder import Contents, WorkflowFolder
from engine.errors import GraphError, ImageError, UserError, nearest, shorten, some
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import pictures_of
from engine.pictures.images import BYTES
from engine.recipe.limits import check_words
from engine.sentences import Sentence
from storage import Job
from storage.jobs.picture_files import Pictures

WORKFLOW: Final = Flag(name="workflow", example="NAME")

Choice = tuple[str, Typed]  # words, and the options beside them


class UnknownWorkflow(UserError):
    """Names the unknown workflow and the nearest known one."""

    def __init__(self, name: str, known: list[str]) -> None:
        short, near, listed = shorten(name), nearest(name, known), some(known)
        super().__init__(
            Sentence("unknown_workflow", name=short, near=near, known=listed)
            if listed
            else Sentence("no_workflow", name=short)
        )


@dataclass(frozen=True, slots=True)
class Workflows:
    """The workflows of a folder, as a place may use them."""

    folder: WorkflowFolder
    studio: Studio
    pictures: Pictures
    gate: Gate

    async def look(self) -> Contents:
        """Return all that the folder holds."""
        return await asyncio.to_thread(self.folder.look)

    async def offered(self, place: str) -> list[Workflow]:
        """Return the workflows that a place's rules allow, by name."""
        allowed = (await self.gate.in_force(place)).rules.get(WORKFLOWS)
        known = (await self.look()).workflows
        return [
            known[name]
            for name in sorted(known)
            if allowed is None or is_among(WORKFLOWS, name, allowed)
        ]

    async def draw(self, name: str, values: Values, asker: Asker) -> Job:
        """Commit and start a job for a workflow's picture, or raise `UserError`.

        values: what people set, by fields of a recipe; `image` and `mask` are stored pictures, and
        mean what the workflow loads, whatever it makes of that. Nobody's default options count.
        """
        workflow = _find(name, (await self.look()).workflows)
        if workflow is None:
            offered = await self.offered(asker.place)
            raise UnknownWorkflow(name, [each.name for each in offered])
        await self.gate.check_workflow(asker, workflow.name)
        workflow.check(values)
        pictures = await self._pictures(workflow, values)
        reading = await asyncio.to_thread(workflow.read, pictures)
        return await self.studio.draw_reading(reading, workflow.drawn(reading, values), asker)

    async def _pictures(self, workflow: Workflow, values: Values) -> dict[str, LoadedPicture]:
        """Return what a workflow loads: what people gave, or what lies beside it."""
        found = {}
        mask: str | None = values.get(MASK)
        for file, channels in pictures_of(workflow.graph.nodes).items():
            # Whatever the graph takes a mask from, and turns round: white is what is drawn.
            masks = {channel: mask for channel in channels if mask}
            if file == MASK and mask:
                found[file] = LoadedPicture(image=mask, masks=masks)
            elif not OURS.fullmatch(file):
                image = values.get(file) or await self._keep(workflow, file)
                loaded = await describe(image, channels, self.studio, self.pictures)
                found[file] = replace(loaded, masks=masks) if file == IMAGE and masks else loaded
        return found

    async def _keep(self, workflow: Workflow, file: str) -> str:
        """Store a picture that lies beside a workflow; raises `UserError` where none does."""
        called = workflow.files.get(file, file)
        path = find_beside(workflow.folder, called)
        if path is None:
            if file in workflow.files:
                raise UserError(Sentence("workflow_wants", name=workflow.name, given=file))
            raise UserError(Sentence("workflow_lacks_picture", picture=called))
        try:
            return await self.studio.keep_image(await asyncio.to_thread(_read, path))
        except OSError:
            raise UserError(Sentence("workflow_lacks_picture", picture=called)) from None
        except ImageError as error:
            facts = {"picture": shorten(called), "why": error.said}
            raise GraphError(Sentence("workflow_bad_picture", **facts)) from None


def take_workflow(typed: Typed) -> tuple[str | None, Typed]:
    """Return the workflow among options that were typed, if any, and the others."""
    names = [text for name, text in typed if name == WORKFLOW.name]
    return (names[-1] if names else None), [each for each in typed if each[0] != WORKFLOW.name]


def read_choices(text: str, read: Callable[[str], Choice]) -> tuple[list[Choice], str | None]:
    """Return what a text asks for, a job for each choice in braces, and the workflow it names.

    read: how the place reads the text of one job, with `WORKFLOW` among its flags. Raises what it
    raises, and `UserError` for too many choices and for a workflow of several.
    """
    choices, names = [], []
    for each in permutations(text):
        words, typed = read(each)
        name, options = take_workflow(typed)
        choices.append((words, options))
        names.append(name)
    if len(names) > 1 and any(names):
        raise UserError(Sentence("permuted_workflow"))
    return choices, names[0]


def values_of(
    choice: Choice, workflow: str | None, parse: Callable[[Typed], Values] = parse_values
) -> Values:
    """Return what a job is asked for with; raises `UserError`: only workflows have words already.

    parse: how the place reads options.
    """
    words, options = choice
    if workflow is not None and not words:
        return parse(options)
    check_words(words)
    return {"prompt": words} | parse(options)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BYTES + 1)


def _find(name: str, known: Mapping[str, Workflow]) -> Workflow | None:
    """Return the workflow of a name, in any case of letters."""
    if name in known:
        return known[name]
    for each in sorted(known):
        if each.casefold() == name.strip().casefold():
            return known[each]
    return None
