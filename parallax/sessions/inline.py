"""Placeholder until the inline session stands."""

from typing import Any


class InlineSession:
    def __init__(self, *, namespace: str = "", seed: int | None = None) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any: ...
