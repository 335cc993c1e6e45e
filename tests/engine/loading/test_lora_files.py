"""What LoRA files say, tensor by tensor: used as it is meant, or named."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from peft.tuners.loha import layer as loha_layer
from peft.tuners.lokr import layer as lokr_layer
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.errors import BrokenModel
from engine.families.stable_diffusion import StableDiffusion
from engine.loading.lora import Loras
from engine.loading.lora_file import ROLES as ENDINGS
from engine.loading.lora_file import read_entries
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.recipe.parts import Lora
from tests.single_files import make_true_model

LOHA: Final[Any] = loha_layer  # without types
LOKR: Final[Any] = lokr_layer
LINEAR: Final = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV: Final = "down_blocks.0.resnets.0.conv1"
NORM: Final = "down_blocks.0.attentions.0.transformer_blocks.0.norm1"
GROUP: Final = "down_blocks.0.resnets.0.norm1"
TOKENS: Final = "embeddings.token_embedding"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SD1."""
    return make_true_model(tmp_path_factory.mktemp("small"), "sd1")


def write(folder: Path, tensors: Mapping[str, Tensor], metadata: Any = None) -> Path:
    """Write a LoRA by the name `it`, its tensors in their own dtypes."""
    path = folder / "loras" / "it.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path


def draw(*shape: int, seed: int = 0, size: float = 0.3) -> Tensor:
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def kohya(layer: str) -> str:
    return "lora_unet_" + layer.replace(".", "_")


def module_of(model: StableDiffusion, layer: str) -> Any:
    part = model.text_encoder if layer == TOKENS else model.unet
    return dict(part.named_modules())[layer]


@torch.inference_mode()
def off_by(
    model: StableDiffusion,
    folder: Path,
    layer: str,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    used: Lora | None = None,
) -> float:
    """Return how far a layer's answer with the LoRA is from that with changed weights."""
    module, adapters = module_of(model, layer), Loras(model, ModelFiles(folder, ModelKind.LORA))
    if isinstance(module, nn.Embedding):
        x = torch.arange(9)[None]
    else:
        channels = module.weight.shape[1 if module.weight.ndim > 1 else 0]
        x = draw(2, channels, 6, 6, seed=9, size=1)
        x = x if isinstance(module, (nn.Conv2d, nn.GroupNorm)) else x.flatten(2).mT
    plain = module(x)
    adapters.use((used or Lora(name="it"),))
    got = module(x)
    adapters.use(())
    assert torch.equal(module(x), plain)
    changes = {"weight": weight, "bias": bias}
    kept = {name: getattr(module, name).clone() for name, by in changes.items() if by is not None}
    for name in kept:
        change = changes[name]
        assert change is not None
        getattr(module, name).add_(change.reshape(kept[name].shape))
    wanted = module(x)
    for name, value in kept.items():
        getattr(module, name).copy_(value)
    assert (wanted - plain).abs().max() > 0.05  # it matters
    return float((got - wanted).abs().max())


def pair(model: StableDiffusion, layer: str, rank: int = 4, seed: int = 1) -> tuple[Tensor, Tensor]:
    shape = module_of(model, layer).weight.shape
    return draw(rank, *shape[1:], seed=seed), draw(shape[0], rank, seed=seed + 1)


DTYPES: Final = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_is_read_by_its_own_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    path = write(
        tmp_path,
        {
            "a.lora_down.weight": torch.zeros(4, 2),
            "a.lora_up.weight": torch.zeros(2, 4),
            "a.alpha": torch.tensor(6, dtype=dtype),
        },
    )
    (entry,) = read_entries("it", path)
    assert entry.alpha == 6
    assert entry.scale(4) == 1.5


def test_an_alpha_of_whole_numbers_scales_as_one_of_fractions(
    small: StableDiffusion, tmp_path: Path
) -> None:
    down, up = pair(small, LINEAR)
    name = kohya(LINEAR)
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
    write(tmp_path, {**tensors, f"{name}.alpha": torch.tensor(2)})
    assert off_by(small, tmp_path, LINEAR, up @ down / 2) < 1e-5


