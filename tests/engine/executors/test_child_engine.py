"""The whole engine in a process of its own: the same bytes there, and after its death."""

import hashlib
import os
import signal
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import Lost, UserError
from engine.events import Picture, Progress, Stage
from engine.executors.child import ChildExecutor
from engine.executors.config import EngineConfig
from engine.executors.inprocess import InProcessExecutor
from engine.files.bucket import open_bucket
from engine.files.stored import picture_path
from engine.spec import Spec
from tests.engine.executors.imported import LIST
from tests.engine.executors.test_executors import collect
from tests.factories import make_recipe
from tests.object_store import Way


async def kill_when_denoising(child: ChildExecutor) -> None:
    async for event in child.run(Spec(job=2, epoch=1, recipe=make_recipe(steps=150))):
        if isinstance(event, Progress) and event.stage is Stage.DENOISE:
            pid = child.health().pid
            assert pid
            os.kill(pid, signal.SIGKILL)


async def test_a_seed_gives_the_same_bytes_in_a_child_and_after_its_death(
    tiny_folder: Path, tmp_path: Path
) -> None:
    config = EngineConfig(starter=tiny_folder, device="cpu", notes=tmp_path)
    spec = Spec(job=1, epoch=1, recipe=make_recipe(seed=11, sampler="euler_ancestral", steps=9))
    async with ChildExecutor(config, backoff=lambda failures: 0) as child:
        first = await collect(child, spec)
        with pytest.raises(Lost):
            await kill_when_denoising(child)
        again = await collect(child, spec)
        with pytest.raises(UserError, match="no model"):
            await collect(child, Spec(job=3, epoch=1, recipe=make_recipe(checkpoint="other")))
    async with InProcessExecutor(config) as executor:
        here = await collect(executor, spec)
    drawn = [[e.png for e in events if isinstance(e, Picture)] for events in (first, again, here)]
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(drawn[0]) == 1


async def test_a_child_starts_from_a_picture_in_a_bucket(
    tiny_folder: Path, tmp_path: Path, bucket_url: str, way: Way
) -> None:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "PNG")
    image = hashlib.sha256(buffer.getvalue()).hexdigest()
    bucket = open_bucket(bucket_url)
    bucket.put(image, buffer.getvalue())
    config = EngineConfig(starter=tiny_folder, device="cpu", notes=tmp_path, pictures=tmp_path)
    recipe = make_recipe(seed=11, steps=2, image=image, strength=0.5)
    spec = Spec(job=1, epoch=1, recipe=recipe)
    async with ChildExecutor(replace(config, pictures_url=bucket_url)) as child:
        there = await collect(child, spec)
        way.fault = lambda method, path: "403 AccessDenied"
        with pytest.raises(UserError, match="their store does not answer"):
            await collect(child, replace(spec, job=2))
    way.fault = lambda method, path: None
    bucket.remove([image])
    bucket.close()
    path = picture_path(tmp_path, image)
    path.parent.mkdir()
    path.write_bytes(buffer.getvalue())
    async with InProcessExecutor(config) as executor:
        here = await collect(executor, spec)
    drawn = [[e.png for e in events if isinstance(e, Picture)] for events in (there, here)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 1


async def test_a_child_draws_without_what_takes_long_to_import(tmp_path: Path) -> None:
    factory = "tests.engine.executors.imported:open_listing"
    config = EngineConfig(device="cpu", notes=tmp_path, factory=factory)
    recipe = make_recipe(steps=1, width=128, height=128)
    async with ChildExecutor(config) as child:
        events = await collect(child, Spec(job=1, epoch=1, recipe=recipe))
    assert any(isinstance(event, Picture) for event in events)
    imported = (tmp_path / LIST).read_text(encoding="utf-8").splitlines()
    assert "diffusers.models.unets.unet_2d_condition" in imported
    heavy = {"cv2", "peft", "scipy", "spandrel", "sqlalchemy"}
    assert not heavy & {name.partition(".")[0] for name in imported}
