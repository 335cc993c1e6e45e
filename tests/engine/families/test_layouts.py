"""Parts of a flow model are read wherever the catalogue finds them, in folders and in files."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.device.backends import CUDA, MPS
from engine.device.stored_weights import StoredWeight
from engine.families import anima, flow_model, krea2, lumina2, z_image
from engine.families.flow_model import Parts
from engine.families.registry import load
from engine.families.z_image import network_of
from engine.loading.model import Model
from engine.loading.tokenizer import tokenizer_of
from engine.models.catalogue import Catalogue
from engine.models.families import BY_KEY
from engine.text_encode import gemma2, qwen3
from tests.engine.ticks import draw, make_pipeline, pngs
from tests.factories import make_recipe
from tests.flow_models import MAKERS, described, make_anima, make_krea2, make_lumina2, make_z_image

CPU = torch.device("cpu")
ENCODER = "text_encoders.qwen3_4b.transformer."
# By families: what makes a small model, what reads its network and its text encoder, and the kind
# of its tokenizer.
FOUND: Mapping[str, tuple[Callable[[Path], Path], Any, Any, str]] = {
    "z": (make_z_image, z_image.network_of, qwen3.encoder_of, "qwen"),
    "lumina2": (make_lumina2, lumina2.network_of, gemma2.encoder_of, "gemma2"),
    "krea2": (make_krea2, krea2.network_of, krea2.text_encoder_of, "qwen"),
    "anima": (make_anima, anima.network_of, partial(qwen3.encoder_of, cut=False), "qwen"),
}


@pytest.fixture(autouse=True)
def runnable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BY_KEY, "z", replace(BY_KEY["z"], loadable=True))


def tensors(folder: Path) -> dict[str, Tensor]:
    return {
        name: each
        for file in folder.glob("*.safetensors")
        for name, each in load_file(file).items()
    }


def split(made: Path, models: Path) -> None:
    for part, home in {"transformer": "diffusion_models", "text_encoder": "text_encoders"}.items():
        (models / home).mkdir(parents=True)
        save_file(tensors(made / part), models / home / "it.safetensors")
    vae(made, models)


def whole(made: Path, models: Path) -> None:
    (models / "checkpoints").mkdir(parents=True)
    network, encoder = tensors(made / "transformer"), tensors(made / "text_encoder")
    save_file(
        {f"model.diffusion_model.{name}": each for name, each in network.items()}
        | {f"{ENCODER}model.{name}": each for name, each in encoder.items()},
        models / "checkpoints" / "it.safetensors",
    )
    vae(made, models)


def vae(made: Path, models: Path) -> None:
    shutil.copytree(made / "vae", models / "vae" / "ae")
    shutil.copytree(made / "tokenizer", models / "tokenizers" / "qwen")
    if (made / "tokenizer_2").exists():
        shutil.copytree(made / "tokenizer_2", models / "tokenizers" / "t5")


@pytest.mark.parametrize("layout", [split, whole])
@pytest.mark.parametrize("key", FOUND)
def test_network_and_text_encoder_are_the_same_in_every_layout(
    key: str, layout: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    make, network_of, encoder_of, reader = FOUND[key]
    made = make(tmp_path / "folders" / "diffusers" / "it")
    layout(made, tmp_path / "files")
    if reader != "qwen":
        (tmp_path / "files" / "tokenizers" / "qwen").rename(
            tmp_path / "files" / "tokenizers" / reader
        )
    first = load(Catalogue(tmp_path / "folders").get("it"), CPU, torch.float32)
    checkpoint = Catalogue(tmp_path / "files").get("it")
    parts = Parts(checkpoint, CPU, torch.float32, None, None)
    network = parts.network(network_of)
    encoder = parts.text_encoders(text_encoder=encoder_of)["text_encoder"]
    assert checkpoint.family.key == key
    assert checkpoint.weighs == (key in ("lumina2", "anima"))
    for found, due in ((network, first.network), (encoder, first.encoders["text_encoder"])):
        held = due.state_dict()
        assert found.state_dict().keys() == held.keys()
        assert all(torch.equal(each, held[name]) for name, each in found.state_dict().items())
    assert checkpoint.parts["vae"].name == "ae"


def test_other_parts_beside_a_network_without_a_prefix_are_told_from_it(tmp_path: Path) -> None:
    made = make_z_image(tmp_path / "made")
    models = tmp_path / "files"
    split(made, models)
    network, vae = tensors(made / "transformer"), tensors(made / "vae")
    save_file(
        network | {f"vae.{name}": each for name, each in vae.items()},
        models / "diffusion_models" / "it.safetensors",
    )
    checkpoint = Catalogue(models).get("it")
    assert checkpoint.prefixes == {"network": "", "vae": "vae."}
    found = Parts(checkpoint, CPU, torch.float32, None, None).network(network_of).state_dict()
    due = network_of(network).state_dict()
    assert found.keys() == due.keys()
    assert all(torch.equal(each, due[name]) for name, each in found.items())


def test_a_folder_is_read_with_the_parts_that_its_owner_names(tmp_path: Path) -> None:
    made = make_z_image(tmp_path / "diffusers" / "it")
    other = make_z_image(tmp_path / "other", seed=1)
    shutil.move(other / "vae", tmp_path / "vae" / "another")
    (tmp_path / "text_encoders").mkdir()
    file = tmp_path / "text_encoders" / "another.safetensors"
    save_file(tensors(other / "text_encoder"), file)
    named = {"vae": "another", "text_encoder": "another"}
    (made / "marble.json").write_text(json.dumps({"parts": named}))
    model = load(Catalogue(tmp_path).get("it"), CPU, torch.float32)
    due = tensors(tmp_path / "vae" / "another")
    assert all(torch.equal(each, due[name]) for name, each in model.vae.state_dict().items())
    encoder = model.encoders["text_encoder"].state_dict()
    due = load_file(file)
    name = next(each for each in due if each.endswith("embed_tokens.weight"))
    assert any(torch.equal(each, due[name]) for each in encoder.values() if each.ndim == 2)


def by_makers(key: str, network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's tensors as its makers' files have them, from those by diffusers' names."""
    family = import_module(f"engine.families.{BY_KEY[key].module}")
    names = family.names_of(network) if hasattr(family, "names_of") else family.NAMES
    theirs = {own: (name, rows) for name, places in names.items() for own, rows in places.items()}
    pieces: dict[str, dict[int, Tensor]] = {}
    for name, tensor in network.items():
        module, _, leaf = name.rpartition(".")
        number = "".join(re.findall(r"\.(\d+)\.", name)[:1])
        pattern = re.sub(r"\.\d+\.", ".#.", name, count=1).rpartition(".")[0]
        spelling, rows = theirs.get(module, theirs.get(pattern, (module, None)))
        whose = f"{spelling.replace('#', number)}.{leaf}".lstrip(".")
        whose = whose.replace("pos_embed.pos_embed", "pos_embed")
        parts = tensor.chunk(len(rows.taken)) if rows else [tensor]
        pieces.setdefault(whose, {}).update(zip(rows.taken if rows else [0], parts, strict=True))
    return {
        name: torch.cat([parts[each] for each in sorted(parts)]).contiguous()
        for name, parts in pieces.items()
    }