@pytest.mark.parametrize("layer", [NORM, GROUP, "conv_norm_out"])
def test_norms_are_changed(small: StableDiffusion, tmp_path: Path, layer: str) -> None:
    shape = module_of(small, layer).weight.shape
    w, b = draw(*shape, seed=1), draw(*shape, seed=2)
    write(tmp_path, {f"{kohya(layer)}.w_norm": w, f"{kohya(layer)}.b_norm": b})
    used = Lora(name="it", weight=0.5)
    assert off_by(small, tmp_path, layer, 0.5 * w, 0.5 * b, used) < 1e-5
    write(tmp_path, {f"{kohya(layer)}.b_norm": b})
    assert off_by(small, tmp_path, layer, None, b) < 1e-5


@pytest.mark.parametrize("layer", [LINEAR, CONV])
def test_whole_differences_and_biases_are_added_to_pairs(
    small: StableDiffusion, tmp_path: Path, layer: str
) -> None:
    module = module_of(small, layer)
    down, up = pair(small, layer)
    whole, bias = draw(*module.weight.shape, size=0.05), draw(len(module.bias))
    name = kohya(layer)
    tensors = {
        f"{name}.lora_down.weight": down,
        f"{name}.lora_up.weight": up.reshape(*up.shape, *[1] * (down.ndim - 2)),
        f"{name}.diff": whole,
        f"{name}.diff_b": bias,
    }
    write(tmp_path, tensors)
    product = (up @ down.flatten(1)).reshape(whole.shape)
    assert off_by(small, tmp_path, layer, product + whole, bias) < 1e-4


def test_a_text_encoders_embedding_is_changed(small: StableDiffusion, tmp_path: Path) -> None:
    change = draw(*module_of(small, TOKENS).weight.shape)
    name = "text_encoders.clip_l.transformer.text_model.embeddings.token_embedding"
    write(tmp_path, {f"{name}.diff": change})
    used = Lora(name="it", weight=1, text_weight=0.5)
    assert off_by(small, tmp_path, TOKENS, change / 2, used=used) < 1e-5


def test_weights_are_replaced_whatever_the_lora_weighs(
    small: StableDiffusion, tmp_path: Path
) -> None:
    module = module_of(small, LINEAR)
    other = draw(*module.weight.shape)
    write(tmp_path, {f"{kohya(LINEAR)}.set_weight": other})
    used = Lora(name="it", weight=0.3)
    assert off_by(small, tmp_path, LINEAR, other - module.weight, used=used) < 1e-5


def test_the_bias_of_pefts_pair_is_scaled_with_it(small: StableDiffusion, tmp_path: Path) -> None:
    down, up = pair(small, LINEAR)
    bias = draw(len(up), seed=5)
    tensors = {"lora_A.weight": down, "lora_B.weight": up, "lora_B.bias": bias}
    names = {f"unet.{LINEAR}.{name}": tensor for name, tensor in tensors.items()}
    write(tmp_path, names, peft({"unet.lora_alpha": 8, "unet.r": 4}))
    assert off_by(small, tmp_path, LINEAR, 2 * up @ down, 2 * bias) < 1e-5


def test_a_convolution_in_cp_form_is_multiplied_out(small: StableDiffusion, tmp_path: Path) -> None:
    shape = module_of(small, CONV).weight.shape
    down, up = draw(4, shape[1], 1, 1, seed=1), draw(shape[0], 4, 1, 1, seed=2)
    mid = draw(4, 4, 3, 3, seed=3)
    name = kohya(CONV)
    ends = {"lora_down.weight": down, "lora_up.weight": up, "lora_mid.weight": mid}
    tensors = {f"{name}.{end}": tensor for end, tensor in ends.items()}
    write(tmp_path, {**tensors, f"{name}.alpha": torch.tensor(2.0)})
    made = (
        LOKR.make_weight_cp(mid, up[:, :, 0, 0].T, down[:, :, 0, 0]) / 2
    )  # peft's, its roles reversed
    assert off_by(small, tmp_path, CONV, made) < 1e-4


@pytest.mark.parametrize("layer", [LINEAR, CONV])
def test_a_loha_equals_pefts(small: StableDiffusion, tmp_path: Path, layer: str) -> None:
    shape = module_of(small, layer).weight.shape
    wide = shape[1:].numel()
    a, c = draw(shape[0], 4, seed=1), draw(shape[0], 4, seed=2)
    b, d = draw(4, wide, seed=3), draw(4, wide, seed=4)
    roles = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d}
    tensors = {f"{kohya(layer)}.{role}": tensor for role, tensor in roles.items()}
    write(tmp_path, {**tensors, f"{kohya(layer)}.alpha": torch.tensor(8)})
    made = LOHA.make_weight(a, b, c, d, torch.tensor(2.0)).reshape(shape)
    used = Lora(name="it", weight=0.7)
    assert off_by(small, tmp_path, layer, 0.7 * made, used=used) < 1e-4


