"""How much memory is left: the host's, or what the control groups of this process still allow.

A container has its own limit; the host may have plenty while the kernel kills in the container.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Memory:
    """A reading.

    Attributes:
        available_bytes: what can be had before the kernel has to kill.
        total_bytes: of the host, or of the group that has the least left.
    """

    available_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group that may have a limit. File names differ between the two versions."""

    folder: Path
    limit: str
    used: str
    cache: str
    """In `memory.stat`: file pages, which the kernel drops before it kills."""

    def read(self) -> Memory | None:
        try:
            limit = (self.folder / self.limit).read_text().strip()
            if not limit.isdigit():  # "max"
                return None
            used = int((self.folder / self.used).read_text())
            if used < int(limit) // 2:  # far from any trouble
                return Memory(int(limit) - used, int(limit))
            stat = (self.folder / "memory.stat").read_text()
        except OSError:  # the group is the root, or not visible from here
            return None
        for line in stat.splitlines():
            name, _, amount = line.partition(" ")
            if name == self.cache:
                used -= int(amount)
        return Memory(max(0, int(limit) - used), int(limit))


class MemoryGauge:
    """Reads the memory that is left. A reading takes about 0.1 ms.

    Args:
        cgroups: where the control groups are mounted.
        membership: the file that says which groups this process is in.
    """

    def __init__(
        self, cgroups: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")
    ) -> None:
        # Limits come and go, so all groups are looked at again; most processes are in few.
        self._groups = _groups(cgroups, membership) if sys.platform == "linux" else []

    def read(self) -> Memory:
        """What is left now, by the host and by every group; the least counts."""
        readings = [_host()]
        readings += [memory for group in self._groups if (memory := group.read())]
        return min(readings, key=lambda memory: memory.available_bytes)


def _host() -> Memory:
    if sys.platform == "linux":
        text = MEMINFO.read_text()
        return Memory(_row(text, "MemAvailable"), _row(text, "MemTotal"))
    import psutil  # late: engines are forked from what was imported before

    host = psutil.virtual_memory()
    return Memory(host.available, host.total)


def _row(text: str, name: str) -> int:
    """Bytes, of a row like ``MemTotal:   1234 kB``."""
    start = text.index(f"{name}:") + len(name) + 1
    return int(text[start : text.index("kB", start)]) << 10


def _groups(cgroups: Path, membership: Path) -> list[_Group]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    groups: list[_Group] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            groups += [
                _Group(folder, "memory.max", "memory.current", "inactive_file")
                for folder in _upwards(cgroups, path)
            ]
        elif "memory" in controllers.split(","):
            groups += [
                _Group(
                    folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
                )
                for folder in _upwards(cgroups / "memory", path)
            ]
    return [group for group in groups if (group.folder / group.limit).exists()]


def _upwards(top: Path, path: str) -> list[Path]:
    """A group and all around it. In a container the path may lie outside of what is mounted."""
    group = top / path.lstrip("/")
    return [group, *(folder for folder in group.parents if folder.is_relative_to(top))]
