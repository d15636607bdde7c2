"""A pool without work sleeps."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest

import parallax as px
from parallax.sessions.current import current
from tests.pool import tasks
from tests.pool.clusters import engines, patch_pools, processes, wait_until


def _cpu_s(pids: list[int]) -> float:
    """CPU time of all threads of these processes, to the nanosecond."""
    return sum(
        int(file.read_text().split()[0]) / 1e9
        for pid in pids
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that is there once the zygote of the next pool has imported all that it will."""
    sign = tmp_path / "warm"
    code = f"""
        import pathlib
        import parallax.pool.__main__ as root
        def warm_up_further(further=root._warm_up_further):
            further()
            pathlib.Path({str(sign)!r}).touch()
        root._warm_up_further = warm_up_further
    """
    patch_pools(monkeypatch, textwrap.dedent(code))
    return sign


def test_an_idle_pool_takes_no_processor_time(sign: Path, cluster: str) -> None:
    same = px.remote(tasks.same)
    held = [same.remote(i) for i in range(1000)]  # refs that are held must cost nothing either
    px.get(held)
    pids = [process.pid for process in processes(cluster)]
    assert len(pids) == 5
    wait_until(lambda: [e["state"] for e in engines()] == ["idle", "idle"])  # both have come
    wait_until(sign.exists)
    pending = px.remote(num_cpus=2)(tasks.sleep).remote(2.0)
    # When nothing happens for two seconds
    before = _cpu_s(pids)
    assert px.wait([pending], timeout=1.9)[0] == []
    # Then it took less than a hundredth of one core
    used_s = _cpu_s(pids) - before
    assert used_s < 0.01 * 1.9
    px.cancel(pending)


def test_a_reference_that_is_dropped_after_a_long_rest_is_collected(cluster: str) -> None:
    client = current().client  # type: ignore[attr-defined]
    same = px.remote(tasks.same)
    assert px.get(same.remote(1)) == 1
    wait_until(lambda: client.channel._looks_at > time.perf_counter() + 30.0)
    px.put(2)  # to which the hub has nothing to say
    wait_until(lambda: not client.local)
