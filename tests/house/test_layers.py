"""The layers of docs/design.md: lower never imports higher, whatever the import looks like."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import parallax

PACKAGE = Path(__file__).parents[2] / "parallax"

LAYERS = [
    {
        "errors",
        "ids",
        "options",
        "actor_options",
        "placement_options",
        "messages",
        "reprs",
        "snapshot",
        "version",
    },
    {"serial", "core", "refs"},
    {"store", "net"},
    {"pool"},
    {"sessions", "api"},
    {"notebook", "lab", "interop", "data", "tune", "train", "stream", "sync", "testing", "cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

STRANGERS = {
    # The brain knows no bytes and no memory: it moves names of things.
    "core": {"serial", "refs", "store"},
    "serial": {"core"},
    "store": {"core", "net"},
    "net": {"core", "store"},
}

DOORS = {"__init__", "__main__"}
"""They open on everything."""
GUESTS = {"notebook", "lab", "interop", "data", "tune", "train", "stream", "sync", "cli"}
"""They import the door alone."""


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    package = ["parallax", *path.relative_to(PACKAGE).with_suffix("").parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, module
            if module == "parallax":
                for alias in node.names:
                    yield node.lineno, f"parallax.{alias.name}"


def _own_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Rooms of the house that this file imports."""
    for line, module in _imports(path):
        name, _, rest = module.partition(".")
        if name == "parallax":
            yield line, rest.split(".")[0]


def test_every_room_has_a_layer() -> None:
    rooms = {_room(path) for path in _modules()} - DOORS
    assert rooms <= set(LEVEL), f"no layer for {sorted(rooms - set(LEVEL))}"


@pytest.mark.parametrize(
    "path",
    [path for path in _modules() if _room(path) not in DOORS],
    ids=lambda path: str(path.relative_to(PACKAGE.parent)),
)
def test_lower_never_imports_higher(path: Path) -> None:
    room = _room(path)
    for line, other in _own_imports(path):
        if other not in LEVEL:
            continue
        assert LEVEL[other] <= LEVEL[room], f"{path}:{line}: {room} imports {other}, which is above"
        assert other not in STRANGERS.get(room, set()), (
            f"{path}:{line}: {room} must not know {other}"
        )


@pytest.mark.parametrize("room", sorted(GUESTS))
def test_guests_import_the_door_alone(room: str) -> None:
    files = [path for path in _modules() if _room(path) == room]
    for path in files:
        for line, other in _own_imports(path):
            allowed = {room, "", "errors", "version"} | _door()
            assert other in allowed, f"{path}:{line}: a guest imports {other}"


def _door() -> set[str]:
    return set(parallax.__all__)


def test_the_door_opens_on_what_type_checkers_see() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    seen = {
        alias.name: f"{node.module}".removeprefix("parallax").removeprefix(".")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and f"{node.module}".startswith("parallax")
        for alias in node.names
    }
    del seen["VERSION"], seen["errors"], seen["sync"]
    assert seen == parallax._HOME
    assert {*seen, "errors", "sync", "__version__"} == set(parallax.__all__)
    for name in parallax.__all__:
        assert getattr(parallax, name) is not None
    assert set(parallax.__all__) <= set(dir(parallax))
    with pytest.raises(AttributeError, match="no attribute 'remot'"):
        parallax.remot  # noqa: B018


@pytest.mark.parametrize(
    "path", [p for p in _modules() if _room(p) == "core"], ids=lambda p: p.stem
)
def test_the_core_is_pure(path: Path) -> None:
    impure = {
        "asyncio",
        "os",
        "random",
        "select",
        "socket",
        "subprocess",
        "threading",
        "time",
        "zmq",
    }
    impure |= {"logging", "psutil", "msgspec.msgpack"}
    for line, module in _imports(path):
        assert module not in impure, f"{path}:{line}: the core imports {module}"


def test_importing_the_door_starts_nothing_and_is_light() -> None:
    import subprocess
    import sys

    code = (
        "import sys, threading, parallax;"
        "[getattr(parallax, name) for name in parallax.__all__];"
        "heavy = {'numpy', 'pandas', 'IPython', 'rich', 'dill', 'jupyter_client', 'zmq',"
        "'xxhash'};"
        "print(sorted(heavy & set(sys.modules)), threading.active_count())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["[]", "1"], result.stdout
