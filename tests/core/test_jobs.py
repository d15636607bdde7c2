"""Jobs: counts, bounded output, bounded errors, bounded memory."""

from __future__ import annotations

from parallax.core.jobs import (
    MAX_ERRORS,
    MAX_FINISHED_JOBS,
    MAX_OUTPUT_BYTES,
    MAX_PRINTS,
    JobRecord,
    JobTable,
)
from parallax.messages import Failure, JobOpened, TaskSpec


def job(number: int = 1) -> JobRecord:
    return JobRecord(JobOpened(number, "cell 3", cell="abc"), 7, 5.0)


def test_state_follows_the_counts() -> None:
    record = job()
    assert record.state == "done"
    record.of("f").pending = 1
    assert record.state == "running"
    record.of("f").pending = 0
    record.of("g").cancelled = 1
    assert record.state == "cancelled"
    record.of("f").failed = 1
    assert record.state == "failed"


def test_a_snapshot_is_plain_data() -> None:
    record = job()
    record.of("f").done = 2
    assert record.snapshot() == {
        "id": 1,
        "name": "cell 3",
        "state": "done",
        "cell": "abc",
        "source": "",
        "owner": 7,
        "started_at": 5.0,
        "ended_at": 0.0,
        "counts": {
            "f": {
                "cancelled": 0,
                "done": 2,
                "failed": 0,
                "pending": 0,
                "retried": 0,
                "seconds": 0.0,
            }
        },
    }


def test_keeps_the_newest_output_and_the_first_errors() -> None:
    record = job()
    for number in range(1000):
        record.print(number, "stdout", "x" * 1000)
        record.fail(TaskSpec(number, 1, b""), "f", Failure("raised", str(number)))
    assert sum(len(text) for _, _, text in record.output) <= MAX_OUTPUT_BYTES
    assert record.output[-1][0] == 999
    assert [call.spec.id for call in record.errors] == list(range(MAX_ERRORS))


def test_one_piece_of_output_is_kept_however_long() -> None:
    record = job()
    record.print(1, "stdout", "x" * (MAX_OUTPUT_BYTES + 1))
    assert len(record.output) == 1


def test_no_more_pieces_of_output_are_kept_than_so_many_however_short() -> None:
    record = job()
    for number in range(MAX_PRINTS + 500):
        record.print(number, "stdout", "x" * (number % 2))
    assert [task for task, _, _ in record.output] == list(range(500, MAX_PRINTS + 500))
    assert record.output_bytes == sum(len(text) for _, _, text in record.output)


def test_opening_twice_is_opening_once() -> None:
    table = JobTable()
    first = table.open(JobOpened(1, "a"), 7, 0.0)
    assert table.open(JobOpened(1, "b"), 8, 0.0) is first
    assert table[1].name == "a"


def test_notes_when_a_job_has_ended() -> None:
    table = JobTable()
    record = table.open(JobOpened(1, "a"), 7, 0.0)
    record.of("f").pending = 1
    table.touch(record)
    table.settle(3.0)
    assert record.ended_at == 0.0
    record.of("f").pending = 0
    table.touch(record)
    table.settle(4.0)
    assert record.ended_at == 4.0


def test_forgets_the_oldest_finished_jobs_but_none_that_runs() -> None:
    table = JobTable()
    running = table.open(JobOpened(0, "long"), 7, 0.0)
    running.of("f").pending = 1
    for number in range(1, 10 * MAX_FINISHED_JOBS):
        table.open(JobOpened(number, "short"), 7, 0.0)
    assert table.get(0) is running
    assert table.get(1) is None
    jobs = table.all()
    assert len(jobs) <= 2 * MAX_FINISHED_JOBS + 1
    assert jobs[0].id == 10 * MAX_FINISHED_JOBS - 1
