"""The runner of pages notices when a page is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import page


@pytest.mark.parametrize(
    "block",
    [
        "```python\nx = 2\nx + 1  # → 3\n1 / 0  # raises ZeroDivisionError: ...\n```",
        "```python\nlist(range(9))  # → [0, ..., 8]\n```\n```python\nx = 1\n```",
        "```bash\ntest 1 = 1\n```",
        "```text\nnot run\n```",
    ],
)
def test_true_pages_pass(block: str, tmp_path: Path) -> None:
    page.run(_page(tmp_path, block))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```python\n1 + 1  # → 3\n```", "gives 2, not 3"),
        ("```python\n1 / 1  # raises ZeroDivisionError\n```", "does not raise"),
        ("```python\n1 / 0  # raises ValueError: ...\n```", "gives ZeroDivisionError"),
        ("```python\n1 / 0\n```", "division by zero"),
        ("```bash\ntest 1 = 2\n```", "exit status 1"),
    ],
)
def test_wrong_pages_fail(block: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(page.WrongPageError, match=message):
        page.run(_page(tmp_path, f"# A page\n\n{block}\n"))


def _page(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path
