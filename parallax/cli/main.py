"""From the arguments to an exit code: 0 done, 1 failed, 2 a wrong call."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import parallax
from parallax.cli import logs, start, status, stop, timeline
from parallax.cli.output import complain
from parallax.errors import ParallaxError, UsageError

FAILED = 1
WRONG_CALL = 2
INTERRUPTED = 130

_COMMANDS = (start, status, stop, logs, timeline)
_DESCRIPTION = """\
Pools of engines for notebooks, which outlive the notebook that uses them.

  parallax start --name nightly -n 8      then, in a notebook: px.init("nightly")
  parallax status                         what runs there
  parallax stop nightly
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: those of the process by default.

    Returns:
        The exit code: 0, 1 when the command failed, 2 when it was called wrongly.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help(sys.stderr)
        return WRONG_CALL
    try:
        return int(options.run(options))
    except UsageError as error:
        complain(str(error))
        return WRONG_CALL
    except (ParallaxError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            return _reader_left()
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parallax",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"parallax {parallax.__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


def _reader_left() -> int:
    """`parallax logs | head` is no failure. What is still buffered has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
