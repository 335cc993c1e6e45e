"""Nodes for flow models: their parts, what their prompts are told, and how noise is spaced."""

from typing import Final

from engine.formats.comfy.builder import (
    CUSTOM_IDS,
    FIRST_REFERENCE,
    REFERENCE_IDS,
    GraphBuilder,
    Id,
    Link,
    Size,
    file_of,
)
from engine.formats.flow_model import GGUF, FlowModel
from engine.formats.graphs.flow_families import FLUX_MU
from engine.formats.graphs.nodes import EDITED, TWO
from engine.models.catalogue import Checkpoint
from engine.recipe.conditions import written
from engine.recipe.parts import LANCZOS, Lora
from engine.recipe.recipe import Recipe

LOADERS: Final = {
    1: ("CLIPLoader", ("clip_name",)),
    2: ("DualCLIPLoader", TWO),
    3: ("TripleCLIPLoader", (*TWO, "clip_name3")),  # SD3's: it asks for no type
}


class FlowBuilder(GraphBuilder):
    """Add the nodes of a flow model; those of others as its base does."""

    def __init__(self, recipe: Recipe, checkpoint: Checkpoint | None) -> None:
        self.flow = FlowModel.of(checkpoint)
        self.family = self.flow.family if self.flow else None
        # FLUX.1-dev's noise levels depend on the size, those of schnell, which takes none, do not.
        by_size = self.family == "flux" and self.flow is not None and self.flow.takes_guidance
        self.by_size = by_size and recipe.shift is None
        # FLUX.2's own noise levels are none of KSampler's.
        self.custom = self.family == "flux2" and recipe.shift is None
        super().__init__(recipe)

    @property
    def cfg(self) -> float:
        """Return the guidance of two predictions, 1 where there is one."""
        return 1.0 if self.flow and self.flow.has_one_prompt else self.recipe.guidance_scale

    def load(self) -> tuple[Link, Link, Link]:
        """Add the parts of a flow model; return network, text encoders and VAE."""
        if self.flow is None:
            return super().load()
        name = self.recipe.checkpoint
        if not self.flow.is_apart:
            model = self.add(Id.LOADER, "CheckpointLoaderSimple", ckpt_name=name)
        elif name.lower().endswith(GGUF):
            model = self.add(Id.LOADER, "UnetLoaderGGUF", unet_name=name)
        else:
            model = self.add(Id.LOADER, "UNETLoader", unet_name=name, weight_dtype="default")
        clip, vae = (Id.LOADER, 1), (Id.LOADER, 2)
        if files := self.flow.encoders:
            clip = self._encoders(files, self.flow.usual.type)
        if (file := self.flow.vae) and self.recipe.vae is None:
            vae = self.add(Id.VAE, "VAELoader", vae_name=file)
        if (shift := self.recipe.shift) is not None:
            model = self.add(Id.SHIFT, self.flow.usual.sampling, model=model, shift=shift)
        return model, clip, vae

    def lora(self, name: str, lora: Lora, model: Link, clip: Link) -> tuple[Link, Link]:
        """Add a LoRA, to the network alone where that is all that it changes."""
        if self.flow is None or lora.weights[1] != 0:
            return super().lora(name, lora, model, clip)
        inputs = {"lora_name": file_of(lora.name), "strength_model": lora.weight, "model": model}
        return self.add(name, "LoraLoaderModelOnly", **inputs), clip

    def text(self, name: str, text: str, **told: float) -> Link:
        """Add a text: one node, since BREAK parts windows of tokens, which these models lack."""
        if self.flow is None:
            return super().text(name, text, **told)
        return self.add(name, "CLIPTextEncode", text=text, clip=self.clip)

    def words(self) -> tuple[Link, Link]:
        """Add the prompts and all that the network is told beside them; return both."""
        recipe = self.recipe
        if self.flow is None:
            return super().words()
        references = [self._reference(*each) for each in enumerate(recipe.references)]
        weighs = self.flow.checkpoint.weighs
        words, negative = (
            written(text, recipe, weighs=weighs) for text in (recipe.prompt, recipe.negative_prompt)
        )
        system = self.flow.checkpoint.family.system_prompt
        positive = self._beside(Id.POSITIVE, system + words, references, 3)
        positive = self.with_areas(positive, system, weighs=weighs)
        if not self.flow.has_one_prompt:
            away = self._beside(Id.NEGATIVE, negative, references, 4)
            return positive, self.with_areas(away, negative=True, weighs=weighs)
        if self.flow.is_told or self.family == "flux":  # which does not mind where it takes none
            guidance = {"guidance": recipe.guidance_scale}
            positive = self.add(Id.GUIDANCE, "FluxGuidance", conditioning=positive, **guidance)
        return positive, self.add(Id.ZERO, "ConditioningZeroOut", conditioning=positive)

    def shifted(self, name: str, size: Size) -> Link:
        """Return the network with its noise spaced for pictures of that size."""
        if not self.by_size:
            return self.model
        shift = dict(zip(("max_shift", "base_shift"), FLUX_MU, strict=True))
        sides = {"width": size[0], "height": size[1]}
        return self.add(name, "ModelSamplingFlux", model=self.model, **shift, **sides)

    def custom_pass(
        self,
        name: str,
        latents: Link,
        texts: tuple[Link, Link],
        size: Size,
        *,
        steps: int,
        strength: float,
    ) -> Link:
        """Add a sampler whose noise levels are FLUX.2's own: the last `steps` of a schedule."""
        recipe, first = self.recipe, CUSTOM_IDS[name]
        both = {"positive": texts[0], "negative": texts[1]}
        noise = self.add(Id.NOISE, "RandomNoise", noise_seed=recipe.seed)
        sampler = self.add(Id.NAMED_SAMPLER, "KSamplerSelect", sampler_name=self.sampler)
        guider = self.add(str(first), "CFGGuider", model=self.model, **both, cfg=self.cfg)
        total = int(steps / strength)
        sides = {"width": size[0], "height": size[1]}
        sigmas = self.add(str(first + 1), "Flux2Scheduler", steps=total, **sides)
        if strength < 1:
            cut, alike = str(first + 2), round(total * strength) == steps
            kind = "SplitSigmasDenoise" if alike else "SplitSigmas"
            share = {"denoise": strength} if alike else {"step": total - steps}
            self.add(cut, kind, sigmas=sigmas, **share)
            sigmas = cut, 1
        return self.add(
            name,
            "SamplerCustomAdvanced",
            noise=noise,
            guider=guider,
            sampler=sampler,
            sigmas=sigmas,
            latent_image=latents,
        )

    def _encoders(self, files: tuple[str, ...], kind: str) -> Link:
        loader, names = LOADERS[len(files)]
        inputs = dict(zip(names, files, strict=True))
        if len(files) < len(LOADERS):
            inputs["type"] = kind
        if any(file.lower().endswith(GGUF) for file in files):
            return self.add(Id.CLIP, f"{loader}GGUF", **inputs)
        device = {"device": "default"} if "type" in inputs else {}
        return self.add(Id.CLIP, loader, **inputs, **device)

    def _reference(self, number: int, sha256: str) -> Link:
        """Add a picture beside the prompt: as latents, or as it is for Qwen-Image-Edit's nodes."""
        first = FIRST_REFERENCE + REFERENCE_IDS * number
        image = self.picture(str(first), sha256)
        if self.family == "qwen":
            return image
        if self.family == "flux":
            image = self.add(str(first + 1), "FluxKontextImageScale", image=image)
        else:
            how = {"upscale_method": LANCZOS, "megapixels": 1.0, "resolution_steps": 16}
            image = self.add(str(first + 1), "ImageScaleToTotalPixels", image=image, **how)
        return self.add(str(first + 2), "VAEEncode", pixels=image, vae=self.vae)

    def _beside(self, name: str, text: str, references: list[Link], own: int) -> Link:
        """Add a prompt with pictures beside it; own: which of a reference's nodes is this one's."""
        if references and self.family == "qwen":
            inputs = {"clip": self.clip, "prompt": text, "vae": self.vae}
            if self.flow and self.flow.checkpoint.references == 1:
                return self.add(name, "TextEncodeQwenImageEdit", **inputs, image=references[0])
            images = dict(zip(EDITED, references, strict=False))
            return self.add(name, "TextEncodeQwenImageEditPlus", **inputs, **images)
        # BREAK parts windows of tokens, which these models do not have.
        words = self.add(name, "CLIPTextEncode", text=text, clip=self.clip)
        for number, latents in enumerate(references):
            node = str(FIRST_REFERENCE + REFERENCE_IDS * number + own)
            words = self.add(node, "ReferenceLatent", conditioning=words, latent=latents)
        return words
