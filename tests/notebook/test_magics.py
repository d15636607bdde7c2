"""`%parallel` and `%%parallel` in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notebook.kernels import Kernel, kernel

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with kernel(tmp_path_factory.mktemp("notebook")) as running:
        loaded = running.run("%load_ext parallax\nimport os, time, parallax as px\ntotal = 100")
        assert not loaded.error, loaded.traceback
        running.run("%parallel start -n 2")
        yield running


def test_values_are_collected_in_order_and_shown(notebook: Kernel) -> None:
    ran = notebook.run("%%parallel for x in range(5)\ny = x * x\ny + total")
    assert ran.result == "[100, 101, 104, 109, 116]"
    assert "<th>x</th><th>value</th>" in ran.html
    assert notebook.run("_").result == "[100, 101, 104, 109, 116]"


def test_values_are_put_into_a_name(notebook: Kernel) -> None:
    ran = notebook.run("%%parallel for i, (a, b) in enumerate([(1, 2), (3, 4)]) --into sums\na + b")
    assert (ran.result, ran.error) == ("", "")
    assert notebook.run("sums, type(sums[0])").result == "([3, 7], int)"


def test_items_run_in_engines_and_print_under_the_cell(notebook: Kernel) -> None:
    ran = notebook.run("%%parallel for x in range(4) --into pids\nprint('item', x)\nos.getpid()")
    assert sorted(ran.stdout.split("\n")) == ["", "item 0", "item 1", "item 2", "item 3"]
    assert notebook.run("os.getpid() in pids").result == "False"


def test_an_error_shows_the_line_of_the_body_and_the_item(notebook: Kernel) -> None:
    ran = notebook.run("%%parallel for x in range(9)\n\n1 / (x - 3)")
    assert ran.error == "TaskError(ZeroDivisionError)"
    lines = ran.traceback.splitlines()
    assert lines[0].endswith(", line 3, in body")
    assert lines[0].startswith("  Cell In[")
    assert lines[1] == "    1 / (x - 3)"
    assert lines[-2:] == ["ZeroDivisionError: division by zero", "item 3: x = 3"]


def test_the_number_in_a_traceback_is_the_cells(notebook: Kernel) -> None:
    ran = notebook.run("print(get_ipython().execution_count)\nraise KeyError")
    number = int(ran.traceback.split("In[")[1].split("]")[0])
    ran = notebook.run("%%parallel for x in [0]\n1 / x")
    assert f"Cell In[{number + 1}], line 2" in ran.traceback


def test_errors_can_be_kept_or_skipped(notebook: Kernel) -> None:
    body = "\nint(x) / 2"
    ran = notebook.run("%%parallel for x in ['2', 'a', '4', '', 'b'] --on-error skip" + body)
    assert ran.result == "[1.0, 2.0]"
    assert ran.stderr.startswith("3 of 5 items failed: 3 ValueError; the first was item 1: Value")
    ran = notebook.run("%%parallel for x in ['2', 'a'] --on-error keep --into kept" + body)
    assert notebook.run("kept[0], isinstance(kept[1], ValueError)").result == "(1.0, True)"
    ran = notebook.run("%%parallel for x in ['2', 'a'] --on-error keep --quiet" + body)
    assert (ran.stderr, ran.result, ran.error) == ("", "", "")


def test_an_error_of_the_iterable_shows_where(notebook: Kernel) -> None:
    notebook.run("def numbers():\n    yield 1\n    raise OSError('half way')")
    ran = notebook.run("%%parallel for x in numbers()\nx")
    assert ran.error == "OSError"
    assert "run_cell_magic" not in ran.traceback
    assert "----> 1 %%parallel for x in numbers()" in ran.traceback
    assert "----> 3     raise OSError('half way')" in ran.traceback


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("%%parallel for x in range(3) --itno ys\nx", "no option --itno. Did you mean --into?"),
        ("%%parallel for x in range(3) --into ys zs\nx", "'zs': what is not an option"),
        ("%%parallel\nx", "a cell needs a loop"),
        ("%parallel statsu", "no command statsu. Did you mean status?"),
        ("%parallel start --nmae x", "no option --nmae. Did you mean --name?"),
        ("%parallel start now", "what is 'now'?"),
    ],
)
def test_mistakes_are_one_line(notebook: Kernel, source: str, message: str) -> None:
    ran = notebook.run(source)
    assert ran.stderr.startswith("UsageError: ")
    assert message in ran.stderr
    assert ran.traceback == ""


@pytest.mark.parametrize(
    ("source", "first", "last"),
    [
        ("%%parallel for x in range(3)\nx = = 1", ", line 2", "SyntaxError: invalid syntax"),
        ("%%parallel for x in range(3)\n\ntotal += x", ", line 3", "NAME"),
        ("%%parallel for x\nx", ", line 1", "as a comprehension does"),
        ("%parallel squares(3)", ", line 1", "lists the commands"),
        ("%parallel [x for", ", line 1", "was never closed"),
    ],
)
def test_what_cannot_be_shows_its_line(
    notebook: Kernel, source: str, first: str, last: str
) -> None:
    ran = notebook.run(source)
    assert ran.error == "CellError"
    lines = ran.traceback.splitlines()
    assert lines[0].startswith("  Cell In[")
    assert lines[0].endswith(first)
    assert lines[-1].startswith("SyntaxError: ")
    assert lines[-1].endswith(last)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("[x * total for x in range(3)]", "[0, 100, 200]"),
        ("[(a, b) for a in 'xy' for b in range(2) if b]", "[('x', 1), ('y', 1)]"),
        ("{x: x * x for x in range(3)}", "{0: 0, 1: 1, 2: 4}"),
        ("{x % 2 for x in range(9)}", "{0, 1}"),
    ],
)
def test_comprehensions(notebook: Kernel, source: str, result: str) -> None:
    assert notebook.run(f"%parallel {source}").result == result
    assert notebook.run(f"%parallel found = {source}\nfound").result == result


def test_a_generator_expression_runs_a_bounded_way_ahead(notebook: Kernel) -> None:
    notebook.run("import itertools\n%parallel found = (x + 1 for x in itertools.count())")
    assert notebook.run("[next(found) for _ in range(3)]").result == "[1, 2, 3]"
    notebook.run("found.close()")
    assert notebook.run("px.jobs()[0].wait(60)").result == "True"


def test_the_stop_button_ends_the_items_of_the_cell_alone(notebook: Kernel) -> None:
    notebook.run("nap = px.remote(time.sleep)\nref = nap.remote(2)")
    cell = notebook.start(
        "%%parallel for x in range(9)\nprint('begun', flush=True)\nwhile True: pass"
    )
    notebook.wait(cell, until_printed="begun")
    notebook.interrupt()
    ran = notebook.wait(cell)
    assert ran.error == "KeyboardInterrupt"
    assert ran.traceback.splitlines()[-1] == "stopped when 0 of 9 items were done"
    assert "run_cell_magic" not in ran.traceback
    assert notebook.run("px.get(ref) is None").result == "True"
    assert notebook.run("%parallel [x for x in range(3)]").result == "[0, 1, 2]"


def test_a_cell_that_need_not_be_waited_for(notebook: Kernel) -> None:
    cell = notebook.start(
        "%%parallel for x in range(3) --no-wait --into handle\n"
        "while not os.path.exists('go'): time.sleep(0.01)\nx * 2"
    )
    assert notebook.wait(cell).error == ""
    assert notebook.run("handle").result == "<parallel loop running: 0 of 3 items done>"
    assert "not done within 0.01 s" in notebook.run("handle.results(0.01)").traceback
    assert notebook.run("open('go', 'w').close(); handle.results()").result == "[0, 2, 4]"
    assert notebook.run("handle").result == "<parallel loop done: 3 of 3 items done>"
    assert notebook.run("px.jobs()[0].name[:6]").result == "'cell ['"


def test_progress_is_shown_of_what_takes_a_while(notebook: Kernel) -> None:
    quick = notebook.run("%%parallel for x in range(3)\nx")
    assert quick.displays == []
    ran = notebook.run("%%parallel for x in range(2)\ntime.sleep(0.8)\nx")
    assert ran.displays[0].startswith("for x in range(2)  [")
    assert "2 of 2 items" in ran.displays[-1]
    assert "done in" in ran.displays[-1]
    quiet = notebook.run("%%parallel for x in range(2) --quiet\ntime.sleep(0.8)\nx")
    assert quiet.displays == []
    notebook.run("os.environ['PARALLAX_NONINTERACTIVE'] = '1'")
    ran = notebook.run("%%parallel for x in range(2)\ntime.sleep(0.8)\nx")
    notebook.run("del os.environ['PARALLAX_NONINTERACTIVE']")
    assert ran.displays == []


def test_a_seed_gives_the_same_numbers(notebook: Kernel) -> None:
    source = "%%parallel for x in range(4) --seed {} --chunk {}\nimport random\nrandom.random()"
    first = notebook.run(source.format(1, 1)).result
    assert notebook.run(source.format(1, 4)).result == first
    assert notebook.run(source.format(2, 1)).result != first
    assert len(set(first.strip("[]").split(","))) == 4


def test_tasks_take_their_options(notebook: Kernel) -> None:
    ran = notebook.run("%%parallel for x in range(2) --timeout 0.3\ntime.sleep(60 * x)\nx")
    assert ran.traceback.splitlines()[-1] == "item 1: x = 1"
    assert "longer than its timeout_s=0.3" in ran.traceback
    source = (
        "%%parallel for x in ['once'] --retries 1\n"
        "if not os.path.exists(x):\n    open(x, 'w').close()\n    raise OSError\nx"
    )
    assert notebook.run(source).result == "['once']"
    ran = notebook.run("%%parallel for x in range(2) --num-cpus 99\nx")
    assert "asks for num_cpus=99" in ran.stderr
    ran = notebook.run("%%parallel for x in range(2) --name fitting\nx")
    assert notebook.run("px.jobs()[0].name").result == "'fitting'"


def test_help_shows_options_with_examples(notebook: Kernel) -> None:
    shown = notebook.run("print(get_ipython().find_cell_magic('parallel').__doc__)").stdout
    for text in ("--on-error raise|keep|skip", "%%parallel for path in paths --into counts"):
        assert text in shown


def test_completion(notebook: Kernel) -> None:
    complete = "get_ipython().Completer.completions({0!r}, len({0!r}))"
    found = "sorted(c.text for c in {} if c.type != 'magic')"
    source = (
        "from IPython.core.completer import provisionalcompleter\n"
        "with provisionalcompleter():\n    names = " + found + "\nnames"
    )
    ran = notebook.run(source.format(complete.format("%%parallel for x in xs --in")))
    assert "'--into'" in ran.result
    ran = notebook.run(source.format(complete.format("%parallel sta")))
    assert "'start '" in ran.result
    assert "'status '" in ran.result


def test_management_commands(tmp_path: Path) -> None:
    with kernel(tmp_path) as running:
        running.run("%load_ext parallax")
        assert "no pool runs" in running.run("%parallel status").stdout
        assert "2 CPUs" in running.run("%parallel start -n 2").result
        assert "'state': 'idle'" in running.run("%parallel status").result
        assert "nothing is kept" in running.run("%parallel recall").stdout
        running.run("import parallax as px\npx.keep(px.put([1, 2]), 'numbers')")
        assert running.run("%parallel recall numbers").result == "[1, 2]"
        assert running.run("%parallel recall numbers --into n\nn").result == "[1, 2]"
        assert "Did you mean 'numbers'?" in running.run("%parallel recall numers").stderr
        assert running.run("%parallel logs").error == ""
        assert "has ended" in running.run("%parallel stop").stdout
        assert running.run("px.is_initialized()").result == "False"
        running.run("%unload_ext parallax")
        assert "not found" in running.run("%parallel status").stderr
