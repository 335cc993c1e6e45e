"""An S3-like object store on loopback, and a way to it that can be broken.

`python -m tests.object_store` serves moto's store until its input ends, and prints its port.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import count
from typing import Final

import pytest

FAULT: Final = (
    "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{0}</Code><Message>{0}</Message></Error>"
)
CUT, HANG = "cut", "hang"  # the connection is closed, or nothing is answered
_numbers: Final = count(1)


@dataclass
class Way:
    """A proxy before the store.

    fault: says by method and path what is done instead of asking it: `CUT`, `HANG`, or a status
    and a code like `403 InvalidAccessKeyId`; ahead: how far the store's clock is ahead of ours.
    """

    store: int
    port: int = 0
    fault: Callable[[str, str], str | None] = lambda method, path: None
    ahead: timedelta = timedelta()
    asked: list[tuple[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def url(self, prefix: str = "marble", bucket: str = "pictures") -> str:
        """Return a URL of pictures there."""
        return f"s3://key:secret@{bucket}/{prefix}?endpoint={self.endpoint}"

    def requests(self, method: str) -> int:
        """Return how many requests of a method there were."""
        return sum(each == method for each, _ in self.asked)


@contextmanager
def store() -> Iterator[int]:
    """Run the store in a process of its own; its port."""
    if find_spec("moto") is None or find_spec("botocore") is None:
        pytest.skip("moto or botocore is missing: install the extras `s3` and `dev`")
    command = [sys.executable, "-W", "ignore", "-m", "tests.object_store"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait()


@contextmanager
def way_to(store: int) -> Iterator[Way]:
    """Open a way to the store, with a bucket of its own that is empty."""
    way = Way(store)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(way))
    server.daemon_threads = True
    way.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield way
    finally:
        way.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def new_bucket(way: Way) -> str:
    """Make a bucket, and return the URL of pictures in it."""
    name = f"pictures-{next(_numbers)}"
    connection = http.client.HTTPConnection("127.0.0.1", way.store)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return way.url(bucket=name)


def _handler(way: Way) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.headers.get("Expect") == "100-continue" and self.command == "PUT":
                pass  # `parse_request` has answered it
            body = self.rfile.read(length)
            way.asked.append((self.command, self.path))
            fault = way.fault(self.command, self.path)
            if fault == HANG:
                way.ended.wait()
            if fault in (CUT, HANG):
                self.close_connection = True
                return
            if fault:
                status, code = fault.split()
                self._answer(int(status), {}, FAULT.format(code).encode())
                return
            connection = http.client.HTTPConnection("127.0.0.1", way.store)
            headers = {key: value for key, value in self.headers.items() if key != "Expect"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kept = {key: value for key, value in answer.getheaders() if key.lower() not in OWN}
            self._answer(answer.status, kept, answer.read(), answer.getheader("Content-Length"))
            connection.close()

        def _answer(
            self, status: int, headers: dict[str, str], body: bytes, length: str | None = None
        ) -> None:
            self.send_response_only(status)
            self.send_header("Date", format_datetime(datetime.now(UTC) + way.ahead, usegmt=True))
            for key, value in headers.items():
                self.send_header(key, value)
            size = length if self.command == "HEAD" and length else str(len(body))
            if status != 204:
                self.send_header("Content-Length", size)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


OWN: Final = ("date", "content-length", "transfer-encoding", "connection")


def main() -> None:
    """Serve until the input ends."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    print(port, flush=True)  # noqa: T201
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