def drawn(model: Model) -> bytes:
    """Return the pixels of a picture; the texts in its file name those of the model."""
    recipe = make_recipe(
        prompt="a (cat:1.2) in a cathedral",
        negative_prompt="a dog",
        guidance_scale=3.0,
        **{"checkpoint": "it", "sampler": "euler", "schedule": "simple", "steps": 2},
        **{"width": 64, "height": 96},
    )
    [png] = pngs(draw(make_pipeline(model), [recipe], [0])[0])
    return Image.open(BytesIO(png)).tobytes()


@pytest.mark.parametrize("name", MAKERS)
def test_a_model_draws_the_same_bytes_in_every_layout(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder by diffusers' names; split files, and one file, by those of the makers."""
    made, key = MAKERS[name](tmp_path / "it"), name.split()[0]
    folder = described(made, key)
    first = load(folder, CPU, torch.float32)
    network = by_makers(key, tensors(made / "transformer"))
    named = key in ("qwen", "anima")  # by its makers already
    assert (network.keys() == tensors(made / "transformer").keys()) == named
    parts = [part for part, _ in BY_KEY[key].parts if not part.startswith("tokenizer")]
    held = {part: tensors(made / part) for part in parts} | {"network": network}
    readers = {each.name: each for each in made.iterdir() if each.name.startswith("tokenizer")}
    if key not in ("qwen", "krea2", "anima", "flux2"):  # from a file, it would have the true form
        readers["vae"] = made / "vae"
        del held["vae"]
    if key == "flux":  # whose encoder is small, and so are its tokens
        tokenizer = tokenizer_of(made / "tokenizer")
        monkeypatch.setattr(flow_model, "make_tokenizer", lambda pad: tokenizer)
    apart = {part: tmp_path / f"{part}.safetensors" for part in held}
    for part, file in apart.items():
        save_file(held[part], file)
    prefixes = {part: f"text_encoders.{part}." for part in held}
    prefixes |= {"network": "model.diffusion_model.", "vae": "vae."}
    whole = tmp_path / "whole.safetensors"
    save_file(
        {f"{prefixes[part]}{name}": each for part in held for name, each in held[part].items()},
        whole,
    )
    split = replace(folder, folder=tmp_path, file=apart["network"], parts={**apart, **readers})
    one = replace(
        split,
        file=whole,
        parts={**dict.fromkeys(held, whole), **readers},
        prefixes={part: prefixes[part] for part in held},
    )
    due = drawn(first)
    for layout in (split, one):
        found = load(layout, CPU, torch.float32)
        modules = {**found.parts, "vae": found.vae}
        for part, own in {**first.parts, "vae": first.vae}.items():
            states = modules[part].state_dict()
            assert states.keys() == own.state_dict().keys()
            assert all(torch.equal(each, states[name]) for name, each in own.state_dict().items())
        assert drawn(found) == due


def test_fp8_waits_in_main_memory_as_the_device_that_computes_takes_it(tmp_path: Path) -> None:
    made = make_z_image(tmp_path / "it")
    file = made / "transformer" / "diffusion_pytorch_model.safetensors"
    fp8 = {
        name: each.to(torch.float8_e4m3fn) if each.ndim == 2 else each
        for name, each in tensors(made / "transformer").items()
    }
    save_file(fp8, file)
    for kind, stays in ((MPS, False), (CUDA, True)):
        parts = Parts(described(made, "z"), torch.device(kind), torch.float32, CPU, 2**30)
        weights = [*parts.network(network_of).parameters()]
        assert any(isinstance(each, StoredWeight) for each in weights) == stays
        assert {each.device for each in weights} == {CPU}
