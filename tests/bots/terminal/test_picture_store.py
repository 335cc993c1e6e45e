"""`marble pictures move`, and what the other commands say of pictures in an object store."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bots.operations.picture_store import check_pictures
from bots.operations.settings import Settings, load_settings
from bots.service.app import engine_config, open_app
from bots.terminal import db, picture_store
from bots.terminal.output import show_pictures
from bots.terminal.parser import parse
from engine.errors import UserError
from storage import Storage
from storage.errors import BadPicturesURL, OthersPictures
from tests.object_store import CUT, Way
from tests.storage.care.test_care import delivered
from tests.storage.conftest import a_job


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    plain = load_settings({"MARBLE_DEVICE": "cpu"}, env_file="")
    return replace(plain, data_dir=tmp_path / "data")


async def draw(settings: Settings, content: bytes) -> None:
    async with Storage.open(settings.data_dir, None, settings.pictures_url) as storage:
        await delivered(storage, a_job(), content)


async def move(settings: Settings, *words: str) -> int:
    return await picture_store.move(parse(["pictures", "move", *words]), settings)


async def doctor(settings: Settings) -> list[str]:
    return [str(finding) async for finding in check_pictures(settings)]


async def test_pictures_move_to_a_bucket_and_back(
    settings: Settings, bucket_url: str, way: Way, capsys: pytest.CaptureFixture[str]
) -> None:
    where = bucket_url.replace("key:secret@", "").replace("?endpoint=", " at ")
    folder = settings.data_dir / "pictures"
    await draw(settings, b"one")
    assert await move(settings, bucket_url) == 0
    assert capsys.readouterr().out == (
        f"1 picture was copied to {where}; 0 were there before. 0 were removed from {folder}.\n"
        f"Nothing was removed from {folder}, since Marble still keeps pictures there: set "
        "MARBLE_PICTURES_URL to the new URL, restart Marble, and give this command again.\n"
    )
    there = replace(settings, pictures_url=bucket_url)
    await draw(there, b"two")
    good, left = await doctor(there)
    assert good == f"ok    pictures   {where} can be written, read, listed and deleted"
    assert left.startswith(f"look  pictures   some are still in {folder}: `marble pictures move`")
    # The keys of the setting need not be given again.
    assert await move(there, bucket_url.replace("key:secret@", "")) == 0
    assert capsys.readouterr().out == (
        f"0 pictures were copied to {where}; 1 was there before. 1 was removed from {folder}.\n"
    )
    assert len(await doctor(there)) == 1
    assert await move(settings, "file:", "--from", bucket_url) == 0
    assert "2 pictures were copied to" in (said := capsys.readouterr().out)
    assert "2 were removed from s3://" in said
    with pytest.raises(UserError, match="are there already; say with --from where others are"):
        await move(settings, "file:")


async def test_a_wrong_target(settings: Settings, bucket_url: str, tmp_path: Path) -> None:
    for url in ("/mnt/pictures", "s3://A"):
        with pytest.raises(BadPicturesURL):
            await move(settings, url)
    await move(settings, bucket_url)
    other = replace(settings, data_dir=tmp_path / "other", pictures_url=bucket_url)
    with pytest.raises(OthersPictures):
        await move(other, bucket_url)
    [finding] = await doctor(other)
    assert finding.startswith("wrong pictures   The pictures in s3://")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("403 InvalidAccessKeyId", "refuses these keys"),
        ("404 NoSuchBucket", "does not exist: create the bucket"),
        (CUT, "cannot be reached"),
    ],
)
async def test_doctor_names_a_store_that_cannot_be_used(
    settings: Settings, bucket_url: str, way: Way, fault: str, why: str
) -> None:
    way.fault = lambda method, path: fault
    with pytest.raises(UserError, match=why):
        await doctor(replace(settings, pictures_url=bucket_url))


async def test_a_service_starts_while_the_store_is_away(
    settings: Settings, bucket_url: str, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    way.fault = lambda method, path: "403 AccessDenied"
    there = replace(settings, pictures_url=bucket_url)
    async with open_app(there, serving=True) as app:
        await app.storage.jobs.add(a_job())
    assert "refuses these keys (AccessDenied)" in caplog.text
    assert "secret" not in caplog.text


async def test_a_backup_says_where_the_pictures_are(
    settings: Settings, bucket_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = replace(settings, pictures_url=bucket_url)
    await db.backup(parse(["db", "backup", str(tmp_path / "copy")]), there)
    said = capsys.readouterr().out
    assert "It has no pictures: copy the objects of s3://pictures-" in said
    assert "secret" not in said


async def test_a_picture_is_shown_with_its_store(settings: Settings, bucket_url: str) -> None:
    there = replace(settings, pictures_url=bucket_url)
    await draw(there, b"png")
    console = Console(file=StringIO(), width=200)
    async with Storage.open(there.data_dir, None, bucket_url) as storage:
        pictures = (await storage.jobs.get(1)).pictures
        show_pictures(console, storage.pictures, "off", there.data_dir / "a.bin", pictures)
        show_pictures(console, storage.pictures, "off", None, pictures)
    assert (there.data_dir / "a.bin").read_bytes() == b"png"
    assert "  1.1  s3://pictures-" in console.file.getvalue()  # type: ignore[attr-defined]


def test_settings() -> None:
    url = "s3://key:a%2Fsecret@pictures/marble"
    settings = load_settings({"MARBLE_PICTURES_URL": url}, env_file="")
    assert settings.secrets == ("a%2Fsecret", "a/secret")
    assert "secret" not in repr(settings)
    assert "secret" not in repr(engine_config(settings))
    assert engine_config(settings).to_dict()["pictures_url"] == url
    assert load_settings({"MARBLE_PICTURES_URL": "file:"}, env_file="").pictures_url is None
    with pytest.raises(UserError) as caught:
        load_settings({"MARBLE_PICTURES_URL": "s3://key:secret@A"}, env_file="")
    assert str(caught.value) == (
        "MARBLE_PICTURES_URL must be file: or s3://bucket/prefix, or "
        "s3://bucket/prefix?endpoint=https://host:port&region=name, not '…'."
    )


@pytest.mark.parametrize("content", ["s3://key:secret@pictures", "file:"])
def test_a_file_with_keys_is_private(tmp_path: Path, content: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"MARBLE_PICTURES_URL={content}\n", encoding="utf-8")
    file.chmod(0o644)
    if "@" in content:
        with pytest.raises(UserError, match="holds secrets and others can read it"):
            load_settings({}, env_file=str(file))
    else:
        assert load_settings({}, env_file=str(file)).pictures_url is None