FACTORS: Final = (("t", ""), ("w", "_a"), ("w", "_b"))


def test_a_loha_in_cp_form_equals_pefts(small: StableDiffusion, tmp_path: Path) -> None:
    shape = module_of(small, CONV).weight.shape
    roles: dict[str, Tensor] = {}
    for number in (1, 2):
        roles |= {f"w{number}_a": draw(4, shape[0], seed=number, size=0.6)}
        roles |= {f"w{number}_b": draw(4, shape[1], seed=number + 2, size=0.6)}
        roles |= {f"t{number}": draw(4, 4, 3, 3, seed=number + 4, size=0.6)}
    write(tmp_path, {f"{kohya(CONV)}.hada_{role}": tensor for role, tensor in roles.items()})
    factors = [roles[f"{what}{n}{end}"] for n in (1, 2) for what, end in FACTORS]
    made = LOHA.make_weight_cp(*factors, torch.tensor(1.0))
    assert off_by(small, tmp_path, CONV, made) < 1e-4


@pytest.mark.parametrize("form", ["whole", "second", "both", "core"])
def test_a_lokr_equals_pefts(small: StableDiffusion, tmp_path: Path, form: str) -> None:
    layer = CONV if form == "core" else LINEAR
    shape = module_of(small, layer).weight.shape
    outer, rest = (4, 8), (shape[0] // 4, shape[1] // 8)
    roles, scale = {"lokr_w1": draw(*outer, seed=1, size=0.6)}, 0.5  # alpha 2, rank 4
    if form == "both":
        roles = {"lokr_w1_a": draw(4, 2, seed=1), "lokr_w1_b": draw(2, 8, seed=2)}
    if form == "whole":
        roles["lokr_w2"], scale = draw(*rest, seed=3), 1.0
    elif form == "core":
        roles |= {"lokr_w2_a": draw(4, rest[0], seed=3), "lokr_w2_b": draw(4, rest[1], seed=4)}
        roles["lokr_t2"] = draw(4, 4, 3, 3, seed=5, size=1)
    else:
        roles |= {"lokr_w2_a": draw(rest[0], 4, seed=3), "lokr_w2_b": draw(4, rest[1], seed=4)}
    tensors = {f"{kohya(layer)}.{role}": tensor for role, tensor in roles.items()}
    write(tmp_path, {**tensors, f"{kohya(layer)}.alpha": torch.tensor(2.0)})
    one = roles.get("lokr_w1")
    one = roles["lokr_w1_a"] @ roles["lokr_w1_b"] if one is None else one
    if form == "core":
        two = LOKR.make_weight_cp(roles["lokr_t2"], roles["lokr_w2_a"], roles["lokr_w2_b"])
    else:
        two = roles.get("lokr_w2")
        two = roles["lokr_w2_a"] @ roles["lokr_w2_b"] if two is None else two
    assert off_by(small, tmp_path, layer, LOKR.make_kron(one, two, scale).reshape(shape)) < 1e-4


def test_a_dora_of_peft_equals_pefts_merged_weights(small: StableDiffusion, tmp_path: Path) -> None:
    module = module_of(small, LINEAR)
    linear = nn.Linear(*reversed(module.weight.shape))
    net = nn.Sequential(linear)
    with torch.no_grad():
        linear.weight.copy_(module.weight)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["0"], use_dora=True)
    wrapped: Any = get_peft_model(net, config)
    its = wrapped.base_model.model[0]
    with torch.no_grad():
        its.lora_B["default"].weight.copy_(draw(len(module.weight), 4))
        its.lora_magnitude_vector["default"].weight.mul_(1.5)
    names = {
        "lora_A.weight": its.lora_A["default"].weight,
        "lora_B.weight": its.lora_B["default"].weight,
        "lora_magnitude_vector": its.lora_magnitude_vector["default"].weight,
    }
    tensors = {f"unet.{LINEAR}.{end}": t.detach().clone() for end, t in names.items()}
    write(tmp_path, tensors, peft({"unet.lora_alpha": 8, "unet.r": 4}))
    merged = wrapped.merge_and_unload()[0].weight.detach()
    assert off_by(small, tmp_path, LINEAR, merged - module.weight) < 1e-4


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("layer", [LINEAR, CONV])
def test_a_dora_gives_rows_or_columns_their_lengths(
    small: StableDiffusion, tmp_path: Path, layer: str, rows: bool
) -> None:
    weight = module_of(small, layer).weight
    down, up = pair(small, layer)
    shape = [len(weight), 1] if rows else [1, weight.shape[1]]
    length = 1 + draw(*shape, *[1] * (weight.ndim - 2)).abs()
    name = kohya(layer)
    ends = {"lora_down.weight": down, "lora_up.weight": up, "dora_scale": length}
    write(tmp_path, {f"{name}.{end}": tensor for end, tensor in ends.items()})
    changed = weight + (up @ down.flatten(1)).reshape(weight.shape)
    flat = changed.flatten(1) if rows else changed.transpose(0, 1).flatten(1)
    changed = changed * length / flat.norm(dim=1).reshape(length.shape)
    used = Lora(name="it", weight=0.6)
    assert off_by(small, tmp_path, layer, 0.6 * (changed - weight), used=used) < 1e-4


