"""Where the parts of flow models lie: full-size files, of which only the headers are written."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import BrokenModel
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.downloads import command_for, find
from engine.models.families import BY_KEY, FAMILIES
from engine.models.part_kinds import KINDS
from tests.flow_files import NEEDED, PREFIX, Shapes, encoder, network, prefixed, vae, write
from tests.gguf_files import write_gguf

pytestmark = NEEDED


@pytest.fixture(autouse=True)
def runnable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every flow model be one that Marble can run."""
    for family in FAMILIES:
        if family.parts:
            monkeypatch.setitem(BY_KEY, family.key, replace(family, loadable=True))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return ComfyUI's folder of models with all parts that Z-Image and FLUX.1 need."""
    write(tmp_path / "diffusion_models" / "z_image_turbo_bf16.safetensors", network("zimage"))
    write(tmp_path / "diffusion_models" / "flux1-dev.safetensors", network("flux_dev"))
    for name, file in {
        "qwen3_4b": "qwen_3_4b",
        "clip_l": "clip_l",
        "t5xxl": "t5xxl_fp16",
    }.items():
        write(tmp_path / "text_encoders" / f"{file}.safetensors", encoder(name))
    write(tmp_path / "vae" / "ae.safetensors", vae("flux1_sd3"))
    for kind in ("qwen", "t5"):
        tokenizer(tmp_path / "tokenizers" / kind)
    return tmp_path


