"""What `deploy/` starts exists, and its parts agree on ports and folders.

No container is started here.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import yaml

from bots.operations.settings import VARIABLES, load_settings
from bots.terminal.parser import parse
from tests.conftest import ROOT

DEPLOY: Final = ROOT / "deploy"
TEXTS: Final = {
    path.name: path.read_text(encoding="utf-8") for path in DEPLOY.iterdir() if path.is_file()
}
CONTAINERFILE: Final = TEXTS["Containerfile"]
SCALING: Final = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
# Names that compose's files take from `.env`, which are no settings of Marble's.
FROM_ENV: Final = {"RAY_AUTH_TOKEN", "MODELS_FOLDER"}

Service = Mapping[str, Any]


def merged(first: Any, second: Any) -> Any:
    """Merge two compose files as compose does: mappings by key, lists one after another."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        both = first.keys() & second.keys()
        return {**first, **second, **{key: merged(first[key], second[key]) for key in both}}
    return [*first, *second] if isinstance(first, list) and isinstance(second, list) else second


def services(*names: str) -> dict[str, Service]:
    """Return the services of compose files that are given together."""
    found: dict[str, Any] = {}
    for name in names:
        found = merged(found, yaml.safe_load(TEXTS[name]))
    result: dict[str, Service] = found["services"]
    return result


def arguments(service: Service) -> dict[str, str]:
    """Return the options of a service's `ray start`."""
    pairs = (word.removeprefix("--").partition("=") for word in service["command"][1:])
    return {name: value for name, _, value in pairs}


def mounts(service: Service) -> dict[str, str]:
    """Return what is mounted at each folder of a container."""
    found = re.findall(r"(?:^|\n)(.+):(/[\w/]+)(?::ro)?(?=\n|$)", "\n".join(service["volumes"]))
    return {inside: outside for outside, inside in found}


def built(name: str) -> str:
    """Return an argument's default of the image."""
    found = re.search(rf"^ARG {name}=(.*)$", CONTAINERFILE, re.M)
    assert found, name
    return found[1]


COMPOSED: Final = {
    "processor": services("compose.yaml"),
    "gpu": services("compose.yaml", "compose.gpu.yaml"),
    "ray": services("compose.yaml", "compose.ray.yaml"),
}
RAY: Final = COMPOSED["ray"]
WORKERS: Final = [service for name, service in RAY.items() if name.startswith("worker-")]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_its_settings_exist(name: str) -> None:
    named = set(re.findall(r"\bMARBLE_[A-Z_]+\b", TEXTS[name]))
    assert named <= VARIABLES.keys()


@pytest.mark.parametrize("kind", COMPOSED)
def test_its_settings_have_values_that_are_read(kind: str) -> None:
    given = COMPOSED[kind]["marble"]["environment"]
    own = {key: value for key, value in given.items() if key.startswith("MARBLE_")}
    for key, value in own.items():
        assert isinstance(value, str), key
    inside = own.pop("MARBLE_MODELS_DIR", None)  # a folder of the container
    assert inside in (None, *mounts(COMPOSED[kind]["marble"]))
    assert load_settings(own, env_file="").metrics_port == 9464


def shown() -> Iterator[str]:
    """Yield the commands of `deploy/`, of its comments as well."""
    for text in TEXTS.values():
        yield from re.findall(r"\bmarble ([a-z]+)(?=$|[ ,&])", text, re.M)
    yield from re.findall(r'^CMD \["(\w+)"\]$', CONTAINERFILE, re.M)


def test_its_commands_can_be_typed() -> None:
    commands = {*shown()}
    assert commands == {"serve", "setup", "doctor"}
    for command in commands:
        parse([command])


