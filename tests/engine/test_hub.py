"""Fetching models, from a hub of our own on loopback to the real client."""

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from engine.hub import HubError, Offer, fetch, find

DATA = bytes(range(256)) * 4096  # 1 MB
FIRST, SECOND = "a" * 40, "b" * 40
OFFER = Offer(name="x", repo="ada/cats", file="cat.safetensors", title="Cats", memory=0)


class Hub(ThreadingHTTPServer):
    """Speak as much of the hub's protocol as its client asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.main = FIRST
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.cuts = 0  # how many answers still break off halfway
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    """Answer one request."""

    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        if found := re.fullmatch(r"/api/models/ada/cats(?:/revision/(\w+))?\?.*", self.path):
            revision = found[1] or self.server.main
            files = [{"rfilename": OFFER.file, "size": len(DATA)}]
            self.reply(json.dumps({"id": "ada/cats", "sha": revision, "siblings": files}).encode())
        elif found := re.fullmatch(r"/ada/cats/resolve/(\w+)/cat.safetensors", self.path):
            self.reply(DATA, body=body, commit=found[1])
        else:
            self.send_error(404)

    def reply(self, data: bytes, *, body: bool = True, commit: str = "") -> None:
        tag, whole, first = hashlib.sha256(data).hexdigest(), len(data), 0
        if asked := self.headers.get("Range"):
            self.server.ranges.append(asked)
            first = int(asked.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
        self.send_header("Content-Length", str(whole - first))
        self.send_header("ETag", f'"{tag}"')
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if body and commit and self.server.cuts:
            self.server.cuts -= 1
            self.wfile.write(data[: whole // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(data[first:])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, name="hub")
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_is_fetched_and_its_revision_pinned(hub: Hub, tmp_path: Path) -> None:
    file = fetch(OFFER, tmp_path, hub.url)
    assert file == tmp_path / "checkpoints" / "cat.safetensors"
    assert file.read_bytes() == DATA
    hub.main = SECOND
    file.unlink()
    assert fetch(OFFER, tmp_path, hub.url).read_bytes() == DATA
    got = [each for each in hub.asked if each.startswith("GET /ada")]
    assert got == [f"GET /ada/cats/resolve/{FIRST}/cat.safetensors"] * 2


def test_what_broke_off_goes_on_where_it_was(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)  # 10 MB otherwise
    hub.cuts = 1
    assert fetch(OFFER, tmp_path, hub.url).read_bytes() == DATA
    assert hub.ranges == [f"bytes={len(DATA) // 2}-"]


def test_what_is_not_there_costs_one_sentence(hub: Hub, tmp_path: Path) -> None:
    for repo, file, said in (("ada/cats", "dog.safetensors", "no file"), ("ada/x", "y", "fetched")):
        offer = Offer(name="x", repo=repo, file=file, title="", memory=0)
        with pytest.raises(HubError, match=said) as error:
            fetch(offer, tmp_path, hub.url)
        assert "\n" not in str(error.value)


def test_a_full_disk_is_seen_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(HubError, match=r"The disk has 0\.0 GB free"):
        fetch(OFFER, tmp_path, hub.url)
    assert not any(each.startswith("GET /ada") for each in hub.asked)


def test_names_are_offers_or_places_on_the_hub() -> None:
    assert find("sdxl").repo == "stabilityai/stable-diffusion-xl-base-1.0"
    assert find("ada/cats/cat.safetensors").file == "cat.safetensors"
    with pytest.raises(HubError, match="did you mean 'sdxl'"):
        find("sdlx")
