"""Nodes that a graph needs beside samplers: models, prompts, ControlNets, and loaded pictures."""

from typing import Any, Final

from engine.formats.graphs.areas import BOUNDS
from engine.formats.graphs.models import PATCHING
from engine.formats.graphs.nodes import NODE_KINDS, NOISE
from engine.formats.graphs.pictures import FITS
from engine.formats.graphs.sampling import ON_GPU, usual_noise
from engine.models.families import TINY_VAES
from engine.recipe.conditions import WHOLE, written
from engine.recipe.limits import BROWNIAN, GPU
from engine.recipe.parts import LANCZOS, Area, Control, Lora
from engine.recipe.patches import READINGS, Patch
from engine.recipe.recipe import Recipe
from engine.text_encode.prompts import BREAK

GraphJson = dict[str, dict[str, Any]]
Link = tuple[str, int]
Size = tuple[int, int]

SINGLE_FILES: Final = (".safetensors", ".sft", ".ckpt", ".pt", ".bin")
CROPS: Final = {fit: crop for crop, fit in FITS.items()}


class Id:
    """Ids of nodes: those of ComfyUI's default workflow, so that the canvas looks the same; then
    our own."""

    SAMPLER, LOADER, START, POSITIVE, NEGATIVE, DECODE, SAVE, PICK = map(str, range(3, 11))
    LAYER, RESCALE, VAE, CLIP, SHIFT, GUIDANCE, ZERO, FILL = map(str, range(11, 19))
    LOAD, FIT, REPEAT, MASK, FIT_MASK, TO_MASK, SET_MASK, COMPOSITE = map(str, range(50, 58))
    UPSCALER, UPSCALED_BY_MODEL, UPSCALED, ENCODE = map(str, range(60, 64))
    UPSCALED_LATENTS, SECOND, BETWEEN, SECOND_SHIFT = map(str, range(64, 68))
    NOISE, NAMED_SAMPLER = map(str, range(70, 72))
    REFINER, REFINER_RESCALE, REFINER_POSITIVE, REFINER_NEGATIVE = map(str, range(80, 84))
    REFINED = "84"


FIRST_LORA: Final = 20  # the others follow
LORAS: Final = range(FIRST_LORA, FIRST_LORA + 16)
FIRST_CONTROL: Final = 100
CONTROL_IDS: Final = 10  # for each control: loader and picture, then two nodes for each pass
CUSTOM_IDS: Final = {Id.SAMPLER: 72, Id.SECOND: 75}  # each pass: guider, noise levels, a share
FIRST_PATCH: Final = 80  # the others follow
FIRST_REFERENCE: Final = 200
REFERENCE_IDS: Final = 10  # for each: picture, scaled, as latents, beside prompt and negative one
FIRST_AREA: Final = 300
AREA_IDS: Final = 10  # for each: text, zeros, box, mask's picture, mask, under it, strength, when
FIRST_JOINT: Final = 500
FIRST_TEXT: Final = {  # what follows a BREAK
    Id.POSITIVE: 1000, Id.NEGATIVE: 5000, Id.REFINER_POSITIVE: 9000, Id.REFINER_NEGATIVE: 13000,
}  # fmt: skip


def first_text(name: str) -> int:
    """Return the first id of what follows a BREAK in a text."""
    return FIRST_TEXT.get(name) or 20_000 + 100 * int(name)