def test_the_image_is_built_from_files_that_are_sent_to_the_builder() -> None:
    sent = re.findall(r"^!(\S+)$", TEXTS["Containerfile.dockerignore"], re.M)
    copied = [
        source
        for line in re.findall(r"^COPY (.+)$", CONTAINERFILE, re.M)
        for source in shlex.split(line)[:-1]
    ]
    assert sorted(copied) == sorted(sent)
    for name in copied:
        assert (ROOT / name).exists(), name
    for kind in COMPOSED.values():
        for service in kind.values():
            build = service["build"]
            assert (DEPLOY / build["context"]).resolve() == ROOT
            assert ROOT / build["dockerfile"] == DEPLOY / "Containerfile"
            for argument in build.get("args", {}):
                built(argument)


def test_the_extras_of_its_images_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = project["project"]["optional-dependencies"].keys()
    for extras in (built("EXTRAS"), *(each["build"]["args"]["EXTRAS"] for each in RAY.values())):
        assert {*extras.split(",")} <= known
    assert all("ray" in each["build"]["args"]["EXTRAS"].split(",") for each in RAY.values())


def test_what_marble_keeps_lies_in_the_volume_of_its_image() -> None:
    folder = re.search(r"^VOLUME (\S+)$", CONTAINERFILE, re.M)
    assert folder
    assert f"MARBLE_DATA_DIR={folder[1]} " in CONTAINERFILE
    volumes = yaml.safe_load(TEXTS["compose.yaml"])["volumes"]
    for kind in COMPOSED.values():
        assert kind["marble"]["environment"]["MARBLE_DATA_DIR"] == folder[1]
        assert mounts(kind["marble"])[folder[1]] in volumes


def test_its_health_is_asked_for_where_it_is_served() -> None:
    marble = COMPOSED["processor"]["marble"]
    port = marble["environment"]["MARBLE_METRICS_PORT"]
    assert marble["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}/livez" in marble["healthcheck"]["test"][-1]


def test_the_machines_of_the_cluster_find_its_head() -> None:
    head = arguments(RAY["head"])
    assert len(WORKERS) == 2
    for worker in WORKERS:
        assert arguments(worker)["address"] == f"head:{head['port']}"
        assert "head" in worker["depends_on"]
    address = RAY["marble"]["environment"]["MARBLE_RAY_ADDRESS"]
    assert address == f"ray://head:{head['ray-client-server-port']}"
    assert f"ray start --head --port={head['port']} " in SCALING
    assert f"ray start --address=HEAD:{head['port']} " in SCALING
    assert f"`ray://host:{head['ray-client-server-port']}`" in SCALING


def test_the_machines_of_the_cluster_have_one_token_and_one_folder_of_models() -> None:
    for service in RAY.values():
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
    folders = {
        (each["environment"]["MARBLE_MODELS_DIR"], mounts(each)["/models"])
        for each in (RAY["marble"], *WORKERS)
    }
    assert folders == {("/models", "${MODELS_FOLDER:-../models}")}
    taken = {name for text in TEXTS.values() for name in re.findall(r"\$\{(\w+)[:?}-]", text)}
    assert taken - {"TORCH", "EXTRAS"} == FROM_ENV
    for name in FROM_ENV:  # each is explained where it is used
        assert f"{name}=" in TEXTS["compose.ray.yaml"]


def test_each_worker_has_a_gpu_of_its_own_and_the_head_has_none() -> None:
    gpus = [
        device["device_ids"]
        for worker in WORKERS
        for device in worker["deploy"]["resources"]["reservations"]["devices"]
    ]
    assert sorted(gpus) == [["0"], ["1"]]
    assert arguments(RAY["head"])["num-gpus"] == "0"


def test_ray_knows_the_commands_of_the_cluster() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    for service in (RAY["head"], *WORKERS):
        assert service["entrypoint"] == ["ray"]
        command, *options = service["command"]
        scripts.cli.commands[command].make_context("ray start", options)
    for line in re.findall(r"^ray start (.+?)(?:  +#.*)?$", SCALING, re.M):
        scripts.cli.commands["start"].make_context("ray start", shlex.split(line))
