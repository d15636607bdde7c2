"""Every block of code in the docs runs and gives what it says, and every link leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import page

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
WITH_CODE = [path for path in PAGES if page.blocks(path.read_text())]

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+\s+(.+?)\s*$", re.MULTILINE)


@pytest.mark.process
@pytest.mark.parametrize("path", WITH_CODE, ids=lambda path: path.name)
def test_code_runs(path: Path, tmp_path: Path) -> None:
    # A folder of its own for what the page writes, and a pool of its own
    environment = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "PARALLAX_DATA_DIR": str(tmp_path / "data"),
        "PARALLAX_CACHE_DIR": str(tmp_path / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", page.__file__, str(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    broken = [
        target
        for target in _LINK.findall(_prose(path))
        if not re.match(r"[a-z]+:", target) and not _exists(path, target)
    ]
    assert not broken


def _exists(page_path: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    file = (page_path.parent / name).resolve() if name else page_path
    if not file.exists() or not file.is_relative_to(ROOT):
        return False
    return not anchor or anchor in _anchors(file)


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", path.read_text())
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {slug.replace(" ", "-") for slug in slugs}


def _prose(path: Path) -> str:
    return _INLINE_CODE.sub("", _FENCE.sub("", path.read_text()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    # Given with their folder; a name alone may be the reader's own.
    named = set(re.findall(r"[\w.]+(?:/[\w.]+)*/[\w.]+\.(?:py|md|ipynb)\b", path.read_text()))
    places = (path.parent, ROOT, ROOT / "parallax")
    assert not {name for name in named if not any((place / name).exists() for place in places)}
