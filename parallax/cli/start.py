"""Start a pool that outlives this command, and return when it is ready.

Notebooks and scripts of this user join it with parallax.init("NAME"); it runs until
`parallax stop NAME`. When a pool of that name runs already nothing is started, and that is fine
as long as it has what was asked for.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import parallax
from parallax.cli.arguments import Commands, add_command, bytes_of, resource, variable
from parallax.cli.output import amount, complain, say, write_json

ENGINES_S = 20.0


def add(commands: Commands) -> None:
    """Declare the arguments."""
    parser = add_command(commands, "start", "start a named pool", sys.modules[__name__])
    parser.add_argument("--name", required=True, help="what notebooks find it by")
    parser.add_argument("-n", "--num-cpus", type=float, metavar="N", help="engines (all cores)")
    parser.add_argument("--gpus", type=float, metavar="N", help="GPUs (those of this machine)")
    parser.add_argument(
        "--memory", type=bytes_of, metavar="SIZE", help="that tasks may reserve, such as 16g"
    )
    parser.add_argument(
        "--resources",
        type=resource,
        action="append",
        default=[],
        metavar="K=V",
        help="a custom resource; may be repeated",
    )
    parser.add_argument(
        "--object-store",
        type=bytes_of,
        metavar="SIZE",
        help="shared memory for objects, such as 4g; beyond it they spill to disk",
    )
    parser.add_argument(
        "--env",
        type=variable,
        action="append",
        default=[],
        metavar="K=V",
        help="an environment variable of the engines; may be repeated",
    )


def run(options: Any) -> int:
    """Start the pool, or find that it runs."""
    name = options.name
    found = {pool.name: pool for pool in parallax.pools()}.get(name)
    if found is None:
        parallax.init(
            name=name,
            num_cpus=options.num_cpus,
            num_gpus=options.gpus,
            memory=options.memory,
            resources=dict(options.resources),
            object_store_memory=options.object_store,
            env_vars=dict(options.env),
            log_to_driver=False,
        )
        _wait_for_engines()
        parallax.shutdown()
    pool = found or next(pool for pool in parallax.pools() if pool.name == name)
    facts = pool.snapshot()
    differences = _differences(options, facts) if found else []
    if options.json:
        write_json({**facts, "started": found is None, "differences": differences})
    elif not differences:
        verb = "runs already" if found else "is ready"
        say(f"{name} {verb}: {_describe(facts['resources'])}, pid {pool.pid}.")
        say(f'In a notebook: import parallax as px; px.init("{name}")')
        say(f"To end it: parallax stop {name}")
    if differences:
        complain(
            f"{name} runs already, and differs: {'; '.join(differences)}. To replace it: "
            f"parallax stop {name}"
        )
    return 1 if differences else 0


def _wait_for_engines() -> None:
    """Until there is one for each CPU: the first tasks then start at once.

    Raises:
        ClusterLostError: engines cannot start; says why.
    """
    wanted = int(parallax.cluster_resources().get("CPU", 0))
    deadline = time.monotonic() + ENGINES_S
    while (count := sum(len(node["engines"]) for node in parallax.nodes())) < wanted:
        if time.monotonic() > deadline:
            complain(f"only {count} of {wanted} engines started within {ENGINES_S:g} s.")
            return
        time.sleep(0.02)


def _differences(options: Any, facts: dict[str, Any]) -> list[str]:
    """What was asked for and the running pool does not have."""
    asked = {
        "CPU": options.num_cpus,
        "GPU": options.gpus,
        "memory": options.memory,
        **dict(options.resources),
    }
    there = facts["resources"]
    found = [
        f"it has {amount(name, there.get(name, 0))} {name}, not {amount(name, value)}"
        for name, value in asked.items()
        if value is not None and value != there.get(name, 0)
    ]
    limit = facts["object_store"]["limit_bytes"]
    if options.object_store not in (None, limit):
        found.append(f"its object store takes {limit} bytes, not {options.object_store}")
    return found


def _describe(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount(name, value)} {name}" for name, value in resources.items())
