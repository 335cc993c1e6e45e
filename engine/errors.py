"""What can go wrong, as one tree.

MarbleError
├── UserError                  safe to show to people: one sentence on what is wrong and right
│   ├── OptionError            an option's value is out of range, or not of its kind
│   ├── UnknownOption          an option by that name does not exist
│   ├── PromptError            a prompt cannot be read
│   ├── ImageError             a picture or mask that was given cannot be used
│   ├── UnknownModel           no model by that name
│   ├── UnknownPart            no upscaler or ControlNet by that name
│   ├── MissingVae             a model's file holds no VAE, and none is named
│   ├── BrokenModel            a model's files are missing, truncated or of the wrong kind
│   ├── OutOfMemory            a picture needs more memory than there is
│   ├── NotFinite              a network answered with values that are no numbers
│   ├── MissingPicture         a start image, mask or ControlNet image is not in the picture store
│   ├── SettingError           an environment variable's value cannot be used
│   ├── DeviceFault            a device is not there, or does not work
│   └── MetadataError          a picture holds no recipe that can be read
│       └── GraphError         its ComfyUI graph does what Marble cannot
├── EngineError                the engine met an error that it did not expect
├── Lost                       the process that drew it died; it may be tried again
└── Cancelled                  somebody asked for the work to stop

Constructors take facts and write the message, as a `Sentence` where people in chats may meet it.
Texts of other rooms (storage, the chats) extend `UserError`, so that an edge needs one `except` to
know what it may show.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import ClassVar, Final, cast

from engine.sentences import Sentence

LISTED: Final = 10  # names in a sentence
LONGEST_PATH: Final = 1000  # characters of a path or setting in a message to the owner
LONGEST: Final = 300  # characters of a name that others are compared with; files' have 255 at most
BRACKETS: Final[Mapping[type, tuple[str, str]]] = {list: ("[", "]"), tuple: ("(", ")")}


class MarbleError(Exception):
    """Root of every error that Marble raises on purpose."""


class UserError(MarbleError):
    """Carry one sentence that may be shown to the person who asked.

    A `passing` one may mend itself: what was asked for can be tried again as it is.
    """

    passing: ClassVar[bool] = False

    @property
    def said(self) -> str:
        """Return the sentence; one with a code can be said in other languages (`bots.texts`)."""
        return self.args[0] if self.args and isinstance(self.args[0], str) else str(self)


class Cancelled(MarbleError):
    """The work was stopped because somebody asked for it."""

    def __init__(self) -> None:
        super().__init__("cancelled")


class EngineError(MarbleError):
    """Carry an unexpected error out of the engine; its traceback is in the engine's log."""

    def __init__(self, error: Exception | str) -> None:
        super().__init__(error if isinstance(error, str) else f"{type(error).__name__}: {error}")


class Lost(MarbleError):
    """The process that drew a job died, and how; the job may be tried again.

    alone: it had no other job, so that nothing else can have been the cause; outside: the cause is
    known to be none of its jobs, such as a network that is gone.
    """

    def __init__(self, how: str, *, alone: bool = False, outside: bool = False) -> None:
        super().__init__(how)
        self.alone = alone
        self.outside = outside


class OptionError(UserError):
    """Name the option, the given value and the allowed values.

    called: what people type for the option, where that is not the field's name.
    """

    def __init__(
        self, option: str, value: object, allowed: str, *, called: str | None = None
    ) -> None:
        self.option = option
        self.value = value
        self.allowed = allowed
        given = value if isinstance(value, Sentence) else shorten(value)
        called = called or option
        super().__init__(
            Sentence("bad_option", option=option, called=called, allowed=allowed, given=given)
        )


class UnknownOption(UserError):
    """Name the unknown option and the nearest known one."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(Sentence("unknown_option", name=shorten(name), near=nearest(name, known)))


class UnknownCommand(UserError):
    """Name the unknown command, and the one to use instead or the nearest known one."""

    def __init__(self, name: str, known: Iterable[str], instead: str = "") -> None:
        near = Sentence("nearest", name=instead) if instead else nearest(name, known)
        super().__init__(Sentence("unknown_command", name=shorten(name), near=near))


class PromptError(UserError):
    """Say why a prompt cannot be used."""


class ImageError(UserError):
    """Say why a picture or a mask that was given cannot be used."""


class UnknownModel(UserError):
    """Name the unknown model and the ones that are there."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        short, near, listed = shorten(name), nearest(name, names), some(names)
        super().__init__(Sentence("unknown_model", name=short, near=near, known=listed))


