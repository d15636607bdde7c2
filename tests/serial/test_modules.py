"""An edited local module takes effect on the next submission, and only it and its dependents."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from parallax.serial.functions import load, ship
from parallax.serial.local_modules import find_spec, is_local_module
from parallax.serial.modules import ModuleSet, snapshot, snapshot_of
from parallax.serial.shipped_modules import Library
from tests.serial.notebook import Notebook, run_python


class Project:
    """A folder of local modules on `sys.path`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._edits = 0

    def write(self, name: str, text: str) -> Path:
        """Write a file as an editor would: its time of change moves on."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._edits += 1
        # The past, so that the file counts as settled.
        moment = 1_700_000_000_000_000_000 + self._edits * 1_000_000_000
        os.utime(path, ns=(moment, moment))
        importlib.invalidate_caches()
        return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Project(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def library() -> Iterator[Library]:
    """An engine's finder, here; the driver's own modules are out of its sight."""
    finders = list(sys.meta_path)
    modules = dict(sys.modules)
    path = list(sys.path)
    yield Library()
    sys.meta_path[:] = finders
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.modules.update(modules)


def taken(*names: str) -> ModuleSet:
    """A snapshot of modules that must be local."""
    found = snapshot_of(names)
    assert found is not None
    return found


def serve(library: Library, modules: ModuleSet) -> None:
    library.serve(modules.key, modules.sources)


class TestWhatIsFound:
    def test_modules_that_the_function_refers_to(self, project: Project) -> None:
        project.write("px_helpers.py", "def h(): return 1\nclass C: pass")
        notebook = Notebook()
        notebook.run("import px_helpers\ndef f(): return px_helpers.h()")
        notebook.run("from px_helpers import h\ndef g(): return h()")
        notebook.run("from px_helpers import C\nc = C()\ndef k(): return c")

        for name in "fgk":
            modules = snapshot(notebook[name])
            assert modules is not None
            assert list(modules.sources) == ["px_helpers"]

    def test_imports_inside_the_function_even_of_what_was_never_imported(
        self, project: Project
    ) -> None:
        project.write("px_lazy.py", "x = 1")
        project.write("px_pack/__init__.py", "")
        project.write("px_pack/part.py", "x = 1")
        notebook = Notebook()
        notebook.run(
            """
            def f():
                import px_lazy
                def inner():
                    from px_pack import part
                    return part.x
                return px_lazy.x + inner()
            """
        )

        modules = snapshot(notebook["f"])

        assert modules is not None
        assert sorted(modules.sources) == ["px_lazy", "px_pack", "px_pack.part"]
        assert "px_lazy" not in sys.modules

    def test_what_those_import_in_turn(self, project: Project) -> None:
        project.write("px_a.py", "import px_b\nimport os, numpy")
        project.write("px_b.py", "def f():\n    from px_c import x")
        project.write("px_c.py", "import importlib\nd = importlib.import_module('px_d')")
        project.write("px_d.py", "import px_a  # in a circle")

        assert sorted(taken("px_a").sources) == ["px_a", "px_b", "px_c", "px_d"]

    def test_relative_imports_and_parent_packages(self, project: Project) -> None:
        project.write("px_tree/__init__.py", "from . import roots")
        project.write("px_tree/roots.py", "")
        project.write("px_tree/crown/__init__.py", "")
        project.write("px_tree/crown/leaf.py", "from ..trunk import t\nfrom . import twig")
        project.write("px_tree/crown/twig.py", "")
        project.write("px_tree/trunk.py", "t = 1")
        project.write("px_tree/unused.py", "")

        assert sorted(taken("px_tree.crown.leaf").sources) == [
            "px_tree",
            "px_tree.crown",
            "px_tree.crown.leaf",
            "px_tree.crown.twig",
            "px_tree.roots",
            "px_tree.trunk",
        ]

    def test_folders_without_init(self, project: Project) -> None:
        project.write("px_space/inner/mod.py", "x = 1")

        sources = taken("px_space.inner.mod").sources

        assert sorted(sources) == ["px_space", "px_space.inner", "px_space.inner.mod"]
        assert sources["px_space"].origin == ""

    @pytest.mark.parametrize(
        "name", ["os", "json.decoder", "numpy", "pytest", "parallax.errors", "__main__", "no_such"]
    )
    def test_others_are_not_local(self, name: str) -> None:
        assert not is_local_module(name)
        assert snapshot_of([name]) is None

    def test_the_main_module_is_never_local(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not even after ``python -m px_run``, when it has the spec of a local module."""
        project.write("px_run.py", "")
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", find_spec("px_run"))

        assert snapshot_of(["__main__"]) is None

    def test_a_file_that_does_not_parse_is_shipped_as_it_is(self, project: Project) -> None:
        project.write("px_broken.py", "import px_other\ndef f(:\n")

        assert taken("px_broken").sources["px_broken"].source.endswith(b"def f(:\n")

    def test_a_function_that_uses_none(self) -> None:
        notebook = Notebook()
        notebook.run("import json\ndef f(): return json.dumps(1)")

        assert snapshot(notebook["f"]) is None

    def test_nothing_is_imported(self, project: Project) -> None:
        project.write("px_loud/__init__.py", "raise RuntimeError")
        project.write("px_loud/part.py", "")

        assert find_spec("px_loud.part") is not None
        assert "px_loud" not in sys.modules


