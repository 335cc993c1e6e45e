"""Which room may import which, that no imports form a circle, and what each import costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("bots", "engine", "storage", "migrations")
# The rooms of each package, a room above those it imports: exactly those, by their short names.
# A module that lies in no folder is a room of its own.
ARROWS = {
    "bots.web": "chat service presentation texts requests worker operations admission",
    "bots.telegram": "chat service presentation texts requests worker operations admission",
    "bots.discord": "chat service presentation texts requests worker operations admission",
    "bots.__main__": "terminal",
    "bots.terminal": "chat service presentation texts requests worker operations admission",
    "bots.chat": "service presentation texts requests worker operations admission",
    "bots.service": "requests worker operations admission",
    "bots.presentation": "texts requests",
    "bots.texts": "requests",
    "bots.requests": "worker operations admission",
    "bots.worker": "operations admission",
    "bots.operations": "admission",
    "bots.admission": "",
    "bots": "",
    "storage": "storage jobs records states errors",
    "storage.storage": "people care vectors jobs liveness database clock",
    "storage.people": "care vectors jobs records liveness database clock errors",
    "storage.care": "jobs records liveness database states clock errors",
    "storage.vectors": "jobs records liveness database",
    "storage.jobs": "records liveness database states clock errors",
    "storage.records": "states errors",
    "storage.liveness": "database errors",
    "storage.database": "states errors",
    "storage.states": "errors",
    "storage.clock": "",
    "storage.errors": "",
    "engine.starter": "",
    "engine.queue": "pictures recipe errors sentences",
    "engine.check": (
        "executors pipeline families spec text_encode finish decode loading models recipe device "
        "files events errors sentences"
    ),
    "engine.executors": (
        "making_of pipeline families spec finish pictures loading models device files events "
        "errors sentences"
    ),
    "engine.making_of": (
        "pipeline formats denoise text_encode decode recipe events errors sentences"
    ),
    "engine.pipeline": (
        "spec formats denoise text_encode finish decode "
        "pictures loading models recipe device files events errors sentences"
    ),
    "engine.spec": "recipe",
    "engine.formats": "text_encode pictures models recipe files errors sentences",
    "engine.families": (
        "denoise text_encode decode pictures loading models recipe device files errors"
    ),
    "engine.denoise": "text_encode decode pictures loading models recipe device errors sentences",
    "engine.text_encode": "pictures loading models recipe device files errors sentences",
    "engine.finish": "decode pictures loading models device events errors sentences",
    "engine.decode": "pictures loading models device files errors sentences",
    "engine.loading": "pictures models recipe device files errors",
    "engine.pictures": "recipe files errors sentences",
    "engine.models": "recipe files errors sentences",
    "engine.recipe": "errors sentences",
    "engine.device": "files events errors sentences",
    "engine.files": "errors",
    "engine.events": "errors",
    "engine.errors": "sentences",
    "engine.sentences": "english",
    "engine.english": "",
    "engine": "",
}
# A module's longest matching prefix decides which rooms it may know.
MAY_KNOW = {
    "bots": {"bots", "engine", "storage"},
    "storage": {
        "storage",
        "engine.recipe.recipe",
        "engine.events",
        "engine.errors",
        "engine.sentences",
        "engine.files",
        "engine.queue.estimates",
        "migrations",
    },
    "migrations": {"migrations", "storage"},
    "engine": {"engine"},
}
STANDARD_LIBRARY_ONLY = (
    "engine.recipe.recipe",
    "engine.recipe.limits",
    "engine.recipe.parts",
    "engine.recipe.patches",
    "engine.recipe.conditions",
    "engine.recipe.prompt_editing",
    "engine.events",
    "engine.errors",
    "engine.sentences",
    "engine.english",
    "engine.files.stored",
    "engine.recipe.context_length",
    "engine.pictures.tile_grid",
    "engine.queue.estimates",
)
TORCH = (
    "torch",
    "diffusers",
    "transformers",
    "safetensors",
    "accelerate",
    "scipy",
    "spandrel",
    "gguf",
)
MAY_IMPORT = {
    **dict.fromkeys(
        TORCH,
        (
            "engine.check",
            "engine.decode",
            "engine.denoise",
            "engine.device",
            "engine.executors.opening",
            "engine.families",
            "engine.finish",
            "engine.loading",
            "engine.making_of.attention",
            "engine.making_of.tap",
            "engine.pictures.tiles",
            "engine.pipeline",
            "engine.starter",
            "engine.text_encode",
        ),
    ),
    "sqlalchemy": ("storage", "migrations"),
    "alembic": ("storage", "migrations"),
    "asyncpg": ("storage",),
    "prometheus_client": ("bots.service.metrics",),
    "cv2": ("engine.pictures.control_images",),
    "yaml": ("engine.models.extra_paths",),
    "rich": ("bots.terminal", "bots.terminal.cli"),
    "discord": ("bots.discord",),
    "telegram": ("bots.telegram",),
    "jinja2": ("bots.web",),
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
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
    assert {"bots.terminal.cli", "engine.recipe.recipe", "storage"} <= MODULES.keys()
    assert "engine.errors" in set(imports(MODULES["engine.recipe.recipe"]))


def imported_modules(name: str) -> set[str]:
    """Return the modules of the house that a module imports, for type checking alone as well."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else f"{node.module}")
    return found & MODULES.keys() - {name}


