"""What a pool's processes are told when they start: one file, readable by this user only."""

from __future__ import annotations

from pathlib import Path

import msgspec


class PoolConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one pool on one host."""

    cluster: str
    token: str
    folder: str
    store: str
    spill: str
    store_limit_bytes: int
    resources: dict[str, float]
    name: str = ""
    owner_pid: int = 0
    """The driver whose end is the end of the pool; 0 for a named pool."""
    connection: str = ""
    """The connection file to write, besides the one in `folder`."""
    journal: str = ""
    """The folder of what it keeps: in `folder`, or outside of it for a named pool."""
    env_vars: dict[str, str] = {}
    path: list[str] = []
    """The driver's `sys.path`."""
    python_path: str = ""
    """The driver's `PYTHONPATH`, for what tasks start."""
    cwd: str = ""
    memory_floor_bytes: int = 0
    """Below so much free memory on the host a task is stopped."""

    @property
    def endpoint(self) -> str:
        """Where the hub listens."""
        return f"ipc://{self.folder}/hub.sock"

    def save(self) -> Path:
        """Write it to the pool's folder."""
        path = Path(self.folder) / "config.json"
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(self))
        return path

    @classmethod
    def load(cls, path: str) -> PoolConfig:
        """Read what `save` wrote."""
        return msgspec.json.decode(Path(path).read_bytes(), type=cls)