def tokenizer(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def parts(checkpoint: Checkpoint, models: Path) -> dict[str, str]:
    return {part: path.relative_to(models).as_posix() for part, path in checkpoint.parts.items()}


def own(models: Path, **settings: object) -> None:
    file = models / "diffusion_models" / "z_image_turbo_bf16.marble.json"
    file.write_text(json.dumps(settings))


def test_the_parts_of_split_files_are_found_and_described(models: Path) -> None:
    catalogue = Catalogue(models)
    assert catalogue.names() == [
        "starter",
        "flux1-dev.safetensors",
        "z_image_turbo_bf16.safetensors",
    ]
    checkpoint = catalogue.get("z_image_turbo_bf16")
    assert parts(checkpoint, models) == {
        "network": "diffusion_models/z_image_turbo_bf16.safetensors",
        "text_encoder": "text_encoders/qwen_3_4b.safetensors",
        "vae": "vae/ae.safetensors",
        "tokenizer": "tokenizers/qwen",
    }
    assert checkpoint.family.key == "z"
    assert checkpoint.title == "Z-Image Turbo"
    its = checkpoint.defaults
    assert (its.width, its.height, its.steps, its.guidance_scale) == (1024, 1024, 8, 1)
    assert (its.sampler, its.schedule) == ("euler", "simple")
    assert checkpoint.lacks == {
        *("negative_prompt", "guidance_scale", "guidance_rescale", "clip_skip", "controls"),
        "patches",
    }
    assert (checkpoint.multiple, checkpoint.references, checkpoint.prefixes) == (
        16,
        0,
        {"network": ""},
    )
    weights = [path for path in checkpoint.parts.values() if path.is_file()]
    assert checkpoint.size == sum(path.stat().st_size for path in weights)
    assert checkpoint.size > 12e9  # the network alone
    flux = catalogue.get("flux1-dev")
    assert (checkpoint.weighs, flux.weighs) == (False, True)  # words, by their text encoders
    assert (checkpoint.embeds, flux.embeds) == (False, True)
    assert (checkpoint.breaks, flux.breaks) == (False, False)
    assert parts(flux, models)["text_encoder_2"] == "text_encoders/t5xxl_fp16.safetensors"
    assert parts(flux, models)["tokenizer_2"] == "tokenizers/t5"
    assert "tokenizer" not in flux.parts  # CLIP's, which Marble ships


# What is removed → what the sentence says.
MISSING = {
    "text_encoders/qwen_3_4b.safetensors": "its text encoder is missing from text_encoders/: put "
    r"Qwen3-4B \(qwen_3_4b\.safetensors\) into text_encoders/, or `marble models get Comfy-Org/"
    r"flux2-klein-4B/split_files/text_encoders/qwen_3_4b\.safetensors` fetches it\.$",
    "vae/ae.safetensors": r"its VAE is missing from vae/: put FLUX\.1's VAE \(ae\.safetensors\) "
    "into vae/, or `marble models get Comfy-Org/z_image_turbo/split_files/vae/ae.safetensors` "
    r"fetches it\.$",
    "tokenizers/qwen/tokenizer.json": "the tokenizer of Qwen is missing: `marble models get "
    "tokenizer-qwen` fetches it, or put its tokenizer.json into tokenizers/qwen/",
}


@pytest.mark.parametrize("file", MISSING)
def test_a_part_that_is_missing_is_named_with_where_it_goes(models: Path, file: str) -> None:
    (models / file).unlink()
    with pytest.raises(BrokenModel, match=MISSING[file]):
        Catalogue(models).get("z_image_turbo_bf16")


def test_every_folder_that_was_searched_is_named(models: Path) -> None:
    for folder in ("vae", "text_encoders"):
        shutil.rmtree(models / folder)
    said = "its text encoder is missing from text_encoders/ and clip/: put CLIP-L "
    with pytest.raises(BrokenModel, match=said):
        Catalogue(models).get("flux1-dev")
    (models / "clip").mkdir()
    with pytest.raises(BrokenModel, match="its text encoder is missing from clip/: put CLIP-L"):
        Catalogue(models).get("flux1-dev")
    (models / "models" / "clip").mkdir(parents=True)
    (models / "extra").mkdir()
    (models / "extra_model_paths.yaml").write_text("mine:\n  clip: extra\n")
    with pytest.raises(BrokenModel, match="its text encoder is missing from clip/ and extra/: put"):
        Catalogue(models).get("flux1-dev")


def test_what_fetches_a_part_is_a_command_that_there_is() -> None:
    commands = {key: command_for(kind.file) for key, kind in KINDS.items() if kind.file}
    there = {key: command for key, command in commands.items() if command}
    assert {"clip_l", "clip_g", "t5xxl", "qwen3_4b", "flux", "flux2", "qwen_image"} <= there.keys()
    for key, command in there.items():
        download = find(command.removeprefix("marble models get "))
        assert download.home == (
            "vae" if key in ("flux", "flux2", "qwen_image") else "text_encoders"
        )
    assert [part.name for part in find(there["t5xxl"].split()[-1]).parts] == ["tokenizer-t5"]


def test_an_encoder_of_another_size_is_named(models: Path) -> None:
    (models / "text_encoders" / "qwen_3_4b.safetensors").unlink()
    large = {
        name: tuple(4096 if side == 2560 else side for side in shape)
        for name, shape in encoder("qwen3_4b").items()
    }
    write(models / "text_encoders" / "qwen_3_8b.safetensors", large)
    said = r"text_encoders/ \(qwen_3_8b is Qwen3-8B, of another size\): put Qwen3-4B "
    with pytest.raises(BrokenModel, match=said):
        Catalogue(models).get("z_image_turbo_bf16")
    own(models, parts={"text_encoder": "qwen_3_8b"})
    said = "parts.text_encoder: qwen_3_8b is Qwen3-8B, where Qwen3-4B is needed"
    with pytest.raises(BrokenModel, match=said):
        Catalogue(models).get("z_image_turbo_bf16")


def test_an_encoder_that_is_cut_short_is_named(models: Path) -> None:
    file = models / "text_encoders" / "qwen_3_4b.safetensors"
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 1)
    with pytest.raises(BrokenModel, match="its text encoder qwen_3_4b cannot be used: it is cut"):
        Catalogue(models).get("z_image_turbo_bf16")


def test_the_more_precise_of_two_files_is_taken(models: Path) -> None:
    encoders = models / "text_encoders"
    shapes = encoder("qwen3_4b")
    kept = {name: "BF16" for name, shape in shapes.items() if len(shape) == 1}
    write(encoders / "a_qwen_fp8.safetensors", shapes, dtype="F8_E4M3", dtypes=kept)
    write(encoders / "b_qwen_fp32.safetensors", shapes, dtype="F32")
    catalogue = Catalogue(models)
    taken = catalogue.get("z_image_turbo_bf16").parts["text_encoder"]
    assert taken.name == "qwen_3_4b.safetensors"  # more than 16 bits gain nothing
    taken.unlink()
    taken = catalogue.get("z_image_turbo_bf16").parts["text_encoder"]
    assert taken.name == "b_qwen_fp32.safetensors"
    taken.unlink()
    taken = catalogue.get("z_image_turbo_bf16").parts["text_encoder"]
    assert taken.name == "a_qwen_fp8.safetensors"


