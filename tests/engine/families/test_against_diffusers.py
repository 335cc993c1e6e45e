"""What each family draws, held to diffusers' pipelines: small random weights, fp32.

Both read the same folder, start from the same noise and walk the same sigmas, so that latents must
be the same but for rounding.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest
import torch
from diffusers.guiders.classifier_free_guidance import ClassifierFreeGuidance
from diffusers.loaders.single_file_utils import convert_cosmos_transformer_checkpoint_to_diffusers
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.transformers import transformer_cosmos
from diffusers.modular_pipelines.anima.modular_blocks_anima import AnimaAutoBlocks
from diffusers.pipelines.chroma.pipeline_chroma import ChromaPipeline
from diffusers.pipelines.chroma.pipeline_chroma_img2img import ChromaImg2ImgPipeline
from diffusers.pipelines.chroma.pipeline_chroma_inpainting import ChromaInpaintPipeline
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from diffusers.pipelines.flux.pipeline_flux_fill import FluxFillPipeline
from diffusers.pipelines.flux.pipeline_flux_img2img import FluxImg2ImgPipeline
from diffusers.pipelines.flux.pipeline_flux_inpaint import FluxInpaintPipeline
from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein_inpaint import Flux2KleinInpaintPipeline
from diffusers.pipelines.krea2.pipeline_krea2 import Krea2Pipeline
from diffusers.pipelines.lumina2.pipeline_lumina2 import Lumina2Pipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_img2img import QwenImageImg2ImgPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_inpaint import QwenImageInpaintPipeline
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import (
    StableDiffusion3Pipeline,
)
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3_img2img import (
    StableDiffusion3Img2ImgPipeline,
)
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3_inpaint import (
    StableDiffusion3InpaintPipeline,
)
from diffusers.pipelines.z_image.pipeline_z_image import ZImagePipeline
from diffusers.pipelines.z_image.pipeline_z_image_img2img import ZImageImg2ImgPipeline
from diffusers.pipelines.z_image.pipeline_z_image_inpaint import ZImageInpaintPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from peft import LoraConfig
from peft.utils.save_and_load import get_peft_model_state_dict
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

from engine.denoise.schedules import sigmas_for
from engine.families.flux import pack
from engine.families.registry import load
from engine.loading.model import Model
from engine.pictures.start_image import Pixels, StartImage
from engine.recipe.parts import Lora
from engine.recipe.recipe import Recipe
from tests.engine.ticks import make_loaded_model
from tests.factories import make_recipe, pixels
from tests.flow_models import (
    anima_adapter,
    cosmos,
    described,
    make_anima,
    make_chroma,
    make_flux,
    make_flux2_dev,
    make_klein,
    make_krea2,
    make_lumina2,
    make_qwen_image,
    make_sd3,
    make_z_image,
    t5_tokenizer,
)

SHORT: Final = "a cat"
LONG: Final = "a marble horse in the cathedral, " * 6
NAME: Final = "0" * 64  # of a stored picture
PIXELS: Final = pixels(7, 64, 64)
LAYERS: Final = ["to_q", "to_k", "to_v", "to_out.0", "proj_out", "linear_in", "to_qkv_mlp_proj"]
BOUND: Final = 1e-4
MASK: Final = np.zeros((64, 64), np.uint8)
MASK[16:48, 32:] = 255  # whole latents, as each project makes others of a part of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model, and diffusers' pipelines for it.

    told: what they are told of a recipe beside its prompt; latents: ours in their form; by_hand:
    diffusers has none with a start image, so that the one of words is told what others make of it.
    """

    key: str
    make: Callable[[Path], Path]
    pipeline: Any
    start: Any = None
    mask: Any = None
    told: Callable[[Recipe], Mapping[str, Any]] = lambda r: {"guidance_scale": r.guidance_scale}
    latents: Callable[[Model, Tensor], Tensor] = lambda model, latents: pack(latents)
    by_hand: bool = False


def with_negative(recipe: Recipe, less: float = 0) -> dict[str, Any]:
    return {
        "guidance_scale": recipe.guidance_scale - less,
        "negative_prompt": recipe.negative_prompt,
    }


def schnell(recipe: Recipe) -> dict[str, Any]:
    return {"max_sequence_length": 256}