class TestVersions:
    def test_the_file_counts_not_what_the_driver_imported(self, project: Project) -> None:
        project.write("px_helpers.py", "def h(): return 1")
        notebook = Notebook()
        notebook.run("import px_helpers\ndef f(): return px_helpers.h()")

        project.write("px_helpers.py", "def h(): return 2")

        modules = snapshot(notebook["f"])
        assert modules is not None
        assert modules.sources["px_helpers"].source == b"def h(): return 2"

    def test_a_change_is_seen_and_changes_the_key(self, project: Project) -> None:
        project.write("px_helpers.py", "x = 1")
        first = taken("px_helpers")
        assert not first.changed()

        project.write("px_helpers.py", "x = 2")

        assert first.changed()
        second = taken("px_helpers")
        assert not second.changed()
        assert first != second

    def test_going_back_gives_the_first_key(self, project: Project) -> None:
        project.write("px_helpers.py", "x = 1")
        first = taken("px_helpers")
        project.write("px_helpers.py", "x = 2")
        taken("px_helpers")
        project.write("px_helpers.py", "x = 1")

        assert taken("px_helpers") == first
        assert hash(taken("px_helpers")) == hash(first)

    def test_a_write_within_one_tick_of_the_clock_is_seen(self, project: Project) -> None:
        """Same size, same inode, same time: only the content tells."""
        path = project.root / "px_quick.py"
        path.write_text("x = 1")
        moment = path.stat().st_mtime_ns
        first = taken("px_quick")
        assert not first.changed()

        path.write_text("x = 2")
        os.utime(path, ns=(moment, moment))

        assert first.changed()

    def test_a_file_that_is_gone_is_a_change(self, project: Project) -> None:
        path = project.write("px_helpers.py", "x = 1")
        modules = taken("px_helpers")

        path.unlink()

        assert modules.changed()

    def test_a_set_is_pickled_without_its_files(self, project: Project) -> None:
        project.write("px_helpers.py", "x = 1")
        modules = taken("px_helpers")

        copy = pickle.loads(pickle.dumps(modules))

        assert copy == modules
        assert copy.sources == modules.sources
        assert not copy.changed()

    def test_the_functions_key_follows_its_modules(self, project: Project) -> None:
        project.write("px_helpers.py", "def h(): return 1")
        notebook = Notebook()
        notebook.run("import px_helpers\ndef f(): return px_helpers.h()")
        first = ship(notebook["f"])

        project.write("px_helpers.py", "def h(): return 2")

        assert ship(notebook["f"]).key != first.key


