"""What travels in messages stays in memory: beyond a budget what is not small goes to the store."""

from __future__ import annotations

import pytest

from parallax.core import frugality
from parallax.messages import (
    INLINE_LIMIT_BYTES,
    Chunk,
    InlineLimited,
    ObjectPut,
    RefsChanged,
    TaskSpec,
)
from tests.core.builders import CLIENT, NODE, Bench, hello

BUDGET_BYTES = 1000


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(frugality, "BUDGET_BYTES", BUDGET_BYTES)
    return Bench()


def limits(bench: Bench, peer: int) -> list[int]:
    return [message.limit_bytes for message in bench.heard(peer, InlineLimited)]


def test_nobody_is_limited_while_little_is_kept(bench: Bench) -> None:
    bench.say(CLIENT, ObjectPut(10, bytes(BUDGET_BYTES), []))
    assert limits(bench, CLIENT) == []


def test_values_beyond_the_budget_limit_drivers_and_engines_until_half_of_it_is_free(
    bench: Bench,
) -> None:
    # When more is put than the budget allows
    for object_id in range(10, 15):
        bench.say(CLIENT, ObjectPut(object_id, bytes(300), []))
    # Then everybody who makes values hears it once, and nodes do not
    for peer in (CLIENT, *bench.engines):
        assert limits(bench, peer) == [frugality.FRUGAL_LIMIT_BYTES]
    assert limits(bench, NODE) == []
    # And when less than half of the budget is used, that it is over
    bench.say(CLIENT, RefsChanged([], [10, 11, 12]))
    assert limits(bench, CLIENT) == []
    bench.say(CLIENT, RefsChanged([], [13]))
    assert limits(bench, CLIENT) == [INLINE_LIMIT_BYTES]


def test_who_comes_later_is_told(bench: Bench) -> None:
    bench.say(CLIENT, ObjectPut(10, bytes(BUDGET_BYTES + 1), []))
    late = 99
    bench.join(late, hello("client"))
    assert limits(bench, late) == [frugality.FRUGAL_LIMIT_BYTES]


def test_arguments_count_until_their_task_has_ended(bench: Bench) -> None:
    template = bench.template()
    bench.submit(TaskSpec(10, template, bytes(600)), TaskSpec(20, template, Chunk([bytes(600)])))
    assert limits(bench, CLIENT) == [frugality.FRUGAL_LIMIT_BYTES]
    (engine,) = bench.engines
    while tasks := bench.assigned(engine):
        for task in tasks:
            bench.finish(engine, task, b"")
    assert limits(bench, CLIENT) == [INLINE_LIMIT_BYTES]
