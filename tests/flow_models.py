"""Make small models that predict velocities, in diffusers' layout, with random weights."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.condition_embedders.condition_embedder_anima import AnimaTextConditioner
from diffusers.models.transformers.transformer_chroma import ChromaTransformer2DModel
from diffusers.models.transformers.transformer_cosmos import CosmosTransformer3DModel
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
from diffusers.models.transformers.transformer_krea2 import Krea2Transformer2DModel
from diffusers.models.transformers.transformer_lumina2 import Lumina2Transformer2DModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.gemma.tokenization_gemma import GemmaTokenizer
from transformers.models.gemma2.configuration_gemma2 import Gemma2Config
from transformers.models.gemma2.modeling_gemma2 import Gemma2Model
from transformers.models.mistral3.configuration_mistral3 import Mistral3Config
from transformers.models.mistral3.modeling_mistral3 import Mistral3ForConditionalGeneration
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM, Qwen3Model
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5EncoderModel
from transformers.models.t5.tokenization_t5 import T5Tokenizer
from transformers.tokenization_utils_fast import PreTrainedTokenizerFast

import engine.families.chroma  # noqa: F401  # before its network, whose module warns without it
from engine.families import anima
from engine.families.flow_model import CLIP_END
from engine.families.sd3 import EXCLAMATION
from engine.loading.tokenizer import make_tokenizer, vocabulary
from engine.models.catalogue import Checkpoint
from engine.models.families import BY_KEY
from tests.models import write_tokenizer

SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
SEEING: Final = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>")  # of Qwen2.5-VL
TEMPLATE: Final = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
MISTRALS: Final = (
    *("<s>", "</s>", "<pad>"),
    *("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]"),
)
MISTRAL_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set tag = 'INST' if message.role == 'user' else 'SYSTEM_PROMPT' %}"
    "[{{ tag }}]{{ message.content[0].text }}[/{{ tag }}]{% endfor %}"
)
PIECES: Final = (  # of T5's tokenizer
    *("<pad>", "</s>", "<unk>", "▁", "▁a", "▁cat", "▁horse", "▁marble", "▁in"),
    *"abcdefghijklmnopqrstuvwxyz()</>,.",
)
GEMMAS: Final = "abcdefghijklmnopqrstuvwxyzAPSY<>(),.-"  # letters of Gemma's tokenizer
FORM: Final[Mapping[str, Any]] = {  # of FLUX.1 and Chroma
    "attention_head_dim": 32,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (4, 14, 14),
}


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
        parts = {"transformer": network, "vae": make_flux_vae(), "text_encoder": qwen3(32)}
    write_qwen_tokenizer(folder / "tokenizer")
    return write_folder(folder, "ZImagePipeline", parts, tokenizer="Qwen2Tokenizer")


def make_lumina2(folder: Path, seed: int = 0) -> Path:
    """Write a small Lumina 2 with random weights; return its folder.

    Its encoder's scores are not limited, as in ComfyUI.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = {
            "transformer": Lumina2Transformer2DModel(
                hidden_size=144,
                num_layers=2,
                num_refiner_layers=1,
                num_attention_heads=3,
                num_kv_heads=1,
                multiple_of=32,
                axes_dim_rope=(16, 16, 16),
                axes_lens=(1024, 64, 64),
                cap_feat_dim=64,
            ),
            "vae": make_flux_vae(),
            "text_encoder": gemma2(64),
        }
    gemma_tokenizer().save_pretrained(folder / "tokenizer")
    return write_folder(folder, "Lumina2Pipeline", parts, tokenizer="GemmaTokenizer")


def make_krea2(folder: Path, seed: int = 0) -> Path:
    """Write a small Krea 2 with random weights; return its folder."""
    write_qwen_tokenizer(folder / "tokenizer", (*SPECIAL, *SEEING))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Krea2Transformer2DModel(
            num_layers=2,
            attention_head_dim=32,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=96,
            timestep_embed_dim=32,
            text_hidden_dim=32,
            text_num_attention_heads=2,
            text_num_key_value_heads=2,
            text_intermediate_size=48,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(8, 12, 12),
        )
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        parts = {
            "transformer": network,
            "vae": AutoencoderKLQwenImage(base_dim=8),
            "text_encoder": qwen3_vl(32, len(bytes_tokenizer((*SPECIAL, *SEEING)).get_vocab())),
        }
    return write_folder(folder, "Krea2Pipeline", parts, tokenizer="Qwen2Tokenizer")


