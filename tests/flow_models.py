"""Make small models that predict velocities, in diffusers' layout, with random weights."""

import json
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3Model
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

from engine.models.catalogue import Checkpoint
from engine.models.families import BY_KEY

SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)


def make_z_image(folder: Path, seed: int = 0) -> Path:
    """Write a small Z-Image with random weights; return its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ZImageTransformer2DModel(
            in_channels=16,
            dim=96,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=3,
            n_kv_heads=3,
            cap_feat_dim=32,
            axes_dims=[8, 12, 12],
            axes_lens=[1536, 512, 512],
        )
        for name in ("x_pad_token", "cap_pad_token"):
            torch.nn.init.normal_(getattr(network, name), std=0.02)
        network.save_pretrained(folder / "transformer")
        make_flux_vae().save_pretrained(folder / "vae")
        qwen3(32).save_pretrained(folder / "text_encoder")
    write_qwen_tokenizer(folder / "tokenizer")
    write(
        folder / "scheduler" / "scheduler_config.json",
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
            "use_dynamic_shifting": False,
        },
    )
    write(
        folder / "model_index.json",
        {
            "_class_name": "ZImagePipeline",
            "_diffusers_version": "0.42.1",
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            "text_encoder": ["transformers", "Qwen3Model"],
            "tokenizer": ["transformers", "Qwen2Tokenizer"],
            "transformer": ["diffusers", "ZImageTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    return folder


def make_flux_vae(channels: int = 16) -> AutoencoderKL:
    """Return a small VAE in the form of FLUX.1's."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=64,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def qwen3(width: int, layers: int = 3) -> Qwen3Model:
    """Return a small Qwen3 of that width."""
    return Qwen3Model(
        Qwen3Config(
            vocab_size=320,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
            tie_word_embeddings=True,
        )
    )


def write_qwen_tokenizer(folder: Path) -> None:
    """Write a tokenizer of bytes, with Qwen's special tokens and chat template."""
    letters = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({each: n for n, each in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)


def write(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def described(folder: Path, key: str) -> Checkpoint:
    """Return what a folder of a family is, as the catalogue describes it."""
    family = BY_KEY[key]
    return Checkpoint(name=key, folder=folder, family=family, defaults=family.defaults(64))
