"""Fetching models, from a hub of our own on loopback to the real client."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from engine.errors import BrokenModel
from engine.families.stable_diffusion import load
from engine.models.catalogue import Catalogue
from engine.models.downloads import HOMES, Download, HubError, find, offers
from engine.models.families import BY_KEY, FAMILIES, TINY_VAES
from engine.models.folders import ModelKind
from engine.models.hub import fetch
from engine.models.model_files import ModelFiles
from engine.models.part_kinds import FETCHED
from engine.models.weights import variant
from tests.conftest import ROOT
from tests.models import make_model

DATA = bytes(range(256)) * 4096  # 1 MB
FIRST, SECOND = "a" * 40, "b" * 40
DOWNLOAD = Download(name="x", repo="ada/cats", file="cat.safetensors", title="Cats", memory=0)
FOLDER = Download(name="ada/whole", repo="ada/whole")


class Hub(ThreadingHTTPServer):
    """Speak as much of the hub's protocol as its client asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repos = {"ada/cats": {"cat.safetensors": DATA}}
        self.gated: set[str] = set()
        self.main = FIRST
        self.gone: set[str] = set()  # revisions that were removed
        self.asked: list[str] = []
        self.ranges: list[str] = []
        self.spoils = False  # what it sends is not what it describes
        self.elsewhere = False  # contents come from another host
        self.tokens: list[str | None] = []  # that came with requests for contents
        self.cuts = 0  # how many answers still break off halfway through their file
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def got(self) -> list[str]:
        """Return the files that were asked for, in order."""
        return [each.split("/", 5)[5] for each in self.asked if each.startswith("GET /ada")]


