"""Show what runs: a pool's nodes, engines, object store and jobs.

Without a name: the only named pool that runs, or a list of them.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.text import Text

import parallax
from parallax.cli.arguments import Commands, add_command, add_name
from parallax.cli.choose import HOW_TO_START, choose
from parallax.cli.output import amount, console, duration, say, size, table, write_json
from parallax.errors import ClusterLostError, ProtocolError, UsageError

JOBS_SHOWN = 10
OTHER_COLUMNS = 48
"""The width that a list of pools needs but for their owners."""
SILENT = "does not answer"
OTHER_VERSION = "other version"
"""Of Python, or of Parallax: such a pool is as healthy as any, and another environment's."""
_STYLES = {"busy": "green", "blocked": "yellow", "ending": "red", "failed": "red"}


def add(commands: Commands) -> None:
    """Declare the arguments."""
    parser = add_command(commands, "status", "show what runs", sys.modules[__name__])
    add_name(parser)
    parser.add_argument(
        "--all", action="store_true", help="list all pools of this user, those of notebooks too"
    )


def run(options: Any) -> int:
    """Show one pool, or list them."""
    if options.all and options.name:
        raise UsageError("give a name or --all, not both.")
    pools = [choose(options.name)] if options.name else parallax.pools(embedded=options.all)
    facts = [found for pool in pools if (found := _facts(pool)) is not None]
    failed = any(found.get("state") == SILENT for found in facts)
    if options.json:
        write_json({"pools": facts})
    elif not facts:
        say(f"no {'' if options.all else 'named '}pool runs. {HOW_TO_START}")
    elif len(facts) == 1 and not options.all:
        _show(facts[0])
    else:
        _list(facts)
    return 1 if failed else 0


def _facts(pool: parallax.Pool) -> dict[str, Any] | None:
    """The snapshot, or what can be known of a pool that does not answer, or not to us; None of one
    that has ended since it was found."""
    try:
        return pool.snapshot()
    except ClusterLostError as error:
        if all(found.cluster != pool.cluster for found in parallax.pools(embedded=True)):
            return None
        return {**pool.facts(), "state": SILENT, "problem": str(error)}
    except ProtocolError as error:
        return {**pool.facts(), "state": OTHER_VERSION, "problem": str(error)}


def _list(facts: list[dict[str, Any]]) -> None:
    out = console()
    room = max(12, out.width - OTHER_COLUMNS)  # commands are long, and would push all else out
    columns = ("pool", "up", "pid", "CPU free", "busy", "owner")
    found = table(*columns, right=("up", "pid", "busy"))
    for row in facts:
        busy = sum(engine["state"] != "idle" for engine in _engines(row))
        owner = Text(f"pid {row['owner_pid']} {row['owner']}" if row["owner_pid"] else "")
        owner.truncate(room, overflow="ellipsis")
        found.add_row(
            row["name"] or row["cluster"],
            duration(time.time() - row["started_at"]),
            str(row["pid"]),
            row["state"] if "problem" in row else _share(row, "CPU"),
            str(busy),
            owner,
        )
    out.print(found)


def _show(row: dict[str, Any]) -> None:
    out = console()
    up = duration(time.time() - row["started_at"])
    out.print(
        Text.assemble((row["name"] or row["cluster"], "bold"), f"  up {up}, pid {row['pid']}")
    )
    if "problem" in row:
        say(f"{row['problem']} To end it: parallax stop {row['name']}")
        return
    out.print(_nodes(row))
    out.print()
    out.print(_engine_table(row))
    out.print()
    out.print(_store(row["object_store"]))
    if row["jobs"]:
        out.print()
        out.print(_jobs(row["jobs"]))
    if len(row["jobs"]) > JOBS_SHOWN:
        out.print(f"and {len(row['jobs']) - JOBS_SHOWN} older jobs")


def _nodes(row: dict[str, Any]) -> Any:
    names = list(dict.fromkeys(name for node in row["nodes"] for name in node["resources"]))
    found = table("node", "host", *(f"{name} free" for name in names), right=("node",))
    for node in row["nodes"]:
        shares = [_share(node, name) for name in names]
        found.add_row(str(node["node"]), Text(node["host"]), *shares)
    return found


def _engine_table(row: dict[str, Any]) -> Any:
    found = table("engine", "pid", "state", "runs", "queued", right=("engine", "pid", "queued"))
    for engine in sorted(_engines(row), key=lambda engine: int(engine["engine"])):
        state = engine["state"]
        queued = max(0, engine["queued"] - 1)
        found.add_row(
            str(engine["engine"]),
            str(engine["pid"]),
            Text(state, _STYLES.get(state, "")),
            Text(engine["running"]),
            str(queued or ""),
        )
    return found


def _store(usage: dict[str, Any]) -> Text:
    used = usage["memory_bytes"] + usage["warm_bytes"]
    text = Text.assemble(
        ("object store  ", "bold"),
        f"{size(used)} of {size(usage['limit_bytes'])}: {_count(usage['memory_objects'])}, "
        f"{size(usage['memory_bytes'])}; {size(usage['warm_bytes'])} kept warm",
    )
    if usage["spilled_objects"]:
        text.append(
            f"; {_count(usage['spilled_objects'])}, {size(usage['spilled_bytes'])}, on disk"
        )
    return text


def _jobs(jobs: list[dict[str, Any]]) -> Any:
    states = ("done", "running", "pending", "failed", "cancelled")
    found = table("job", "state", *states, right=states)
    for job in jobs[:JOBS_SHOWN]:
        counts = [str(job["tasks"][state] or "") for state in states]
        found.add_row(Text(job["name"]), Text(job["state"], _STYLES.get(job["state"], "")), *counts)
    return found


def _engines(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [engine for node in row.get("nodes", []) for engine in node["engines"]]


def _share(row: dict[str, Any], name: str) -> str:
    total = row["resources"].get(name, 0)
    return f"{amount(name, row['available'].get(name, 0))} of {amount(name, total)}"


def _count(objects: int) -> str:
    return f"{objects} object{'' if objects == 1 else 's'}"
