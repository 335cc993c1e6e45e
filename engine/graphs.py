"""Read ComfyUI graphs as recipes: backwards, from the saved picture to its causes.

Only what leads to the picture is read. A node that is not known there is named: guessing what it
does would give another picture. What is known but only nearly the same here is named, too, beside
the recipe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.comfy import NODES as WRITTEN
from engine.comfy import slices_like_marble
from engine.errors import GraphError, shorten
from engine.recipe import Recipe
from engine.sources import LANCZOS, LATENT, Control, Lora, Upscale

LOADERS: Final = ("CheckpointLoaderSimple", "DiffusersLoader")
OUTPUTS: Final = ("SaveImage", "PreviewImage")
SAMPLERS: Final = ("KSampler", "KSamplerAdvanced")
ENLARGERS: Final = ("ImageScale", "ImageScaleBy", "ImageUpscaleWithModel")
STRETCHERS: Final = ("LatentUpscale", "LatentUpscaleBy")
STARTS: Final = (
    "EmptyLatentImage",
    "VAEEncode",
    "VAEEncodeForInpaint",
    "SetLatentNoiseMask",
    "RepeatLatentBatch",
)
FITS: Final = {"center": "crop", "disabled": "resize"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Hold a picture that a graph loads: its and its mask's name in our store, and its size."""

    image: str
    width: int
    height: int
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Hold a recipe read from a graph, and what of the graph it cannot honour."""

    recipe: Recipe
    ignored: tuple[str, ...] = ()


def from_graph(graph: object, pictures: Mapping[str, Given] | None = None) -> Recipe:
    """Read a graph (API format), or raise `GraphError` or `OptionError`; see `read_graph`."""
    return read_graph(graph, pictures).recipe


def read_graph(graph: object, pictures: Mapping[str, Given] | None = None) -> Read:
    """Read a graph, in API or UI format, whose pictures are given by the names it loads them by.

    `GraphError` names a node that is not known, a missing input, a cycle; `OptionError` a value
    that Marble does not allow.
    """
    if isinstance(graph, Mapping) and isinstance(graph.get("nodes"), list):
        graph = from_workflow(graph)
    walk = _Walk(_Nodes.parse(graph), pictures or {})
    try:
        recipe = walk.recipe()
    except RecursionError:
        raise GraphError("The ComfyUI graph is too deep.") from None
    return Read(recipe, tuple(dict.fromkeys(walk.ignored)))


def pictures_of(graph: object) -> list[str]:
    """Return the names of the pictures that a graph loads."""
    if isinstance(graph, Mapping) and isinstance(graph.get("nodes"), list):
        graph = from_workflow(graph)
    nodes = _Nodes.parse(graph)
    loads = [name for name in nodes.nodes if nodes.kind(name) == "LoadImage"]
    return list(dict.fromkeys(str(nodes.value(name, "image")) for name in loads))


@dataclass(frozen=True, slots=True)
class _Nodes:
    """Hold the nodes of a graph, and look along their links."""

    nodes: Mapping[str, Mapping[str, Any]]

    @classmethod
    def parse(cls, graph: object) -> _Nodes:
        """Check the outer form of a graph: every node has its kind and its inputs."""
        if not isinstance(graph, Mapping) or not graph:
            raise GraphError("The ComfyUI graph holds no nodes.")
        for name, node in graph.items():
            match node:
                case {"class_type": str(), "inputs": Mapping()}:
                    pass
                case _:
                    raise GraphError(f"{shorten(name)} in the ComfyUI graph is not a node.")
        nodes = cls(graph)
        nodes.check_circles()
        return nodes

    def kind(self, name: str) -> str:
        return str(self.nodes[name]["class_type"])

    def value(self, name: str, option: str) -> Any:
        """Return a plain value of a node; one computed by another node is not followed."""
        value = self.nodes[name]["inputs"].get(option)
        if value is None or isinstance(value, list):
            where = f"{option!r} of {self.kind(name)} (node {name})"
            raise GraphError(f"In the ComfyUI graph, {where} is not a plain value.")
        return value

    def number(self, name: str, option: str) -> float:
        """Return a number among a node's values."""
        value = self.value(name, option)
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (right and abs(value) < 1e9):  # NaN is not, either
            where = f"{option!r} of {self.kind(name)} (node {name})"
            raise GraphError(f"In the ComfyUI graph, {where} is not a number.")
        return float(value)

    def source(self, name: str, link: str, *kinds: str) -> str:
        """Return the node that feeds a link, which must be of one of these kinds."""
        return self.output(name, link, *kinds)[0]

    def output(self, name: str, link: str, *kinds: str) -> tuple[str, int]:
        """Return the node that feeds a link, and by which of its outputs."""
        match self.nodes[name]["inputs"].get(link):
            case [str() as source, int(slot)] if source in self.nodes:
                if self.kind(source) in kinds:
                    return source, slot
                found = f"comes from {shorten(self.kind(source))} (node {source})"
            case _:
                found = "is not connected"
        raise GraphError(
            f"In the ComfyUI graph, {link!r} of {self.kind(name)} (node {name}) {found}; "
            f"Marble understands only {' or '.join(kinds)} there."
        )

    def check_circles(self) -> None:
        """Raise `GraphError` where a node feeds itself, however far around."""
        done: set[str] = set()
        for start in self.nodes:
            path: list[tuple[str, Iterator[str]]] = [(start, self._feeds(start))]
            within = {start}
            while path:
                name, feeds = path[-1]
                following = next((feed for feed in feeds if feed not in done), None)
                if following is None:
                    done.add(name)
                    within.discard(name)
                    path.pop()
                elif following in within:
                    kind = self.kind(following)
                    raise GraphError(f"The ComfyUI graph goes in a circle at {kind} ({following}).")
                else:
                    within.add(following)
                    path.append((following, self._feeds(following)))

    def _feeds(self, name: str) -> Iterator[str]:
        for value in self.nodes[name]["inputs"].values():
            match value:
                case [str() as source, int()] if source in self.nodes:
                    yield source


