"""The command line: `parallax start | status | stop | logs | timeline`.

Each command is a file with two functions: `add` declares its arguments, `run` does the work and
returns the exit code. People read tables, programs read ``--json``; both get the same facts.
"""

from parallax.cli.main import main

__all__ = ["main"]