def test_the_vaes_of_flux_and_sd3_are_told_by_their_names(models: Path) -> None:
    write(models / "checkpoints" / "sd3.5_medium.safetensors", network("sd35_medium"))
    write(models / "text_encoders" / "clip_g.safetensors", encoder("clip_g"))
    catalogue = Catalogue(models)
    with pytest.raises(BrokenModel, match="only its name tells it, so that must hold sd3"):
        catalogue.get("sd3.5_medium")
    write(models / "vae" / "SD3_vae.safetensors", vae("flux1_sd3"))
    checkpoint = catalogue.get("sd3.5_medium")
    assert checkpoint.parts["vae"].name == "SD3_vae.safetensors"
    assert checkpoint.title == "Stable Diffusion 3.5 Medium"
    assert {"text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer_3"} < {*checkpoint.parts}
    assert catalogue.get("flux1-dev").parts["vae"].name == "ae.safetensors"


def test_an_owner_names_parts_and_the_variant(models: Path) -> None:
    write(models / "vae" / "mine" / "sd3-like.safetensors", vae("flux1_sd3"))
    tokenizer(models / "elsewhere")
    own(
        models,
        variant="base",
        parts={"vae": "sd3-like", "tokenizer": "elsewhere"},
        defaults={"steps": 12},
    )
    checkpoint = Catalogue(models).get("z_image_turbo_bf16")
    found = parts(checkpoint, models)
    assert (found["vae"], found["tokenizer"]) == ("vae/mine/sd3-like.safetensors", "elsewhere")
    assert (checkpoint.title, checkpoint.defaults.steps) == ("Z-Image", 12)
    assert checkpoint.lacks == {"clip_skip", "controls", "patches"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"variant": "dev"}, "variant must be one of turbo, base"),
        ({"variant": 5}, "variant must be a name"),
        ({"parts": 5}, "parts must be an object of files"),
        (
            {"parts": {"text_encoder_2": "x"}},
            "parts may name text_encoder, tokenizer, vae, not text_encoder_2",
        ),
        (
            {"partz": {}},
            r"'partz' is no key \(did you mean 'parts'\?\); its keys may be defaults, detail, "
            r"notes, parts, preview, variant\.$",
        ),
        ({"prediction": "epsilon"}, "prediction is not for Z-Image models; its keys may be"),
        ({"zero_snr": True}, "zero_snr is not for Z-Image models; its keys may be"),
        ({"parts": {"vae": "none"}}, "parts.vae: There is no VAE 'none'"),
        ({"parts": {"text_encoder": "clip_l"}}, "clip_l is CLIP-L, where Qwen3-4B is needed"),
        ({"parts": {"tokenizer": "vae"}}, "parts.tokenizer: vae is no folder with a tokenizer"),
        ({"preview": {"weights": [], "bias": []}}, "preview must hold weights, 16 rows"),
    ],
)
def test_what_an_owner_wrote_wrongly_is_named(
    models: Path, settings: Mapping[str, object], said: str
) -> None:
    own(models, **settings)
    with pytest.raises(BrokenModel, match=f"loaded: z_image_turbo_bf16.marble.json: .*{said}"):
        Catalogue(models).get("z_image_turbo_bf16")


def test_a_tokenizer_is_named_within_the_folder_of_models(models: Path) -> None:
    for given in ("vae/../tokenizers/qwen", str(models / "tokenizers" / "qwen")):
        own(models, parts={"tokenizer": given})
        said = f"parts.tokenizer: {given} is no folder inside the folder of models"
        with pytest.raises(BrokenModel, match=said):
            Catalogue(models).get("z_image_turbo_bf16")


def test_a_tokenizer_lies_beside_its_encoder_or_is_lent_by_a_folder(models: Path) -> None:
    (models / "tokenizers" / "qwen" / "tokenizer.json").unlink()
    lent = tokenizer(models / "diffusers" / "ada" / "klein" / "tokenizer")
    index = {
        "_class_name": "Flux2KleinPipeline",
        "text_encoder": ["transformers", "Qwen3ForCausalLM"],
        "tokenizer": ["transformers", "Qwen2TokenizerFast"],
    }
    (lent.parent / "model_index.json").write_text(json.dumps(index))
    catalogue = Catalogue(models)
    assert catalogue.get("z_image_turbo_bf16").parts["tokenizer"] == lent
    beside = tokenizer(models / "text_encoders" / "qwen_3_4b")
    assert catalogue.get("z_image_turbo_bf16").parts["tokenizer"] == beside


