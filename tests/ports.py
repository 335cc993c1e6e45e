"""Free ports of this machine, for servers that a test starts and that cannot choose their own."""

import itertools
import os
import socket
from typing import Final

# Below the ports that systems give to whoever asks for any: no connection takes one meanwhile.
FIRST: Final = 10_000
EACH: Final = 500  # ports of one worker of pytest-xdist
WORKERS: Final = 32
REFUSED: Final = frozenset({10080})  # in that range, which browsers refuse (WHATWG Fetch, 2.9)

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
# Runs beside this one begin elsewhere.
_offsets = itertools.count(os.getpid())


def free_port() -> int:
    """Return a port that nobody listens on, of this worker's own range."""
    while True:
        port = FIRST + _worker * EACH + next(_offsets) % EACH
        if port in REFUSED:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
