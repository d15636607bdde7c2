"""Write what ran where and when as a Chrome trace: open it in https://ui.perfetto.dev.

The newest 100,000 finished tasks. Without -o the file is NAME-timeline.json; `-o -` writes to
standard output.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import parallax
from parallax.cli.arguments import Commands, add_command, add_name
from parallax.cli.choose import choose
from parallax.cli.output import say, write_json


def add(commands: Commands) -> None:
    """Declare the arguments."""
    parser = add_command(commands, "timeline", "write a trace of what ran", sys.modules[__name__])
    add_name(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="where to; - for standard output")


def run(options: Any) -> int:
    """Write the trace."""
    pool = choose(options.name)
    parallax.init(str(pool.connection_file), log_to_driver=False)
    try:
        if options.output == "-":
            json.dump({"traceEvents": parallax.timeline()}, sys.stdout)
            return 0
        path = options.output or f"{pool.name}-timeline.json"
        events = parallax.timeline(path)
    finally:
        parallax.shutdown()
    if options.json:
        write_json({"path": path, "events": len(events)})
    else:
        say(f"{path}: {len(events)} tasks. Open it in https://ui.perfetto.dev")
    return 0