def test_a_dora_comes_after_the_lora_before_it(small: StableDiffusion, tmp_path: Path) -> None:
    weight = module_of(small, LINEAR).weight
    first, second = pair(small, LINEAR, seed=1), pair(small, LINEAR, seed=5)
    length = 1 + draw(len(weight), 1).abs()
    name = kohya(LINEAR)
    ends = {"lora_down.weight": first[0], "lora_up.weight": first[1]}
    write(tmp_path, {f"{name}.{end}": t for end, t in ends.items()}).rename(
        tmp_path / "loras" / "first.safetensors"
    )
    ends = {"lora_down.weight": second[0], "lora_up.weight": second[1], "dora_scale": length}
    write(tmp_path, {f"{name}.{end}": t for end, t in ends.items()})
    before = weight + first[1] @ first[0]
    after = before + second[1] @ second[0]
    after = after * length / after.norm(dim=1, keepdim=True)
    adapters, x = Loras(small, ModelFiles(tmp_path, ModelKind.LORA)), draw(2, 5, weight.shape[1])
    module = module_of(small, LINEAR)
    adapters.use((Lora(name="first"), Lora(name="it")))
    with torch.inference_mode():
        got = module(x)
    adapters.use(())
    assert torch.allclose(got, nn.functional.linear(x, after, module.bias), atol=1e-4)


def peft(config: Mapping[str, Any]) -> dict[str, str]:
    return {"format": "pt", "lora_adapter_metadata": json.dumps(config)}


PLAIN: Final = {"unet.lora_alpha": 8, "unet.r": 4}
SCALES: Final[dict[str, tuple[dict[str, Any], float]]] = {
    "plain": (PLAIN, 2),
    "root": ({**PLAIN, "unet.use_rslora": True}, 4),
    "own alpha": ({**PLAIN, "unet.alpha_pattern": {LINEAR: 16}}, 4),
    "own alpha by the end of a name": ({**PLAIN, "unet.alpha_pattern": {"to_out.0": 16}}, 4),
    "own alpha, anchored": (
        {**PLAIN, "unet.alpha_pattern": {f"^{LINEAR}$".replace(".", "\\."): 16}},
        4,
    ),
    "another's alpha": ({**PLAIN, "unet.alpha_pattern": {"attn1.to_q": 16}}, 2),
    "own rank": ({**PLAIN, "unet.r": 64, "unet.rank_pattern": {LINEAR: 4}}, 2),
    "another part's": ({**PLAIN, "text_encoder.use_rslora": True}, 2),
}


@pytest.mark.parametrize("what", SCALES)
def test_pefts_configuration_scales_a_pair(
    small: StableDiffusion, tmp_path: Path, what: str
) -> None:
    config, scale = SCALES[what]
    down, up = pair(small, LINEAR)
    tensors = {f"unet.{LINEAR}.lora_A.weight": down, f"unet.{LINEAR}.lora_B.weight": up}
    write(tmp_path, tensors, peft(config))
    assert off_by(small, tmp_path, LINEAR, scale * up @ down) < 1e-4


