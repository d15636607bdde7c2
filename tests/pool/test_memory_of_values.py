"""Values that travel in messages do not fill the memory of the hub and of the driver."""

from __future__ import annotations

import psutil

import parallax as px
from tests.pool.clusters import process


def _rss_bytes(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def test_many_values_just_below_the_inline_limit_go_to_the_store() -> None:
    @px.remote
    def page(number: int) -> bytes:
        return bytes([number % 256]) * 60_000

    with px.init(num_cpus=2, object_store_memory=2 << 30) as session:
        hub = process(session.cluster, "parallax-hub")
        before = _rss_bytes(hub)
        # 720 MB in all, of which 64 MiB may stay in messages, and as much as is under way
        refs = page.map(range(12_000))
        px.wait(refs, num_returns=len(refs), timeout=60)
        assert _rss_bytes(hub) - before < 512 << 20
        assert px.get(refs[-1]) == bytes([11_999 % 256]) * 60_000
