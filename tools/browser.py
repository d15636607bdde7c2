"""Find a Chromium that runs; as a script, say where it is and exit 1 when there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """The system's Chromium, else the one that Playwright downloaded, else None. Takes 0.1-1 s."""
    candidates = [path for name in NAMES if (path := shutil.which(name))]
    with sync_playwright() as playwright:
        candidates.append(playwright.chromium.executable_path)
    return next((path for path in candidates if _runs(path)), None)


def _runs(path: str) -> bool:
    """A run, not only a lookup: Ubuntu's chromium-browser is a stub that asks for its snap."""
    if not Path(path).exists():
        return False
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


if __name__ == "__main__":
    found = find_chromium()
    print(found or "no Chromium that runs")
    sys.exit(found is None)
