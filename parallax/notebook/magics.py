"""`%parallel` and `%%parallel`: what they are called with, and what then happens."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from typing import Any

from IPython.core.error import UsageError as ShellUsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from parallax.errors import UsageError
from parallax.notebook.background import BackgroundLoop
from parallax.notebook.cells import Cell, number_of_cell, this_cell
from parallax.notebook.commands import COMMANDS, near_command, run_command
from parallax.notebook.header import split_header
from parallax.notebook.loop_run import LoopRun, LoopSettings
from parallax.notebook.loops import Loop, compile_comprehension, compile_loop
from parallax.notebook.options import Option, Options, help_of, name, parse, positive, whole
from parallax.notebook.progress import Progress
from parallax.notebook.tracebacks import CellError

MAX_NAME = 60
"""Characters of a cell that stand for its tasks in views."""


def _chunk(text: str) -> Any:
    return "auto" if text == "auto" else whole(1)(text)


LOOP_OPTIONS = (
    Option(("--into",), "assign the list of values to this name", "NAME", name),
    Option(("--chunk",), "items that travel together (auto)", "N", _chunk, default="auto"),
    Option(("--retries",), "run an item that raises so many times more (0)", "N", whole(0)),
    Option(("--timeout",), "stop an item after so many seconds", "S", positive),
    Option(("--num-cpus",), "cores that each item needs (1)", "N", positive),
    Option(("--cache",), "keep values on disk; take them from there next time", default=False),
    Option(("--seed",), "seed random and NumPy by this and the item's index", "N", whole(0)),
    Option(("--name",), "what views call it", "TEXT"),
    Option(("--no-wait",), "return at once; --into names a handle", default=False),
    Option(
        ("--on-error",),
        "raise the first error, keep errors as values, or skip such items",
        "raise|keep|skip",
        choices=("raise", "keep", "skip"),
        default="raise",
    ),
    Option(("--quiet",), "show neither progress, nor values, nor what failed", default=False),
)

HELP = f"""Run a cell, or a comprehension, on all engines.

    %%parallel for x in xs             the cell's body, once for each item
    %parallel ys = [f(x) for x in xs]  a comprehension, a task for each item
    %parallel start -n 4               also: {", ".join(command for command in COMMANDS)}

The body of the cell runs as a task for each item, all of them at the same time. The value of its
last expression is collected, in the order of the items. Names that the body reads are the
notebook's: copies, large ones through shared memory once. Names that it assigns are the item's own.

Options of the cell, after the loop:

{help_of(LOOP_OPTIONS)}

Examples:

    %%parallel for path in paths --into counts
    text = path.read_text()
    len(text.split())

    %%parallel for i, (a, b) in enumerate(pairs) if a < b --retries 2 --on-error keep
    simulate(a, b, seed=i)

    %parallel squares = {{x: x * x for x in range(100)}}
"""


@magics_class
class ParallelMagics(Magics):
    """The magics of `%load_ext parallax`."""

    shell: Any

    @no_var_expand
    @line_cell_magic
    def parallel(self, line: str, cell: str | None = None) -> Any:
        # Its docstring is `HELP`.
        word, _, rest = line.strip().partition(" ")
        try:
            source = this_cell(self.shell, line, cell)
            with source.errors_shown(self.shell):
                if cell is not None:
                    return self._run_cell(line, cell, source)
                if word in COMMANDS or not word:
                    return run_command(word or "status", rest, self.shell.user_ns)
                if word.isidentifier() and not rest:
                    raise UsageError(_unknown_command(word))
                return self._run_comprehension(line, source)
        except CellError:
            raise
        except UsageError as error:
            raise ShellUsageError(str(error)) from None

    parallel.__doc__ = HELP

    def _run_cell(self, line: str, body: str, cell: Cell) -> Any:
        clauses, option_text = split_header(line)
        options, words = parse(option_text, LOOP_OPTIONS, "%%parallel")
        if words:
            raise UsageError(f"{words[0]!r}: what is not an option belongs before the options.")
        if not clauses:
            raise UsageError("a cell needs a loop: %%parallel for x in xs. %%parallel? says more.")
        loop = compile_loop(clauses, body, cell, self.shell.user_ns)
        return self._run(loop, options, clauses)

    def _run(self, loop: Loop, options: Options, clauses: str) -> Any:
        settings = _settings(options, clauses)
        if options.no_wait and not settings.job:
            # The cell ends before its last item is submitted.
            settings = replace(settings, job=f"cell [{number_of_cell(self.shell)}]")
        run = LoopRun(loop, settings)
        if options.no_wait:
            handle = BackgroundLoop(run)
            return self._keep(handle, options.into) if options.into else handle
        with Progress(run, settings.task["name"], hidden=options.quiet):
            values = run.run()
        if run.errors and not options.quiet:
            print(run.summary(), file=sys.stderr)
        if options.into or options.quiet:
            return self._keep(values, options.into)
        return values if loop.has_value else None

    def _keep(self, value: Any, name: str | None) -> Any:
        if name is None:
            return None
        self.shell.push({name: value})
        return None

    def _run_comprehension(self, line: str, cell: Cell) -> Any:
        target, expression = _parse_comprehension(line, cell)
        run = self._comprehension(expression, cell)
        if target is None:
            return run
        self.shell.push({target: run})
        return None

    def _comprehension(self, node: ast.expr, cell: Cell) -> Any:
        namespace = self.shell.user_ns
        match node:
            case ast.DictComp():
                element: ast.expr = ast.copy_location(
                    ast.Tuple([node.key, node.value], ast.Load()), node.key
                )
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                element = node.elt
            case _:
                raise cell.refusal(
                    node,
                    "write a comprehension: %parallel ys = [f(x) for x in xs]; "
                    "%parallel? lists the commands",
                )
        loop = compile_comprehension(node.generators, element, cell, namespace)
        run = LoopRun(loop, LoopSettings({"name": ast.unparse(node)[:MAX_NAME]}))
        match node:
            case ast.DictComp():
                return dict(run.run())
            case ast.SetComp():
                return set(run.run())
            case ast.GeneratorExp():
                return run.iterate()
        return run.run()


def _parse_comprehension(line: str, cell: Cell) -> tuple[str | None, ast.expr]:
    match ast.parse(line.strip(), cell.filename).body:
        case [ast.Assign(targets=[ast.Name(id=target)], value=value)]:
            return target, value
        case [ast.Expr(value=value)]:
            return None, value
        case statements:
            place = statements[0] if statements else ast.Pass(lineno=1, col_offset=0)
            raise cell.refusal(
                place, "write %parallel NAME = [f(x) for x in xs]; %parallel? says more"
            )


def _unknown_command(word: str) -> str:
    near = near_command(word)
    hint = f"Did you mean {near}?" if near else f"There are {', '.join(COMMANDS)}."
    return f"%parallel has no command {word}. {hint} %parallel? says more."


def _settings(options: Options, clauses: str) -> LoopSettings:
    task: dict[str, Any] = {"name": options.name or clauses[:MAX_NAME]}
    if options.retries:
        task |= {"max_retries": options.retries, "retry_exceptions": True}
    if options.timeout is not None:
        task["timeout_s"] = options.timeout
    if options.num_cpus is not None:
        task["num_cpus"] = options.num_cpus
    if options.cache:
        task["cache"] = True
    return LoopSettings(
        task=task,
        chunk=options.chunk,
        on_error=options.on_error,
        seed=options.seed,
        job=options.name or "",
    )