def test_a_tokenizer_may_lie_in_the_encoders_file(models: Path) -> None:
    write(models / "unet" / "dev.safetensors", network("flux2_dev"))
    write(models / "vae" / "flux2-vae.safetensors", vae("flux2"))
    mistral = models / "text_encoders" / "mistral.safetensors"
    write(mistral, encoder("mistral3_24b"), contents={"tekken_model": b"a model"})
    checkpoint = Catalogue(models).get("dev")
    assert checkpoint.parts["tokenizer"] == checkpoint.parts["text_encoder"] == mistral


def test_the_tokenizer_in_gemmas_file_is_none_that_marble_reads(models: Path) -> None:
    write(models / "unet" / "lumina_2.safetensors", network("lumina2"))
    gemma = models / "text_encoders" / "gemma_2_2b_fp16.safetensors"
    write(gemma, encoder("gemma2_2b"), contents={"spiece_model": b"a model"})
    said = (
        "the tokenizer of Gemma 2 is missing: `marble models get tokenizer-gemma2` fetches it, or "
        "put its tokenizer.json into tokenizers/gemma2/"
    )
    with pytest.raises(BrokenModel, match=re.escape(said)):
        Catalogue(models).get("lumina_2")
    beside = tokenizer(gemma.with_suffix(""))
    checkpoint = Catalogue(models).get("lumina_2")
    assert (checkpoint.title, checkpoint.defaults.guidance_scale) == ("Lumina 2", 4)
    assert (checkpoint.parts["text_encoder"], checkpoint.parts["tokenizer"]) == (gemma, beside)


def whole(*, vae_start: str = "vae.") -> Shapes:
    return {
        **prefixed(network("flux_schnell")),
        **prefixed(encoder("clip_l"), "text_encoders.clip_l.transformer."),
        **prefixed(encoder("t5xxl"), "text_encoders.t5xxl.transformer."),
        "text_encoders.t5xxl.logit_scale": (),
        **prefixed(vae("flux1_sd3"), vae_start),
    }


def test_all_parts_may_lie_in_one_file(tmp_path: Path) -> None:
    file = write(
        tmp_path / "checkpoints" / "flux1-schnell-fp8.safetensors", whole(), dtype="F8_E4M3"
    )
    tokenizer(tmp_path / "tokenizers" / "t5")
    checkpoint = Catalogue(tmp_path).get("flux1-schnell-fp8")
    assert (checkpoint.title, checkpoint.defaults.steps) == ("FLUX.1 schnell", 4)
    assert checkpoint.file == file
    assert parts(checkpoint, tmp_path) == {"tokenizer_2": "tokenizers/t5"}
    assert checkpoint.prefixes == {
        "network": PREFIX,
        "text_encoder": "text_encoders.clip_l.transformer.",
        "text_encoder_2": "text_encoders.t5xxl.transformer.",
        "vae": "vae.",
    }
    assert checkpoint.size == file.stat().st_size


def test_what_a_file_lacks_lies_apart(models: Path) -> None:
    shapes = {
        **prefixed(network("sd35_large")),
        **prefixed(vae("flux1_sd3"), "first_stage_model."),
    }
    write(models / "checkpoints" / "sd3.5_large_turbo.safetensors", shapes)
    write(models / "text_encoders" / "clip_g.safetensors", encoder("clip_g"))
    checkpoint = Catalogue(models).get("sd3.5_large_turbo")
    assert checkpoint.title == "Stable Diffusion 3.5 Large Turbo"
    assert checkpoint.prefixes == {"network": PREFIX, "vae": "first_stage_model."}
    assert checkpoint.parts["text_encoder_2"].name == "clip_g.safetensors"
    assert not {"network", "vae"} & {*checkpoint.parts}
    apart = sum(path.stat().st_size for path in (models / "text_encoders").glob("[ct]*"))
    assert checkpoint.file
    assert checkpoint.size == checkpoint.file.stat().st_size + apart