class UnknownPart(UserError):
    """Name a missing part (an upscaler, say), and those that exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        short, near, listed = shorten(name), nearest(name, names), some(names)
        super().__init__(
            Sentence("unknown_part", kind=kind, name=short, near=near, known=listed)
            if names
            else Sentence("no_part", kind=kind, name=short)
        )


class MissingVae(UserError):
    """A model lacks a VAE, and which could stand in for it."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        listed = f" ({some(known)})" if known else ""
        super().__init__(Sentence("missing_vae", name=name, known=listed))


class BrokenModel(UserError):
    """Name the file that cannot be loaded and why.

    kind: what it is, where it is no model ("LoRA", say).
    """

    def __init__(self, name: str, reason: str, kind: str = "") -> None:
        self.name = name
        self.reason = reason
        self.kind = kind
        super().__init__(
            Sentence("broken_part", kind=kind, name=name, reason=reason)
            if kind
            else Sentence("broken_model", name=name, reason=reason)
        )


@contextmanager
def reading_a(kind: str) -> Iterator[None]:
    """Name the kind of file that is read in each `BrokenModel` that names none."""
    try:
        yield
    except BrokenModel as error:
        if error.kind:
            raise
        raise BrokenModel(error.name, error.reason, kind) from error.__cause__


class OutOfMemory(UserError):
    """A picture did not fit into memory, on any rung of the ladder."""


class NotFinite(UserError):
    """Say where a picture's values stopped being numbers (NaN or infinity)."""


class MissingPicture(UserError):
    """Name the stored picture that a recipe needs and that is not there."""

    def __init__(self, sha256: str) -> None:
        super().__init__(Sentence("missing_picture", picture=sha256[:12]))


class PicturesAway(UserError):
    """The store of pictures does not answer, so a recipe's pictures cannot be read now.

    detail: which store, and why; for logs.
    """

    passing = True

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(Sentence("pictures_away"))


class SettingError(UserError):
    """Name the environment variable, its value and the allowed values."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"{key} must be {allowed}, not {shorten(value, LONGEST_PATH)}.")


class DeviceFault(UserError):
    """A device cannot be used; the text says why."""


class MetadataError(UserError):
    """Say why no recipe can be read from a picture."""


class GraphError(MetadataError):
    """Name the part of a ComfyUI graph that cannot be read."""


def some(names: Sequence[str], most: int = LISTED) -> str:
    """Return names for a sentence: the first few, and an ellipsis for all others."""
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the closest known name, or nothing."""
    found = closest(name, known)
    return Sentence("nearest", name=found) if found else ""


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like another one, or nothing."""
    if len(name) > LONGEST:  # comparing takes a while for each letter
        return ""
    # What all options share, or all commands, is no likeness.
    name, plain = name.lstrip("-/"), {each.lstrip("-/"): each for each in known}
    # A file in another folder is near, however long the folder's name.
    found = get_close_matches(name, plain, n=1, cutoff=0.6) or get_close_matches(
        name.rpartition("/")[2], plain, n=1, cutoff=0.8
    )
    return plain[found[0]] if found else ""


def shorten(value: object, limit: int = 60) -> str:
    """Quote a value for a message, cut to `limit` characters so that no message floods a chat.

    No more of it is looked at than is shown: it may be a stranger's, of any size.
    """
    text = ""
    try:
        for part in _quoted(value, limit + 1):
            text += part
            if len(text) > limit:
                return f"{text[: limit - 1]}…"
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        return f"what is too large to be shown ({type(value).__name__})"
    return text


def _quoted(value: object, room: int) -> Iterator[str]:
    """Yield the parts of what `repr` returns for a value, each of some `room` characters at most.

    Of longer texts the beginning is quoted.
    """
    if isinstance(value, str):
        yield repr(value[:room])
    elif isinstance(value, (bytes, bytearray)):
        yield repr(bytes(value[:room]))
    elif type(value) is dict:
        yield "{"
        for at, (key, each) in enumerate(value.items()):
            yield ", " if at else ""
            yield from _quoted(key, room)
            yield ": "
            yield from _quoted(each, room)
        yield "}"
    elif type(value) in BRACKETS:
        left, right = BRACKETS[type(value)]
        yield left
        for at, each in enumerate(cast(Sequence[object], value)):
            yield ", " if at else ""
            yield from _quoted(each, room)
        yield f",{right}" if type(value) is tuple and len(value) == 1 else right
    else:
        yield repr(value)[:room]


def first_line(error: BaseException) -> str:
    """Return an error's message as a part of a sentence: its first line, 200 characters at most."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # torch announces what is wrong before it says it.
    first = lines[1 if len(lines) > 1 and lines[0].startswith("Error(s)") else 0]
    return first.strip()[:200].rstrip(".")
