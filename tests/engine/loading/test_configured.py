"""Modules are those that the libraries' own loaders make, and other threads notice nothing."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from engine.families.stable_diffusion import load
from engine.loading.configured import map_folder, read_folder, read_part
from engine.loading.modules import Target, vae_tensors
from engine.models import families
from engine.models.catalogue import Checkpoint, describe, describe_file
from engine.models.signatures import TEXT
from engine.text_encode.clip import configured_encoder
from tests.models import SCHEDULER, make_model, write_tokenizer
from tests.single_files import make_modules, small_forms, write_single_file

CPU = torch.device("cpu")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
KINDS: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
FAMILIES = ("sd1", "sd2", "sdxl")


def check_same(made: Any, theirs: Any) -> None:
    """Compare all that a call computes with, and what costs are remembered by."""
    assert type(made) is type(theirs)
    assert not made.training
    tensors, due = (
        dict([*each.named_parameters(), *each.named_buffers()]) for each in (made, theirs)
    )
    assert tensors.keys() == due.keys()
    for name, tensor in due.items():
        its = tensors[name]
        assert (its.dtype, its.device) == (tensor.dtype, tensor.device), name
        assert its.stride() == tensor.stride() or not tensor.ndim, name
        assert torch.equal(its, tensor), name
    if isinstance(theirs, (UNet2DConditionModel, AutoencoderKL)):
        assert plain(made) == plain(theirs)


def plain(module: Any) -> dict[str, Any]:
    """Return a configuration, but for a list that the library makes of a set."""
    config = dict(module.config)
    return {**config, "_use_default_values": sorted(config.get("_use_default_values", ()))}


def by_library(folder: Path, dtype: torch.dtype, variant: str | None = None) -> Any:
    return KINDS[folder.name].from_pretrained(str(folder), dtype=dtype, variant=variant)


def by_marble(folder: Path, dtype: torch.dtype) -> Any:
    kind = KINDS[folder.name]
    if folder.name.startswith("text"):
        return configured_encoder(kind, folder, map_folder(folder), Target(dtype))[0]
    return read_folder(kind, folder, Target(dtype))[0]


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Change the tensors of a folder's file."""
    (file,) = folder.glob("*.safetensors")
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", [{}, {"inputs": 9}, {"guidance": 32}], ids=str)
def test_a_folders_modules_are_those_that_the_libraries_load(
    form: dict[str, int], dtype: torch.dtype, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "mine", **form)
    for part in ("unet", "vae", "text_encoder"):
        check_same(by_marble(folder / part, dtype), by_library(folder / part, dtype))


def test_halves_and_shards_are_read(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine")
    half, shards = (folder / part for part in ("text_encoder", "unet"))
    rewrite(half, lambda tensors: {name: each.half() for name, each in tensors.items()})
    (half / "model.safetensors").rename(half / "model.fp16.safetensors")
    (file,) = shards.glob("*.safetensors")
    tensors, index = load_file(file), dict[str, str]()
    file.unlink()
    for number in range(2):
        name = f"diffusion_pytorch_model-0000{number + 1}-of-00002.safetensors"
        own = {key: tensors[key] for key in sorted(tensors)[number::2]}
        save_file(own, shards / name, metadata={"format": "pt"})
        index |= dict.fromkeys(own, name)
    of = {"metadata": {}, "weight_map": index}
    (shards / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(of))
    check_same(by_marble(half, torch.float32), by_library(half, torch.float32, "fp16"))
    check_same(by_marble(shards, torch.float32), by_library(shards, torch.float32))


def test_layers_are_known_by_their_earlier_names(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine")
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(name: str) -> str:
        for now, before in older.items():
            name = name.replace(f".attentions.0.{now}.", f".attentions.0.{before}.")
        return name

    rewrite(folder / "vae", lambda its: {renamed(name): each for name, each in its.items()})
    rewrite(
        folder / "text_encoder",
        lambda its: (
            {f"text_model.{name.removeprefix('text_model.')}": its[name] for name in its}
            | {"text_model.embeddings.position_ids": torch.arange(77)[None]}
        ),
    )
    assert any(".query." in name for name in map_folder(folder / "vae"))
    for part in ("vae", "text_encoder"):
        check_same(
            by_marble(folder / part, torch.float32), by_library(folder / part, torch.float32)
        )


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_forms(tmp_path_factory.mktemp("forms") / "forms")


@pytest.fixture
def _small(forms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "CONFIGS", forms)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_files_modules_are_those_that_the_libraries_load(
    family: str, forms: Path, tmp_path: Path
) -> None:
    path = write_single_file(tmp_path / "a.safetensors", family, make_modules(forms / family))
    tensors, form = load_file(path), forms / family
    starts = dict(zip(("text_encoder", "text_encoder_2"), TEXT[family], strict=False))
    for dtype in DTYPES:
        for part, kind in KINDS.items():
            if part in starts:
                theirs = create_diffusers_clip_model_from_ldm(
                    kind, tensors, part, str(form), dtype, local_files_only=True
                )
                target = Target(dtype)
                made, _ = configured_encoder(kind, form / part, tensors, target, starts[part])
                check_same(made, theirs)
            elif not part.startswith("text"):
                theirs = kind.from_single_file(
                    dict(tensors), config=str(form), subfolder=part, dtype=dtype
                )
                its = vae_tensors(tensors) if part == "vae" else tensors
                check_same(read_part(kind, its, form, part, Target(dtype)), theirs)


def folder_of(form: Path, folder: Path) -> Checkpoint:
    """Write a form in diffusers' layout, whose configurations tell that it was saved in fp16."""
    for part, module in make_modules(form).items():
        module.half().save_pretrained(folder / part)
    for name in ("tokenizer", "tokenizer_2"):
        write_tokenizer(folder / name)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    index = {"_class_name": "StableDiffusionXLPipeline"}
    (folder / "model_index.json").write_text(json.dumps(index))
    return describe("mine", folder)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("single", [False, True])
def test_nothing_is_changed_for_other_threads_while_a_model_is_loaded(
    single: bool, forms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if single:
        modules = make_modules(forms / "sdxl")
        path = write_single_file(tmp_path / "a.safetensors", "sdxl", modules, torch.float16)
        checkpoint = describe_file(path.name, path)
    else:
        checkpoint = folder_of(forms / "sdxl", tmp_path / "mine")

    def seen() -> tuple[object, ...]:
        made = torch.nn.Linear(1, 1).weight
        defaults = torch.get_default_dtype(), torch.get_default_device()
        return *defaults, made.dtype, made.device, torch.nn.Module.register_parameter

    make, found = torch.nn.GroupNorm.__init__, []
    usual = seen()
    with ThreadPoolExecutor(1) as other:

        def watched(*arguments: Any, **options: Any) -> None:
            found.append(other.submit(seen).result())
            make(*arguments, **options)

        monkeypatch.setattr(torch.nn.GroupNorm, "__init__", watched)
        monkeypatch.setattr(torch, "set_default_dtype", None)
        monkeypatch.setattr(torch, "set_default_device", None)
        model = load(checkpoint, CPU, torch.float16)
    assert {each.dtype for each in model.network.parameters()} == {torch.float16}
    assert {*found} == {usual}