def test_a_gguf_file_is_a_network(models: Path) -> None:
    kinds = {1: 0, 2: 12}  # vectors in F32, matrices in Q4_K where rows are whole blocks
    small = {
        name: tuple(min(side, 256) if len(shape) > 1 else side for side in shape)
        for name, shape in network("zimage").items()
    }
    tensors = {
        name: (shape, kinds[len(shape)] if shape[-1] % 256 == 0 else 0)
        for name, shape in small.items()
    }
    file = models / "unet" / "z-image-Q4_K.gguf"
    file.parent.mkdir()
    write_gguf(file, tensors, {"general.architecture": "lumina2", "general.name": "Z Image Turbo"})
    checkpoint = Catalogue(models).get("z-image-Q4_K")
    assert (checkpoint.name, checkpoint.title) == ("z-image-Q4_K.gguf", "Z-Image Turbo")
    assert checkpoint.parts["network"] == file
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - 100)
    with pytest.raises(BrokenModel, match="it is cut short: "):
        Catalogue(models).get("z-image-Q4_K")
    write_gguf(file, {name: ((2, 256), 16) for name in list(tensors)[:3]})
    with pytest.raises(BrokenModel, match=r"its weights are quantised \(IQ2_XXS\)"):
        Catalogue(models).get("z-image-Q4_K")


def fp8(shapes: Shapes, scale: str) -> dict[str, str]:
    return {
        name: "F32" if name.endswith(scale) else "F8_E4M3" if len(shape) == 2 else "BF16"
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("mark", "scale"), [("scaled_fp8", "scale_weight"), ("comfy_quant", "weight_scale")]
)
def test_scaled_fp8_files_must_have_their_scales(models: Path, mark: str, scale: str) -> None:
    shapes = dict(network("zimage"))
    layers = [name for name in shapes if name.endswith(".weight") and len(shapes[name]) == 2]
    shapes |= {name.replace(".weight", f".{scale}"): () for name in layers}
    contents = {}
    if mark == "scaled_fp8":
        shapes[mark] = (0,)
    else:
        text = b'{"format": "float8_e4m3fn"}'
        contents = {name.replace(".weight", f".{mark}"): text for name in layers}
    file = models / "diffusion_models" / "z_fp8_scaled.safetensors"
    write(file, shapes, dtypes=fp8(shapes, scale), contents=contents)
    assert Catalogue(models).get("z_fp8_scaled").title == "Z-Image"
    lost = "layers.7.attention.qkv"
    del shapes[f"{lost}.{scale}"]
    write(file, shapes, dtypes=fp8(shapes, scale), contents=contents)
    said = f"it is marked as scaled fp8, and lacks the scale of '{lost}'"
    with pytest.raises(BrokenModel, match=said):
        Catalogue(models).get("z_fp8_scaled")


def test_a_quantisation_that_is_not_read_is_named(models: Path) -> None:
    file = models / "diffusion_models" / "z_fp4.safetensors"
    write(file, network("zimage"), contents={"layers.0.x.comfy_quant": b'{"format": "nvfp4"}'})
    with pytest.raises(BrokenModel, match=r"its weights are quantised \(nvfp4\), which Marble"):
        Catalogue(models).get("z_fp4")
    names = {"layers.0.attention.qkv.weight.quant_state.bitsandbytes__nf4": (9,)}
    write(file, {**network("zimage"), **names})
    with pytest.raises(BrokenModel, match=r"its weights are quantised \(bitsandbytes\)"):
        Catalogue(models).get("z_fp4")


def folder(root: Path, network_shapes: Shapes, **index: object) -> Path:
    """Write a folder in diffusers' layout of Z-Image's form, tensors by the makers' names."""
    write(root / "transformer" / "diffusion_pytorch_model.safetensors", network_shapes)
    write(root / "text_encoder" / "model.safetensors", encoder("qwen3_4b"))
    write(root / "vae" / "diffusion_pytorch_model.safetensors", vae("flux1_sd3"))
    tokenizer(root / "tokenizer")
    (root / "model_index.json").write_text(json.dumps(index))
    return root


def test_a_folder_in_diffusers_layout_is_described(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "diffusers" / "ada" / "Z-Image-Turbo",
        network("zimage"),
        _class_name="ZImagePipeline",
    )
    checkpoint = Catalogue(tmp_path).get("ada/Z-Image-Turbo")
    assert checkpoint.title == "Z-Image Turbo"
    assert (checkpoint.folder, checkpoint.file, checkpoint.parts) == (root, None, {})
    assert checkpoint.size > 20e9
    (root / "marble.json").write_text('{"variant": "base", "defaults": {"steps": 25}}')
    assert Catalogue(tmp_path).get("ada/Z-Image-Turbo").defaults.steps == 25
    write(root / "text_encoder" / "model.safetensors", encoder("qwen25_7b"))
    said = "text_encoder/ is Qwen2.5-VL-7B, where Qwen3-4B is needed"
    with pytest.raises(BrokenModel, match=said):
        Catalogue(tmp_path).get("ada/Z-Image-Turbo")


