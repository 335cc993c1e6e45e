"""One rule of names for files of every kind: ComfyUI's paths, and what may be left out of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BrokenModel, UnknownModel, UnknownPart, UserError
from engine.models.catalogue import Catalogue
from engine.models.folders import ModelKind
from engine.models.model_files import KINDS, ModelFiles, Snapshot, find_parts
from engine.models.name_matching import Names, without_ending

FILES = (
    "detail.safetensors",
    "sd15/detail.safetensors",
    "sdxl/detail.safetensors",
    "sdxl/Ink v1.5.safetensors",
    "a/twice.safetensors",
    "b/twice.safetensors",
    "a/Case.safetensors",
    "b/case.safetensors",
    "old.ckpt",
    "both.pt",
    "both.safetensors",
)
MEANT = {
    "detail.safetensors": "detail.safetensors",
    "detail": "detail.safetensors",
    "sd15/detail.safetensors": "sd15/detail.safetensors",
    "sd15\\detail.safetensors": "sd15/detail.safetensors",
    "sdxl/detail": "sdxl/detail.safetensors",
    "SDXL/Detail": "sdxl/detail.safetensors",
    "Ink v1.5": "sdxl/Ink v1.5.safetensors",
    "ink V1.5.ckpt": "sdxl/Ink v1.5.safetensors",
    "Case": "a/Case.safetensors",
    "case": "b/case.safetensors",
    "old": "old.ckpt",
    "both": "both.safetensors",
    "both.pt": "both.pt",
}
UNCLEAR = {
    "twice": "a/twice.safetensors, b/twice.safetensors",
    "twice.safetensors": "a/twice.safetensors, b/twice.safetensors",
    "CASE": "a/Case.safetensors, b/case.safetensors",
}
NONE = ("detai", "other/detail", "", "/", "sd15", "safetensors")


@pytest.mark.parametrize("name", MEANT)
def test_a_name_means_one_file(name: str) -> None:
    assert Names(FILES).choose("LoRA", name) == MEANT[name]


@pytest.mark.parametrize("name", UNCLEAR)
def test_where_several_fit_it_is_asked_which(name: str) -> None:
    with pytest.raises(UserError) as caught:
        Names(FILES).choose("LoRA", name)
    assert str(caught.value) == (
        f"The name {name!r} fits several files (LoRA): {UNCLEAR[name]}; write the full name."
    )


@pytest.mark.parametrize("name", NONE)
def test_a_name_of_no_file_means_none(name: str) -> None:
    assert Names(FILES).choose("LoRA", name) is None


def test_the_shortest_name_of_each_file_means_it_alone() -> None:
    names = Names(FILES)
    short = names.shortest(taken=["Old"])
    assert len(set(short.values())) == len(FILES)
    assert all(names.choose("LoRA", short[path]) == path for path in FILES)
    assert short["sd15/detail.safetensors"] == "sd15/detail"
    assert short["sdxl/Ink v1.5.safetensors"] == "Ink v1.5"
    assert short["old.ckpt"] == "old.ckpt"  # the bare one is taken


PARTS = st.sampled_from(["a", "A", "b", "a.b"])
TREES = st.lists(
    st.tuples(
        st.lists(PARTS, min_size=1, max_size=3), st.sampled_from([".safetensors", ".pt", ""])
    ),
    max_size=9,
).map(lambda files: list(dict.fromkeys("/".join(parts) + end for parts, end in files)))


@given(tree=TREES, typed=st.lists(PARTS, min_size=1, max_size=2).map("/".join))
def test_in_any_tree_every_file_has_names_of_its_own_and_none_is_taken_for_another(
    tree: list[str], typed: str
) -> None:
    names = Names(tree)
    short = names.shortest()
    assert len(set(short.values())) == len(tree)
    for path in tree:
        assert names.meant(path) == [path]
        assert names.meant(short[path]) == [path]
    # What a name means ends in it, however it is written; where several do, they are asked about.
    for path in names.meant(typed):
        assert f"/{without_ending(path)}".casefold().endswith(
            f"/{without_ending(typed)}".casefold()
        )


HOMES = {
    ModelKind.LORA: "loras",
    ModelKind.VAE: "vae",
    ModelKind.EMBEDDING: "embeddings",
    ModelKind.CONTROLNET: "controlnet",
    ModelKind.UPSCALER: "upscale_models",
}


def put(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_every_shelf_follows_the_rule(tmp_path: Path, kind: ModelKind) -> None:
    home = put(tmp_path / HOMES[kind], *FILES)
    shelf = ModelFiles(tmp_path, kind)
    for name, path in MEANT.items():
        if path.endswith(".safetensors"):
            assert shelf.get(name) == home / path, name
    with pytest.raises(BrokenModel, match="is a pickle"):
        shelf.get("both.pt")
    with pytest.raises(UserError, match="fits several files"):
        shelf.get("twice")
    with pytest.raises(UnknownPart, match="did you mean 'detail'"):
        shelf.get("other/detail")
    listed = shelf.names()
    assert "both.pt" not in listed  # it is there in another form
    assert {"detail", "sd15/detail", "a/twice", "b/twice", "Ink v1.5", "old"} <= set(listed)
    assert all(shelf.resolve(name) == name for name in listed)


@pytest.mark.parametrize("home", ["", "checkpoints/"])
def test_models_follow_the_rule(tmp_path: Path, home: str) -> None:
    put(tmp_path, *(home + file for file in FILES if home or "/" not in file))
    catalogue = Catalogue(tmp_path)
    for name, path in MEANT.items():
        if home or "/" not in path:
            assert catalogue.resolve(name) == path, name
    with pytest.raises(UserError, match="fits several files" if home else "There is no model"):
        catalogue.resolve("twice")
    with pytest.raises(UnknownModel):
        catalogue.resolve("other/detail")


def test_a_file_that_comes_later_makes_a_bare_name_unclear(tmp_path: Path) -> None:
    home = put(tmp_path / "loras", "a/line.safetensors")
    shelf = ModelFiles(tmp_path, ModelKind.LORA)
    assert shelf.resolve("line") == "line"
    put(home, "b/line.safetensors")
    with pytest.raises(UserError, match=r"a/line\.safetensors, b/line\.safetensors"):
        shelf.get("line")
    assert shelf.resolve("a/line") == "a/line"


def test_a_model_that_comes_later_makes_a_bare_name_unclear(tmp_path: Path) -> None:
    home = put(tmp_path / "checkpoints", "a/dream.safetensors")
    catalogue = Catalogue(tmp_path)
    assert catalogue.resolve("dream") == "a/dream.safetensors"
    put(home, "b/dream.safetensors")
    with pytest.raises(UserError, match=r"a/dream\.safetensors, b/dream\.safetensors"):
        catalogue.get("dream")
    assert catalogue.resolve("a/dream.safetensors") == "a/dream.safetensors"


@pytest.mark.parametrize("kind", KINDS)
def test_a_config_among_files_hides_none(tmp_path: Path, kind: ModelKind) -> None:
    home = put(tmp_path / HOMES[kind], "config.json", "a.safetensors", "sub/b.safetensors")
    put(home, "sub/config.json", "whole/config.json", "whole/c.safetensors")
    put(home, "whole/diffusion_pytorch_model.safetensors")
    shelf = ModelFiles(tmp_path, kind)
    assert set(shelf.files()) == {"a", "b", "c", "whole"}
    assert shelf.get("whole") == home / "whole"
    assert shelf.get("whole/diffusion_pytorch_model.safetensors") == home / "whole"


def test_files_beside_a_models_own_index_are_found(tmp_path: Path) -> None:
    put(tmp_path / "checkpoints", "model_index.json", "a.safetensors", "m/model_index.json")
    put(tmp_path / "checkpoints", "m/b.safetensors", "m/unet/model.safetensors")
    names = Catalogue(tmp_path).names()
    assert names == ["starter", "a.safetensors", "checkpoints", "m", "m/b.safetensors"]


def test_control_models_of_one_file_name_are_told_by_their_folders(tmp_path: Path) -> None:
    files = [f"{name}/diffusion_pytorch_model.safetensors" for name in ("canny", "depth")]
    home = put(tmp_path / "controlnet", *files)
    shelf = ModelFiles(tmp_path, ModelKind.CONTROLNET)
    assert shelf.get("depth/diffusion_pytorch_model") == home / files[1]
    assert shelf.names() == [file.removesuffix(".safetensors") for file in files]


def test_a_tiny_vae_goes_by_comfyuis_name_and_by_its_files(tmp_path: Path) -> None:
    home = put(tmp_path / "vae_approx", "taesd_decoder.safetensors", "taesd_encoder.safetensors")
    shelf = ModelFiles(tmp_path, ModelKind.VAE)
    for name in ("taesd", "TAESD", "taesd_decoder", "taesd_decoder.safetensors"):
        assert shelf.get(name) == home / "taesd_decoder.safetensors"
        assert shelf.resolve(name) == "taesd"
    with pytest.raises(UnknownPart):
        shelf.get("taesd_encoder")


def test_a_name_of_several_kinds_means_all_of_them(tmp_path: Path) -> None:
    put(tmp_path, "loras/a/x.safetensors", "vae/x.safetensors", "upscale_models/lanczos.pt")
    assert find_parts(tmp_path, "X") == [(ModelKind.LORA, "x"), (ModelKind.VAE, "x")]
    assert find_parts(tmp_path, "lanczos") == [(ModelKind.UPSCALER, "lanczos.pt")]
    assert ModelFiles(tmp_path, ModelKind.UPSCALER).get("Lanczos") is None


ASKED: dict[str, Callable[[Path], object]] = {
    "shelf": lambda root: ModelFiles(root, ModelKind.LORA).get("twice"),
    "model": lambda root: Catalogue(root).get("twice"),
}


@pytest.mark.parametrize("what", ASKED)
def test_the_question_is_one_that_people_are_shown(tmp_path: Path, what: str) -> None:
    for home in ("loras", "checkpoints"):
        put(tmp_path / home, *FILES)
    with pytest.raises(UserError) as caught:
        ASKED[what](tmp_path)
    assert caught.value.said.code == "which_one"  # type: ignore[attr-defined]  # a Sentence


def test_folders_are_walked_anew_only_where_one_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = put(tmp_path / "loras", "a/line.safetensors", "b/ink.safetensors")
    past = 10**9
    for folder in (home, home / "a", home / "b"):
        os.utime(folder, ns=(past, past))
    shelf = ModelFiles(tmp_path, ModelKind.LORA)
    walks: list[ModelFiles] = []
    walk = ModelFiles._look

    def watched(self: ModelFiles) -> Snapshot:
        walks.append(self)
        return walk(self)

    monkeypatch.setattr(ModelFiles, "_look", watched)
    for _ in range(9):
        assert shelf.resolve("line") == "line"
        assert shelf.names() == ["ink", "line"]
    assert walks == []
    put(home, "b/line.safetensors")  # a moment ago: what comes in the same moment counts as well
    assert shelf.names() == ["a/line", "b/line", "ink"]
    put(home, "a/ink.safetensors")
    assert shelf.names() == ["a/ink", "a/line", "b/ink", "b/line"]
    (home / "a" / "line.safetensors").unlink()
    assert shelf.resolve("line") == "line"
    put(tmp_path, "Lora/x.safetensors")
    assert shelf.resolve("x") == "x"
    assert len(walks) == 4
