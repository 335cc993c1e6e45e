"""Write single files as Stability's original code names them, from modules in diffusers' form.

The names below are the inverse of the conversion that loading does: what is written with them and
loaded again must be the same modules.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from engine.families.stable_diffusion import StableDiffusion
from engine.loading.layer_names import original_name
from engine.loading.noise_schedule import NoiseSchedule
from engine.models import families
from engine.models.catalogue import Checkpoint
from tests.models import write_tokenizer

UNET: Final = "model.diffusion_model."
VAE: Final = "first_stage_model."
OPEN_CLIP: Final = {
    "self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
}  # fmt: skip

# Small widths for tests; the shapes that tell a family stay true.
SMALL: Final[dict[str, dict[str, Any]]] = {
    "sd1/unet": {"block_out_channels": [32, 64, 64, 64], "attention_head_dim": 4},
    "sd2/unet": {"block_out_channels": [32, 64, 64, 64], "attention_head_dim": [2, 4, 4, 4]},
    "sdxl/unet": {
        "block_out_channels": [32, 64, 64],
        "attention_head_dim": [2, 4, 4],
        "transformer_layers_per_block": [1, 1, 2],
    },
    "refiner/unet": {
        "block_out_channels": [32, 64, 64, 64],
        "attention_head_dim": [2, 4, 4, 4],
        "transformer_layers_per_block": 2,
    },
    "vae": {"block_out_channels": [32, 32, 32, 32]},
    "text_encoder": {"num_hidden_layers": 3, "intermediate_size": 64, "num_attention_heads": 8},
    "text_encoder_2": {"num_hidden_layers": 3, "intermediate_size": 64, "num_attention_heads": 8},
}
KINDS: Final = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


def small_forms(folder: Path, vocabulary: int = 600) -> Path:
    """Write the forms of all families with few channels and layers; return their folder.

    Real words need the vocabulary's true size, 49408.
    """
    shutil.copytree(families.CONFIGS, folder)
    for config in folder.glob("*/*/config.json"):
        family, part = config.parts[-3:-1]
        changes = SMALL.get(f"{family}/{part}") or SMALL.get(part, {})
        if part.startswith("text_encoder"):
            changes = {**changes, "vocab_size": vocabulary}
            changes |= {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
        made = {**json.loads(config.read_text()), **changes}
        if made.get("pad_token_id"):  # the same as the end
            made["pad_token_id"] = vocabulary - 1
        config.write_text(json.dumps(made))
    return folder


def make_modules(form: Path, seed: int = 0) -> dict[str, Any]:
    """Return a form's modules by part, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return {
            folder.name: make_module(folder).eval().requires_grad_(False)
            for folder in sorted(form.iterdir())
            if folder.name in KINDS
        }


def make_true_model(folder: Path, family: str, **unet: Any) -> StableDiffusion:
    """Return a family's true form with fewer channels, random weights and a tokenizer of letters.

    SD2 predicts v, as its larger models do. unet: what of the U-Net's configuration is otherwise.
    """
    form = small_forms(folder / "forms", vocabulary=514) / family
    config = form / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **unet}))
    write_tokenizer(folder / "tokenizer")
    modules = make_modules(form)
    # A random U-Net makes a hundred of each rounding in four steps; a quieter one does not, and
    # what is wrong still shows.
    modules["unet"].conv_out.weight.mul_(0.2)
    tokenizer = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"))
    second = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), pad_token="!")
    prediction = "v_prediction" if family == "sd2" else "epsilon"
    its = families.BY_KEY[family]
    return StableDiffusion(
        checkpoint=Checkpoint(name=family, folder=form, family=its, defaults=its.defaults(64)),
        device=torch.device("cpu"),
        dtype=torch.float32,
        tokenizer=second if family == "sd2" else tokenizer,
        tokenizer_2=second if its.is_xl else None,
        text_encoder=modules.get("text_encoder"),
        text_encoder_2=modules.get("text_encoder_2"),
        network=modules["unet"],
        vae=modules["vae"],
        noise_schedule=NoiseSchedule(prediction_type=prediction),
    )


def single_file(family: str, modules: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return all tensors of a single file."""
    return dict(_named(family, modules))


def write_single_file(
    path: Path, family: str, modules: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> Path:
    """Write modules as one file; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = single_file(family, modules).items()
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in tensors}, path)
    return path


def make_module(folder: Path) -> Any:
    """Return one module of a form."""
    kind, config = KINDS[folder.name], json.loads((folder / "config.json").read_text())
    return kind(CLIPTextConfig(**config)) if "model_type" in config else kind.from_config(config)


def _named(family: str, modules: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in modules["unet"].state_dict().items():
        yield UNET + unet_name(name, modules["unet"].config), tensor
    for name, tensor in modules["vae"].state_dict().items():
        attention = re.search(r"attentions.*(to_\w+(\.0)?\.weight)", name)
        yield VAE + vae_name(name), tensor[:, :, None, None] if attention else tensor
    for part, prefix in TEXTS[family].items():
        state = modules[part].state_dict()
        if prefix.endswith("model."):
            yield from _open_clip(prefix, state)
        else:
            yield from ((f"{prefix}text_model.{name}", value) for name, value in state.items())


TEXTS: Final = {
    "sd1": {"text_encoder": "cond_stage_model.transformer."},
    "sd2": {"text_encoder": "cond_stage_model.model."},
    "sdxl": {
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
    "refiner": {"text_encoder_2": "conditioner.embedders.0.model."},
}


def unet_name(name: str, config: Mapping[str, Any]) -> str:
    """Return the original name of a U-Net's tensor."""
    module, _, leaf = name.rpartition(".")
    return f"{original_name(module, config)}.{leaf}"


def vae_name(name: str) -> str:
    """Return the original name of a VAE's tensor."""
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda found: f"up.{3 - int(found[1])}.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(
        r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{3 - int(found[1])}.upsample", name
    )
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
        name = name.replace("to_out.0", "proj_out")
        name = re.sub(r"to_([qkv])", r"\1", name)
    return name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")


def _open_clip(prefix: str, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        name = name.removeprefix("text_model.")
        if name == "text_projection.weight":
            yield f"{prefix}text_projection", value.T
        elif name.startswith("embeddings.token"):
            yield f"{prefix}token_embedding.weight", value
        elif name.startswith("embeddings.position"):
            yield f"{prefix}positional_embedding", value
        elif name.startswith("final_layer_norm"):
            yield name.replace("final_layer_norm", f"{prefix}ln_final"), value
        elif "q_proj" in name:
            parts = [state[_full(state, name.replace("q_proj", p))] for p in PROJECTIONS]
            block = _block(prefix, name).partition(".self_attn")[0]
            yield f"{block}.attn.in_proj_{name.rpartition('.')[2]}", torch.cat(parts)
        elif not any(projection in name for projection in PROJECTIONS):
            for ours, theirs in OPEN_CLIP.items():
                name = name.replace(ours, theirs)
            yield _block(prefix, name), value


PROJECTIONS: Final = ("q_proj", "k_proj", "v_proj")


def _full(state: Mapping[str, Tensor], name: str) -> str:
    return name if name in state else f"text_model.{name}"


def _block(prefix: str, name: str) -> str:
    return prefix + name.replace("encoder.layers", "transformer.resblocks")
