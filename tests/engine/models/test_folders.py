"""Models where ComfyUI and A1111 keep them: one setting finds files of every kind."""

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from engine.models.catalogue import Catalogue
from engine.models.folders import ModelKind, folders
from engine.models.model_files import ModelFiles, list_parts

# Where each program puts a file, what it is then called, and of which kind it is.
COMFYUI = {
    "checkpoints/sd15/dream.safetensors": ("sd15/dream.safetensors", ModelKind.CHECKPOINT),
    "diffusers/ada/small/model_index.json": ("ada/small", ModelKind.CHECKPOINT),
    "loras/anime/line.safetensors": ("line", ModelKind.LORA),
    "vae/kl.safetensors": ("kl", ModelKind.VAE),
    "vae_approx/taesd_decoder.safetensors": ("taesd", ModelKind.VAE),
    "embeddings/cat.safetensors": ("cat", ModelKind.EMBEDDING),
    "controlnet/canny.safetensors": ("canny", ModelKind.CONTROLNET),
    "upscale_models/4x.safetensors": ("4x", ModelKind.UPSCALER),
}
A1111 = {
    "models/Stable-diffusion/sd15/dream.safetensors": (
        "sd15/dream.safetensors",
        ModelKind.CHECKPOINT,
    ),
    "models/Lora/anime/line.safetensors": ("line", ModelKind.LORA),
    "models/LyCORIS/loha.safetensors": ("loha", ModelKind.LORA),
    "models/VAE/kl.safetensors": ("kl", ModelKind.VAE),
    "models/VAE-approx/taesd_decoder.safetensors": ("taesd", ModelKind.VAE),
    "embeddings/cat.safetensors": ("cat", ModelKind.EMBEDDING),
    "models/ControlNet/canny.safetensors": ("canny", ModelKind.CONTROLNET),
    "models/ESRGAN/4x.safetensors": ("4x", ModelKind.UPSCALER),
    "models/RealESRGAN/2x.safetensors": ("2x", ModelKind.UPSCALER),
}


def build(root: Path, files: dict[str, tuple[str, ModelKind]]) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def found(root: Path) -> set[tuple[str, ModelKind]]:
    models = {(name, ModelKind.CHECKPOINT) for name in Catalogue(root).names()}
    return models - {("starter", ModelKind.CHECKPOINT)} | {
        (n, kind) for kind, n in list_parts(root)
    }


LAYOUTS: dict[str, Callable[[Path], tuple[Path, dict[str, tuple[str, ModelKind]]]]] = {
    "ComfyUI's models": lambda root: (build(root / "models", COMFYUI), COMFYUI),
    "ComfyUI": lambda root: (build(root / "ComfyUI" / "models", COMFYUI).parent, COMFYUI),
    "A1111": lambda root: (build(root / "stable-diffusion-webui", A1111), A1111),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_setting_finds_files_of_every_kind(tmp_path: Path, layout: str) -> None:
    root, files = LAYOUTS[layout](tmp_path)
    assert found(root) == set(files.values())


EXTRA = """
# other programs' folders
empty:
comfyui:
    base_path: {base}
    is_default: true
    checkpoints: models/Stable-diffusion/
    loras: |
        models/Lora
        models/LyCORIS
    vae: models/VAE
    vae_approx: models/VAE-approx
    embeddings: embeddings
    controlnet: models/ControlNet
    upscale_models: |
        models/ESRGAN
        models/RealESRGAN
    custom_nodes: somewhere/else
"""


@pytest.mark.parametrize("base", ["../webui", "absolute", "$HERE/webui"])
@pytest.mark.parametrize("inside", ["", "models"])
def test_comfyuis_extra_paths_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, inside: str
) -> None:
    monkeypatch.setenv("HERE", str(tmp_path))
    build(tmp_path / "webui", A1111)
    base = str(tmp_path / "webui") if base == "absolute" else base
    build(tmp_path / "ComfyUI" / "models", {"loras/own.safetensors": ("own", ModelKind.LORA)})
    file = tmp_path / "ComfyUI" / "extra_model_paths.yaml"
    file.write_text(EXTRA.replace("{base}", base))
    assert found(tmp_path / "ComfyUI" / inside) == {*A1111.values(), ("own", ModelKind.LORA)}