def make_anima(folder: Path, seed: int = 0) -> Path:
    """Write a small Anima with random weights; return its folder.

    The network has its makers' names, and the adapter is in its file.
    """
    write_qwen_tokenizer(folder / "tokenizer")
    write_t5_tokenizer(folder / "tokenizer_2")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network, adapter = cosmos(), anima_adapter()
        parts = {
            "transformer": network,
            "vae": AutoencoderKLQwenImage(base_dim=8),
            "text_encoder": qwen3(32),
        }
    write_folder(
        folder, "AnimaPipeline", parts, tokenizer="Qwen2Tokenizer", tokenizer_2="T5TokenizerFast"
    )
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    names = {own: theirs for theirs, places in anima.NAMES.items() for own in places}
    made = {f"llm_adapter.{name}": each for name, each in adapter.state_dict().items()}
    for name, tensor in network.state_dict().items():
        module, _, leaf = name.rpartition(".")
        number = next((part for part in module.split(".") if part.isdigit()), "")
        pattern = module.replace(f"blocks.{number}", "blocks.#", 1)
        made[f"{names[pattern].replace('#', number)}.{leaf}"] = tensor.contiguous()
    save_file(made, file)
    return folder


def cosmos() -> CosmosTransformer3DModel:
    """Return a small network of Cosmos-Predict2 in Anima's form."""
    network = CosmosTransformer3DModel(
        in_channels=16,
        num_attention_heads=2,
        attention_head_dim=36,
        num_layers=2,
        mlp_ratio=2.0,
        text_embed_dim=32,
        adaln_lora_dim=8,
        rope_scale=(1.0, 4.0, 4.0),
        extra_pos_embed_type=None,
    )
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def anima_adapter() -> AnimaTextConditioner:
    """Return a small adapter of Anima, for tokens of the small T5."""
    return AnimaTextConditioner(
        source_dim=32,
        target_dim=32,
        model_dim=32,
        num_layers=2,
        num_attention_heads=2,
        mlp_ratio=2.0,
        target_vocab_size=len(PIECES),
    )


def make_flux(
    folder: Path, seed: int = 0, *, guided: bool = True, beside: int = 0, depth: int = 1
) -> Path:
    """Write a small FLUX.1 with random weights; return its folder.

    guided: as dev, else as schnell; beside: channels that it takes beside latents, fill's 80.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = {
            "transformer": FluxTransformer2DModel(
                **FORM,
                in_channels=4 * (16 + beside),
                out_channels=64,
                num_layers=depth,
                num_single_layers=depth,
                pooled_projection_dim=64,
                guidance_embeds=guided,
            ),
            "vae": make_flux_vae(),
            "text_encoder": clip(),
            "text_encoder_2": t5(),
        }
    write_tokenizer(folder / "tokenizer")
    write_t5_tokenizer(folder / "tokenizer_2")
    return write_folder(
        folder, "FluxPipeline", parts, tokenizer="CLIPTokenizer", tokenizer_2="T5TokenizerFast"
    )


def make_sd3(folder: Path, seed: int = 0) -> Path:
    """Write a small Stable Diffusion 3.5 with random weights, in Medium's form; return its folder.

    As in true ones, CLIP-L's pooled embedding is multiplied by the identity.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = {
            "transformer": SD3Transformer2DModel(
                sample_size=16,
                num_layers=2,
                num_attention_heads=2,
                attention_head_dim=64,
                joint_attention_dim=192,
                caption_projection_dim=128,
                pooled_projection_dim=64 + 128,
                pos_embed_max_size=24,
                dual_attention_layers=(0,),
                qk_norm="rms_norm",
            ),
            "vae": make_flux_vae(scaling_factor=1.5305, shift_factor=0.0609),
            "text_encoder": pooling_clip(64, "quick_gelu"),
            "text_encoder_2": pooling_clip(128, "gelu"),
            "text_encoder_3": t5(192),
        }
        torch.nn.init.eye_(parts["text_encoder"].text_projection.weight)
    make_tokenizer(CLIP_END).save_pretrained(folder / "tokenizer")
    make_tokenizer(EXCLAMATION).save_pretrained(folder / "tokenizer_2")
    write_t5_tokenizer(folder / "tokenizer_3")
    return write_folder(
        folder,
        "StableDiffusion3Pipeline",
        parts,
        tokenizer="CLIPTokenizer",
        tokenizer_2="CLIPTokenizer",
        tokenizer_3="T5TokenizerFast",
    )


def make_qwen_image(folder: Path, seed: int = 0, *, clean_references: bool = False) -> Path:
    """Write a small Qwen-Image with random weights; return its folder.

    clean_references: as Qwen-Image-Edit from 2511 on.
    """
    write_qwen_tokenizer(folder / "tokenizer", (*SPECIAL, *SEEING))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = {
            "transformer": QwenImageTransformer2DModel(
                in_channels=64,
                out_channels=16,
                num_layers=2,
                attention_head_dim=32,
                num_attention_heads=2,
                joint_attention_dim=256,
                axes_dims_rope=(4, 14, 14),
                zero_cond_t=clean_references,
            ),
            "vae": AutoencoderKLQwenImage(base_dim=8),
            "text_encoder": qwen_vl(len(bytes_tokenizer((*SPECIAL, *SEEING)).get_vocab())),
        }
    return write_folder(folder, "QwenImagePipeline", parts, tokenizer="Qwen2Tokenizer")