class TestEngine:
    def test_two_versions_take_turns(self, project: Project, library: Library) -> None:
        project.write("px_helpers.py", "def h(): return 'one'")
        one = taken("px_helpers")
        project.write("px_helpers.py", "def h(): return 'two'")
        two = taken("px_helpers")

        seen = []
        for modules in (one, two, one, two):
            serve(library, modules)
            seen.append(importlib.import_module("px_helpers").h())

        assert seen == ["one", "two", "one", "two"]

    def test_the_edited_module_and_its_dependents_go_the_rest_stays(
        self, project: Project, library: Library
    ) -> None:
        project.write("px_base.py", "x = 1")
        project.write("px_user.py", "from px_base import x")
        project.write("px_apart.py", "state = []")
        one = taken("px_user", "px_apart")
        project.write("px_base.py", "x = 2")
        two = taken("px_user", "px_apart")
        serve(library, one)
        apart = importlib.import_module("px_apart")
        apart.state.append(1)
        assert importlib.import_module("px_user").x == 1

        serve(library, two)

        assert importlib.import_module("px_user").x == 2
        assert importlib.import_module("px_apart") is apart

    def test_state_survives_from_task_to_task(self, project: Project, library: Library) -> None:
        project.write("px_state.py", "items = []")
        for _ in range(3):
            serve(library, taken("px_state"))
            importlib.import_module("px_state").items.append(1)

        assert importlib.import_module("px_state").items == [1, 1, 1]

    def test_each_of_two_jobs_keeps_its_state(self, project: Project, library: Library) -> None:
        project.write("px_state.py", "items = ['one']")
        one = taken("px_state")
        project.write("px_state.py", "items = ['two']")
        two = taken("px_state")
        for modules in (one, two, one, two):
            serve(library, modules)
            importlib.import_module("px_state").items.append(0)

        serve(library, one)
        assert importlib.import_module("px_state").items == ["one", 0, 0]

    def test_a_dependent_from_an_earlier_set_goes_too(
        self, project: Project, library: Library
    ) -> None:
        project.write("px_base.py", "x = 1")
        project.write("px_user.py", "from px_base import x")
        users = taken("px_user")
        project.write("px_base.py", "x = 2")
        base = taken("px_base")
        serve(library, users)
        assert importlib.import_module("px_user").x == 1

        serve(library, base)

        assert importlib.import_module("px_user").x == 2

    def test_what_was_loaded_from_this_hosts_disk_gives_way(
        self, project: Project, library: Library
    ) -> None:
        project.write("px_helpers.py", "x = 'shipped'")
        modules = taken("px_helpers")
        project.write("px_helpers.py", "x = 'on this disk'")
        assert importlib.import_module("px_helpers").x == "on this disk"

        serve(library, modules)

        assert importlib.import_module("px_helpers").x == "shipped"

    def test_packages_with_their_parts(self, project: Project, library: Library) -> None:
        project.write("px_pack/__init__.py", "from .part import x")
        part = "from . import other\nx = other.y"
        project.write("px_pack/part.py", part)
        project.write("px_pack/other.py", "y = 1")
        one = taken("px_pack")
        project.write("px_pack/other.py", "y = 2")
        two = taken("px_pack")

        for modules, expected in ((one, 1), (two, 2), (one, 1)):
            serve(library, modules)
            pack = importlib.import_module("px_pack")
            assert (pack.x, pack.part.x, pack.other.y) == (expected,) * 3
            assert pack.__file__ == str(project.root / "px_pack/__init__.py")
            assert pack.__path__ == [str(project.root / "px_pack")]

    def test_a_part_that_the_package_does_not_import(
        self, project: Project, library: Library
    ) -> None:
        project.write("px_pack/__init__.py", "")
        project.write("px_pack/part.py", "x = 1")
        one = taken("px_pack.part")
        project.write("px_pack/part.py", "x = 2")
        two = taken("px_pack.part")

        for modules, expected in ((one, 1), (two, 2), (one, 1)):
            serve(library, modules)
            importlib.import_module("px_pack.part")
            assert sys.modules["px_pack"].part.x == expected

    def test_folders_without_init(self, project: Project, library: Library) -> None:
        project.write("px_space/mod.py", "x = 1")
        project.write("px_space/not_shipped.py", "x = 3")
        one = taken("px_space.mod")
        project.write("px_space/mod.py", "x = 2")

        serve(library, one)

        assert importlib.import_module("px_space.mod").x == 1
        assert importlib.import_module("px_space.not_shipped").x == 3

    def test_where_the_files_do_not_exist(self, project: Project, library: Library) -> None:
        project.write("px_space/deep/mod.py", "from . import near\nx = near.y")
        project.write("px_space/deep/near.py", "y = 5")
        modules = taken("px_space.deep.mod")
        for path in sorted(project.root.rglob("*.py")):
            path.unlink()
        for folder in ("px_space/deep", "px_space"):
            (project.root / folder).rmdir()
        importlib.invalidate_caches()

        serve(library, modules)

        assert importlib.import_module("px_space.deep.mod").x == 5

    def test_source_and_tracebacks_show_the_shipped_text(
        self, project: Project, library: Library
    ) -> None:
        path = project.write("px_helpers.py", "def h():\n    return 1 / 0  # shipped\n")
        modules = taken("px_helpers")
        project.write("px_helpers.py", "# edited since\n\n\ndef h():\n    return 7\n")

        serve(library, modules)
        helpers = importlib.import_module("px_helpers")
        with pytest.raises(ZeroDivisionError) as caught:
            helpers.h()

        text = "".join(traceback.format_exception(caught.value))
        assert f'File "{path}", line 2, in h\n    return 1 / 0  # shipped' in text
        assert inspect.getsource(helpers.h) == "def h():\n    return 1 / 0  # shipped\n"
        assert helpers.__file__ == str(path)

    def test_a_syntax_error_names_file_and_line(self, project: Project, library: Library) -> None:
        path = project.write("px_broken.py", "x = 1\ndef f(:\n")
        serve(library, taken("px_broken"))

        with pytest.raises(SyntaxError) as caught:
            importlib.import_module("px_broken")

        assert (caught.value.filename, caught.value.lineno) == (str(path), 2)

    def test_a_module_that_raises_can_be_mended(self, project: Project, library: Library) -> None:
        project.write("px_fragile.py", "x = 1 / 0")
        broken = taken("px_fragile")
        project.write("px_fragile.py", "x = 1")
        mended = taken("px_fragile")
        serve(library, broken)
        with pytest.raises(ZeroDivisionError):
            importlib.import_module("px_fragile")

        serve(library, mended)

        assert importlib.import_module("px_fragile").x == 1

    def test_only_so_many_versions_are_kept_aside(self, project: Project, library: Library) -> None:
        sets = []
        for number in range(8):
            project.write("px_state.py", f"items = [{number}]")
            sets.append(taken("px_state"))
        for modules in sets:
            serve(library, modules)
            importlib.import_module("px_state").items.append("kept")

        serve(library, sets[6])
        assert importlib.import_module("px_state").items == [6, "kept"]
        serve(library, sets[0])
        assert importlib.import_module("px_state").items == [0]

    def test_an_engine_passes_on_what_it_got(self, project: Project, library: Library) -> None:
        """A task that submits tasks ships the version that it runs, wherever the files are."""
        project.write("px_helpers.py", "import px_more")
        project.write("px_more.py", "x = 1")
        modules = taken("px_helpers")
        project.write("px_helpers.py", "import px_more, os")

        serve(library, modules)
        importlib.import_module("px_helpers")

        assert taken("px_helpers") == modules
        assert not taken("px_helpers").changed()

    def test_data_files_beside_the_module(self, project: Project, library: Library) -> None:
        project.write("px_data/__init__.py", "")
        (project.root / "px_data" / "table.csv").write_text("1,2")
        serve(library, taken("px_data"))

        resources = importlib.import_module("importlib.resources")

        assert resources.files("px_data").joinpath("table.csv").read_text() == "1,2"


