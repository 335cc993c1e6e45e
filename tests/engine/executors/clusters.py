"""A Ray cluster of several nodes on this machine, for tests: one at a time, small, with a token."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final
from unittest.mock import patch

RESOURCE: Final = "marble_engine"  # which actors on a CPU take
QUIET: Final = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "a-token-of-the-tests-0123456789abcdef",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # A node that was killed is noticed within seconds.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
SMALL: Final = {"num_cpus": 1, "object_store_memory": 10**8}


@contextmanager
def ray_nodes() -> Iterator[Any]:
    """Yield a `ray.cluster_utils.Cluster` of a head without engines; nothing of it is left after.

    This process itself is not connected to it. Other processes that test wait until it is gone.
    """
    with (Path(gettempdir()) / "marble-test-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _ray_nodes()


def _ray_nodes() -> Iterator[Any]:
    kept = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    compiled: Any = import_module("ray._raylet")  # whose types tell only some of its names
    compiled.Config.initialize("")  # some library may have imported Ray before
    compiled.AuthenticationTokenLoader.instance().reset_cache()
    # Signals are for who tests; and nodes can be added in any thread then.
    with patch("ray._private.utils.set_sigterm_handler"):
        nodes = Cluster(initialize_head=True, head_node_args={**SMALL, "include_dashboard": False})
        try:
            yield nodes
        finally:
            nodes.shutdown()
            for name, value in kept.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def add_node(nodes: Any, engines: int = 1, resource: str = RESOURCE, **more: Any) -> Any:
    """Add a node with room for engines, and return it."""
    room = {resource: engines}
    try:
        return nodes.add_node(**SMALL, resources=room, **more)
    except Exception as error:  # Ray has no kind of its own for a node that a busy machine held up
        if "timed out during startup" not in str(error):
            raise
    return nodes.add_node(**SMALL, resources=room, **more)
