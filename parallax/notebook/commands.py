"""`%parallel start` and the other commands that manage the pool of this notebook."""

from __future__ import annotations

import difflib
from collections.abc import Callable, MutableMapping
from typing import Any

import parallax
from parallax.errors import UsageError
from parallax.notebook.options import Option, help_of, parse, positive, whole

_START = (
    Option(("--num-cpus", "-n"), "engines (all cores)", "N", positive),
    Option(("--name",), "of a pool that outlives the notebook", "NAME"),
    Option(("--address",), "a pool's name, a connection file, or inline", "A"),
)
_STOP = (Option(("--keep",), "leave what a named pool keeps for the next one", default=False),)
_LOGS = (Option(("--lines", "-n"), "of each log, the last ones (20)", "N", whole(1), default=20),)
_RECALL = (Option(("--into",), "assign the value to this name", "NAME"),)


def run_command(word: str, rest: str, namespace: MutableMapping[str, Any]) -> Any:
    """Run one; returns what the notebook shows.

    Raises:
        UsageError: what was said does not make sense.
    """
    return COMMANDS[word](rest, namespace)


def _start(rest: str, namespace: MutableMapping[str, Any]) -> Any:
    options, words = parse(rest, _START, "%parallel")
    _no_more(words, "start", _START)
    return parallax.init(options.address, num_cpus=options.num_cpus, name=options.name)


def _status(rest: str, namespace: MutableMapping[str, Any]) -> Any:
    _no_more(parse(rest, (), "%parallel")[1], "status", ())
    return parallax.nodes() if parallax.is_initialized() else _say_none()


def _stop(rest: str, namespace: MutableMapping[str, Any]) -> Any:
    options, words = parse(rest, _STOP, "%parallel")
    _no_more(words, "stop", _STOP)
    if not parallax.is_initialized():
        return _say_none()
    pool = _pool()
    parallax.shutdown()
    if pool is not None and pool.name:
        pool.stop(keep=options.keep)
    print(f"{pool.name or 'the pool' if pool else 'the session'} has ended.")
    return None


def _logs(rest: str, namespace: MutableMapping[str, Any]) -> Any:
    options, words = parse(rest, _LOGS, "%parallel")
    _no_more(words, "logs", _LOGS)
    pool = _pool() if parallax.is_initialized() else None
    if pool is None:
        return _say_none()
    for name, path in pool.logs.items():
        lines = path.read_text(errors="replace").splitlines()[-options.lines :]
        if lines:
            print(f"── {name}  {path}", *lines, sep="\n")
    return None


def _recall(rest: str, namespace: MutableMapping[str, Any]) -> Any:
    options, words = parse(rest, _RECALL, "%parallel")
    if not words:
        kept = parallax.recall()
        if not kept:
            print('nothing is kept. px.keep(ref, "name") keeps a result.')
        return kept or None
    _no_more(words[1:], "recall", _RECALL)
    value = parallax.recall(words[0])
    if options.into is None:
        return value
    namespace[options.into] = value
    return None


COMMANDS: dict[str, Callable[[str, MutableMapping[str, Any]], Any]] = {
    "start": _start,
    "status": _status,
    "stop": _stop,
    "logs": _logs,
    "recall": _recall,
}

COMMAND_OPTIONS = {
    "start": _START,
    "status": (),
    "stop": _STOP,
    "logs": _LOGS,
    "recall": _RECALL,
}


def near_command(word: str) -> str:
    """The command that was probably meant; empty when none is near."""
    return next(iter(difflib.get_close_matches(word, COMMANDS, 1)), "")


def _pool() -> parallax.Pool | None:
    session = parallax.init(ignore_reinit_error=True)
    pools = parallax.pools(embedded=True)
    return next((pool for pool in pools if pool.cluster == session.cluster), None)


def _no_more(words: list[str], command: str, known: tuple[Option, ...]) -> None:
    if words:
        rest = f" Its options:\n{help_of(known)}" if known else ""
        raise UsageError(f"%parallel {command}: what is {words[0]!r}?{rest}")


def _say_none() -> None:
    print("no pool runs for this notebook; the first task starts one.")
