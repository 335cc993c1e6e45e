"""Read the JSON of other programs, by the tables in `engine.formats.tool_tables`.

Keys are compared without case, blanks being underscores: versions of one program differ in these.
"""

import html
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from engine.errors import MetadataError, OptionError, shorten, some
from engine.formats.a1111.names import sampling
from engine.formats.a1111.settings import Settings
from engine.formats.a1111.syntax import NAME, take_networks
from engine.formats.reading import Reading
from engine.formats.tool_tables import DREAM, TOOLS, Tool
from engine.recipe.limits import BROWNIAN, GPU, RANGES, is_int
from engine.recipe.parts import Lora
from engine.sentences import Sentence

WHOLE: Final = ("seed", *(name for name, allowed in RANGES.items() if allowed.step is not None))
MOST: Final = 24  # of the other values, and of LoRAs
TEXT: Final = 10_000  # characters of a prompt that are looked at; a recipe takes 2,000
LONGEST: Final = 60  # characters of a value in a message
SIZE: Final = re.compile(r"(\d{1,9})\D{1,4}(\d{1,9})")
SECOND: Final = ("refiner", "refiner_at", "aesthetic_score", "negative_aesthetic_score")
PROMPTS: Final = ("prompt", "negative_prompt")  # which may be empty; other texts are not there then
# Values that say nothing: of a list of other values they are left out.
UNSET: Final = ("None", "Default (model)")
NOTHING: Final[tuple[object, ...]] = (None, "", False, 0, [], {}, *UNSET)
FIRST: Final = {tool.marks[0].partition(".")[0] for tool in TOOLS}  # by which each is known
WHOLE_STRENGTH: Final = ("strength", 1)
# The command that InvokeAI's first versions wrote: a prompt in quotes, and options behind it.
LONGEST_COMMAND: Final = 100_000  # characters
QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\s+-)', re.DOTALL)
TOKEN: Final = re.compile(r'(?:"[^"]*"|[^\s"])+|"')
OPTION: Final = re.compile(r"(--[A-Za-z][\w-]*|-[A-Za-z])=?(.*)", re.DOTALL)
# XML's own; U+0000, which no XML has, stands for & until all others are undone.
ESCAPES: Final = {"&amp;": "\0", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
XMP_NAMES: Final = ("exif:UserComment", "dc:description")
ENTRY: Final = re.compile(r"<rdf:li[^<>]{0,99}>([^<]*)</rdf:li>")
EMBEDDING: Final = re.compile(r"<embed(?:ding)?:([^<>]*)>", re.IGNORECASE)


def read_json(data: object, beside: Mapping[str, str]) -> Reading | None:
    """Read JSON by the first of `TOOLS` whose it is; None where it is nobody's.

    beside: the other texts of the file.
    """
    if not isinstance(data, Mapping):
        return None
    if not FIRST & {_plain(str(key)) for key in data}:  # a graph, most often
        return None
    plain = _plain_keys(data)
    for tool in TOOLS:
        if all(_at(plain, mark) is not None for mark in tool.marks):
            return _read(tool, plain, beside)
    return None


def read_dream(text: str) -> Reading | None:
    """Read the command that InvokeAI's first versions wrote; None where it is none.

    Raises `MetadataError` for one that is longer than any.
    """
    text = text.strip()
    if text.startswith('"') and len(text) > LONGEST_COMMAND:
        raise MetadataError(Sentence("text_long", most=LONGEST_COMMAND))
    if (prompt := QUOTED.match(text)) is None:
        return None
    options: dict[str, list[str]] = {}
    key = ""
    for token in TOKEN.findall(text[prompt.end() :]):
        if option := OPTION.fullmatch(token):
            key = option[1]
            options[key] = [option[2]]
        elif not key:
            return None
        else:
            options[key].append(token)
    if not any(way in options for ways in DREAM.fields.values() for way in ways):
        return None
    words = re.sub(r'\\(["\\])', r"\1", prompt[1])
    given = {key: " ".join(parts).strip(' "') or True for key, parts in options.items()}
    return _read(DREAM, {"Dream": words, **given}, {})


def comments_in_xmp(xmp: str) -> Iterator[str]:
    """Yield the comment and the description in a picture's XMP, where they are there."""
    for name in XMP_NAMES:
        start = xmp.find(f"<{name}>")
        said = ENTRY.search(xmp, start) if start >= 0 else re.search(rf'\b{name}="([^"<]*)"', xmp)
        if said:
            yield _unescaped(said[1]).strip()


def _unescaped(text: str) -> str:
    """Undo XML's escapes; its own five at once, as JSON may have hundreds of thousands of them."""
    for escape, sign in ESCAPES.items():
        text = text.replace(escape, sign)
    return html.unescape(text).replace(ESCAPES["&amp;"], "&")


def owner_of(data: Mapping[str, Any]) -> str | None:
    """Return whose workflow JSON is, None where it may be ComfyUI's."""
    nodes = data.get("nodes")
    first = nodes[0] if isinstance(nodes, list) and nodes else None
    kind = first.get("type") if isinstance(first, Mapping) else None
    return "InvokeAI" if kind == "invocation" else None


def _plain_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with plain keys, and those of objects within it."""
    return {
        _plain(str(key)): (
            {_plain(str(k)): v for k, v in value.items()} if isinstance(value, Mapping) else value
        )
        for key, value in data.items()
    }


def _plain(key: str) -> str:
    return key.strip().lower().replace(" ", "_")


def _at(data: Any, way: str) -> Any:
    """Return what stands at the end of a way of keys and numbers, None where nothing does."""
    for key in way.split("."):
        if isinstance(data, Mapping):
            data = data.get(key)
        elif isinstance(data, list) and key.isdigit() and int(key) < len(data):
            data = data[int(key)]
        else:
            return None
    return data


def _read(tool: Tool, data: Mapping[str, Any], beside: Mapping[str, str]) -> Reading:
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    taken: set[str] = set()
    for option, ways in tool.fields.items():
        for way in ways:
            value = _at(data, way)
            if value == "" and option not in PROMPTS:
                continue
            if value is not None and value not in UNSET and not isinstance(value, (list, dict)):
                values[option], where[option] = _value(option, value), way.rpartition(".")[2]
                taken.add(way)
                break
    for option, key in tool.beside.items():
        if values.get(option) is None and beside.get(key):
            values[option], where[option] = beside[key], key
    _read_second(tool, data, values, taken)
    if isinstance(size := values.get("width"), str) and (sides := SIZE.search(size)):
        values["width"], values["height"] = int(sides[1]), int(sides[2])
        where["height"] = where["width"]
    given, schedule = values.get("sampler"), values.get("schedule")
    values["sampler"], values["schedule"], noise = sampling(
        str(given or ""), None if schedule is None else str(schedule)
    )
    if given and tool.on_comfyui:
        on_gpu = tool.sde_on_gpu and values["sampler"] in BROWNIAN
        values["noise"], where["noise"] = GPU if on_gpu else noise, where["sampler"]
    if given and values["schedule"] is None:
        values["schedule"] = tool.schedule
    values["sampler"] = values["sampler"] or None
    where.setdefault("schedule", where.get("sampler", ""))
    loras, notes = _loras(tool, data, taken)
    tags = Settings("")
    for option in PROMPTS:
        if isinstance(text := values.get(option), str):
            text, left_out = _for_the_whole(tool, text[:TEXT])
            notes += [*left_out, *_syntax(tool, text)]
            values[option], tagged = take_networks(text, tags)
            loras = [*tagged, *loras]
    values["loras"], where["loras"] = tuple(loras), "loras"
    notes = [*tags.left(), *notes, *_others(tool, data, taken)]
    return Reading.of(tool.name, values, where, notes)


def _read_second(
    tool: Tool, data: Mapping[str, Any], values: dict[str, Any], taken: set[str]
) -> None:
    """Complete what is said of a second model; what cannot be drawn is left, to be listed."""
    name, at, steps = (values.get(option) for option in ("refiner", "refiner_at", "steps"))
    second = tool.second
    if second and isinstance(at, float):
        at = 1 - at if second.from_end else at
        at = round(steps * at) / steps if second.rounds and is_int(steps) and steps else at
        only = all(_at(data, way) == its for way, its in second.only.items())
        if name and only and at in RANGES["refiner_at"]:
            taken.update(second.only)
            values |= {"refiner_at": at, "refiner_by": second.by}
            return
    for option in SECOND:
        values.pop(option, None)
        if name:
            taken.difference_update(tool.fields.get(option, ()))


def _value(option: str, value: Any) -> Any:
    """Return a value as a recipe has it; what cannot be one stays, to be named."""
    if isinstance(value, str) and (option in RANGES or option == "seed"):
        try:
            value = float(value) if option not in WHOLE or "." in value else int(value[:21])
        except ValueError:
            return value
    if option in WHOLE and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _for_the_whole(tool: Tool, text: str) -> tuple[str, list[str]]:
    """Return the words that are for the whole picture, and notes of those that are not."""
    if tool.section is None:
        return text, []
    words, *sections = tool.section.split(text)
    others: list[str] = []
    for tag, behind in zip(sections[::2], sections[1::2], strict=True):
        if tag.lower() == "<base>":
            words = f"{words.rstrip()} {behind.lstrip()}"
        else:
            others.append(f"{tag}{behind.rstrip()}")
    if sections:
        words = words.strip()
    words = EMBEDDING.sub(_embedding, words)
    shown = some([shorten(each)[1:-1] for each in dict.fromkeys(others)])
    why = Sentence("tool_section")
    return words, [Sentence("a1111_words", words=shown, why=why)] if shown else []


def _embedding(tag: re.Match[str]) -> str:
    """Return a tag of an embedding as Marble reads it; a name that it cannot read stays."""
    return f"embedding:{tag[1]}" if NAME.fullmatch(tag[1]) else tag[0]


def _syntax(tool: Tool, text: str) -> Iterator[str]:
    """Yield what of a program's prompt Marble would draw as words."""
    if tool.syntax is not None:
        found = dict.fromkeys(each[0] for each in tool.syntax.finditer(text))
        if words := some([shorten(each)[1:-1] for each in found]):
            yield Sentence("a1111_words", words=words, why=Sentence("tool_syntax"))


def _loras(tool: Tool, data: Mapping[str, Any], taken: set[str]) -> tuple[list[Lora], list[str]]:
    """Return the LoRAs, and notes of what is none; the ways to the lists are added to `taken`."""
    found: list[Lora] = []
    notes: list[str] = []
    lists = [parts for parts in tool.loras if isinstance(_at(data, parts[0]), list)]
    # Where there are several lists, they list the same.
    taken.update(
        way for way, named, weighed in lists for way in (way, *([] if named else [weighed]))
    )
    way, named, weighed = next((each for each in lists if _at(data, each[0])), ("", "", ""))
    label = way.rpartition(".")[2]
    given = [
        (label, each, *_lora(data, each, at, named, weighed))
        for at, each in enumerate(_at(data, way)[:MOST] if way else ())
    ]
    if not given and tool.lora_key is not None:
        given = [
            (key, value, name, _value("lora_weight", weight))
            for key, value in data.items()
            if tool.lora_key.fullmatch(key) and isinstance(value, str)
            for name, _, weight in [value.rpartition(" : ")]
        ][:MOST]
        taken.update(key for key, *_ in given)
    for key, each, name, weight in given:
        try:
            found.append(Lora(name=name, weight=weight))
        except OptionError as error:
            why = Sentence("reading_range", allowed=error.allowed)
            shown = each[:LONGEST] if isinstance(each, str) else shorten(each, LONGEST)
            notes.append(Sentence("reading_note", name=key, value=shown, why=why))
    return found, notes


def _lora(data: Any, each: Any, at: int, named: str, weighed: str) -> tuple[Any, Any]:
    """Return name and weight of a LoRA; both may stand in lists beside each other."""
    if not named:
        name, weight = each, _at(data, f"{weighed}.{at}")
    elif isinstance(each, str):
        name, weight = each, None
    else:
        name = next((n for way in named.split("|") if (n := _at(each, way)) is not None), None)
        weight = next((w for way in weighed.split("|") if (w := _at(each, way)) is not None), 1.0)
    return name, _value("lora_weight", 1.0 if weight is None else weight)


def _others(tool: Tool, data: Mapping[str, Any], taken: Collection[str]) -> Iterator[str]:
    """Yield the values that nothing is made of, and that would change a picture."""
    shown = 0
    for way, key, value in _leaves(tool, data):
        known = way in taken or any(each.startswith(f"{way}.") for each in taken)
        said = way in tool.said or way.endswith("hash") or (key, value) == WHOLE_STRENGTH
        if known or said or _is_idle(tool, data, way, value):
            continue
        shown += 1
        if shown > MOST:
            yield "…"
            return
        text = value[:LONGEST] if isinstance(value, str) else shorten(value, LONGEST)
        yield f"{key[:LONGEST]}: {text}"


def _leaves(
    tool: Tool, data: Any, before: str = "", called: str = ""
) -> Iterator[tuple[str, str, Any]]:
    """Yield the way to each value, its key and itself; some objects are looked into."""
    for key, value in data.items() if isinstance(data, Mapping) else enumerate(data):
        way, name = f"{before}{key}", key if isinstance(key, str) else called
        if way in tool.inside and isinstance(value, (Mapping, list)):
            yield from _leaves(tool, value, f"{way}.", name)
        else:
            yield way, name, value


def _is_idle(tool: Tool, data: Mapping[str, Any], way: str, value: object) -> bool:
    """Return whether a value changes no picture."""
    if way in tool.idle:
        return value is None or value in tool.idle[way]
    if way in tool.same and value == _at(data, tool.same[way]):
        return True
    return value in NOTHING
