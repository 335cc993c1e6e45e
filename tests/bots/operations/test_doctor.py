"""Broken set-ups, and the line and cure that each gets."""

import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bots.operations.doctor import (
    Finding,
    State,
    check_modes,
    check_settings,
    checks_of,
    examine,
)
from bots.operations.ray_cluster import check_ray, look_at_token, ray_settings
from bots.operations.settings import Settings, load_settings
from engine.check import device_trial
from engine.errors import UserError
from engine.models.catalogue import Catalogue
from storage import NewJob, Storage
from tests.bots.fakes import alter
from tests.classifiers import make_classifier
from tests.describers import make_describer
from tests.factories import make_recipe
from tests.fakes.broken_torch import FAILS, HANGS, put_torch
from tests.towers import make_towers


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir(mode=0o700)
    settings = load_settings({"MARBLE_DEVICE": "cpu"}, env_file="")
    return replace(settings, data_dir=tmp_path / "data")


async def found(settings: Settings, name: str) -> list[Finding]:
    """Return what one check finds."""
    [check] = [check for check in checks_of(settings) if check.endswith(f"check_{name}")]
    return [finding async for finding in examine(settings, [check])]


async def ails(settings: Settings, name: str) -> Finding:
    """Return the one thing that a check does not find good."""
    [finding] = [each for each in await found(settings, name) if each.state is not State.GOOD]
    return finding


async def fill(settings: Settings) -> Path:
    """Make a database with one job in it; return its file."""
    async with Storage.open(settings.data_dir) as storage:
        await storage.jobs.add(NewJob(recipe=make_recipe(), person="x:a", place="x"))
    return settings.data_dir / "marble.db"


