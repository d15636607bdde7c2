"""A task that waits for an actor gives its CPU up only if that takes longer than a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import parallax as px
from parallax.sessions.current import current
from tests.pool import actors, tasks

Diary = px.remote(actors.Diary)


@pytest.fixture
def long_waits(cluster: str, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each wait of this process, whether it counts as long."""
    client = current().client  # type: ignore[attr-defined]
    block, seen = client.block, []

    def noting(*args: Any, long: bool, **kwargs: Any) -> None:
        seen.append(long)
        block(*args, long=long, **kwargs)

    monkeypatch.setattr(client, "block", noting)
    return seen


def test_a_wait_for_calls_may_be_short_and_one_for_a_task_too_is_not(
    long_waits: list[bool], tmp_path: Path
) -> None:
    diary = Diary.remote(str(tmp_path / "diary"))
    task = px.remote(num_cpus=0, num_returns=2)(tasks.sleep).remote(600)
    call = diary.wait_for.remote(str(tmp_path / "gate"))
    for refs in ([call], [diary.ready()], [task[0]], [task[1]], [call, task[1]]):
        with pytest.raises(px.errors.GetTimeoutError):
            px.get(refs, timeout=0.001)
    assert long_waits == [False, False, True, True, True]
    px.cancel(task[0], force=True)
