"""Stop a pool, and return when none of its processes and segments is left.

A pool that does not end by itself is killed. Results that it kept go with it, unless --keep is
given: then they are there when a pool of this name is started anew.
"""

from __future__ import annotations

import sys
from typing import Any

import parallax
from parallax.cli.arguments import Commands, add_command, add_name
from parallax.cli.choose import choose
from parallax.cli.output import say, write_json
from parallax.errors import UsageError


def add(commands: Commands) -> None:
    """Declare the arguments."""
    parser = add_command(commands, "stop", "stop a pool", sys.modules[__name__])
    add_name(parser)
    parser.add_argument("--all", action="store_true", help="all named pools")
    parser.add_argument(
        "--keep", action="store_true", help="leave its journal: what it kept stays on disk"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long it may take to end by itself before it is killed (10)",
    )


def run(options: Any) -> int:
    """Stop one pool or all."""
    if options.all and options.name:
        raise UsageError("give a name or --all, not both.")
    pools = parallax.pools() if options.all else [choose(options.name)]
    stopped = []
    for pool in pools:
        journal = pool.journal
        orderly = pool.stop(options.timeout, keep=options.keep)
        left = str(journal) if journal is not None and options.keep else ""
        row = {"name": pool.name, "pid": pool.pid, "killed": not orderly}
        stopped.append({**row, "journal": left} if left else row)
        if not options.json:
            how = "" if orderly else f" It did not end within {options.timeout:g} s and was killed."
            say(f"{pool.name} has ended; its processes and its shared memory are gone.{how}")
            if left:
                say(f"What it kept is in {left}.")
            elif journal is not None and not journal.exists():
                say("What it kept is gone, too; `parallax stop --keep` would have left it.")
    if options.json:
        write_json({"stopped": stopped})
    elif not stopped:
        say("no named pool runs.")
    return 0