def with_least(recipe: Recipe) -> dict[str, Any]:
    """Tell the length of T5's tokens, to which diffusers pads and cuts them."""
    least = max(77, len(t5_tokenizer()(recipe.prompt).input_ids))
    return {**with_negative(recipe), "max_sequence_length": least}


def with_true_scale(recipe: Recipe) -> dict[str, Any]:
    return {"true_cfg_scale": recipe.guidance_scale, "negative_prompt": recipe.negative_prompt}


class Anima:
    """diffusers' modular pipeline, to be called as others are."""

    def __init__(self, folder: Path) -> None:
        network, adapter, start = cosmos(), anima_adapter(), "llm_adapter."
        held = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
        words = {name: held.pop(name) for name in list(held) if name.startswith(start)}
        adapter.load_state_dict({n.removeprefix(start): each for n, each in words.items()})
        network.load_state_dict(convert_cosmos_transformer_checkpoint_to_diffusers(held))
        for block in network.transformer_blocks:  # as in ComfyUI
            for attention in (block.attn1, block.attn2):
                attention.norm_q.eps = attention.norm_k.eps = 1e-6
        self.pipeline: Any = AnimaAutoBlocks().init_pipeline()
        self.pipeline.update_components(
            transformer=network,
            text_conditioner=adapter,
            text_encoder=Qwen3Model.from_pretrained(folder / "text_encoder"),
            tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer"),
            t5_tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer_2"),
            vae=AutoencoderKLQwenImage.from_pretrained(folder / "vae"),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        )

    @classmethod
    def from_pretrained(cls, folder: Path) -> Any:
        return cls(folder)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipeline, name)

    def save_lora_weights(
        self, folder: Path, layers: Mapping[str, Tensor], *, weight_name: str, **_: Any
    ) -> None:
        folder.mkdir()
        named = {f"transformer.{name}": each.contiguous() for name, each in layers.items()}
        save_file(named, folder / weight_name)

    def __call__(
        self,
        *,
        guidance_scale: float,
        output_type: str,
        callback_on_step_end: Any = None,
        **told: Any,
    ) -> Any:
        pipeline = self.pipeline
        pipeline.update_components(guider=ClassifierFreeGuidance(guidance_scale=guidance_scale))
        step, steps = pipeline.scheduler.step, itertools.count()
        if callback_on_step_end:

            def kept(*told: Any, **how: Any) -> tuple[Tensor]:
                held = {"latents": step(*told, **how)[0]}
                return (callback_on_step_end(None, next(steps), None, held)["latents"],)

            pipeline.scheduler.step = kept
        latents = pipeline(**told, max_sequence_length=512, output="latents")
        return SimpleNamespace(images=latents)


FLUX: Final = Case(
    key="flux",
    make=make_flux,
    pipeline=FluxPipeline,
    start=FluxImg2ImgPipeline,
    mask=FluxInpaintPipeline,
)
FILL: Final = replace(
    FLUX, make=partial(make_flux, beside=80), pipeline=FluxFillPipeline, start=None, mask=None
)
DEV: Final = Case(
    key="flux2",
    make=make_flux2_dev,
    pipeline=Flux2Pipeline,
    latents=lambda model, latents: latents.flatten(2).mT,
)
KLEIN: Final = Case(
    key="flux2",
    make=make_klein,
    pipeline=Flux2KleinPipeline,
    mask=Flux2KleinInpaintPipeline,
    latents=lambda model, latents: model.to_vae(latents),
)
QWEN: Final = Case(
    key="qwen",
    make=make_qwen_image,
    pipeline=QwenImagePipeline,
    start=QwenImageImg2ImgPipeline,
    mask=QwenImageInpaintPipeline,
    told=with_true_scale,
)
CASES: Final[Mapping[str, Case]] = {
    "z": Case(
        key="z",
        make=make_z_image,
        pipeline=ZImagePipeline,
        start=ZImageImg2ImgPipeline,
        mask=ZImageInpaintPipeline,
        told=partial(with_negative, less=1),  # of it the prompt's own prediction is 0, not 1
        latents=lambda model, latents: latents,
    ),
    "flux dev": FLUX,
    "flux schnell": replace(FLUX, make=partial(make_flux, guided=False), told=schnell),
    "flux2 dev": DEV,
    "flux2 klein": KLEIN,
    "chroma": Case(
        key="chroma",
        make=partial(make_chroma, depth=19),
        pipeline=ChromaPipeline,
        start=ChromaImg2ImgPipeline,
        mask=ChromaInpaintPipeline,
        told=with_negative,
    ),
    "sd3": Case(
        key="sd3",
        make=make_sd3,
        pipeline=StableDiffusion3Pipeline,
        start=StableDiffusion3Img2ImgPipeline,
        mask=StableDiffusion3InpaintPipeline,
        told=with_least,
        latents=lambda model, latents: latents,
    ),
    "qwen": QWEN,
    "lumina2": Case(
        key="lumina2",
        make=make_lumina2,
        pipeline=Lumina2Pipeline,
        told=lambda r: {
            **with_negative(r),
            "max_sequence_length": 512,
            "cfg_normalization": False,
        },
        latents=lambda model, latents: latents,
        by_hand=True,
    ),
    "krea2": Case(
        key="krea2",
        make=make_krea2,
        pipeline=Krea2Pipeline,
        told=partial(with_negative, less=1),
        by_hand=True,
    ),
    "anima": Case(
        key="anima",
        make=make_anima,
        pipeline=Anima,
        told=with_negative,
        latents=lambda model, latents: latents.unsqueeze(2),
        by_hand=True,
    ),
}