@dataclass(slots=True)
class _Walk:
    """Gather a recipe's values on the way back from the picture."""

    nodes: _Nodes
    pictures: Mapping[str, Given]
    values: dict[str, Any] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    loaders: set[str] = field(default_factory=set)
    loras: dict[str, list[float]] = field(default_factory=dict)  # node → weights
    factor: float = 1.0
    by: str = LANCZOS

    def recipe(self) -> Recipe:
        self._picture(*self._output())
        if len(self.loaders) > 1:
            raise GraphError("The ComfyUI graph mixes several models, which Marble cannot do yet.")
        for loader in self.loaders:
            option = WRITTEN[self.nodes.kind(loader)].values[0]
            self.values["checkpoint"] = self.nodes.value(loader, option)
        if self.loras:
            self.values["loras"] = tuple(self._lora(name) for name in reversed(self.loras))
        self._check_pick()
        return Recipe(**self.values)

    def _output(self) -> tuple[str, str]:
        """Return the one node whose picture is saved or shown, and its link."""
        outputs = [name for name in self.nodes.nodes if self.nodes.kind(name) in OUTPUTS]
        kinds = ("VAEDecode", *ENLARGERS)
        sources = {self.nodes.source(name, "images", *kinds) for name in outputs}
        if len(sources) != 1:
            raise GraphError(f"The ComfyUI graph has {len(sources)} results to save, not just 1.")
        return outputs[0], "images"

    def _picture(self, name: str, link: str) -> None:
        """Read where pixels come from: enlargements, and what was decoded."""
        source = self.nodes.source(name, link, "VAEDecode", *ENLARGERS)
        if self.nodes.kind(source) == "VAEDecode":
            self._vae(source)
            self._latents(source)
        else:
            self._enlarge(source)
            self._picture(source, "image")
            self._note_upscale()

    def _latents(self, decode: str) -> None:
        sampler, late = self._through_pick(decode, "samples", SAMPLERS)
        before = self._before(sampler)
        if before is not None:
            strength = self._strength(sampler)
            self._note(sampler, "its own seed, steps and prompts: a second pass takes the first's")
            sampler, late = self._through_pick(*before, SAMPLERS)
            self.values["upscale"] = Upscale(factor=self.factor, by=self.by, strength=strength)
            self.factor = 1.0
        self._sampler(sampler, late)

    def _before(self, sampler: str) -> tuple[str, str] | None:
        """Return the node, and its link, by which a sampler goes on from another one's result."""
        kinds = (*STARTS, *STRETCHERS, "LatentFromBatch")
        latent = self.nodes.source(sampler, "latent_image", *kinds)
        if self.nodes.kind(latent) in STRETCHERS:
            self._stretch(latent)
            self.by = LATENT
            return latent, "samples"
        if self.nodes.kind(latent) != "VAEEncode":
            return None
        at, link = latent, "pixels"
        while (kind := self.nodes.kind(at := self.nodes.source(at, link, *IMAGES))) in ENLARGERS:
            link = "image"
        if kind != "VAEDecode":
            return None
        at, link = latent, "pixels"
        while self.nodes.kind(at := self.nodes.source(at, link, *IMAGES)) in ENLARGERS:
            self._enlarge(at)
            link = "image"
        return at, "samples"

    def _enlarge(self, name: str) -> None:
        """Multiply what an enlargement does; sizes are known at the end."""
        kind = self.nodes.kind(name)
        if kind == "ImageUpscaleWithModel":
            loader = self.nodes.source(name, "upscale_model", "UpscaleModelLoader")
            model = str(self.nodes.value(loader, "model_name"))
            told = re.search(r"(\d)x|x(\d)", model.lower())
            self.factor *= int(told[1] or told[2]) if told else 4
            self.by = _stem(model)
        elif kind == "ImageScaleBy":
            self.factor *= self.nodes.number(name, "scale_by")
            self._note_method(name)
        else:
            self.values["_target"] = self._size(name)
            self._note_method(name)

    def _stretch(self, name: str) -> None:
        if self.nodes.kind(name) == "LatentUpscaleBy":
            self.factor *= self.nodes.number(name, "scale_by")
        else:
            self.values["_target"] = self._size(name)

    def _size(self, name: str) -> tuple[float, float]:
        return self.nodes.number(name, "width"), self.nodes.number(name, "height")

    def _note_method(self, name: str) -> None:
        method = self.nodes.nodes[name]["inputs"].get("upscale_method", LANCZOS)
        if method != LANCZOS:
            self._note(name, f"upscale_method {method!r}: pixels are enlarged by lanczos")

    def _note_upscale(self) -> None:
        """Add an enlargement after the last pass, once the size before it is known."""
        if self.factor == 1:
            return
        if "upscale" in self.values:
            raise GraphError(
                "The ComfyUI graph enlarges its picture twice, which Marble cannot do."
            )
        self.values["upscale"] = Upscale(factor=self.factor, by=self.by)
        self.factor = 1.0

    def _sampler(self, name: str, late: Any) -> None:
        """Read the first pass."""
        read = KINDS_OF_SAMPLER[self.nodes.kind(name)]
        seed, strength = read(self, name)
        self.values |= {
            "seed": seed,
            "guidance_scale": self.nodes.value(name, "cfg"),
            "sampler": self.nodes.value(name, "sampler_name"),
            "schedule": self.nodes.value(name, "scheduler"),
            "prompt": self._conditioning(name, "positive"),
            "negative_prompt": self._conditioning(name, "negative", heard=False),
        }
        self._model(name)
        latent, early = self._through_pick(name, "latent_image", STARTS)
        self._start(latent)
        if early is not None and late is not None:
            raise GraphError("The ComfyUI graph picks from a batch twice, which Marble cannot do.")
        self.values["picture"] = late if early is None else early
        self.values["_early"] = early is not None
        if "image" in self.values:
            self.values["strength"] = strength
        elif strength != 1:
            raise GraphError(
                "The ComfyUI graph denoises only in part, but there is no start image."
            )
        self._settle_target()

    def simple(self, name: str) -> tuple[Any, Any]:
        """Read KSampler's own values: its seed, and how much it denoises."""
        self.values["steps"] = self.nodes.value(name, "steps")
        return self.nodes.value(name, "seed"), self._strength(name)

    def advanced(self, name: str) -> tuple[Any, Any]:
        """Read KSamplerAdvanced's own values, where it goes to the end."""
        steps = int(self.nodes.number(name, "steps"))
        first = int(self.nodes.number(name, "start_at_step"))
        whole = self.nodes.number(name, "end_at_step") >= steps
        noise = self.nodes.value(name, "add_noise") == "enable"
        if not (whole and noise and 0 <= first < steps):
            raise GraphError(
                f"In the ComfyUI graph, KSamplerAdvanced (node {name}) takes only some of the "
                "steps or adds no noise, which Marble cannot do."
            )
        self.values["steps"] = steps - first
        return self.nodes.value(name, "noise_seed"), (steps - first) / steps

    def _strength(self, name: str) -> Any:
        if self.nodes.kind(name) == "KSampler":
            return self.nodes.value(name, "denoise")
        return self.advanced(name)[1]

    def _start(self, name: str) -> None:
        """Read what the first pass begins on."""
        kind = self.nodes.kind(name)
        if kind == "RepeatLatentBatch":
            self._start(self.nodes.source(name, "samples", *STARTS))
            each, times = self.values["count"], int(self.nodes.number(name, "amount"))
            self.values["count"] = each * times if isinstance(each, int) else each
        elif kind == "SetLatentNoiseMask":
            self._start(self.nodes.source(name, "samples", "VAEEncode"))
            self._mask(name)
        elif kind == "EmptyLatentImage":
            for side in ("width", "height"):
                self.values[side] = self.nodes.value(name, side)
            self.values["count"] = self.nodes.value(name, "batch_size")
        else:
            self._encoded(name)

    def _encoded(self, name: str) -> None:
        self._vae(name)
        self.values["count"] = 1
        at = self.nodes.source(name, "pixels", "LoadImage", "ImageScale")
        size: tuple[int, int] | None = None
        if self.nodes.kind(at) == "ImageScale":
            width, height = self._size(at)
            size = int(width) // 8 * 8, int(height) // 8 * 8
            self.values["fit"] = FITS.get(self.nodes.value(at, "crop"), "crop")
            self._note_method(at)
            at = self.nodes.source(at, "image", "LoadImage")
        given = self._given(at)
        size = size or (given.width // 8 * 8, given.height // 8 * 8)
        self.values |= {"image": given.image, "width": size[0], "height": size[1]}
        if self.nodes.kind(name) == "VAEEncodeForInpaint":
            self._mask(name)
            self._note(name, "the grey under its mask and grow_mask_by: the picture stays there")

    def _mask(self, name: str) -> None:
        source, slot = self.nodes.output(name, "mask", "LoadImage")
        given = self._given(source)
        if slot != 1 or given.mask is None or given.image != self.values["image"]:
            raise GraphError(
                f"In the ComfyUI graph, 'mask' of {self.nodes.kind(name)} (node {name}) is not "
                "what is transparent in the start image; Marble reads no other."
            )
        self.values["mask"] = given.mask

    def _given(self, name: str) -> Given:
        file = str(self.nodes.value(name, "image"))
        if file not in self.pictures:
            raise GraphError(f"The ComfyUI graph starts from the picture {shorten(file)}, "
                             "which is not here.")  # fmt: skip
        return self.pictures[file]

    def _conditioning(self, name: str, link: str, *, heard: bool = True) -> str:
        """Return the words behind a link; controls on the way count for the prompt."""
        source, slot = self.nodes.output(name, link, *CONDITIONS)
        kind = self.nodes.kind(source)
        if kind == "CLIPTextEncode":
            self._clip(source)
            words = self.nodes.value(source, "text")
            return words  # type: ignore[no-any-return]  # a recipe says what it must be
        if kind == "CLIPTextEncodeSDXL":
            return self._both_texts(source)
        if kind.startswith("ControlNetApply"):
            if heard:
                self._control(source)
            simple = kind == "ControlNetApply"
            through = "conditioning" if simple else ("positive", "negative")[min(slot, 1)]
            return self._conditioning(source, through, heard=heard)
        first, second = JOINED[kind]
        if kind == "ConditioningCombine":
            self._note(source, "two guesses averaged: both texts are read one after the other")
        texts = (self._conditioning(source, each, heard=heard) for each in (first, second))
        return " BREAK ".join(map(str, texts))

    def _both_texts(self, name: str) -> str:
        self._clip(name)
        words = str(self.nodes.value(name, "text_g"))
        if self.nodes.value(name, "text_l") not in (words, ""):
            self._note(name, "text_l: both text encoders read text_g")
        if any(self.nodes.number(name, each) for each in ("crop_w", "crop_h")):
            self._note(name, "crop_w and crop_h: the picture's own sizes are told, uncut")
        return words

    def _control(self, name: str) -> None:
        loader = self.nodes.source(name, "control_net", "ControlNetLoader")
        image = self._given(self.nodes.source(name, "image", "LoadImage"))
        more: dict[str, Any] = {}
        if self.nodes.kind(name) == "ControlNetApplyAdvanced":
            more = {
                "start": self.nodes.number(name, "start_percent"),
                "end": self.nodes.number(name, "end_percent"),
            }
        control = Control(
            model=_stem(str(self.nodes.value(loader, "control_net_name"))),
            image=image.image,
            strength=self.nodes.number(name, "strength"),
            **more,
        )
        self.values["controls"] = (control, *self.values.get("controls", ()))

    def _model(self, name: str) -> None:
        at = self.nodes.source(name, "model", *LOADERS, "LoraLoader", "RescaleCFG")
        while self.nodes.kind(at) not in LOADERS:
            if self.nodes.kind(at) == "LoraLoader":
                weight = self.nodes.number(at, "strength_model")
                self.loras.setdefault(at, [0.0, 0.0])[0] = weight
            else:
                self.values["guidance_rescale"] = self.nodes.number(at, "multiplier")
            at = self.nodes.source(at, "model", *LOADERS, "LoraLoader", "RescaleCFG")
        self.loaders.add(at)

    def _clip(self, name: str) -> None:
        at = self.nodes.source(name, "clip", *LOADERS, "LoraLoader", "CLIPSetLastLayer")
        while self.nodes.kind(at) not in LOADERS:
            if self.nodes.kind(at) == "LoraLoader":
                weight = self.nodes.number(at, "strength_clip")
                self.loras.setdefault(at, [0.0, 0.0])[1] = weight
            else:
                layer = -self.nodes.number(at, "stop_at_clip_layer")
                self.values.setdefault("clip_skip", int(layer))
            at = self.nodes.source(at, "clip", *LOADERS, "LoraLoader", "CLIPSetLastLayer")
        self.loaders.add(at)

    def _vae(self, name: str) -> None:
        at = self.nodes.source(name, "vae", *LOADERS, "VAELoader")
        if self.nodes.kind(at) == "VAELoader":
            self.values["vae"] = _stem(str(self.nodes.value(at, "vae_name")))
        else:
            self.loaders.add(at)

    def _lora(self, name: str) -> Lora:
        unet, text = self.loras[name]
        file = _stem(str(self.nodes.value(name, "lora_name")))
        return Lora(name=file, weight=unet, text_weight=text)

    def _through_pick(self, name: str, link: str, kinds: tuple[str, ...]) -> tuple[str, Any]:
        """Return the node behind a link, and the number picked of a batch between."""
        source = self.nodes.source(name, link, *kinds, "LatentFromBatch")
        if self.nodes.kind(source) in kinds:
            return source, None
        if self.nodes.value(source, "length") != 1:
            raise GraphError("The ComfyUI graph picks some of its pictures; Marble makes 1 or all.")
        index = self.nodes.value(source, "batch_index")
        return self.nodes.source(source, "samples", *kinds), index

    def _settle_target(self) -> None:
        """Turn a size that an enlargement aims at into a factor."""
        target = self.values.pop("_target", None)
        width, height = self.values["width"], self.values["height"]
        if target is None or not all(
            isinstance(side, int) and side > 0 for side in (width, height)
        ):
            return
        factor = target[0] / width
        if abs(target[1] / height - factor) > 0.01:
            raise GraphError("The ComfyUI graph enlarges to another shape, which Marble cannot do.")
        self.factor = factor
        if (planned := self.values.get("upscale")) is not None:
            self.values["upscale"] = Upscale(
                factor=factor, by=planned.by, strength=planned.strength
            )
            self.factor = 1.0

    def _check_pick(self) -> None:
        early = self.values.pop("_early", False)
        width, height = self.values["width"], self.values["height"]
        whole = isinstance(width, int) and isinstance(height, int)
        if early and whole and not slices_like_marble(width, height):
            raise GraphError(
                f"The ComfyUI graph picks a picture of {width}×{height} before KSampler, where "
                "ComfyUI draws its noise another way than Marble."
            )

    def _note(self, name: str, what: str) -> None:
        self.ignored.append(f"{self.nodes.kind(name)} (node {name}): {what}")


IMAGES: Final = ("LoadImage", "VAEDecode", *ENLARGERS)
JOINED: Final = {
    "ConditioningConcat": ("conditioning_to", "conditioning_from"),
    "ConditioningCombine": ("conditioning_1", "conditioning_2"),
}
CONDITIONS: Final = (
    "CLIPTextEncode", "CLIPTextEncodeSDXL", "ControlNetApply", "ControlNetApplyAdvanced", *JOINED,
)  # fmt: skip
KINDS_OF_SAMPLER: Final[Mapping[str, Callable[[_Walk, str], tuple[Any, Any]]]] = {
    "KSampler": _Walk.simple,
    "KSamplerAdvanced": _Walk.advanced,
}


def _stem(file: str) -> str:
    """Return a file's name without its folder and ending, as shelves name it."""
    name = file.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] or name