def test_pefts_configuration_is_read_beside_its_own_file(tmp_path: Path) -> None:
    down, up = torch.zeros(4, 2), torch.zeros(2, 4)
    tensors = {"base_model.model.a.lora_A.weight": down, "base_model.model.a.lora_B.weight": up}
    path = write(tmp_path, tensors).rename(tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"lora_alpha": 16, "r": 4, "use_rslora": True, "alpha_pattern": {}})
    )
    (entry,) = read_entries("it", path)
    assert (entry.name, entry.scale(4)) == ("a", 8)


SPELLINGS: Final = {
    "OneTrainer": ("unet.input_blocks.1.1.transformer_blocks.0.attn1.to_out.0", LINEAR),
    "ComfyUI": ("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_out.0", LINEAR),
    "SimpleTuner": ("lycoris_" + LINEAR.replace(".", "_"), LINEAR),
    "ComfyUI's convolution": ("diffusion_model.input_blocks.1.0.in_layers.2", CONV),
    "ComfyUI's norm": ("diffusion_model.input_blocks.1.0.in_layers.0", GROUP),
    "OneTrainer's text encoder": ("clip_l.text_model.embeddings.token_embedding", TOKENS),
    "kohya's text encoder": ("lora_te1_text_model_embeddings_token_embedding", TOKENS),
}


@pytest.mark.parametrize("who", SPELLINGS)
def test_names_of_all_trainers_are_read(small: StableDiffusion, tmp_path: Path, who: str) -> None:
    name, layer = SPELLINGS[who]
    change = draw(*module_of(small, layer).weight.shape)
    write(tmp_path, {f"{name}.diff": change})
    assert off_by(small, tmp_path, layer, change) < 1e-4