EDITS: Final[Mapping[str, Case]] = {
    "kontext": replace(FLUX, pipeline=FluxKontextPipeline),
    "flux2 klein": KLEIN,
    "flux2 dev": DEV,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], tuple[Path, Model]]:
    """Return what writes and loads a case's model, once."""
    known: dict[int, tuple[Path, Model]] = {}

    def make(case: Case) -> tuple[Path, Model]:
        if id(case.make) not in known:
            folder = case.make(tmp_path_factory.mktemp("models") / "model")
            known[id(case.make)] = folder, load(described(folder, case.key), torch.device("cpu"))
        return known[id(case.make)]

    return make


@pytest.fixture(autouse=True)
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let diffusers encode pictures to the mean, as Marble does, where it draws a sample."""
    mode = DiagonalGaussianDistribution.mode
    monkeypatch.setattr(
        DiagonalGaussianDistribution, "sample", lambda self, generator=None: mode(self)
    )


@pytest.fixture(autouse=True)
def unscaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let diffusers guide Qwen-Image as other models: it gives the result the prompt's own norm."""
    norm = torch.norm

    def without(x: Tensor, *how: Any, **options: Any) -> Tensor:
        guides = not how and options == {"dim": -1, "keepdim": True}
        return torch.ones(1) if guides else norm(x, *how, **options)

    monkeypatch.setattr(torch, "norm", without)


@pytest.fixture(autouse=True)
def resizing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let diffusers' Cosmos resize its mask without torchvision."""

    def resize(mask: Tensor, size: list[int], interpolation: str) -> Tensor:
        return torch.nn.functional.interpolate(mask, size, mode=interpolation)

    modes = SimpleNamespace(NEAREST="nearest")
    known = SimpleNamespace(functional=SimpleNamespace(resize=resize), InterpolationMode=modes)
    monkeypatch.setattr(transformer_cosmos, "transforms", known, raising=False)


def recipe(**changes: Any) -> Recipe:
    usual = {"sampler": "euler", "schedule": "simple", "steps": 3}
    return make_recipe(**{**usual, "prompt": SHORT, **changes})


@torch.inference_mode()
def ours(
    model: Model,
    it: Recipe,
    start: StartImage | None = None,
    references: Sequence[Pixels] = (),
    folder: Path | None = None,
) -> Tensor:
    """Return the latents that Marble draws; folder: of LoRAs."""
    loaded = make_loaded_model(model, folder)
    picture = loaded.begin(it, start, (), references)[0]
    while picture.request:
        answer = loaded.evaluate([picture], picture.rows)[0]
        assert isinstance(answer, Tensor)
        picture.advance(answer)
    return picture.latents