DRIVER = """
import pathlib, pickle, px_helpers
from parallax.serial.functions import ship
def f(): return px_helpers.h()
def task():
    s = ship(f)
    return pickle.dumps((s.blob, s.modules))
first = task()
pathlib.Path("px_helpers.py").write_text("def h(): return 'edited'\\n")
pathlib.Path("tasks").write_bytes(pickle.dumps([first, task(), first]))
"""

ENGINE = """
import pathlib, pickle
from parallax.serial.functions import load
from parallax.serial.modules import install
for task in pickle.loads(pathlib.Path("tasks").read_bytes()):
    blob, modules = pickle.loads(task)
    install(modules)
    install(None)
    print(load(blob, [])())
"""


def test_from_process_to_process(tmp_path: Path) -> None:
    (tmp_path / "px_helpers.py").write_text("def h(): return 'first'\n")
    run_python(DRIVER, cwd=tmp_path)
    (tmp_path / "px_helpers.py").unlink()

    assert run_python(ENGINE, cwd=tmp_path).split() == ["first", "edited", "first"]


def test_functions_of_a_local_module_are_the_ones_on_disk(
    project: Project, library: Library
) -> None:
    """Also behind a decorator, and although the driver holds the old one in memory."""
    wrap = "import types\ndef wrap(f): return types.SimpleNamespace(__wrapped__=f)\n"
    project.write("px_tasks.py", wrap + "@wrap\ndef f(): return 1\n")
    old: FunctionType = importlib.import_module("px_tasks").f.__wrapped__
    project.write("px_tasks.py", wrap + "@wrap\ndef f(): return 2\n")
    shipped = ship(old)
    assert shipped.modules is not None

    serve(library, shipped.modules)

    assert load(shipped.blob)() == 2


def test_modules_are_what_the_tests_take_them_for(project: Project) -> None:
    project.write("px_plain.py", "")
    module: Any = importlib.import_module("px_plain")

    assert isinstance(module, ModuleType)
    assert is_local_module("px_plain")
    assert repr(taken("px_plain")).endswith("['px_plain'])")