REFUSED: Final[dict[str, tuple[dict[str, Tensor], str]]] = {
    "unknown tensor": ({"q.lora_up.bias": torch.zeros(2)}, "it holds 'q.lora_up.bias'"),
    "OFT": ({"q.oft_blocks": torch.zeros(2)}, "it is an OFT"),
    "GLoRA": ({"q.a1.weight": torch.zeros(2)}, "it is a GLoRA"),
    "IA3": ({"q.on_input": torch.zeros(2)}, "it is an IA3"),
    "embeddings": ({"bundle_emb.cat.string_to_param.*": torch.zeros(2)}, "embeddings inside"),
    "alone": ({"q.dora_scale": torch.zeros(2)}, "'q.dora_scale' without what it belongs to"),
    "half a LoHa": ({"q.hada_w1_a": torch.zeros(2)}, "it is a LoHa, and q.hada_w1_b is missing"),
    "half a LoKr": ({"q.lokr_w1": torch.zeros(2)}, "it is a LoKr, and q.lokr_w2_a is missing"),
    "half of peft's": ({"q.lora_A.weight": torch.zeros(2)}, "q.lora_B.weight is missing"),
    "a second spelling": (
        {f"{LINEAR}.lora_A.weight": torch.zeros(2, 2)},
        "which Marble cannot read",
    ),
    "a factor whole and in parts": (
        {
            "q.lokr_w1": torch.zeros(2, 2),
            "q.lokr_w2": torch.zeros(2, 2),
            "q.lokr_w1_b": torch.zeros(1, 2),
        },
        "it holds 'q.lokr_w1_b' beside what stands in its place",
    ),
    "a core for a whole factor": (
        {
            "q.lokr_w1": torch.zeros(2, 2),
            "q.lokr_w2": torch.zeros(2, 2),
            "q.lokr_t2": torch.zeros(1, 2),
        },
        "it holds 'q.lokr_t2' beside what stands in its place",
    ),
    "two magnitudes": (
        {f"{LINEAR}.dora_scale": torch.ones(2), f"{LINEAR}.lora_magnitude_vector": torch.ones(2)},
        "'.*lora_magnitude_vector' beside what stands in its place",
    ),
    "complex numbers": (
        {f"{LINEAR}.lora_B.bias": torch.zeros(2, dtype=torch.complex64)},
        "holds values of the kind 'C64'",
    ),
    "two alphas": ({f"{LINEAR}.alpha": torch.zeros(2)}, "is not one number"),
    "no alpha": ({f"{LINEAR}.alpha": torch.tensor(torch.nan)}, "that are no numbers"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_used_is_named(small: StableDiffusion, tmp_path: Path, what: str) -> None:
    more, reason = REFUSED[what]
    down, up = pair(small, LINEAR)
    good = {f"{LINEAR}.lora_down.weight": down, f"{LINEAR}.lora_up.weight": up}
    path = write(tmp_path, {**good, **more})
    with pytest.raises(BrokenModel, match=reason):
        read_entries("it", path)
    assert read_entries("it", write(tmp_path, good))


@pytest.mark.parametrize("end", ["lora_up.bias", "dora_scale", "hada_w1_a", "lora_A.weight"])
def test_a_name_of_any_length_makes_one_short_sentence(tmp_path: Path, end: str) -> None:
    path = write(tmp_path, {f"{'x' * 10_000}.{end}": torch.zeros(2)})
    with pytest.raises(BrokenModel) as error:
        read_entries("it", path)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"unet.lora_alpha": "8"}, "unet.lora_alpha is not a number"),
        ({"unet.lora_alpha": float("nan")}, "unet.lora_alpha is not a number"),
        ({"unet.lora_alpha": 10**400}, "unet.lora_alpha is not a number"),
        ({"unet.use_rslora": "false"}, "unet.use_rslora is neither true nor false"),
        ({"unet.alpha_pattern": {"a(b|c)": 8}}, "holds the expression"),
        ([], "its metadata"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_named(
    tmp_path: Path, config: Any, reason: str
) -> None:
    tensors = {"a.lora_A.weight": torch.zeros(4, 2), "a.lora_B.weight": torch.zeros(2, 4)}
    metadata = {"lora_adapter_metadata": json.dumps(config)}
    if isinstance(config, list):
        metadata = {"lora_adapter_metadata": "["}
    with pytest.raises(BrokenModel, match=reason):
        read_entries("it", write(tmp_path, tensors, metadata))


RANKLESS: Final = {
    "a pair": {".lora_down.weight": (0, 1), ".lora_up.weight": (1, 0)},
    "a LoHa": {
        ".hada_w1_a": (1, 0), ".hada_w1_b": (0, 1), ".hada_w2_a": (1, 0), ".hada_w2_b": (0, 1),
    },
    "a LoKr": {".lokr_w1_a": (1, 0), ".lokr_w1_b": (0, 1), ".lokr_w2": (1, 1)},
}  # fmt: skip


@pytest.mark.parametrize("what", RANKLESS)
def test_matrices_without_a_rank_add_nothing(
    small: StableDiffusion, tmp_path: Path, what: str
) -> None:
    out, into = module_of(small, LINEAR).weight.shape

    def full(shape: tuple[int, int]) -> tuple[int, int]:
        return (out if shape[0] else 0), (into if shape[1] else 0)

    tensors = {
        LINEAR + ending: torch.zeros(full(shape)) for ending, shape in RANKLESS[what].items()
    }
    if what == "a LoKr":
        tensors |= {
            f"{LINEAR}.lokr_w1_a": torch.zeros(1, 0),
            f"{LINEAR}.lokr_w1_b": torch.zeros(0, 1),
        }
    write(tmp_path, {**tensors, f"{LINEAR}.alpha": torch.tensor(4.0)})
    layer, x = module_of(small, LINEAR), draw(2, into)
    adapters, plain = Loras(small, ModelFiles(tmp_path, ModelKind.LORA)), layer(x)
    adapters.use((Lora(name="it"),))
    assert torch.equal(layer(x), plain)


@pytest.mark.parametrize("when", ["before it is measured", "before it is read"])
def test_a_file_that_vanishes_is_named_without_its_place(
    small: StableDiffusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    down, up = pair(small, LINEAR)
    path = write(tmp_path, {f"{LINEAR}.lora_A.weight": down, f"{LINEAR}.lora_B.weight": up})
    shelf = ModelFiles(tmp_path, ModelKind.LORA)
    adapters = Loras(small, shelf)
    if when == "before it is measured":

        def find(name: str) -> Path:
            path.unlink()
            return path

        monkeypatch.setattr(shelf, "path", find)
    else:

        def read(name: str, path: Path) -> Any:
            found = read_entries(name, path)
            path.unlink()
            return found

        monkeypatch.setattr("engine.loading.lora.read_entries", read)
    with pytest.raises(BrokenModel, match="it cannot be read") as raised:
        adapters.use((Lora(name="it"),))
    assert str(tmp_path) not in str(raised.value)


WRONG: Final[dict[str, tuple[dict[str, Tensor], str]]] = {
    "of another size": ({f"{LINEAR}.diff": torch.zeros(3, 3)}, "has other sizes"),
    "a LoKr of another size": (
        {f"{LINEAR}.lokr_w1": torch.zeros(3, 3), f"{LINEAR}.lokr_w2": torch.zeros(2, 2)},
        "has other sizes",
    ),
    "no bias there": ({f"{LINEAR[:-8]}to_q.diff_b": torch.zeros(3)}, "which that layer lacks"),
    "a pair for a norm": (
        {
            f"{NORM}.lora_down.weight": torch.zeros(1, 1),
            f"{NORM}.lora_up.weight": torch.zeros(1, 1),
        },
        "no pair of matrices",
    ),
    "another family": (
        {
            "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": torch.ones(
                1, 2048
            ),
            "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_B.weight": torch.ones(
                64, 1
            ),
        },
        "it is made for Stable Diffusion XL, not for Stable Diffusion 1",
    ),
    "no sides": (
        {
            f"{LINEAR[:-14]}attn2.to_k.lora_down.weight": torch.tensor(1.0),
            f"{LINEAR[:-14]}attn2.to_k.lora_up.weight": torch.ones(3),
        },
        "has other sizes",
    ),
    "another kind of model": (
        {"transformer.single_transformer_blocks.0.attn.to_k.diff": torch.zeros(2)},
        "not made for Stable Diffusion 1.x models: none of its layers, such as 'transformer",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_the_model_is_named(
    small: StableDiffusion, tmp_path: Path, what: str
) -> None:
    tensors, reason = WRONG[what]
    write(tmp_path, tensors)
    with pytest.raises(BrokenModel, match=reason):
        Loras(small, ModelFiles(tmp_path, ModelKind.LORA)).use((Lora(name="it"),))


SIDES = st.sampled_from([1, 2, 4, 8, 16, 32, 64, 3])
SHAPES = st.lists(SIDES, max_size=4).map(tuple)
ROLES = st.dictionaries(st.sampled_from(sorted(ENDINGS)), SHAPES, min_size=1, max_size=5)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(roles=ROLES, layer=st.sampled_from([LINEAR, CONV, NORM, GROUP]))
def test_whatever_sizes_tensors_have_a_file_works_or_is_refused_with_a_sentence(
    small: StableDiffusion, tmp_path: Path, roles: dict[str, tuple[int, ...]], layer: str
) -> None:
    write(tmp_path, {f"{layer}{ending}": torch.zeros(shape) for ending, shape in roles.items()})
    adapters, plain = Loras(small, ModelFiles(tmp_path, ModelKind.LORA)), call(small, layer)
    try:
        adapters.use((Lora(name="it"),))
        changed = call(small, layer)
    except BrokenModel as error:
        said: str | None = str(error)
    else:
        said = None
    adapters.use(())
    if said is not None:
        assert "\n" not in said
        return
    assert changed.shape == plain.shape
    # Zeros change nothing, unless they stand for weights or lengths.
    replaced = {".set_weight", ".dora_scale", ".lora_magnitude_vector"} & roles.keys()
    assert replaced or torch.equal(changed, plain)


@torch.inference_mode()
def call(model: StableDiffusion, layer: str) -> Tensor:
    """Return a layer's answer to some input."""
    module = module_of(model, layer)
    channels = module.weight.shape[1 if module.weight.ndim > 1 else 0]
    x = draw(1, channels, 4, 4)
    x = x if isinstance(module, (nn.Conv2d, nn.GroupNorm)) else x.flatten(2).mT
    answer: Tensor = module(x)
    return answer


@pytest.mark.parametrize("layer", [LINEAR, CONV])
def test_sizes_that_fit_are_among_those_tried(
    small: StableDiffusion, tmp_path: Path, layer: str
) -> None:
    weight = module_of(small, layer).weight
    tensors = {".lora_down.weight": (2, *weight.shape[1:]), ".lora_up.weight": (len(weight), 2)}
    assert {side for shape in tensors.values() for side in shape} <= {1, 2, 3, 4, 8, 16, 32, 64}
    write(tmp_path, {f"{layer}{end}": torch.zeros(shape) for end, shape in tensors.items()})
    Loras(small, ModelFiles(tmp_path, ModelKind.LORA)).use((Lora(name="it"),))
