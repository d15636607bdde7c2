"""Where a store goes, and how large it may grow."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PREFIX = "parallax"
SHARED_MEMORY = Path("/dev/shm")
_MEMORY_FRACTION = 0.3
# Others use the file system too; one that is full stops them all.
_FILE_SYSTEM_FRACTION = 0.9
# Docker gives a container 64 MiB unless told otherwise: of no use to arrays.
_LEAST_BYTES = 256 << 20
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster's store goes.

    Attributes:
        root: the store's directory; not made yet.
        in_memory: whether it is shared memory rather than a folder on disk.
        note: what to tell the user once, in a sentence or two; empty when all is well.
    """

    root: Path
    in_memory: bool
    note: str


def choose_root(
    cluster: str, *, shared_memory: Path = SHARED_MEMORY, fallback: Path | None = None
) -> Place:
    """A directory for the store of `cluster`, in shared memory where that is large enough.

    Args:
        cluster: the cluster's name, part of the directory's.
        shared_memory: a file system in memory.
        fallback: where to go otherwise; the temporary folder by default.
    """
    user_id = os.getuid() if hasattr(os, "getuid") else 0
    name = f"{PREFIX}-{user_id}-{cluster}"
    fallback = Path(tempfile.gettempdir()) if fallback is None else fallback
    if not shared_memory.is_dir():
        # Not worth a note: macOS has none, and its users cannot change that.
        return Place(fallback / name, in_memory=False, note="")
    free = _free_bytes(shared_memory)
    if free >= _LEAST_BYTES and os.access(shared_memory, os.W_OK | os.X_OK):
        return Place(shared_memory / name, in_memory=True, note="")
    note = (
        f"{shared_memory} has room for {free >> 20:,} MiB only, so objects are kept in files in "
        f"{fallback}, which is slower. In Docker, start the container with --shm-size=4g or so."
    )
    return Place(fallback / name, in_memory=False, note=note)


def default_limit(root: Path) -> int:
    """How many bytes a store at `root` may take: 30 % of the memory that this process may use.

    Never more than what the file system of `root`, which need not exist yet, has to offer.
    """
    return int(min(_MEMORY_FRACTION * memory_bytes(), _FILE_SYSTEM_FRACTION * _free_bytes(root)))


def memory_bytes() -> int:
    """The memory that this process may use: the host's, or what its cgroups allow if less."""
    return min([_host_memory_bytes(), *_cgroup_limits()])


def _host_memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # no POSIX system
        import psutil

        return int(psutil.virtual_memory().total)


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _cgroup_limits() -> list[int]:
    if sys.platform != "linux":
        return []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # no /proc, or one that hides this
        return []
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            limits += _limits_upwards(_CGROUPS, path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits_upwards(_CGROUPS / "memory", path, "memory.limit_in_bytes")
    return limits


def _limits_upwards(top: Path, path: str, file: str) -> list[int]:
    """The limits of a group and of all around it. In a container the path may lie outside."""
    limits = []
    group = top / path.lstrip("/")
    while True:
        try:
            text = (group / file).read_text().strip()
        except OSError:  # the group is the root, or not visible from here
            text = "max"
        if text.isdigit():
            limits.append(int(text))
        if group == top:
            return limits
        group = group.parent