def from_workflow(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a workflow (UI format) into the graph that the canvas would send, or `GraphError`.

    Nodes that are muted or bypassed are not supported, notes and reroutes not either.
    """
    try:
        sources = {link[0]: [str(link[1]), link[2]] for link in workflow.get("links", ())}
        return {str(node["id"]): _from_canvas(node, sources) for node in workflow["nodes"]}
    except (KeyError, TypeError, IndexError, AttributeError):
        raise GraphError("The ComfyUI workflow is damaged.") from None


def _from_canvas(node: Mapping[str, Any], sources: Mapping[Any, Any]) -> dict[str, Any]:
    kind = str(node["type"])
    if kind not in VALUES:
        # Named only if something needs it.
        return {"class_type": kind, "inputs": {}}
    inputs = dict(zip(VALUES[kind], node.get("widgets_values") or (), strict=False))
    linked = {
        slot["name"]: sources[slot["link"]]
        for slot in node.get("inputs", ())
        if slot.get("link") in sources
    }
    return {"class_type": kind, "inputs": inputs | linked}


# The values of nodes in the order in which the canvas keeps them.
VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    **{kind: node.values for kind, node in WRITTEN.items()},
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "ConditioningConcat": (),
    "ConditioningCombine": (),
    "LoadImage": ("image", "upload"),
    "VAEEncode": (),
    "VAEEncodeForInpaint": ("grow_mask_by",),
    "SetLatentNoiseMask": (),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "control_after_generate", "steps", "cfg", "sampler_name",
        "scheduler", "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "ControlNetLoader": ("control_net_name",),
    "ControlNetApply": ("strength",),
    "ControlNetApplyAdvanced": ("strength", "start_percent", "end_percent"),
    "ImageScale": ("upscale_method", "width", "height", "crop"),
    "ImageScaleBy": ("upscale_method", "scale_by"),
    "UpscaleModelLoader": ("model_name",),
    "ImageUpscaleWithModel": (),
    "RepeatLatentBatch": ("amount",),
}  # fmt: skip