def make_chroma(folder: Path, seed: int = 0, *, depth: int = 1) -> Path:
    """Write a small Chroma with random weights; return its folder.

    diffusers tells its blocks apart as the makers do where there are 19 and 38 of them alone, which
    is depth 19.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = {
            "transformer": ChromaTransformer2DModel(
                **FORM,
                in_channels=64,
                out_channels=64,
                num_layers=depth,
                num_single_layers=2 * depth,
                approximator_num_channels=64,
                approximator_hidden_dim=32,
                approximator_layers=1,
            ),
            "vae": make_flux_vae(),
            "text_encoder": t5(),
        }
    write_t5_tokenizer(folder / "tokenizer")
    return write_folder(folder, "ChromaPipeline", parts, tokenizer="T5TokenizerFast")


def make_klein(folder: Path, seed: int = 0) -> Path:
    """Write a small FLUX.2 klein with random weights; return its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = {
            "transformer": flux2(3 * 32, guided=False),
            "vae": make_flux2_vae(),
            "text_encoder": Qwen3ForCausalLM(qwen3_config(32, 28)),
        }
    write_qwen_tokenizer(folder / "tokenizer")
    return write_folder(folder, "Flux2KleinPipeline", parts, tokenizer="Qwen2TokenizerFast")


def make_flux2_dev(folder: Path, seed: int = 0) -> Path:
    """Write a small FLUX.2 dev with random weights; return its folder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = {
            "transformer": flux2(3 * 32, guided=True),
            "vae": make_flux2_vae(),
            "text_encoder": mistral3(32),
        }
    write_mistral_tokenizer(folder / "tokenizer")
    return write_folder(folder, "Flux2Pipeline", parts, tokenizer="TokenizersBackend")


def write_folder(folder: Path, pipeline: str, parts: Mapping[str, Any], **tokenizers: str) -> Path:
    """Write a folder in diffusers' layout; return it. tokenizers: their classes, by part."""
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": "0.42.1"}
    for part, module in parts.items():
        module.save_pretrained(folder / part)
        library = type(module).__module__.partition(".")[0]
        index[part] = [library, type(module).__name__]
    index |= {part: ["transformers", name] for part, name in tokenizers.items()}
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    # Without a shift: sigmas that it is given stay as they are.
    FlowMatchEulerDiscreteScheduler(shift=1.0).save_pretrained(folder / "scheduler")
    write(folder / "model_index.json", index)
    return folder


def make_flux_vae(
    channels: int = 16, *, scaling_factor: float = 0.3611, shift_factor: float = 0.1159
) -> AutoencoderKL:
    """Return a small VAE in the form of FLUX.1's, or with other latents."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=64,
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def make_flux2_vae() -> AutoencoderKLFlux2:
    """Return a small VAE in the form of FLUX.2's."""
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2)
    return vae


def flux2(width: int, *, guided: bool) -> Flux2Transformer2DModel:
    """Return a small network of FLUX.2 that reads states of that width."""
    return Flux2Transformer2DModel(
        in_channels=128,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=32,
        num_attention_heads=2,
        joint_attention_dim=width,
        timestep_guidance_channels=64,
        axes_dims_rope=(8, 8, 8, 8),
        guidance_embeds=guided,
    )


def qwen3(width: int, layers: int = 3) -> Qwen3Model:
    """Return a small Qwen3 of that width."""
    return Qwen3Model(qwen3_config(width, layers))


def qwen3_config(width: int, layers: int) -> Qwen3Config:
    """Return the configuration of a small Qwen3."""
    return Qwen3Config(
        vocab_size=320,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        initializer_range=1.0,  # so that words count
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
    )


def gemma2(width: int) -> Gemma2Model:
    """Return a small Gemma 2 of that width."""
    return Gemma2Model(
        Gemma2Config(
            vocab_size=len(gemma_tokenizer()),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=256,
            attn_logit_softcapping=None,
            initializer_range=1.0,  # so that words count
        )
    )


