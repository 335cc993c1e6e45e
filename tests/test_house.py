"""Hold the house's arrows: who may import whom, and that nobody pays for what they do not use."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = ("bots", "engine", "storage", "migrations")
# A module's longest matching prefix decides which rooms it may know.
MAY_KNOW = {
    "bots": {"bots", "engine", "storage"},
    "storage": {
        "storage",
        "engine.recipe",
        "engine.events",
        "engine.errors",
        "engine.sentences",
        "engine.blobs",
        "engine.work",
        "migrations",
    },
    "migrations": {"migrations", "storage"},
    "engine": {"engine"},
}
STANDARD_LIBRARY_ONLY = (
    "engine.recipe",
    "engine.ranges",
    "engine.sources",
    "engine.events",
    "engine.errors",
    "engine.sentences",
    "engine.blobs",
    "engine.contexts",
    "engine.cuts",
    "engine.work",
)
TORCH = ("torch", "diffusers", "transformers", "safetensors", "accelerate", "scipy", "spandrel")
MAY_IMPORT = {
    **dict.fromkeys(
        TORCH,
        (
            "engine.schedules",
            "engine.samplers",
            "engine.guidance",
            "engine.conditioning",
            "engine.denoise",
            "engine.decode",
            "engine.encode",
            "engine.enlarge",
            "engine.inpainting",
            "engine.noise",
            "engine.running",
            "engine.reveal",
            "engine.multidiffusion",
            "engine.tiles",
            "engine.tiled_vae",
            "engine.tiny_vae",
            "engine.control",
            "engine.upscale",
            "engine.loading",
            "engine.no_vae",
            "engine.amounts",
            "engine.costs",
            "engine.placing",
            "engine.unused",
            "engine.control_union",
            "engine.checkup",
            "engine.embeddings",
            "engine.lora",
            "engine.additions",
            "engine.other_vae",
            "engine.parts",
            "engine.vocabulary",
            "engine.pipeline",
            "engine.resident",
            "engine.memory",
            "engine.probe",
            "engine.finite",
            "engine.device",
            "engine.ladder",
            "engine.opening",
            "engine.diagnosis",
            "engine.safety",
            "engine.starter",
        ),
    ),
    "sqlalchemy": ("storage", "migrations"),
    "alembic": ("storage", "migrations"),
    "aiosqlite": ("storage",),
    "asyncpg": ("storage",),
    "prometheus_client": ("bots.metrics",),
    "cv2": ("engine.hints",),
    "yaml": ("engine.extra_paths",),
    "rich": ("bots.terminal", "bots.cli"),
    "discord": ("bots.discord",),
    "telegram": ("bots.telegram",),
}


def modules() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    """Yield every module a file imports, inside functions too, but for type checking alone."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield f"{node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        todo += ast.iter_child_nodes(node)


def within(name: str, prefixes: tuple[str, ...] | set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


MODULES = dict(modules())


def test_the_walk_sees_the_house() -> None:
    assert {"bots.cli", "engine.recipe", "storage"} <= MODULES.keys()
    assert "engine.errors" in set(imports(MODULES["engine.recipe"]))


@pytest.mark.parametrize("name", MODULES)
def test_arrows_point_down(name: str) -> None:
    room = name.partition(".")[0]
    for imported in imports(MODULES[name]):
        if within(imported, set(ROOMS)):
            # `from engine import recipe` and `from engine.recipe import Recipe` both count.
            allowed = MAY_KNOW[room]
            assert within(imported, allowed) or any(
                a.startswith(f"{imported}.") for a in allowed
            ), f"{name} may not know {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_each_library_stays_in_its_room(name: str) -> None:
    for imported in imports(MODULES[name]):
        owners = MAY_IMPORT.get(imported.partition(".")[0])
        assert owners is None or within(name, owners), f"{name} may not import {imported}"


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_travelling_types_need_only_the_standard_library(name: str) -> None:
    for imported in imports(MODULES[name]):
        top = imported.partition(".")[0]
        assert top in sys.stdlib_module_names or within(imported, STANDARD_LIBRARY_ONLY)


@pytest.mark.parametrize(
    "name",
    [
        "bots.cli",
        "bots.studio",
        "engine.prompts",
        "engine.queue",
        "engine.metadata",
        "engine.comfy",
        "engine.checkpoints",
        "engine.images",
        "engine.masks",
        "engine.shelves",
        "engine.control_files",
        "engine.hints",
        "engine.signatures",
        "engine.executors",
        "engine.executors.inprocess",
        "engine.executors.child",
        "engine.executors.choose",
        "engine.executors.main",
        "engine.batching",
        "storage",
    ],
)
def test_importing_it_does_not_import_torch(name: str) -> None:
    if name not in MODULES:
        pytest.skip(f"{name} is not built yet")
    code = f"import sys, {name}; sys.exit(any(m in sys.modules for m in {TORCH!r}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from bots.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {(*TORCH, 'sqlalchemy', 'alembic', 'PIL')!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "imagine" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands in a function, but not in those that it defines."""
    unseen = list(ast.iter_child_nodes(function))
    while unseen:
        node = unseen.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            unseen += ast.iter_child_nodes(node)


def bare_nexts(tree: ast.AST) -> Iterator[int]:
    """Yield the lines where a generator asks for a next one that may be missing."""
    for maker in ast.walk(tree):
        nodes: list[ast.AST] = []
        if isinstance(maker, (ast.FunctionDef, ast.AsyncFunctionDef)):
            nodes = list(own_nodes(maker))
            if not any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in nodes):
                continue
        elif isinstance(maker, ast.GeneratorExp):
            nodes = list(ast.walk(maker))
        for node in nodes:
            name = node.func if isinstance(node, ast.Call) and len(node.args) == 1 else None
            if isinstance(name, ast.Name) and name.id == "next":
                yield name.lineno


def test_no_generator_asks_for_a_next_one_without_a_default() -> None:
    """Its `StopIteration` would end the generator: for the tick, everybody's jobs."""
    found = [
        f"{name}:{line}"
        for name, file in MODULES.items()
        for line in bare_nexts(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert not found
    assert list(bare_nexts(ast.parse("def f():\n    yield next(x)"))) == [2]