async def test_all_is_well_on_a_machine_where_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("."))(100 * 2**30, 0, 100 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    await fill(settings)
    findings = [finding async for finding in examine(settings, checks_of(settings))]
    assert {finding.state for finding in findings} == {State.GOOD}, [str(f) for f in findings]
    whats = [finding.what for finding in findings]
    assert whats[0] == "python"
    assert {"privacy", "disk", "database", "clock", "device", "models"} <= {*whats}


async def test_a_setting_that_means_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [each.state async for each in check_settings(settings)] == [State.GOOD]
    monkeypatch.setenv("MARBLE_BLOKED_WORDS", "gore")
    finding = await ails(settings, "settings")
    assert finding.state is State.POOR
    assert "there is no setting MARBLE_BLOKED_WORDS" in str(finding)
    assert "did you mean 'MARBLE_BLOCKED_WORDS'" in str(finding)


async def test_an_env_file_that_others_can_read(settings: Settings, tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("MARBLE_DEBUG=0")
    env.chmod(0o644)
    [open_file, _] = [each async for each in check_modes(settings)]
    assert (open_file.state, open_file.cure) == (State.POOR, "`chmod 600 .env`")
    env.chmod(0o600)
    assert [each.state async for each in check_modes(settings)] == [State.GOOD] * 2


async def test_a_data_folder_that_everybody_can_look_into(settings: Settings) -> None:
    settings.data_dir.chmod(0o755)
    finding = await ails(settings, "modes")
    assert finding.cure == f"`chmod 700 {settings.data_dir}`"


@pytest.mark.parametrize(
    ("free", "state", "said"),
    [(10 * 2**20, State.BAD, "no jobs are accepted"), (2**30, State.POOR, "1.0 GB are free")],
)
async def test_a_disk_that_is_nearly_full(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free: int, state: State, said: str
) -> None:
    usage = type(shutil.disk_usage("."))(100 * 2**30, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    finding = await ails(settings, "disk")
    assert (finding.state, said in finding.text) == (state, True)
    assert "marble db prune" in finding.cure


async def test_a_data_folder_that_cannot_be_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    forbidden = settings.data_dir

    def refuse(path: object, mode: int) -> bool:
        return mode != os.W_OK and access(path, mode)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "access", refuse)
    assert f"chown -R USER {forbidden}" in (await ails(settings, "disk")).cure
    assert "is read-only" in (await ails(settings, "database")).text


async def test_a_database_that_is_none(settings: Settings) -> None:
    (settings.data_dir / "marble.db").write_bytes(b"x" * 5000)
    finding = await ails(settings, "database")
    assert finding.state is State.BAD
    assert "marble db restore FILE" in finding.text


async def test_a_database_of_a_newer_marble(settings: Settings) -> None:
    import sqlite3

    file = await fill(settings)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999_later'")
    connection.close()
    assert "written by a newer Marble" in (await ails(settings, "database")).text


async def test_a_database_address_that_leads_nowhere(settings: Settings) -> None:
    odd = replace(settings, database_url="mysql://root@localhost/x")
    assert "Marble does not speak mysql" in (await ails(odd, "database")).text
    nobody = replace(settings, database_url="postgresql://marble:secret@127.0.0.1:9/marble")
    finding = await ails(nobody, "database")
    assert finding.state is State.BAD
    assert "secret" not in str(finding)


async def test_looking_makes_no_database_and_changes_none(settings: Settings) -> None:
    [database, _] = await found(settings, "database")
    assert "will be created" in database.text
    assert list(settings.data_dir.iterdir()) == []
    file = await fill(settings)
    before = file.read_bytes()
    assert "is intact" in (await found(settings, "database"))[0].text
    assert file.read_bytes() == before


async def test_a_clock_that_runs_behind(settings: Settings) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    async with Storage.open(settings.data_dir, now=lambda: ahead) as storage:
        await storage.jobs.add(NewJob(recipe=make_recipe(), person="x:a", place="x"))
    finding = await ails(settings, "database")
    assert (finding.what, finding.state) == ("clock", State.BAD)
    assert "in the future" in finding.text
    assert "set-ntp" in finding.cure


@pytest.mark.parametrize(
    ("device", "said"), [("cuda", "sees no cuda device"), ("cuda:7", "cuda"), ("mps", "no mps")]
)
async def test_a_device_that_is_not_there(settings: Settings, device: str, said: str) -> None:
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    finding = await ails(replace(settings, device=device), "device")
    assert (finding.state, said in finding.text) == (State.BAD, True)
    assert "MARBLE_DEVICE=auto" in finding.cure


async def test_what_torch_warns_of_is_told_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = device_trial.DeviceTrial.look

    async def warn(trial: device_trial.DeviceTrial, name: str) -> device_trial.Device:
        found = await look(trial, name)
        trial.warnings.append("the driver is too old")
        return found

    monkeypatch.setattr(device_trial.DeviceTrial, "look", warn)
    finding = await ails(replace(settings, device="cpu:0,cpu:1"), "device")
    assert str(finding) == "look  device     torch warns: the driver is too old"


async def test_a_processor_that_is_not_there_has_nothing_to_do_with_torch(
    settings: Settings,
) -> None:
    finding = await ails(replace(settings, device="cpu:99999"), "device")
    assert finding.text.startswith("There is no cpu:99999: this machine has ")
    assert finding.cure == "correct MARBLE_DEVICE"


async def test_each_device_of_a_list_is_tried(settings: Settings) -> None:
    told = await found(replace(settings, device="cpu:0,cpu:1,mps"), "device")
    assert [each.state for each in told][:3] == [State.GOOD, State.GOOD, State.BAD]
    assert [each.text.partition(":" if n == 2 else ": ")[0] for n, each in enumerate(told)] == [
        *("cpu:0", "cpu:1", "mps")
    ]


async def test_a_torch_that_cannot_be_imported(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_torch(FAILS, tmp_path, monkeypatch)
    finding = await ails(settings, "device")
    assert finding.text == "torch cannot be imported (libcudart.so.12: cannot open it)"
    assert "Your GPU" in finding.cure


@pytest.mark.parametrize("device", ["auto", "cuda:0,cuda:1"])
async def test_devices_that_do_not_answer_hold_up_no_other_check(
    settings: Settings, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_torch(HANGS, tmp_path, monkeypatch)
    monkeypatch.setattr(device_trial, "LIMIT", 0.5)
    checks = [f"bots.operations.doctor:check_{name}" for name in ("device", "python")]
    *devices, last = [
        finding async for finding in examine(replace(settings, device=device), checks)
    ]
    assert [str(finding) for finding in devices] == [
        f"wrong device     The device {name} did not answer within 0.5 s: leave it out of "
        "MARBLE_DEVICE, or restart the machine; its log (`dmesg`) may say what its driver met"
        for name in device.split(",")
    ]
    assert (last.what, last.state) == ("python", State.GOOD)


async def test_a_model_that_is_broken_leaves_the_others(
    settings: Settings, models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "tiny", tmp_path / "models" / "tiny")
    shutil.copytree(models / "tiny", tmp_path / "models" / "odd")
    (tmp_path / "models" / "odd" / "unet" / "config.json").write_text("{")
    settings = replace(settings, models_dir=tmp_path / "models")
    finding = await ails(settings, "models")
    assert finding.state is State.POOR
    assert "'odd' cannot be loaded" in finding.text
    assert (await found(settings, "models"))[-1].text == "starter, tiny"


async def test_a_bundled_model_that_is_broken_is_worse(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "starter").mkdir()
    init: Callable[..., None] = Catalogue.__init__
    monkeypatch.setattr(
        Catalogue, "__init__", lambda self, folder: init(self, folder, tmp_path / "starter")
    )
    assert (await ails(settings, "models")).state is State.BAD


async def test_a_check_that_fails_itself_is_a_finding_and_stops_nobody(settings: Settings) -> None:
    async def check_tokens(settings: Settings) -> AsyncIterator[Finding]:
        raise UserError("No token.")
        yield

    sys.modules[__name__].check_tokens = check_tokens  # type: ignore[attr-defined]
    checks = [
        "no.such.module:check_nothing",
        f"{__name__}:check_tokens",
        "bots.operations.doctor:check_python",
    ]
    findings = [finding async for finding in examine(settings, checks)]
    assert [(f.what, f.state) for f in findings] == [
        ("nothing", State.BAD),
        ("tokens", State.BAD),
        ("python", State.GOOD),
    ]
    assert findings[1].text == "No token."


async def test_a_safety_check_that_nobody_can_make(settings: Settings) -> None:
    async with Storage.open(settings.data_dir) as storage:
        await storage.people.change_place_settings("discord:7", {"rules.safety": "refuse"})
        await storage.people.change_place_settings("discord:8", {"policy.safety": "spoiler"})
        await storage.people.change_place_settings("discord:9", {"rules.safety": "off"})
    finding = await ails(settings, "safety")
    assert finding.state is State.BAD
    assert finding.text.endswith("none is shown openly in discord:7, discord:8")
    assert "MARBLE_SAFETY_MODEL" in finding.cure
    broken = replace(settings, safety="refuse", safety_model=str(settings.data_dir))
    finding = await ails(broken, "safety")
    assert finding.state is State.BAD
    assert "cannot be used" in finding.text
    assert finding.text.endswith("; no picture is shown openly in *, discord:7, discord:8")


async def test_a_safety_check_that_works(settings: Settings, tmp_path: Path) -> None:
    model = str(make_classifier(tmp_path / "judge"))
    checked = replace(settings, safety_model=model)
    assert "but no place uses it" in (await ails(checked, "safety")).text
    [finding] = await found(replace(checked, safety="spoiler"), "safety")
    assert finding == Finding("safety", State.GOOD, f"{model} works; its labels are normal, nsfw")
    wrong = replace(checked, safety_labels={"porn": 0.5})
    assert "it has no label 'porn'" in (await ails(wrong, "safety")).text


async def test_the_model_that_describes_pictures_is_tried(
    settings: Settings, tmp_path: Path
) -> None:
    assert await found(settings, "descriptions") == []
    model = str(make_describer(tmp_path / "blip"))
    [finding] = await found(replace(settings, describe_model=model), "descriptions")
    assert finding == Finding("describe", State.GOOD, f"by {model}")
    broken = await ails(replace(settings, describe_model=str(tmp_path)), "descriptions")
    assert "cannot describe pictures: " in broken.text
    assert broken.cure == "see MARBLE_DESCRIBE_MODEL"


async def test_the_model_that_compares_pictures_with_words_is_tried(
    settings: Settings, tmp_path: Path
) -> None:
    [bundled] = await found(settings, "towers")
    assert bundled.state is State.GOOD
    assert re.search(r"by starter@[0-9a-f]{8}, vectors of 64 numbers$", bundled.text)
    [finding] = await found(replace(settings, clip_model=None), "towers")
    assert finding.text == "pictures are not compared with words (MARBLE_CLIP_MODEL)"
    model = str(make_towers(tmp_path / "clip"))
    [finding] = await found(replace(settings, clip_model=model), "towers")
    assert finding.state is State.GOOD
    assert re.fullmatch(r".*by clip@[0-9a-f]{8}, vectors of 16 numbers", finding.text)
    broken = await ails(replace(settings, clip_model=str(tmp_path)), "towers")
    assert "cannot compare pictures with texts: " in broken.text
    assert broken.cure == "see MARBLE_CLIP_MODEL"


async def test_a_model_for_edits_that_does_not_edit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = replace(settings, edit_model="starter")
    finding = await ails(named, "models")
    assert (finding.what, finding.state) == ("edits", State.BAD)
    assert "MARBLE_EDIT_MODEL must be a model that edits by words" in finding.text
    alter(monkeypatch, starter={"references": 1})
    good, edits = await found(named, "models")
    assert (good.state, edits.text) == (State.GOOD, "starter edits pictures by words")


async def test_a_cluster_without_a_token_is_open_to_whoever_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    where = {"MARBLE_EXECUTOR": "ray", "MARBLE_RAY_ADDRESS": "10.0.0.1:6379"}
    ray = ray_settings(load_settings(where, env_file=""))
    finding = look_at_token(ray)
    assert finding.state is State.POOR
    assert finding.text == (
        "whoever reaches Ray at 10.0.0.1:6379 may run code on the cluster's machines (this machine "
        "has no token for it)"
    )
    assert "whoever reaches Ray may run" in look_at_token(replace(ray, address="auto")).text
    (tmp_path / "token").write_text("secret", encoding="utf-8")
    assert look_at_token(ray).state is State.GOOD
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_MODE is disabled" in look_at_token(ray).text


async def test_ray_is_looked_at_where_it_is_used(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "bots.operations.ray_cluster:check_ray" not in [*checks_of(settings)]
    ray = replace(settings, executor="ray")
    assert "bots.operations.ray_cluster:check_ray" in [*checks_of(ray)]
    assert {*checks_of(settings)} - {*checks_of(ray)} == {"bots.operations.doctor:check_device"}
    pytest.importorskip("ray")
    assert [f.text async for f in check_ray(ray)] == [
        "a cluster is started on this machine with the first job"
    ]
    monkeypatch.setattr("bots.operations.ray_cluster.find_spec", lambda name: None)
    assert [f.cure async for f in check_ray(ray)] == ["`pip install 'marble[ray]'`"]


async def test_a_cluster_that_is_not_there_is_found_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    ray = replace(settings, executor="ray", ray_address="127.0.0.1:1")
    (finding,) = [each async for each in check_ray(ray)]
    assert finding.state is State.BAD
    assert finding.text.startswith("nothing that is Ray answers at 127.0.0.1:1")