BOMB = "a: &a {vae: vae}\n" + "".join(
    f"{name}: &{name}\n  <<: [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "while parsing a flow"),
        ("- 1\n- 2", "it holds no sections with a name"),
        ("a: 3", "it holds no lines like `loras: folder`"),
        ("a: {base_path: 5, vae: vae}", "its base_path is no path"),
        ("a: " + "[" * 30_000, "it nests too deeply"),
        ("a:\n" + "".join(f"{' ' * n}b:\n" for n in range(1, 300)), "it nests too deeply"),
        (BOMB, "it uses more than 10 aliases"),
        ("a: &a [" + "*a, " * 10_000 + "]", "it uses more than 10 aliases"),
        ("#" * 100_000, "it has more than 64 KiB"),
        ("a: {vae: " + "x" * 5_000 + "}", "File name too long"),
        ('a: {base_path: "\\0", vae: vae}', "no name of a file may hold such characters"),
        ("a: {? [1]: vae}", "while constructing a mapping"),
    ],
)
def test_extra_paths_that_cannot_be_followed_are_told_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    root = build(tmp_path, {"loras/own.safetensors": ("own", ModelKind.LORA)})
    (root / "extra_model_paths.yaml").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert found(root) == {("own", ModelKind.LORA)}
    [told] = [record.getMessage() for record in caplog.records]
    assert f"extra_model_paths.yaml is ignored: {why}" in told
    assert "\n" not in told
    assert len(told) < 400


def test_lines_beside_one_that_cannot_be_followed_are(tmp_path: Path) -> None:
    root = build(tmp_path / "root", {"loras/own.safetensors": ("own", ModelKind.LORA)})
    build(tmp_path / "other", {"more/ink.safetensors": ("ink", ModelKind.LORA)})
    wrong = f"bad: 3\nworse: {{base_path: [], loras: x}}\nlong:\n  loras: {'x' * 300}\n"
    right = "good:\n  base_path: ../other\n  vae: [1]\n  loras: more\n"
    (root / "extra_model_paths.yaml").write_text(f"{wrong}{right}")
    assert found(root) == {("own", ModelKind.LORA), ("ink", ModelKind.LORA)}


def test_an_empty_file_of_extra_paths_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = build(tmp_path, {"loras/own.safetensors": ("own", ModelKind.LORA)})
    (root / "extra_model_paths.yaml").write_text("# a:\n#  vae: vae\n")
    assert found(root) == {("own", ModelKind.LORA)}
    assert caplog.records == []


def test_a_folder_that_two_layouts_name_counts_once(tmp_path: Path) -> None:
    root = build(tmp_path / "models", COMFYUI)
    (root / "extra_model_paths.yaml").write_text("a:\n  base_path: .\n  vae: vae\n")
    assert len(folders(root, ModelKind.VAE)) == 1


def test_linked_folders_are_followed_and_a_circle_of_them_ends(tmp_path: Path) -> None:
    disk, models = tmp_path / "disk", tmp_path / "models"
    for folder in (disk / "deep", models / "loras" / "own", models / "checkpoints"):
        folder.mkdir(parents=True)
    for path in (disk / "a", disk / "deep" / "b", models / "loras" / "own" / "c"):
        path.with_suffix(".safetensors").write_bytes(b"x")
    (models / "loras" / "more").symlink_to(disk)
    (models / "loras" / "again").symlink_to(models / "loras" / "own")
    (disk / "deep" / "back").symlink_to(models / "loras")
    (models / "checkpoints" / "more").symlink_to(disk)
    shelf = ModelFiles(models, ModelKind.LORA)
    assert shelf.names() == ["a", "b", "c"]
    assert shelf.get("more/deep/b") == models / "loras" / "more" / "deep" / "b.safetensors"
    assert shelf.get("c") == models / "loras" / "own" / "c.safetensors"
    assert "more/a.safetensors" in Catalogue(models).names()
    (disk / "deep" / "later.safetensors").write_bytes(b"x")
    assert shelf.resolve("later") == "later"
