"""Every example in a docstring and in the README runs and says what it shows."""

from __future__ import annotations

import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import parallax

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


MODULES = [
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "parallax").rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.fixture(autouse=True)
def _no_pool_afterwards() -> Iterator[None]:
    """Examples start the embedded pool as users do; the next file starts without it."""
    yield
    parallax.shutdown()


@pytest.mark.parametrize("path", MODULES)
def test_examples_of_module(path: str) -> None:
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.attempted > 0
    assert result.failed == 0


def test_code_of_the_readme() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