def test_marks_of_layers_are_read_in_every_file_of_a_folder(tmp_path: Path) -> None:
    shapes = network("zimage")
    names = list(shapes)
    root = folder(tmp_path / "z", shapes, _class_name="ZImagePipeline")
    (root / "transformer" / "diffusion_pytorch_model.safetensors").unlink()

    def shards(form: bytes, metadata: Mapping[str, str]) -> None:
        for number, part in enumerate((names[:99], names[99:]), 1):
            file = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
            write(
                root / "transformer" / file,
                {"filler": (number,), **{name: shapes[name] for name in part}},
                metadata=metadata if number == 2 else None,
                contents={f"layers.{number}.attention.out.comfy_quant": form},
            )

    shards(b'{"format": "float8_e4m3fn"}', {})
    assert Catalogue(tmp_path).get("z").title == "Z-Image"
    shards(b'{"format": "nvfp4"}', {})
    with pytest.raises(BrokenModel, match=r"its weights are quantised \(nvfp4\), which Marble"):
        Catalogue(tmp_path).get("z")
    marks = {"_quantization_metadata": '{"layers": {"layers.9.attention.out": "mxfp8"}}'}
    shards(b'{"format": "float8_e4m3fn"}', marks)
    with pytest.raises(BrokenModel, match=r"its weights are quantised \(mxfp8\), which Marble"):
        Catalogue(tmp_path).get("z")


def test_an_owner_names_parts_of_a_folder(models: Path) -> None:
    root = folder(models / "diffusers" / "z", network("zimage"), _class_name="ZImagePipeline")
    before = Catalogue(models).get("z").size
    named = {"vae": "ae", "text_encoder": "qwen_3_4b", "tokenizer": "tokenizers/qwen"}
    (root / "marble.json").write_text(json.dumps({"parts": named}))
    write(models / "vae" / "ae.safetensors", vae("flux1_sd3") | {"more": (100,)})
    checkpoint = Catalogue(models).get("z")
    assert parts(checkpoint, models) == {
        "vae": "vae/ae.safetensors",
        "text_encoder": "text_encoders/qwen_3_4b.safetensors",
        "tokenizer": "tokenizers/qwen",
    }
    headers = 10_000  # bytes that files of the same tensors may differ by
    assert 200 <= checkpoint.size - before < headers
    for part, given, said in (
        ("text_encoder", "clip_l", "clip_l is CLIP-L, where Qwen3-4B is needed"),
        ("vae", "none", "parts.vae: There is no VAE 'none'"),
        ("tokenizer", "vae", "parts.tokenizer: vae is no folder with a tokenizer"),
    ):
        (root / "marble.json").write_text(json.dumps({"parts": {part: given}}))
        with pytest.raises(BrokenModel, match=said):
            Catalogue(models).get("z")


def test_what_is_missing_from_a_folder_does_not_hide_what_its_owner_wrote(models: Path) -> None:
    root = folder(models / "diffusers" / "z", network("zimage"), _class_name="ZImagePipeline")
    (root / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(BrokenModel, match="loaded: tokenizer/ holds no tokenizer"):
        Catalogue(models).get("z")
    for text in ({"parts": {"vae": "none"}}, {"variant": "none"}, {"steps": 4}):
        (root / "marble.json").write_text(json.dumps(text))
        with pytest.raises(BrokenModel, match=r"loaded: marble\.json: "):
            Catalogue(models).get("z")


def test_a_folders_part_of_another_kind_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "z", network("zimage"), _class_name="ZImagePipeline")
    stable = {"decoder.conv_in.weight": (512, 4, 3, 3), "decoder.conv_norm_out.weight": (128,)}
    strange = {**stable, "decoder.conv_in.weight": (512, 8, 3, 3)}
    large = {
        name: tuple(4096 if side == 2560 else side for side in shape)
        for name, shape in encoder("qwen3_4b").items()
    }
    v1 = {"encoder.block.0.layer.1.DenseReluDense.wi.weight": (3072, 768)}
    for part, file, shapes, said in (
        ("vae", "diffusion_pytorch_model", stable, "Stable Diffusion's VAE, where FLUX.1's VAE"),
        ("vae", "diffusion_pytorch_model", strange, "something else, where FLUX.1's VAE"),
        ("vae", "diffusion_pytorch_model", vae("flux2"), "FLUX.2's VAE, where FLUX.1's VAE"),
        ("text_encoder", "model", large, "Qwen3-8B, where Qwen3-4B"),
        ("text_encoder", "model", v1, "something else, where Qwen3-4B"),
    ):
        path = root / part / f"{file}.safetensors"
        kept = path.read_bytes()[: 2**20], path.stat().st_size
        write(path, shapes)
        with pytest.raises(BrokenModel) as error:
            Catalogue(tmp_path).get("z")
        assert error.value.reason == f"{part}/ is {said} is needed."
        path.write_bytes(kept[0])
        os.truncate(path, kept[1])
    assert Catalogue(tmp_path).get("z").title == "Z-Image"


