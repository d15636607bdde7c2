"""Where kept results go, and how much room they may take."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from parallax.errors import UsageError

FOLDER_VARIABLE = "PARALLAX_CACHE_DIR"
LIMIT_VARIABLE = "PARALLAX_CACHE_LIMIT"

_LIMIT_BYTES = 10 << 30
_DISK_FRACTION = 0.1


def cache_folder() -> Path:
    """The user's cache folder: ``$PARALLAX_CACHE_DIR``, else where the platform has caches."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "parallax"
    # A relative path is to be ignored, says the XDG specification.
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "parallax"


def cache_limit(folder: Path) -> int:
    """Bytes that kept results may take: ``$PARALLAX_CACHE_LIMIT``, else 10 GiB, or a tenth of the
    disk if that is less.

    Raises:
        UsageError: the variable is no number of bytes.
    """
    given = os.environ.get(LIMIT_VARIABLE)
    if given:
        try:
            limit = int(float(given))
        except (ValueError, OverflowError):
            limit = -1
        if limit < 0:
            raise UsageError(f"${LIMIT_VARIABLE}={given!r} must be a number of bytes, such as 2e9.")
        return limit
    while not folder.exists():
        folder = folder.parent
    return min(_LIMIT_BYTES, int(_DISK_FRACTION * shutil.disk_usage(folder).total))