IMPORTED = {name: imported_modules(name) for name in MODULES}


def room_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def drawn_arrows() -> dict[str, set[str]]:
    """Return for each room the rooms of its own package that its modules import."""
    arrows: dict[str, set[str]] = {}
    for name, imported in IMPORTED.items():
        package = name.partition(".")[0]
        if package != "migrations":
            arrows.setdefault(room_of(name), set()).update(
                room_of(other)
                for other in imported
                if other.partition(".")[0] == package and room_of(other) != room_of(name)
            )
    return arrows


def test_each_room_imports_exactly_the_rooms_of_its_row() -> None:
    rows = {
        room: {f"{room.partition('.')[0]}.{other}" for other in known.split()}
        for room, known in ARROWS.items()
    }
    assert drawn_arrows() == rows


def test_rooms_import_only_rooms_below_them() -> None:
    """The table lists a room above all that it imports: no circle can be written into it."""
    below = list(ARROWS)
    for room, known in drawn_arrows().items():
        assert known <= set(below[below.index(room) + 1 :]), room


def circles(imported: dict[str, set[str]]) -> list[set[str]]:
    """Return each set of modules that import one another in a circle (Tarjan 1972)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        stack.append(name)
        for other in imported[name]:
            if other not in numbers:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], numbers[other])
        if lowest[name] == numbers[name]:
            members = set(stack[stack.index(name) :])
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(members)

    for name in imported:
        if name not in numbers:
            visit(name)
    return found


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert not circles(IMPORTED)


@pytest.mark.parametrize("name", MODULES)
def test_each_package_imports_only_what_it_may(name: str) -> None:
    package = name.partition(".")[0]
    for imported in imports(MODULES[name]):
        if within(imported, set(PACKAGES)):
            # `from engine import spec` and `from engine.spec import Spec` both count.
            allowed = MAY_KNOW[package]
            assert within(imported, allowed) or any(
                a.startswith(f"{imported}.") for a in allowed
            ), f"{name} may not import {imported}"


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
        "bots.terminal.cli",
        "bots.requests.studio",
        "engine.text_encode.prompts",
        "engine.queue.queue",
        "engine.formats.metadata",
        "engine.formats.comfy",
        "engine.models.catalogue",
        "engine.pictures.images",
        "engine.pictures.masks",
        "engine.models.model_files",
        "engine.models.control_files",
        "engine.pictures.control_images",
        "engine.models.signatures",
        "engine.check.device_trial",
        "engine.executors",
        "engine.executors.inprocess",
        "engine.executors.child",
        "engine.executors.choose",
        "engine.executors.embedding",
        "engine.executors.main",
        "engine.pipeline.batching",
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
        "import sys; from bots.terminal.cli import main\n"
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
