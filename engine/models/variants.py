"""Variants of families: how each is sampled, and what it lacks.

    choose(BY_KEY["z"], "z_image_turbo_bf16.safetensors", tensors).sampling.steps   # 8

What shapes tell, they tell: whether FLUX.1 is told the guidance scale, which size of FLUX.2 a
network is. Whether a model was distilled to few steps, or edits pictures by words, only its name or
metadata suggest; its owner says it in `marble.json` (`"variant": "turbo"`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Final

from engine.files.safetensors import BadFile, Tensor
from engine.models.families import Defaults, Family, Sampling
from engine.models.name_matching import without_ending
from engine.models.part_kinds import TEXT_IN
from engine.models.supported import LATER


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Tell variants by a tensor: by the size of one of its sides, or by whether it is there.

    ends: how its name ends, in the makers' files and in diffusers'; size: of the side, 0 for any;
    absent: it is not there.
    """

    ends: tuple[str, ...]
    side: int = 1
    size: int = 0
    absent: bool = False

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Return whether a network's tensors have it."""
        found = [tensor.shape for name, tensor in tensors.items() if name.endswith(self.ends)]
        if self.size:
            return any(shape[self.side : self.side + 1] == (self.size,) for shape in found)
        return bool(found) != self.absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Describe variants of a family.

    words: one of them, or all words of one, stand in its name (none: in any); marks: its tensors
    have them all. A word that is also one of everyday names (`hyperRealism`, `turboCar`) counts
    where nothing follows it but its usual company: numbers, and words of `COMPANY` or of its own
    `company`. Steps that the name says count, where they are `few`. lacks: fields of a recipe that
    it does not have, beside its family's; parts: as of `Family`, where they are others; flaw: what
    it is, where Marble cannot run it.
    """

    key: str = ""
    title: str = ""
    words: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    everyday: bool = False
    company: tuple[str, ...] = ()
    sampling: Sampling
    few: bool = False
    lacks: frozenset[str] = frozenset()
    references: int = 0
    parts: Mapping[str, str] | None = None
    flaw: str = ""

    def is_named(self, names: Iterable[str]) -> bool:
        """Return whether a name suggests it."""
        return not self.words or any(self._stands_in(name) for name in names)

    def _stands_in(self, name: str) -> bool:
        for part in without_ending(name).split("/"):
            found = [word.lower() for word in _WORDS.findall(part)]
            words = [word for word in found if not word.isdigit()]
            for word, following in pairwise([*words, ""]):
                company = following.rstrip("0123456789")
                alone = not company or company in COMPANY or company in self.company
                if word in self.words and (alone or not self.everyday):
                    return True
            if any({*each.split()} <= {*found} for each in self.words if " " in each):
                return True
        return False


# As makers recommend. The schedule holds where a U-Net was distilled: at timesteps spaced evenly
# from the top.
def _few(steps: int, sampler: str = "euler", guidance_scale: float = 1.0) -> Sampling:
    return Sampling(
        steps=steps, guidance_scale=guidance_scale, sampler=sampler, schedule="sgm_uniform"
    )


def _u_net(word: str, sampling: Sampling, *company: str, everyday: bool = False) -> Variant:
    return Variant(
        key=word, words=(word,), everyday=everyday, company=company, sampling=sampling, few=True
    )


# Of the U-Nets' families.
VARIANTS: Final = (
    _u_net("turbo", _few(4, "euler_ancestral"), "vision", everyday=True),
    _u_net("lightning", _few(4), everyday=True),
    _u_net("hyper", _few(8), everyday=True),
    _u_net("lcm", _few(6, "lcm", 1.5)),
    _u_net("dmd2", _few(4, "lcm")),
    _u_net("schnell", _few(4)),
)
# What follows a variant's word in names: forms, precisions, samplers, versions, other variants.
COMPANY: Final = frozenset(
    (
        *("sd", "sdxl", "xl", "vae", "bakedvae", "baked", "unet", "model", "checkpoint", "merge"),
        *("fp", "bf", "pruned", "ema", "emaonly", "v", "ver", "version", "final", "beta", "alpha"),
        *("step", "steps", "cfg", "dpm", "dpmpp", "dpmsde", "sde", "karras", "euler", "lora"),
        *("inpaint", "inpainting", "turbo", "lightning", "hyper", "lcm", "dmd"),
        *("pony", "illustrious", "noob", "by", "no", "with"),
    )
)
# LCM's first form, whose guidance is built in, and which its weights tell.
GUIDED: Final = _few(4, "lcm", 8.0)
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+\d?(?![a-z])|[A-Z]+\d?(?![a-z])|\d+")
_STEPS: Final = re.compile(r"(?<!\d)([1-9]\d?)[ _-]?steps?(?![a-z])", re.IGNORECASE)

# Of the families of flow models. Where guidance is told to the network, there is no second call
# that a negative prompt could steer; where it was distilled away, there is none at all.
TOLD: Final = frozenset(("negative_prompt", "guidance_rescale"))
DISTILLED: Final = TOLD | {"guidance_scale"}
FEW: Final = ("turbo", "lightning", "distilled", "distill")
IMAGE_IN: Final = ("img_in.weight", "x_embedder.weight")
GUIDANCE_IN: Final = ("guidance_in.in_layer.weight", "guidance_embedder.linear_1.weight")
PATCHES: Final = ("x_embedder.proj.weight", "pos_embed.proj.weight")


def _flow(
    key: str,
    title: str,
    steps: int,
    guidance: float,
    *marks: Mark,
    words: tuple[str, ...] = (),
    lacks: frozenset[str] = frozenset(),
    references: int = 0,
    schedule: str = "simple",
    few: bool = False,
    everyday: bool = False,
) -> Variant:
    sampling = Sampling(steps=steps, guidance_scale=guidance, sampler="euler", schedule=schedule)
    return Variant(
        key=key,
        title=title,
        words=words,
        marks=marks,
        everyday=everyday,
        sampling=sampling,
        few=few or lacks == DISTILLED,
        lacks=lacks,
        references=references,
    )


def _klein(title: str, width: int) -> tuple[Variant, ...]:
    """Return variants whose network reads states of that width, three joined; 0: its name tells."""
    marks = (Mark(ends=TEXT_IN, size=width),) if width else ()
    words = ("base",) if width else ("klein base",)
    few = () if width else ("klein",)
    both = (
        _flow("base", f"{title} base", 28, 4, *marks, words=words, references=4),
        _flow("distilled", title, 4, 1, *marks, words=few, lacks=DISTILLED, references=4),
    )
    return tuple(replace(each, parts={"text_encoder": "qwen3_4b"}) for each in both)


def _sd3(title: str, *marks: Mark) -> tuple[Variant, Variant]:
    turbo = _flow(
        "turbo", f"{title} Turbo", 4, 1, *marks, words=FEW, lacks=DISTILLED, schedule="normal"
    )
    return turbo, _flow("base", title, 28, 4.5, *marks, schedule="normal")


def _qwen(
    key: str, title: str, *marks: Mark, words: tuple[str, ...] = (), references: int = 0
) -> tuple[Variant, Variant]:
    fast = [f"{word} {each}".strip() for word in words or ("",) for each in (*FEW, "rapid")]
    few = _flow(
        f"{key}-lightning".removeprefix("-"),
        f"{title} Lightning",
        *(4, 1),
        *marks,
        words=(*fast,),
        lacks=DISTILLED,
        references=references,
    )
    return few, _flow(key or "base", title, 30, 4, *marks, words=words, references=references)


# Of each family the first that fits.
FLOWS: Final[Mapping[str, tuple[Variant, ...]]] = {
    "z": (
        _flow("turbo", "Z-Image Turbo", 8, 1, words=(*FEW, "zit"), lacks=DISTILLED),
        _flow("base", "Z-Image", 30, 5),
    ),
    "flux2": (
        *_klein("FLUX.2 klein 4B", 7680),
        *_klein("FLUX.2 klein 9B", 12288),
        *_klein("FLUX.2 klein", 0),
        _flow("dev", "FLUX.2 dev", 28, 4, lacks=TOLD, references=4),
    ),
    "flux": (
        Variant(
            marks=(Mark(ends=IMAGE_IN, size=128),),
            sampling=Sampling(),
            flaw="a FLUX.1 model that follows edges or depth",
        ),
        _flow("fill", "FLUX.1 Fill", 28, 30, Mark(ends=IMAGE_IN, size=384), lacks=TOLD),
        _flow(
            "schnell", "FLUX.1 schnell", 4, 1, Mark(ends=GUIDANCE_IN, absent=True), lacks=DISTILLED
        ),
        _flow("kontext", "FLUX.1 Kontext", 20, 2.5, words=("kontext",), lacks=TOLD, references=1),
        _flow("krea", "FLUX.1 Krea", 28, 4.5, words=("krea",), lacks=TOLD),
        _flow(
            "few",
            "FLUX.1 dev, few steps",
            *(8, 3.5),
            words=("turbo", "hyper", "lightning"),
            everyday=True,
            few=True,
            lacks=TOLD,
        ),
        _flow("dev", "FLUX.1 dev", 20, 3.5, lacks=TOLD),
    ),
    "chroma": (
        _flow("flash", "Chroma Flash", 8, 1, words=("flash", *FEW), lacks=DISTILLED),
        _flow("base", "Chroma", 26, 4),
    ),
    "sd3": (
        *_sd3("Stable Diffusion 3.5 Large", Mark(ends=PATCHES, side=0, size=2432)),
        *_sd3("Stable Diffusion 3.5 Medium", Mark(ends=("attn2.qkv.weight", "attn2.to_q.weight"))),
        *_sd3("Stable Diffusion 3 Medium"),
    ),
    "qwen": (
        # A mark that ComfyUI leaves in the edit model of November 2025.
        *_qwen(
            "edit-plus",
            "Qwen-Image-Edit 2511",
            Mark(ends=("__index_timestep_zero__",)),
            references=3,
        ),
        *_qwen(
            "edit-plus",
            "Qwen-Image-Edit Plus",
            words=("edit 2509", "edit 2511", "edit plus"),
            references=3,
        ),
        *_qwen("edit", "Qwen-Image-Edit", words=("edit",), references=1),
        *_qwen("", "Qwen-Image"),
    ),
    "lumina2": (_flow("base", "Lumina 2", 30, 4),),
    "krea2": (
        _flow("turbo", "Krea 2 Turbo", 8, 1, words=FEW, lacks=DISTILLED),
        _flow("base", "Krea 2", 28, 5.5),
    ),
    "anima": (
        _flow("turbo", "Anima Turbo", 8, 1, words=FEW, lacks=DISTILLED),
        _flow("base", "Anima", 30, 4),
    ),
}


def choose(
    family: Family, names: Iterable[str], tensors: Mapping[str, Tensor], given: str | None = None
) -> Variant:
    """Return which variant of a flow model's family a network is.

    names: those of its file or folder, and what else says what it is; given: as its owner says.
    Raises `BadFile` for one that Marble cannot run, and for a variant that there is not.
    """
    fitting = [each for each in FLOWS[family.key] if all(mark.fits(tensors) for mark in each.marks)]
    names = list(names)
    if fitting[0].flaw:
        raise BadFile(f"it is {fitting[0].flaw}, {LATER}")
    if given is None:
        return next(each for each in fitting if each.is_named(names))
    if found := [each for each in fitting if each.key == given]:
        return found[0]
    raise BadFile(f"variant must be one of {', '.join(dict.fromkeys(e.key for e in fitting))}")


def sampling_of(variant: Variant, names: Iterable[str]) -> Sampling:
    """Return how a variant is sampled, with the steps that a name says."""
    steps = next(filter(None, map(_STEPS.search, names)), None) if variant.few else None
    return replace(variant.sampling, steps=int(steps[1])) if steps else variant.sampling


def fit_to_name(defaults: Defaults, name: str) -> Defaults:
    """Return the defaults of a U-Net distilled to few steps where its name says that it is one."""
    variant = next((each for each in VARIANTS if each.is_named([name])), None)
    return with_sampling(defaults, sampling_of(variant, [name])) if variant else defaults


def with_sampling(defaults: Defaults, sampling: Sampling) -> Defaults:
    """Return the defaults with another way of sampling."""
    return replace(defaults, **asdict(sampling))
