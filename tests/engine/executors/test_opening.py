"""How a pipeline is put together from the engine's configuration."""

from engine.executors.config import EngineConfig
from engine.executors.opening import open_pipeline


class NoPictures(dict[str, bytes]):
    """Hold pictures in memory: none yet."""

    def read(self, sha256: str) -> bytes:
        return self[sha256]


def test_a_store_in_memory_is_read_also_where_it_is_empty() -> None:
    store = NoPictures()
    assert open_pipeline(EngineConfig(device="cpu", store=store))._store is store
