"""Which job a submission belongs to, in a real IPython."""

from __future__ import annotations

import itertools
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from parallax.sessions.jobs import MAX_JOBS, JobChooser, Submissions


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    config = Config({"HistoryManager": {"enabled": False}})
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


def test_each_run_of_a_cell_is_a_job_with_its_number_and_source(shell: InteractiveShell) -> None:
    # Given
    opened: list[tuple[str, str]] = []

    def open_job(name: str, cell: str, source: str) -> int:
        opened.append((name, source))
        return len(opened)

    shell.user_ns["submit"] = JobChooser("cluster", open_job).current

    # When two cells run, the second twice, and each submits twice
    cells = ["first = submit(), submit()", "second = submit(), submit()"]
    for cell in [*cells, cells[1]]:
        shell.run_cell(cell, store_history=True).raise_error()

    # Then
    assert opened == [("cell [1]", cells[0]), ("cell [2]", cells[1]), ("cell [3]", cells[1])]
    assert shell.user_ns["first"] == (1, 1)
    assert shell.user_ns["second"] == (3, 3)


def test_what_was_submitted_is_known_by_job_and_in_order() -> None:
    submissions = Submissions()
    for job, first, count in [(7, 1, 2), (7, 3, 1), (8, 4, 1), (7, 5, 3), (8, 10, 2)]:
        submissions.add(job, first, count)
    submissions.rename(5, 20)
    submissions.rename(20, 30)
    assert submissions.of(7) == [1, 2, 3, 30, 6, 7]
    assert submissions.of(8) == [4, 10, 11]
    assert submissions.of(9) == []


def test_the_oldest_jobs_are_forgotten() -> None:
    submissions = Submissions()
    for job in range(1, MAX_JOBS + 2):
        submissions.add(job, job, 1)
    assert submissions.of(1) == []
    assert submissions.of(2) == [2]


def test_ids_with_gaps_between_them_take_little_memory() -> None:
    submissions = Submissions()
    tracemalloc.start()
    for number in range(50_000):
        submissions.add(1, 2 * number, 1)
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken_bytes < 50_000 * 20
    assert submissions.of(1) == list(range(0, 100_000, 2))


def test_threads_lose_nothing() -> None:
    submissions = Submissions()
    ids = itertools.count(1)

    def submit() -> None:
        for _ in range(5_000):
            submissions.add(1, next(ids), 1)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(submissions.of(1)) == list(range(1, 20_001))
