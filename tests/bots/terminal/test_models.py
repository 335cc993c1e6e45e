"""`marble models`: a table of what is here, and of what cannot be used."""

from pathlib import Path
from unittest.mock import AsyncMock

import pytest
import torch
from safetensors.torch import save_file

from bots.presentation.lines import size_of
from bots.terminal.cli import main
from engine.check import device_trial
from engine.models.catalogue import Catalogue
from engine.models.memory_plan import Room, plan
from tests.fakes.broken_torch import HANGS, put_torch
from tests.flow_models import make_z_image
from tests.models import make_model
from tests.tiny_vaes import makers_decoder, write_makers


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a good model, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARBLE_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    make_model(tmp_path / "mine")
    (tmp_path / "broken.safetensors").write_bytes(b"")
    return tmp_path


def rows(text: str) -> dict[str, str]:
    """Return the first line that begins with each word."""
    lines = [line.rstrip() for line in text.splitlines()[1:] if line]
    return {line.split()[0]: line for line in reversed(lines)}


def test_models_are_listed_with_their_defaults(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models"]) == 0
    table = rows(capsys.readouterr().out)
    assert table.keys() == {"starter", "mine", "broken.safetensors"}
    assert "64×64, 25 steps, guidance 7, dpmpp_2m karras" in table["mine"]
    assert table["broken.safetensors"].endswith("it is empty.")


def test_whether_a_model_fits_is_told_by_how_and_by_how_much(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_z_image(models / "flow")
    whole = plan(Catalogue(models).get("flow"), Room(budget=2**40, value_bytes=4))
    grouped = max(whole.grouped["network"], whole.text_encoders)

    def told(budget: int) -> str:
        room = Room(budget=budget, value_bytes=4, main=2**40)
        monkeypatch.setattr("bots.terminal.models._room_for_models", AsyncMock(return_value=room))
        assert main(["models"]) == 0
        return rows(capsys.readouterr().out)["flow"]

    assert " fits  " in told(whole.whole)
    assert f"fits, its parts in turns: {size_of(whole.network)} at a time" in told(whole.network)
    assert f"fits, by groups: {size_of(grouped)} at a time" in told(grouped)
    assert "does not fit: 1 MB more" in told(grouped - 10**6)


def test_models_are_listed_beside_a_device_that_does_not_answer(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_torch(HANGS, tmp_path, monkeypatch)
    monkeypatch.setattr(device_trial, "LIMIT", 0.5)
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert rows(said)["mine"]
    assert "Whether they fit is not known: The device auto did not answer within 0.5 s" in said


def test_a_check_gives_a_verdict_for_each_and_tells_by_its_exit_code(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "check"]) == 1
    table = rows(capsys.readouterr().out)
    assert table["mine"].split()[-1] == "good"
    assert table["broken.safetensors"].endswith("it is empty.")
    assert main(["models", "check", "mine"]) == 0
    drawn = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line]
    assert drawn[-4:] == [["mine", each] for each in ("load", "encode", "denoise", "decode")]


def test_what_lies_beside_the_models_is_listed_and_examined_too(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_makers(models / "vae_approx", makers_decoder())
    (models / "loras").mkdir()
    (models / "loras" / "bad.safetensors").write_bytes(b"")
    assert main(["models"]) == 0
    table = rows(capsys.readouterr().out)
    assert table["taesd"].split() == ["taesd", "VAE"]
    assert table["bad"].split() == ["bad", "LoRA"]
    assert main(["models", "check", "mine", "taesd"]) == 0
    table = rows(capsys.readouterr().out)
    assert table["mine"].endswith("good")
    assert table["taesd"].split() == ["taesd", "VAE", "tiny,", "4", "channels", "good"]
    assert main(["models", "check", "bad"]) == 1
    assert "LoRA              it is empty." in capsys.readouterr().out


def test_a_table_of_stages_is_printed_where_something_was_drawn(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heading = ["model", "stage", "seconds", "most", "memory"]
    for name, drawn in (("mine", True), ("broken", False)):
        main(["models", "check", name])
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert (heading in lines) == drawn
        assert lines[-1], "ends with an empty line"


def test_a_check_finds_names_as_everything_does(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_makers(models / "vae_approx", makers_decoder())
    (models / "loras" / "sub").mkdir(parents=True)
    for path in ("loras/bad.safetensors", "loras/sub/bad.safetensors"):
        (models / path).write_bytes(b"")
    assert main(["models", "check", "MINE", "taesd_decoder.safetensors"]) == 0
    assert {"mine", "taesd"} <= rows(capsys.readouterr().out).keys()
    assert main(["models", "check", "sub/bad"]) == 1
    table = rows(capsys.readouterr().out)
    assert "sub/bad" in table
    assert "bad" not in table
    assert main(["models", "check", "broken"]) == 1
    (models / "loras" / "sub" / "x").mkdir()
    (models / "loras" / "bad.safetensors").rename(
        models / "loras" / "sub" / "x" / "bad.safetensors"
    )
    assert main(["models", "check", "bad"]) == 2
    assert "fits several files (LoRA)" in capsys.readouterr().err


def test_what_a_model_lacks_is_said_in_the_list(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "cond_stage_model.transformer.text_model.a",
    )
    shapes = ((4, 4, 3, 3), (4, 768), (1,))
    tensors = {name: torch.zeros(shape) for name, shape in zip(names, shapes, strict=True)}
    save_file(tensors, models / "bare.safetensors")
    assert main(["models"]) == 0
    row = rows(capsys.readouterr().out)["bare.safetensors"]
    assert row.endswith("dpmpp_2m karras, with a VAE that --vae names; without --shift")


@pytest.mark.parametrize(
    ("asked", "file", "said"),
    [
        ("tokenizer-qwen", "tokenizers/qwen/tokenizer.json", "tokenizer.json is here."),
        (
            "a/b/text_encoders/t.safetensors",
            "text_encoders/t.safetensors",
            "t.safetensors is here.",
        ),
        (
            "a/b/split/vae/ae.safetensors",
            "vae/ae.safetensors",
            "ae.safetensors is here; `marble models check ae`.",
        ),
        ("a/b", "diffusers/a/b", "b is here; `marble models check a/b`."),
    ],
)
def test_what_was_fetched_is_named_with_how_it_is_checked(
    models: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    file: str,
    said: str,
) -> None:
    monkeypatch.setattr("engine.models.hub.fetch", lambda download, folder: models / file)
    assert main(["models", "get", asked]) == 0
    assert capsys.readouterr().out.splitlines() == [said]


def test_an_unknown_name_is_answered_with_the_known_ones(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "check", "mime"]) == 2
    assert "did you mean 'mine'" in capsys.readouterr().err


def test_offers_are_listed_by_what_they_want(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "get"]) == 0
    table = rows(capsys.readouterr().out)
    assert "10 GB" in table["sdxl"]
    assert main(["models", "get", "sdlx"]) == 2
    assert "did you mean 'sdxl'" in capsys.readouterr().err


def test_fetching_needs_a_folder_for_it(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARBLE_MODELS_DIR", "")
    assert main(["models", "get", "sdxl"]) == 2
    assert "name it with MARBLE_MODELS_DIR" in capsys.readouterr().err