def test_a_broken_file_of_a_folder_is_named_with_its_part(tmp_path: Path) -> None:
    root = folder(tmp_path / "z", network("zimage"), _class_name="ZImagePipeline")
    for file in sorted(root.glob("*/*.safetensors")):
        whole = file.stat().st_size
        os.truncate(file, whole - 1)
        with pytest.raises(BrokenModel) as error:
            Catalogue(tmp_path).get("z")
        begin, end = f"{file.parent.name}: it is cut short: ", f" ({file.name})."
        assert error.value.reason.startswith(begin)
        assert error.value.reason.endswith(end)
        os.truncate(file, whole)
    assert Catalogue(tmp_path).get("z").title == "Z-Image"


def test_a_folder_says_whether_it_is_distilled(tmp_path: Path) -> None:
    shapes = {**network("flux2_dev"), "txt_in.weight": (3072, 7680)}
    root = folder(tmp_path / "klein", shapes, _class_name="Flux2KleinPipeline", is_distilled=False)
    write(root / "vae" / "diffusion_pytorch_model.safetensors", vae("flux2"))
    checkpoint = Catalogue(tmp_path).get("klein")
    assert (checkpoint.title, checkpoint.references) == ("FLUX.2 klein 4B base", 4)
    index = {"_class_name": "Flux2KleinPipeline", "is_distilled": True}
    (root / "model_index.json").write_text(json.dumps(index))
    assert Catalogue(tmp_path).get("klein").title == "FLUX.2 klein 4B"


def test_a_folder_whose_network_is_another_is_named(tmp_path: Path) -> None:
    root = tmp_path / "z"
    folder(root, network("lumina2"), _class_name="ZImagePipeline")
    said = "transformer/ is not what model_index.json says: it is a Lumina 2 model"
    with pytest.raises(BrokenModel, match=said):
        Catalogue(tmp_path).get("z")
    (root / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BrokenModel, match="vae/ holds no safetensors file"):
        Catalogue(tmp_path).get("z")


def test_what_marble_cannot_run_yet_is_named_before_its_parts_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BY_KEY, "lumina2", replace(BY_KEY["lumina2"], loadable=False))
    write(tmp_path / "diffusion_models" / "x.safetensors", network("lumina2"))
    with pytest.raises(BrokenModel, match="it is a Lumina 2 model, which Marble cannot run yet"):
        Catalogue(tmp_path).get("x")


def test_a_text_encoder_may_be_gguf(models: Path) -> None:
    (models / "text_encoders" / "t5xxl_fp16.safetensors").unlink()
    file = models / "text_encoders" / "t5-v1_1-xxl-encoder-Q8_0.gguf"
    # One block and the last, of llama.cpp's names.
    tensors: dict[str, tuple[tuple[int, ...], int]] = {
        f"enc.blk.{number}.ffn_up.weight": ((2, 32), 8) for number in (0, 23)
    }
    tensors["enc.output_norm.weight"] = ((4096,), 0)
    write_gguf(file, tensors, {"general.architecture": "t5encoder"})
    assert Catalogue(models).get("flux1-dev").parts["text_encoder_2"] == file
    write_gguf(file, tensors, {"general.architecture": "llama"})
    with pytest.raises(BrokenModel, match="put T5-XXL"):
        Catalogue(models).get("flux1-dev")