def pipeline_of(kind: Any, folder: Path) -> Any:
    pipeline = kind.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    if "Chroma" in kind.__name__:
        # It hands its mask on as numbers, which attention adds instead of leaving out what is
        # masked: https://github.com/huggingface/diffusers/issues/12116.
        pipeline.transformer.register_forward_pre_hook(
            lambda _, arguments, told: (
                arguments,
                {**told, "attention_mask": told["attention_mask"].bool()},
            ),
            with_kwargs=True,
        )
        pipeline.transformer.register_to_config(guidance_embeds=False)  # which one of them asks for
    if "Krea2" in kind.__name__:
        before = pipeline.prompt_template_encode_prefix
        pipeline.prompt_template_encode_start_idx = len(pipeline.tokenizer(before)[0])
        after = pipeline.prompt_template_encode_suffix
        pipeline.prompt_template_encode_num_suffix_tokens = len(pipeline.tokenizer(after)[0])
    if "QwenImage" in kind.__name__:  # it counts what precedes the words in true tokens
        before = pipeline.prompt_template_encode.partition("user\n")
        pipeline.prompt_template_encode_start_idx = len(pipeline.tokenizer("".join(before[:2]))[0])
    return pipeline


@torch.inference_mode()
def theirs(pipeline: Any, case: Case, model: Model, it: Recipe, **more: Any) -> Tensor:
    """Return the latents that diffusers draws; more: what it is told beside the recipe."""
    sigmas = sigmas_of(model, it)[:-1]
    usual = {
        "prompt": it.prompt,
        "width": it.width,
        "height": it.height,
        "num_inference_steps": len(sigmas),
        "sigmas": sigmas.tolist(),
        "generator": torch.Generator().manual_seed(it.seed),
        "output_type": "latent",
    }
    latents: Tensor = pipeline(**{**usual, **case.told(it), **more}).images
    return latents


def sigmas_of(model: Model, it: Recipe) -> Tensor:
    """Return a recipe's sigmas from pure noise on, the last one 0."""
    steps = int(it.steps / (it.strength or 1.0))
    noise = model.noise(it.width, it.height, steps)
    return sigmas_for(it.sampler, it.schedule, steps, noise_schedule=noise)


