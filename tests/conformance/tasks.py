"""Tasks that several tests use. Nothing heavy is imported here: engines import this module."""

from __future__ import annotations

from typing import Any

import parallax as px
from tests.conformance.gates import Gate


@px.remote
def same(x: Any) -> Any:
    """What it was given."""
    return x


@px.remote
def fail(error: BaseException | None = None) -> None:
    """Raise this error, or one of its own."""
    raise error or ZeroDivisionError("no")


@px.remote
def stop_at(gate: Gate) -> int:
    """Stop at the gate."""
    gate.pass_through()
    return 1


@px.remote
def context() -> Any:
    """Where it runs."""
    return px.get_runtime_context()