class GraphBuilder:
    """Add nodes, each with its id, and return their outputs."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.graph: GraphJson = {}
        self.told: dict[str, float] = {}  # beside the prompt that is being added
        self.model, self.clip, self.vae = self._load()

    @property
    def sampler(self) -> str:
        """Return ComfyUI's name of the sampler, which may say where noise is drawn."""
        recipe = self.recipe
        drawn_there = recipe.noise == GPU and recipe.sampler in BROWNIAN
        return recipe.sampler + ON_GPU if drawn_there else recipe.sampler

    def add(self, name: str, kind: str, /, **inputs: object) -> Link:
        """Add a node; return its first output."""
        # JSON has no tuples: links are lists from the start, so that graph == loads(dumps(graph)).
        plain = {key: list(v) if isinstance(v, tuple) else v for key, v in inputs.items()}
        self.graph[name] = {"class_type": kind, "inputs": plain}
        return name, 0

    def with_noise(self, name: str) -> None:
        """Say on a sampler's node whose numbers its noise is, where ComfyUI's are others."""
        noise, node = self.recipe.noise, self.graph[name]
        if noise != usual_noise(self.sampler):
            node["_meta"] = {"title": node["class_type"], NOISE: noise}

    def _encoded(self, name: str, text: str) -> Link:
        if self.told:
            return self.add(
                name, "CLIPTextEncodeSDXLRefiner", **self.told, text=text, clip=self.clip
            )
        return self.add(name, "CLIPTextEncode", text=text, clip=self.clip)

    def text(self, name: str, text: str, **told: float) -> Link:
        """Add a prompt: a node for each part between `BREAK`s, concatenated.

        told: what SDXL's refiner is told beside it.
        """
        self.told = told
        first, *others = BREAK.split(text)
        words = self._encoded(name, text=first)
        for number, part in enumerate(others):
            more, both = (str(first_text(name) + 2 * number + i) for i in range(2))
            added = self._encoded(more, text=part)
            joined = {"conditioning_to": words, "conditioning_from": added}
            words = self.add(both, "ConditioningConcat", **joined)
        return words

    def words(self) -> tuple[Link, Link]:
        """Add the prompt and the negative prompt; return both."""
        recipe = self.recipe
        positive = self.text(Id.POSITIVE, written(recipe.prompt, recipe, weighs=True))
        negative = self.text(Id.NEGATIVE, written(recipe.negative_prompt, recipe, weighs=True))
        return self.with_areas(positive), self.with_areas(negative, negative=True)

    def with_areas(
        self, words: Link, before: str = "", *, negative: bool = False, weighs: bool = True
    ) -> Link:
        """Add the texts of areas beside a prompt; before: what stands before each."""
        areas = [each for each in enumerate(self.recipe.areas) if each[1].negative == negative]
        found = [] if any(area.prompt is None for _, area in areas) else [words]
        for number, area in areas:
            first = FIRST_AREA + AREA_IDS * number
            text = words
            if area.prompt is not None:
                prompt = before + written(area.prompt, self.recipe, weighs=weighs)
                text = self.text(str(first), prompt)
            found.append(self._placed(text, area, first))
        joined = found[0]
        for number, more in enumerate(found[1:]):
            name = str(FIRST_JOINT + 2 * number + negative)
            both = {"conditioning_1": joined, "conditioning_2": more}
            joined = self.add(name, "ConditioningCombine", **both)
        return joined

    def _placed(self, text: Link, area: Area, first: int) -> Link:
        """Add the nodes that say where and when a text acts."""
        names = map(str, range(first + 1, first + AREA_IDS))
        if area.zero:
            text = self.add(next(names), "ConditioningZeroOut", conditioning=text)
        strength = {"strength": area.strength}
        if area.box != WHOLE.box:
            sides = ("x", "y", "width", "height")
            box = dict(zip(sides, area.box, strict=True))
            kind = "ConditioningSetAreaPercentage"
            text = self.add(next(names), kind, **box, **strength, conditioning=text)
            strength = {"strength": 1.0}
        if area.mask is not None:
            image = self.picture(next(names), area.mask)
            mask = self.add(next(names), "ImageToMask", channel="red", image=image)
            seen = {"set_cond_area": BOUNDS if area.bounds else "default"}
            links = {"conditioning": text, "mask": mask}
            text = self.add(next(names), "ConditioningSetMask", **strength, **seen, **links)
        elif strength["strength"] != 1:
            kind = "ConditioningSetAreaStrength"
            text = self.add(next(names), kind, **strength, conditioning=text)
        if (area.start, area.end) != (0, 1):
            when = {"start": area.start, "end": area.end}
            kind = "ConditioningSetTimestepRange"
            text = self.add(next(names), kind, **when, conditioning=text)
        return text

    def controlled(self, texts: tuple[Link, Link], size: Size, number: int) -> tuple[Link, Link]:
        """Add the ControlNets of a pass (number 0 or 1) of that size behind its prompts."""
        for index, control in enumerate(self.recipe.controls):
            first = FIRST_CONTROL + CONTROL_IDS * index
            name = self._control(control, texts, size, first, first + 2 + 2 * number)
            texts = (name, 0), (name, 1)
        return texts

    def picture(self, name: str, sha256: str) -> Link:
        """Add a node that loads a picture of our store."""
        return self.add(name, "LoadImage", image=f"{sha256}.png")

    def fit(self, name: str, image: Link, size: Size, method: str = LANCZOS) -> Link:
        """Add a node that fits a picture to a size, as the recipe fits its start image."""
        sides = {"width": size[0], "height": size[1]}
        crop = CROPS[self.recipe.fit]
        return self.add(name, "ImageScale", image=image, upscale_method=method, **sides, crop=crop)

    def load(self) -> tuple[Link, Link, Link]:
        """Add the model as it is; return network, text encoders and VAE."""
        return self.loader(Id.LOADER, self.recipe.checkpoint)

    def loader(self, name: str, checkpoint: str) -> tuple[Link, Link, Link]:
        """Add a model that is one file or folder; return network, text encoders and VAE."""
        single_file = checkpoint.lower().endswith(SINGLE_FILES)
        loader = "CheckpointLoaderSimple" if single_file else "DiffusersLoader"
        self.add(name, loader, **{NODE_KINDS[loader].values[0]: checkpoint})
        return (name, 0), (name, 1), (name, 2)

    def lora(self, name: str, lora: Lora, model: Link, clip: Link) -> tuple[Link, Link]:
        """Add a LoRA to a network and text encoders; return both."""
        weights = dict(zip(("strength_model", "strength_clip"), lora.weights, strict=True))
        file = {"lora_name": file_of(lora.name)}
        model = self.add(name, "LoraLoader", **file, **weights, model=model, clip=clip)
        return model, (name, 1)

    def _load(self) -> tuple[Link, Link, Link]:
        """Add the model and all that changes it; return network, text encoders and VAE."""
        recipe = self.recipe
        model, clip, vae = self.load()
        for number, lora in enumerate(recipe.loras, FIRST_LORA):
            model, clip = self.lora(str(number), lora, model, clip)
        if recipe.clip_skip:
            layer = {"stop_at_clip_layer": -recipe.clip_skip}
            clip = self.add(Id.LAYER, "CLIPSetLastLayer", **layer, clip=clip)
        if rescale := recipe.guidance_rescale:
            model = self.add(Id.RESCALE, "RescaleCFG", multiplier=rescale, model=model)
        for number, patch in enumerate(recipe.patches, FIRST_PATCH):
            model = self._patch(str(number), patch, model)
        if recipe.vae:
            # ComfyUI joins a tiny VAE's two files under a name that is none of theirs.
            name = recipe.vae if recipe.vae in TINY_VAES else file_of(recipe.vae)
            vae = self.add(Id.VAE, "VAELoader", vae_name=name)
        return model, clip, vae

    def _patch(self, name: str, patch: Patch, model: Link) -> Link:
        """Add a node that changes how a network works; return that."""
        kind = PATCHING[patch.kind]
        values: tuple[object, ...] = patch.numbers
        if patch.kind in READINGS:
            values = patch.kind, bool(*patch.numbers)
        named = dict(zip(NODE_KINDS[kind].values, values, strict=True))
        return self.add(name, kind, **named, model=model)

    def _control(
        self, control: Control, texts: tuple[Link, Link], size: Size, first: int, own: int
    ) -> str:
        network = {"control_net_name": file_of(control.model)}
        image = self.picture(str(first + 1), control.image)
        links = {
            "positive": texts[0],
            "negative": texts[1],
            "control_net": self.add(str(first), "ControlNetLoader", **network),
            "image": self.fit(str(own), image, size),
        }
        say = {"strength": control.strength, "start_percent": 0.0, "end_percent": 1.0}
        return self.add(str(own + 1), "ControlNetApplyAdvanced", **links, **say)[0]


def file_of(name: str) -> str:
    """Return the file that ComfyUI finds by a name of ours."""
    return name if name.lower().endswith(SINGLE_FILES) else f"{name}.safetensors"