@torch.inference_mode()
def by_hand(case: Case, model: Model, it: Recipe, *, masked: bool = False) -> dict[str, Any]:
    """Return what a pipeline of words is told of the start image, and of the mask."""
    sigmas = sigmas_of(model, it)[-it.steps - 1 :]
    start = make_loaded_model(model).encode(PIXELS)
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(it.seed))
    painted = torch.from_numpy(MASK[::8, ::8] / np.float32(255)).expand(start.shape)

    def at(sigma: Tensor) -> Tensor:
        return case.latents(model, (1 - sigma) * start + sigma * noise)

    def keep(_: Any, step: int, time: Any, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
        share = case.latents(model, painted)
        return {"latents": held["latents"] * share + at(sigmas[step + 1]) * (1 - share)}

    kept = {"callback_on_step_end": keep} if masked else {}
    steps = {"num_inference_steps": it.steps, "sigmas": sigmas[:-1].tolist()}
    return {"latents": at(sigmas[0]), **steps, **kept}


def apart(case: Case, model: Model, found: Tensor, wanted: Tensor) -> float:
    """Return the greatest difference of our latents from theirs."""
    told = case.latents(model, found)
    assert told.shape == wanted.shape
    assert wanted.std() > 0.1
    return float((told - wanted).abs().max())


Made = Callable[[Case], tuple[Path, Model]]


def words(name: str, **changes: Any) -> Recipe:
    """Return a recipe as diffusers' pipeline of that case can draw it."""
    told = {"negative_prompt": LONG[:-100], "guidance_scale": 3.0, **changes}
    if name == "flux2 klein":  # it knows no other
        told["negative_prompt"] = ""
    if name == "flux schnell":
        told["guidance_scale"] = 1.0
    if name == "sd3":  # it pads both alike, Marble each to 77: as many tokens, by the same words
        told["negative_prompt"] = " ".join(reversed(told.get("prompt", SHORT).split()))
    return recipe(**told)


@pytest.mark.parametrize(
    ("size", "prompt"), [((64, 64), SHORT), ((96, 64), LONG)], ids=["square", "wide"]
)
@pytest.mark.parametrize("name", CASES)
def test_a_picture_of_words_is_the_same(
    name: str, size: tuple[int, int], prompt: str, made: Made
) -> None:
    case = CASES[name]
    folder, model = made(case)
    it = words(name, prompt=prompt, width=size[0], height=size[1])
    found = ours(model, it)
    wanted = theirs(pipeline_of(case.pipeline, folder), case, model, it)
    assert apart(case, model, found, wanted) <= BOUND
    other = ours(model, replace(it, prompt="a horse"))
    assert (found - other).abs().max() > 10 * BOUND  # so that words count


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.start or case.by_hand])
def test_a_picture_that_begins_with_another_is_the_same(name: str, made: Made) -> None:
    case = CASES[name]
    folder, model = made(case)
    it = words(name, image=NAME, strength=0.5)
    found = ours(model, it, StartImage(PIXELS))
    more = {"image": Image.fromarray(PIXELS), "strength": 0.5}
    if case.by_hand:
        more = by_hand(case, model, it)
    wanted = theirs(pipeline_of(case.start or case.pipeline, folder), case, model, it, **more)
    assert apart(case, model, found, wanted) <= BOUND


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.mask or case.by_hand])
def test_a_picture_with_a_mask_is_the_same(name: str, made: Made) -> None:
    case = CASES[name]
    folder, model = made(case)
    it = words(name, image=NAME, mask=NAME, strength=0.5)
    # diffusers' klein sees the start image as a reference, too.
    seen = [PIXELS] if case.mask is Flux2KleinInpaintPipeline else []
    found = ours(model, it, StartImage(PIXELS, MASK), seen)
    pictures = {"image": Image.fromarray(PIXELS), "mask_image": Image.fromarray(MASK)}
    more = by_hand(case, model, it, masked=True) if case.by_hand else {**pictures, "strength": 0.5}
    wanted = theirs(pipeline_of(case.mask or case.pipeline, folder), case, model, it, **more)
    assert apart(case, model, found, wanted) <= BOUND


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_what_fill_draws_is_the_same(strength: float, made: Made) -> None:
    folder, model = made(FILL)
    it = recipe(image=NAME, mask=NAME, strength=strength)
    found = ours(model, it, StartImage(PIXELS, MASK))
    pictures = {"image": Image.fromarray(PIXELS), "mask_image": Image.fromarray(MASK)}
    pipeline = pipeline_of(FILL.pipeline, folder)
    wanted = theirs(pipeline, FILL, model, it, **pictures, strength=strength)
    assert apart(FILL, model, found, wanted) <= BOUND


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", EDITS)
def test_a_picture_that_is_edited_by_words_is_the_same(name: str, count: int, made: Made) -> None:
    case = EDITS[name]
    folder, model = made(case)
    pictures = [pixels(8, 64, 96), pixels(9, 64, 64)][:count]
    it = words(name)
    found = ours(model, it, None, pictures)
    images = [Image.fromarray(each) for each in pictures]
    more: dict[str, Any] = {"image": images}
    if case.pipeline is FluxKontextPipeline:
        if count > 1:
            pytest.skip("diffusers gives Kontext one")
        more |= {"_auto_resize": False, "max_area": 64 * 64}
    wanted = theirs(pipeline_of(case.pipeline, folder), case, model, it, **more)
    assert apart(case, model, found, wanted) <= BOUND
    assert (found - ours(model, it)).abs().max() > 10 * BOUND  # so that pictures count


@pytest.mark.parametrize("name", CASES)
def test_a_picture_with_a_lora_is_the_same(name: str, tmp_path: Path, made: Made) -> None:
    case = CASES[name]
    folder, model = made(case)
    pipeline = pipeline_of(case.pipeline, folder)
    write_lora(pipeline, tmp_path / "loras")
    pipeline.load_lora_weights(tmp_path / "loras", weight_name="it.safetensors")
    pipeline.set_adapters(pipeline.get_active_adapters(), 0.8)
    it = words(name, loras=(Lora(name="it", weight=0.8),))
    found = ours(model, it, folder=tmp_path)
    assert apart(case, model, found, theirs(pipeline, case, model, it)) <= BOUND
    assert (found - ours(model, replace(it, loras=()))).abs().max() > 10 * BOUND


def write_lora(pipeline: Any, folder: Path) -> None:
    """Write a LoRA as diffusers' scripts for training do, with what peft tells of it."""
    network, name = pipeline.transformer, "written"
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=2, init_lora_weights=False, target_modules=LAYERS)
    network.add_adapter(config, name)
    pipeline.save_lora_weights(
        folder,
        get_peft_model_state_dict(network, adapter_name=name),
        weight_name="it.safetensors",
        transformer_lora_adapter_metadata=network.peft_config[name].to_dict(),
    )
    network.delete_adapters(name)
