"""Arguments that several commands take, and the types of those that need one."""

from __future__ import annotations

import argparse
import re
from typing import Any, TypeAlias

Commands: TypeAlias = Any
"""What `add_subparsers` returns; argparse keeps its type to itself."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def add_command(commands: Commands, name: str, summary: str, module: Any) -> Any:
    """A subcommand that `module.run` serves, with ``--json``."""
    parser = commands.add_parser(name, help=summary, description=module.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run=module.run)
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
    return parser


def add_name(parser: Any) -> None:
    """The pool that a command is about."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="the pool's name; not needed when only one runs"
    )


def bytes_of(text: str) -> int:
    """``4g``, ``512MiB``, ``1.5 GB`` or a plain number, in bytes. 1k is 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 512m or 4g")
    number, unit = match.groups()
    return int(float(number) * 1024 ** _POWERS[unit.lower()])


def resource(text: str) -> tuple[str, float]:
    """``licence=2``: the name and the amount of a custom resource."""
    name, value = variable(text)
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: {value!r} is no number") from None


def variable(text: str) -> tuple[str, str]:
    """``NAME=value``."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE")
    return name, value