class Answer(BaseHTTPRequestHandler):
    """Answer one request."""

    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        if found := re.fullmatch(r"/api/models/(\w+/\w+)(?:/revision/(\w+))?\?.*", self.path):
            self.describe(found[1], found[2] or self.server.main)
        elif found := re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/(.+)", self.path):
            if found[1] in self.server.gated:
                self.refuse(403, "GatedRepo")
            elif self.server.elsewhere and self.headers["Host"].startswith("127."):
                self.refuse(302, "", f"http://localhost:{self.server.server_address[1]}{self.path}")
            elif data := self.server.repos.get(found[1], {}).get(found[3]):
                self.reply(data, body=body, commit=found[2])
            else:
                self.refuse(404, "EntryNotFound")
        else:
            self.refuse(404, "")

    def describe(self, repo: str, revision: str) -> None:
        files = self.server.repos.get(repo)
        if files is None:
            self.refuse(401, "RepoNotFound")
        elif revision in self.server.gone:
            self.refuse(404, "RevisionNotFound")
        else:
            siblings = [describe_file(name, data) for name, data in files.items()]
            self.reply(json.dumps({"id": repo, "sha": revision, "siblings": siblings}).encode())

    def refuse(self, status: int, code: str, elsewhere: str = "") -> None:
        self.send_response(status)
        if elsewhere:
            self.send_header("Location", elsewhere)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

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
        if body and commit:
            self.server.tokens.append(self.headers.get("Authorization"))
        if body and commit and self.server.spoils:
            data = bytes(len(data))
        if body and commit and self.server.cuts:
            self.server.cuts -= 1
            self.wfile.write(data[first : whole // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(data[first:])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def describe_file(name: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
    described: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
    if name.endswith((".safetensors", ".ckpt", ".bin")):
        tag = hashlib.sha256(data).hexdigest()
        described["lfs"] = {"sha256": tag, "size": len(data), "pointerSize": 130}
    return described


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
    file = fetch(DOWNLOAD, tmp_path, hub.url)
    assert file == tmp_path / "checkpoints" / "cat.safetensors"
    assert file.read_bytes() == DATA
    hub.main = SECOND
    file.unlink()
    assert fetch(DOWNLOAD, tmp_path, hub.url).read_bytes() == DATA
    got = [each for each in hub.asked if each.startswith("GET /ada")]
    assert got == [f"GET /ada/cats/resolve/{FIRST}/cat.safetensors"] * 2


def test_what_broke_off_goes_on_where_it_was(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)  # 10 MB otherwise
    hub.cuts = 1
    assert fetch(DOWNLOAD, tmp_path, hub.url).read_bytes() == DATA
    assert hub.ranges == [f"bytes={len(DATA) // 2}-"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client try again at once."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)


@pytest.mark.usefixtures("impatient")
def test_when_the_client_gives_up_the_next_command_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = 99  # halfway once, and then nothing more
    with pytest.raises(HubError, match="the same command goes on from there") as error:
        fetch(DOWNLOAD, tmp_path, hub.url)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "checkpoints" / "cat.safetensors").exists()
    hub.cuts, hub.main = 0, SECOND
    hub.ranges.clear()
    assert fetch(DOWNLOAD, tmp_path, hub.url).read_bytes() == DATA
    assert hub.ranges == [f"bytes={len(DATA) // 2}-"]
    assert hub.asked[-1] == f"GET /ada/cats/resolve/{FIRST}/cat.safetensors"


REFUSED = {
    "unknown": (Download(name="x", repo="ada/dogs", file="y"), "The hub knows no ada/dogs"),
    "missing": (Download(name="x", repo="ada/cats", file="dog.safetensors"), "holds no file 'dog"),
    "no folder": (
        Download(name="x", repo="ada/cats"),
        r"no diffusers folder: .*for example ada/cats/cat\.safetensors",
    ),
    "gated": (
        Download(name="x", repo="ada/gated", file="a.safetensors"),
        r"who accepts its terms: do so on its page, https://huggingface\.co/ada/gated, then `hf au",
    ),
    "gated part": (
        Download(
            name="x",
            repo="ada/cats",
            file="cat.safetensors",
            folder="diffusion_models",
            parts=(Download(name="y", repo="ada/dogs", file="y.safetensors", folder="vae"),),
        ),
        "The hub knows no ada/dogs",
    ),
    "gated folder": (Download(name="x", repo="ada/gated"), "who accepts its terms"),
    "flow": (
        Download(name="x", repo="ada/hidream"),
        "is a HiDream model, which Marble",
    ),
    "strange": (Download(name="x", repo="ada/strange"), "'DreamPipeline'"),
    "pickles": (Download(name="x", repo="ada/pickles"), "holds no safetensors file of its unet"),
    "no name": (Download(name="x", repo="a b/c", file="d"), "cannot be fetched"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_fetched_costs_one_sentence_and_leaves_nothing(
    hub: Hub, tmp_path: Path, what: str
) -> None:
    index = b'{"_class_name": "%b", "unet": ["diffusers", "U"]}'
    hub.repos |= {
        "ada/gated": {"a.safetensors": DATA, "model_index.json": b"{}"},
        "ada/hidream": {"model_index.json": index % b"HiDreamImagePipeline"},
        "ada/strange": {"model_index.json": index % b"DreamPipeline"},
        "ada/pickles": {
            "model_index.json": index % b"StableDiffusionPipeline",
            "unet/config.json": b"{}",
            "unet/diffusion_pytorch_model.bin": DATA,
        },
    }
    hub.gated.add("ada/gated")
    download, said = REFUSED[what]
    with pytest.raises(HubError, match=said) as error:
        fetch(download, tmp_path, hub.url)
    assert "\n" not in str(error.value)
    assert not [path for path in tmp_path.rglob("*.safetensors")]
    assert Catalogue(tmp_path).names() == ["starter"]


def test_a_hub_that_cannot_be_reached_costs_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="cannot be") as error:
        fetch(DOWNLOAD, tmp_path, "http://127.0.0.1:9")
    assert "\n" not in str(error.value)


def test_a_revision_that_is_gone_says_what_to_remove(hub: Hub, tmp_path: Path) -> None:
    fetch(DOWNLOAD, tmp_path, hub.url)
    hub.gone.add(FIRST)
    with pytest.raises(HubError, match=r"remove checkpoints/cat\.hub\.json to take the newest"):
        fetch(DOWNLOAD, tmp_path, hub.url)


def test_a_full_disk_is_seen_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(HubError, match=r"The disk has 0\.0 GB free"):
        fetch(DOWNLOAD, tmp_path, hub.url)
    assert not any(each.startswith("GET /ada") for each in hub.asked)


def test_names_are_offers_or_places_on_the_hub() -> None:
    assert find("sdxl").repo == "stabilityai/stable-diffusion-xl-base-1.0"
    assert find("ada/cats/cat.safetensors").file == "cat.safetensors"
    with pytest.raises(HubError, match="did you mean 'sdxl'"):
        find("sdlx")
    assert find("ada/cats").home == "diffusers/ada/cats"
    for name in ("ada/cats/cat.ckpt", "ada/"):
        with pytest.raises(HubError, match=r"owner/name/file\.safetensors"):
            find(name)


@pytest.fixture
def whole(hub: Hub, tmp_path: Path) -> dict[str, bytes]:
    """Put a folder into the hub as people publish them: half and full precision, and pickles."""
    made = make_model(tmp_path / "made")
    files = {
        path.relative_to(made).as_posix(): path.read_bytes()
        for path in made.rglob("*")
        if path.is_file()
    }
    wanted = dict(files)
    for part in ("unet", "vae", "text_encoder"):
        name = next(name for name in files if name.startswith(f"{part}/") and "safetensors" in name)
        half = name.replace(".safetensors", ".fp16.safetensors")
        files |= {half: files[name], f"{part}/pytorch_model.bin": DATA}
        files[name] = DATA  # the plain one is not to be taken
        wanted[half] = wanted.pop(name)
    files |= {"safety_checker/model.safetensors": DATA, "README.md": b"hi", "v1.ckpt": DATA}
    files |= {"tokenizer/merges.bin": DATA, "whole.safetensors": DATA}
    hub.repos["ada/whole"] = files
    return wanted


def test_a_folder_is_fetched_with_only_what_it_takes_and_draws(
    hub: Hub, whole: dict[str, bytes], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    assert fetch(FOLDER, models, hub.url) == models / "diffusers" / "ada" / "whole"
    assert sorted(hub.got) == sorted(["model_index.json", *whole])
    catalogue = Catalogue(models)
    assert catalogue.names() == ["starter", "ada/whole"]
    for name in ("ada/whole", "whole", "ADA/Whole"):
        assert catalogue.get(name).name == "ada/whole"
    checkpoint = catalogue.get("ada/whole")
    halves = [len(data) for name, data in whole.items() if ".fp16." in name]
    assert checkpoint.size == sum(halves)
    model = load(checkpoint, torch.device("cpu"))
    assert model.latent_channels == 4


def test_a_folder_that_broke_off_says_so_and_goes_on_at_its_revision(
    hub: Hub, whole: dict[str, bytes], tmp_path: Path
) -> None:
    models, lost = tmp_path / "models", "vae/diffusion_pytorch_model.fp16.safetensors"
    kept = hub.repos["ada/whole"]
    described = dict(kept)
    hub.repos["ada/whole"] = described
    gone = described[lost]
    described[lost] = b""  # is described, but not given
    with pytest.raises(HubError, match="ada/whole cannot be fetched"):
        fetch(FOLDER, models, hub.url)
    with pytest.raises(BrokenModel, match="not wholly fetched; `marble models get ada/whole`"):
        Catalogue(models).get("ada/whole")
    described[lost], hub.main = gone, SECOND
    before = len(hub.got)
    fetch(FOLDER, models, hub.url)
    # The index was looked at again; all that was whole stayed.
    again = hub.got[before:]
    assert again[0] == "model_index.json"
    assert lost in again
    assert "unet/diffusion_pytorch_model.fp16.safetensors" not in again
    assert not any(SECOND in each for each in hub.asked)
    assert load(Catalogue(models).get("whole"), torch.device("cpu")).latent_channels == 4


def test_what_comes_damaged_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.spoils = True
    with pytest.raises(HubError, match=r"cat\.safetensors came damaged"):
        fetch(DOWNLOAD, tmp_path, hub.url)
    hub.spoils = False
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["cat.hub.json"]
    assert fetch(DOWNLOAD, tmp_path, hub.url).read_bytes() == DATA


def test_another_file_of_the_same_size_is_not_taken_for_it(hub: Hub, tmp_path: Path) -> None:
    file = fetch(DOWNLOAD, tmp_path, hub.url)
    file.write_bytes(bytes(len(DATA)))
    assert fetch(DOWNLOAD, tmp_path, hub.url).read_bytes() == DATA


def test_the_hubs_token_goes_to_nobody_else(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(DOWNLOAD, tmp_path / "one", hub.url)
    hub.elsewhere = True
    assert fetch(DOWNLOAD, tmp_path / "two", hub.url).read_bytes() == DATA
    assert hub.tokens == ["Bearer hf_secret", None]


def test_the_command_shows_its_progress_and_names_the_model(
    hub: Hub, whole: dict[str, bytes], tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "MARBLE_MODELS_DIR": str(tmp_path / "models"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
        "TQDM_POSITION": "-1",  # bars are for terminals otherwise
    }
    (tmp_path / "models").mkdir()
    command = [sys.executable, "-m", "bots", "models", "get", "ada/whole"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "whole is here; `marble models check ada/whole`." in done.stdout
    assert "diffusion_pytorch_model.fp16.safetensors: 100%" in done.stderr
    done = subprocess.run(
        [*command[:-1], "ada/none"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "The hub knows no ada/none" in done.stderr


def test_what_broke_off_needs_room_for_the_rest_alone(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = hashlib.sha256(DATA).hexdigest()
    part = tmp_path / "checkpoints" / f"cat.safetensors.{tag[:16]}.part"
    part.parent.mkdir()
    part.write_bytes(DATA[:-1000])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**30 + 1000))
    assert fetch(DOWNLOAD, tmp_path, hub.url).read_bytes() == DATA
    assert hub.ranges == [f"bytes={len(DATA) - 1000}-"]


def test_an_offer_is_fetched_with_all_its_parts(hub: Hub, tmp_path: Path) -> None:
    deep = "split_files/diffusion_models/z.safetensors"
    hub.repos |= {
        "ada/z": {deep: DATA, "split_files/vae/ae.safetensors": DATA[:99]},
        "ada/words": {"tokenizer.json": b"{}", "tokenizer_config.json": b"{}"},
    }
    words = Download(
        name="words",
        repo="ada/words",
        file="tokenizer.json",
        folder="tokenizers/qwen",
        parts=(
            Download(
                name="more",
                repo="ada/words",
                file="tokenizer_config.json",
                folder="tokenizers/qwen",
            ),
        ),
    )
    vae = Download(name="ae", repo="ada/z", file="split_files/vae/ae.safetensors", folder="vae")
    offer = Download(
        name="z", repo="ada/z", file=deep, folder="diffusion_models", parts=(words, vae)
    )
    assert fetch(offer, tmp_path, hub.url) == tmp_path / "diffusion_models" / "z.safetensors"
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert {each for each in found if not each.endswith(".hub.json")} == {
        "diffusion_models/z.safetensors",
        "tokenizers/qwen/tokenizer.json",
        "tokenizers/qwen/tokenizer_config.json",
        "vae/ae.safetensors",
    }
    before = len(hub.got)
    fetch(offer, tmp_path, hub.url)
    assert len(hub.got) == before  # all of it is here


def test_room_for_all_parts_is_seen_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, left = shutil.disk_usage(tmp_path), 2**30 + len(DATA) + 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=left))
    hub.repos["ada/dogs"] = {"dog.safetensors": DATA}
    dog = Download(name="d", repo="ada/dogs", file="dog.safetensors", folder="vae")
    with pytest.raises(HubError, match=r"The disk has 1\.1 GB free"):
        fetch(replace(DOWNLOAD, parts=(dog,)), tmp_path, hub.url)
    assert hub.got == []


def test_offers_are_of_what_marble_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("z", "qwen"):
        monkeypatch.setitem(BY_KEY, key, replace(BY_KEY[key], loadable=key == "z"))
    names = {each.name for each in offers()}
    assert {"sdxl", "z-image-turbo", "tokenizer-qwen"} <= names
    assert "qwen-image" not in names
    with pytest.raises(HubError, match="There is no offer 'qwen-image'"):
        find("qwen-image")


def test_every_offer_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for family in FAMILIES:
        monkeypatch.setitem(BY_KEY, family.key, replace(family, loadable=True))
    for kind in FETCHED:  # which a sentence on a missing tokenizer names
        files = {each.saved(each.file) for each in find(f"tokenizer-{kind}").whole()}
        assert "tokenizer.json" in files
    for offer in offers():
        places = [(each.home, each.saved(each.file)) for each in offer.whole()]
        assert len(places) == len({*places})
        assert all(home.partition("/")[0] in HOMES for home, _ in places)
        assert offer.licence


def test_a_file_of_the_hub_goes_where_its_folder_there_says() -> None:
    deep = find("ada/z/split_files/text_encoders/qwen.safetensors")
    assert (deep.home, deep.saved(deep.file)) == ("text_encoders", "qwen.safetensors")
    assert find("ada/z/vae/diffusion_pytorch_model.safetensors").home == "checkpoints"
    assert find("ada/z/z-Q4_K_S.gguf").file == "z-Q4_K_S.gguf"


def test_a_folder_of_a_flow_model_is_fetched_whole(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BY_KEY, "sd3", replace(BY_KEY["sd3"], loadable=True))
    index: dict[str, Any] = {"_class_name": "StableDiffusion3Pipeline"}
    index["transformer"] = ["diffusers", "SD3"]
    index |= {"image_encoder": [None, None], "vae": ["diffusers", "AutoencoderKL"]}
    encoders = "text_encoder", "text_encoder_2", "text_encoder_3"
    index |= {key: ["transformers", "X"] for key in (*encoders, "tokenizer_3")}
    sharded = "text_encoder_3/model.{}-0000{}-of-00002.safetensors"
    wanted = [
        "model_index.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/model.bf16.safetensors",
        *(sharded.format("fp16", number) for number in (1, 2)),
        "text_encoder_3/model.safetensors.index.fp16.json",
        "tokenizer_3/tokenizer.json",
        "tokenizer_3/spiece.model",
        "vae/diffusion_pytorch_model.safetensors",
        *(f"{part}/config.json" for part in (*encoders, "vae")),
    ]
    left = [
        "sd3.5_medium.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder_2/model.fp16.safetensors",
        "image_encoder/model.safetensors",
    ]
    hub.repos["ada/whole"] = {**dict.fromkeys((*wanted, *left), DATA[:9])}
    hub.repos["ada/whole"]["model_index.json"] = json.dumps(index).encode()
    home = fetch(FOLDER, tmp_path, hub.url)
    found = {path.relative_to(home).as_posix() for path in home.rglob("*.*")}
    assert found == {*wanted, "hub.json"}


def test_offers_of_tiny_vaes_go_where_they_are_found(hub: Hub, tmp_path: Path) -> None:
    for name in TINY_VAES:
        download = find(name)
        hub.repos[download.repo] = {download.file: DATA}
        assert fetch(download, tmp_path, hub.url).parent.name == "vae_approx"
    assert {*ModelFiles(tmp_path, ModelKind.VAE).names()} == TINY_VAES


def test_what_is_there_already_needs_no_room(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(DOWNLOAD, tmp_path, hub.url)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert fetch(DOWNLOAD, tmp_path, hub.url).read_bytes() == DATA


@pytest.mark.parametrize(
    ("name", "its"),
    [
        ("unet/diffusion_pytorch_model.safetensors", ""),
        ("unet/diffusion_pytorch_model.fp16.safetensors", "fp16"),
        ("model.fp16-00001-of-00002.safetensors", "fp16"),
        ("model-00001-of-00002.fp16.safetensors", "fp16"),
        ("model.safetensors.index.json", ""),
        ("model.safetensors.index.fp16.json", "fp16"),
        ("diffusion_pytorch_model.non_ema.safetensors", "non_ema"),
        ("diffusion_pytorch_model.bin", None),
        ("openvino_model.safetensors", None),
        ("config.json", None),
    ],
)
def test_a_files_name_tells_its_variant(name: str, its: str | None) -> None:
    assert variant(name) == its
