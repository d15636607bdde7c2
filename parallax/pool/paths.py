"""Where a pool keeps its sockets, logs, segments and connection file."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from parallax.errors import UsageError

PREFIX = "parallax"
JOURNAL_FILE = "journal.sqlite"
"""In the folder of a journal."""
RESERVED_NAMES = frozenset({"inline", "ray", "local", "auto"})


def user_id() -> int:
    """A number of this user, for names of folders that all users share."""
    return os.getuid() if hasattr(os, "getuid") else 0


def private_folder(path: Path) -> Path:
    """Make a folder that only this user may enter, or check that it is one.

    Raises:
        UsageError: somebody else owns it: never put a socket there.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    info = path.stat(follow_symlinks=False)
    if not stat.S_ISDIR(info.st_mode) or (hasattr(os, "getuid") and info.st_uid != os.getuid()):
        raise UsageError(
            f"{path} is not a folder of this user, so no pool can be started in it. "
            "Remove it, or point TMPDIR at a folder of yours."
        )
    if info.st_mode & 0o077:
        path.chmod(0o700)
    return path


def clusters_folder() -> Path:
    """The folder that holds one folder for each cluster of this user: sockets and logs.

    Socket paths must stay under about 100 bytes, so a long `TMPDIR` is passed over.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) > 60 and sys.platform != "win32":
        base = Path("/tmp")
    return private_folder(base / f"{PREFIX}-{user_id()}")


def runtime_folder() -> Path:
    """Jupyter's runtime folder, where the connection files of named pools are."""
    if folder := os.environ.get("JUPYTER_RUNTIME_DIR"):
        return Path(folder)
    if folder := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(folder) / "runtime"
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Jupyter" / "runtime"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", home)) / "jupyter" / "runtime"
    data = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data) if data else home / ".local" / "share") / "jupyter" / "runtime"


def journal_folder(name: str) -> Path:
    """Where the pool of this name keeps what outlives it. Not made by this call."""
    if folder := os.environ.get("PARALLAX_DATA_DIR"):
        base = Path(folder)
    else:
        data = os.environ.get("XDG_DATA_HOME", "")
        base = (Path(data) if data else Path.home() / ".local" / "share") / PREFIX
    return base / "pools" / name


def connection_file(name: str) -> Path:
    """The connection file of the pool of this name."""
    if name in RESERVED_NAMES:
        raise UsageError(f"{name!r} is an address of its own; choose another name for the pool.")
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise UsageError(
            f"{name!r} is no name for a pool: use letters, digits, '-', '_' and '.' only."
        )
    return runtime_folder() / f"{PREFIX}-{name}.json"
