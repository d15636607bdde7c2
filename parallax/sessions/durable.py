"""What calls of durable functions may carry: nothing that ends with the pool."""

from __future__ import annotations

from parallax.errors import UsageError


def check_arguments(name: str, count: int) -> None:
    """Check the arguments of a durable call.

    Args:
        name: of the function.
        count: references and handles of actors inside of its arguments.

    Raises:
        UsageError: there are some.
    """
    if count:
        raise UsageError(
            f"{name} is durable, and its arguments contain references or handles of actors "
            f"({count}), which end with their pool. Pass each reference as an argument of its "
            "own, whose value is then kept with the task; or leave durable=True out."
        )


def check_closure(name: str, count: int) -> None:
    """Check what a durable function has captured.

    Args:
        name: of the function.
        count: references and handles of actors that it reads from outside.

    Raises:
        UsageError: there are some.
    """
    if count:
        raise UsageError(
            f"{name} is durable, and uses references or handles of actors ({count}) from outside "
            "of it, which end with their pool. Pass each reference as an argument; or leave "
            "durable=True out."
        )
