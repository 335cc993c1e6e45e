import asyncio
import re
import shutil
from dataclasses import replace

import pytest

from bots.admission.gate import Gate
from bots.operations.settings import load_settings
from bots.requests.descriptions import Descriptions
from bots.requests.likeness import Likeness
from bots.requests.studio import Asker
from bots.requests.styles import Stylebook
from bots.requests.workflow_folder import WorkflowFolder
from bots.requests.workflows import Workflows
from bots.service.adapters import Service
from bots.service.app import App, roles_of, rules_of
from bots.service.commands import Commands
from bots.service.kept import KeptAdapter
from bots.service.metrics import Metrics
from bots.service.monitor import LATE, Monitor, monitored
from bots.worker.pausing import Pausing
from engine.errors import BrokenModel, UserError
from engine.executors import Health
from engine.executors.embedding import Embedding
from storage import Storage
from storage.errors import DatabaseBusy
from tests.bots.conftest import House
from tests.conftest import PATIENCE
from tests.ports import free_port

ADA = Asker(person="discord:ada", place="terminal")


@pytest.fixture
def service(house: House) -> Service:
    settings = load_settings({}, env_file="")
    gate = Gate(house.storage, roles_of(settings), rules_of(settings))
    app = App(
        settings=replace(settings, data_dir=house.storage.pictures.folder.parent),
        storage=house.storage,
        worker=house.worker,
        pausing=Pausing(house.storage.moderation, house.worker.queue, roles_of(settings)),
        gate=gate,
        studio=house.studio,
        styles=Stylebook(house.storage, gate),
        descriptions=Descriptions(None),
        likeness=Likeness(house.storage, Embedding(None)),
        workflows=Workflows(WorkflowFolder(None), house.studio, house.storage.pictures, gate),
        health=house.executor.health,
        commands=Commands(gate.roles),
    )
    return Service(app, [KeptAdapter("terminal")])


@pytest.fixture
def monitor(service: Service) -> Monitor:
    monitor = Monitor(service, Metrics(service))
    service.app.worker.observer = monitor.metrics
    return monitor


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        return await reader.read()
    except ConnectionResetError:  # it was closed before all was read
        return b""
    finally:
        writer.close()


async def draw(house: House, prompt: str) -> None:
    job = await house.studio.imagine({"prompt": prompt}, ADA)
    async for _ in house.worker.follow(job.id):
        pass


async def test_jobs_are_counted_by_their_end_and_nobody_is_named(
    house: House, monitor: Monitor
) -> None:
    await draw(house, "a secret cat")
    house.executor.errors = [BrokenModel("tiny", "odd.")]
    await draw(house, "a secret dog")
    text = (await monitor.scrape()).text or ""
    assert 'marble_jobs_total{outcome="rendered"} 1.0' in text
    assert 'marble_jobs_total{outcome="failed"} 1.0' in text
    assert 'marble_pictures_total{verdict="unchecked"} 1.0' in text
    assert 'marble_stage_seconds_count{stage="denoise"} 1.0' in text
    assert 'marble_outbox{adapter="terminal"} 2.0' in text
    assert "marble_engine_ticks 1.0" in text
    assert 'marble_adapter_up{adapter="terminal"} 1.0' in text
    assert not re.search("discord|secret|cat|dog", text)


async def test_the_queue_is_read_off(house: House, monitor: Monitor) -> None:
    house.worker.queue.pause("Back at noon.")
    await house.studio.imagine({"prompt": "a cat"}, ADA)
    text = (await monitor.scrape()).text or ""
    assert 'marble_queue_jobs{state="waiting"} 1.0' in text
    assert "marble_queue_paused 1.0" in text
    assert float(re.findall(r"^marble_queue_age_seconds (\S+)", text, re.M)[0]) >= 0


async def test_each_engine_is_told_by_its_device(
    service: Service, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = {
        "auto": Health(alive=True, device="cuda:0", held=("sdxl",), restarts=2),
        "cuda:1": Health(alive=False, device="cuda:1"),
    }
    pool = Health(alive=True, engines=engines)
    object.__setattr__(service.app, "health", lambda: pool)
    text = monitor.metrics.text().decode()
    assert 'marble_engines_up{engine="cuda:0"} 1.0' in text
    assert 'marble_engines_up{engine="cuda:1"} 0.0' in text
    assert 'marble_engines_deaths_total{engine="cuda:0"} 2.0' in text
    assert 'marble_engines_models{engine="cuda:0",model="sdxl"} 1.0' in text


async def test_it_is_ready_until_something_ails(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = await monitor.readyz()
    assert (ready.status, ready.text) == (200, "ready\n")
    service = monitor.service
    service.troubles["telegram"] = "its token is revoked"
    object.__setattr__(service.app, "health", lambda: Health(alive=False, failing=True))
    usage = type(shutil.disk_usage("."))(2**40, 2**40, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)

    async def busy(self: object, unit: object) -> None:
        raise DatabaseBusy("marble.db")

    monkeypatch.setattr(type(service.app.storage.database), "write", busy)
    ails = await monitor.readyz()
    assert ails.status == 503
    names = [line.partition(":")[0] for line in (ails.text or "").splitlines()]
    assert names == ["database", "telegram", "engine", "disk"]
    assert "marble.db" not in (ails.text or "")  # strangers may read it at the web port


async def test_a_loop_that_is_far_behind_is_not_alive(monitor: Monitor) -> None:
    assert (await monitor.livez()).status == 200
    monitor._lags.append(LATE + 1)
    assert (await monitor.livez()).status == 503


async def test_it_answers_at_its_port_and_lets_go_of_it(service: Service) -> None:
    port = free_port()
    settings = replace(service.app.settings, metrics_port=port)
    service.app = replace(service.app, settings=settings)
    async with asyncio.timeout(PATIENCE):
        async with monitored(service):
            assert b"200 OK" in await ask(port, b"GET /readyz")
            assert b"marble_queue_jobs" in await ask(port, b"GET /metrics?a=b")
            assert b"404" in await ask(port, b"GET /")
            assert b"405" in await ask(port, b"POST /metrics")
            assert b"400" in await ask(port, b"x" * 100_000)
            with pytest.raises(UserError, match="choose another MARBLE_METRICS_PORT"):
                async with monitored(service):
                    pass
        with pytest.raises(OSError, match=r"refused|failed"):
            await ask(port, b"GET /livez")


async def test_without_a_port_nothing_listens_and_nothing_is_counted(service: Service) -> None:
    before = service.app.worker.observer
    async with monitored(service):
        assert service.app.worker.observer is before


async def test_a_write_that_changes_nothing_shows_that_the_database_takes_some(
    house: House,
) -> None:
    storage: Storage = house.storage
    await storage.database.write(lambda connection: None)
    assert await storage.history.page() == ()