def gemma_tokenizer() -> GemmaTokenizer:
    """Return a tokenizer of letters and a word."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *GEMMAS, "ca", "cat", "▁cat"]
    merges: Any = [("c", "a"), ("ca", "t"), ("▁", "cat")]
    vocab = {piece: n for n, piece in enumerate(pieces)}
    made = GemmaTokenizer(vocab=vocab, merges=merges)
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", pair=None, special_tokens=[("<bos>", pieces.index("<bos>"))]
    )
    return made


def qwen_vl(vocabulary: int) -> Qwen2_5_VLForConditionalGeneration:
    """Return a small Qwen2.5-VL, 256 wide; its last token stands for a part of a picture."""
    made = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={
                "vocab_size": vocabulary,
                "hidden_size": 256,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "rms_norm_eps": 1e-6,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1_000_000.0,
                    "mrope_section": [16, 24, 24],
                },
            },
            vision_config={
                "depth": 2,
                "hidden_size": 64,
                "intermediate_size": 48,
                "num_heads": 16,
                "out_hidden_size": 256,
                "fullatt_block_indexes": [7],
            },
            image_token_id=vocabulary - 1,
        )
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


def qwen3_vl(width: int, vocabulary: int) -> Qwen3VLModel:
    """Return a small Qwen3-VL of that width, with as many layers as the true one of 4B."""
    return Qwen3VLModel(
        Qwen3VLConfig(
            text_config={
                "vocab_size": vocabulary,
                "hidden_size": width,
                "intermediate_size": 2 * width,
                "num_hidden_layers": 36,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "initializer_range": 1.0,  # so that words count
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 5_000_000.0,
                    "mrope_section": [4, 2, 2],
                    "mrope_interleaved": True,
                },
            },
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 1,
                "out_hidden_size": width,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": [0],
            },
        )
    )


def mistral3(width: int) -> Mistral3ForConditionalGeneration:
    """Return a small Mistral Small 3 of that width, with what sees."""
    return Mistral3ForConditionalGeneration(
        Mistral3Config(
            text_config={
                "model_type": "mistral",
                "vocab_size": 320,
                "hidden_size": width,
                "intermediate_size": 2 * width,
                "num_hidden_layers": 31,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 128,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000_000.0},
                "rms_norm_eps": 1e-5,
                "sliding_window": None,
                "initializer_range": 1.0,
            },
            vision_config={
                "model_type": "pixtral",
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
            },
        )
    )


def clip() -> CLIPTextModel:
    """Return a small CLIP in the form of CLIP-L."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=514,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=1,
            bos_token_id=512,
            eos_token_id=513,
        )
    )


def pooling_clip(width: int, activation: str) -> CLIPTextModelWithProjection:
    """Return a small CLIP of that width, with true tokens, whose pooled embedding is projected."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(vocabulary()),
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=width // 64,
            projection_dim=width,
            hidden_act=activation,
            bos_token_id=CLIP_END - 1,
            eos_token_id=CLIP_END,
        )
    )


def t5(width: int = 32) -> T5EncoderModel:
    """Return a small T5 of that width."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(PIECES),
            d_model=width,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )


def t5_tokenizer() -> T5Tokenizer:
    """Return a tokenizer of letters and a few words."""
    scores = [0.0, 0.0, 0.0, *[-float(n > 9) - 2 for n in range(3, len(PIECES))]]
    return T5Tokenizer(vocab=list(zip(PIECES, scores, strict=True)), extra_ids=0)


def write_t5_tokenizer(folder: Path) -> None:
    """Write that tokenizer."""
    t5_tokenizer().save_pretrained(folder)


def write_mistral_tokenizer(folder: Path) -> None:
    """Write a tokenizer of bytes, with Mistral's special tokens and chat template."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bytes_tokenizer(MISTRALS),
        bos_token="<s>",
        pad_token="<pad>",
        padding_side="left",
    )
    fast.chat_template = MISTRAL_TEMPLATE
    fast.save_pretrained(folder)


def bytes_tokenizer(special: Sequence[str]) -> Tokenizer:
    """Return a tokenizer of bytes with special tokens."""
    letters = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({each: n for n, each in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return tokenizer


def write_qwen_tokenizer(folder: Path, special: Sequence[str] = SPECIAL) -> None:
    """Write a tokenizer of bytes, with Qwen's special tokens and chat template."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bytes_tokenizer(special),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
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


# By their families, and what tells them apart within these.
MAKERS: Final[Mapping[str, Callable[[Path], Path]]] = {
    "z": make_z_image,
    "flux": make_flux,
    "flux schnell": partial(make_flux, guided=False),
    "flux fill": partial(make_flux, beside=80),
    "flux2": make_klein,
    "flux2 dev": make_flux2_dev,
    "chroma": make_chroma,
    "qwen": make_qwen_image,
    "qwen edit": make_qwen_image,
    "sd3": make_sd3,
    "lumina2": make_lumina2,
    "krea2": make_krea2,
    "anima": make_anima,
}
