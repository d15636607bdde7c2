"""Random courses of durable graphs: what is promised holds, whatever goes wrong and whenever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from parallax.core.durables import LONGEST_RETRY_S
from tests.core.depth import examples
from tests.core.durable_course import Course


def steps(course: Course, **faults: int) -> Iterator[Callable[[], None]]:
    """What happens, and among it now and then a fault."""
    weights = {"submit": 8, "keep": 4, "drop": 2, "work": 10, "write": 10, **faults}
    for name in course.rng.choices([*weights], [*weights.values()], k=course.rng.randrange(80)):
        yield getattr(course, name)


@examples(80)
@given(st.integers(0, 2**32 - 1))
def test_whenever_the_hub_is_killed_nothing_is_lost_and_nothing_runs_again(seed: int) -> None:
    course = Course(seed)
    for step in steps(course, start=2):
        step()
        course.check()
    course.end()


@examples(80)
@given(st.integers(0, 2**32 - 1))
def test_so_it_is_whatever_else_goes_wrong(seed: int) -> None:
    course = Course(seed)
    for step in steps(course, start=2, die=2, leave=1, cancel=1, lose=2, refer=1):
        step()
        course.check()
    course.end()


@examples(60)
@given(st.integers(0, 2**32 - 1))
def test_whatever_cannot_be_written_nobody_waits_for_ever(seed: int) -> None:
    course = Course(seed)
    for step in steps(course, fail=2, lose=1, cancel=1):
        step()
        course.bench.answers()
        course.bench.ready()
    for _ in range(20 * course.names + 20):
        course.bench.wait(LONGEST_RETRY_S)
        course.work()
        course.write()
        course.bench.answers()
    disk = course.disk
    assert (disk.tasks, disk.templates, disk.values) == ({}, {}, {})
    assert course.bench.machine.objects.withheld == {}
