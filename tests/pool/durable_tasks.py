"""What durable tasks of the tests do. It imports next to nothing, so that engines begin at once."""

from __future__ import annotations

import os
from typing import Any

import parallax as px
from tests.conformance.gates import Gate


def note(diary: str, line: str) -> None:
    """Append a line, in one piece whoever else does."""
    fd = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


@px.remote(durable=True, num_cpus=0.5)
def step(diary: str, name: str, size_bytes: int, *before: Any) -> tuple[int, bytes]:
    """Note that it runs, and add up what it takes.

    Args:
        size_bytes: of what it makes.
    """
    note(diary, name)
    return 1 + sum(number for number, _ in before), bytes(size_bytes)


@px.remote(durable=True)
def pass_gate(gate: Gate, name: str, *before: Any) -> Any:
    """Stop at the gate; what it takes, in a list that begins with its name."""
    gate.pass_through(name)
    return [name, *before]
