"""Jobs: what belongs together, what became of it, what it printed."""

from __future__ import annotations

import gc
import pickle
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import parallax as px
from tests.conformance.gates import Gate, wait_until
from tests.conformance.tasks import fail, same, stop_at

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.needs("parallax")]

NOTHING = {"pending": 0, "running": 0, "done": 0, "failed": 0, "cancelled": 0, "retried": 0}


def test_what_is_submitted_in_the_block_belongs_to_the_job() -> None:
    outside = same.remote(0)
    with px.job("squares") as job:
        refs = same.map(range(5))
    after = same.remote(0)
    px.get(refs)
    assert isinstance(job, px.Job)
    assert {px.job_of(ref) for ref in refs} == {job}
    assert px.job_of(outside) == px.job_of(after) != job
    assert job.wait(30)
    assert job.counts == {**NOTHING, "done": 5}


def test_its_name_id_and_state() -> None:
    with px.job("named") as job:
        ref = same.remote(1)
    px.get(ref)
    assert job.wait()
    assert job.name == "named"
    assert int(job.id, 16) > 0
    assert job.state == "done"
    assert job.cell == ""
    assert px.job_of(ref).id == job.id
    assert re.fullmatch(r"<job 'named' done in \d+(\.\d)? m?s: 1 done>", repr(job))


def test_its_html_counts_by_function() -> None:
    with px.job("a & b") as job:
        px.wait([*same.map(range(3)), fail.remote()], num_returns=4)
    assert job.wait()
    html = job._repr_html_()
    assert html.startswith("<code>&lt;job &#x27;a &amp; b&#x27; failed in ")
    assert "<tr><td>same</td><td></td><td>3</td><td></td><td></td><td></td></tr>" in html
    assert "<tr><td>fail</td><td></td><td></td><td>1</td><td></td><td></td></tr>" in html


def test_the_list_of_jobs_shows_as_a_table() -> None:
    with px.job("first") as first:
        px.get(same.remote(1))
    assert first.wait()
    jobs = px.jobs()
    html = jobs._repr_html_()  # type: ignore[attr-defined]
    assert re.search(r"<tr><td>first</td><td>done</td><td>[^<]+</td><td></td><td></td><td>1<", html)
    assert isinstance(jobs, list)
    assert jobs[:1] == [first]


def test_a_long_list_is_cut() -> None:
    for name in range(60):
        with px.job(f"job {name}"):
            pass
    html = px.jobs()._repr_html_()  # type: ignore[attr-defined]
    assert html.count("<tr>") == 51
    assert "more" in html


def test_nodes_show_as_a_table() -> None:
    html = px.nodes()._repr_html_()  # type: ignore[attr-defined]
    assert f"<td>{px.nodes()[0]['host']}</td>" in html
    assert re.search(r"CPU \d of 2, .*memory [\d.]+ GiB of [\d.]+ GiB", html)


def test_a_job_that_is_forgotten_says_so() -> None:
    job = px.Job(2**40, px.jobs()[0]._session)
    assert "forgotten" in repr(job)
    assert "forgotten" in job._repr_html_()
    for look in (lambda: job.state, job.wait, job.cancel, job.errors, job.output, job.retry_failed):
        with pytest.raises(px.errors.UsageError, match="forgotten"):
            look()


def test_a_job_travels_to_tasks() -> None:
    @px.remote
    def name_of(job: px.Job) -> tuple[str, px.Job]:
        return job.name, job

    with px.job("travelling") as job:
        pass
    assert px.get(name_of.remote(job)) == ("travelling", job)
    text = pickle.dumps(job).replace(job._session.cluster.encode(), b"f" * 12)
    with pytest.raises(px.errors.UsageError, match="connected to"):
        pickle.loads(text)


@pytest.mark.parametrize("wrong", ["", None, 5])
def test_a_job_needs_a_name(wrong: Any) -> None:
    with pytest.raises(px.errors.UsageError, match="name"), px.job(wrong):
        pass


def test_jobs_nest() -> None:
    with px.job("outer") as outer:
        first = same.remote(1)
        with px.job("inner") as inner:
            second = same.remote(2)
        third = same.remote(3)
    assert [px.job_of(ref) for ref in (first, second, third)] == [outer, inner, outer]


def test_jobs_are_listed_newest_first() -> None:
    made = []
    for name in "abc":
        with px.job(name) as job:
            same.remote(1)
        made.append(job)
    assert px.jobs()[:3] == made[::-1]


def test_an_empty_job_is_done() -> None:
    with px.job("empty") as job:
        pass
    assert job.wait(0)
    assert job.state == "done"
    assert job.counts == NOTHING
    assert job.duration_s == 0


@pytest.mark.needs("concurrency")
def test_counts_while_it_runs(gate: Gate) -> None:
    with px.job("running") as job:
        refs = [stop_at.remote(gate) for _ in range(3)]
        late = same.remote(refs[0])
    gate.wait_for(2)
    wait_until(lambda: job.counts["running"] == 2)
    assert job.counts == {**NOTHING, "running": 2, "pending": 2}
    assert job.state == "running"
    assert not job.wait(0)
    assert not job.wait(0.01)
    gate.open()
    assert job.wait()
    assert job.counts == {**NOTHING, "done": 4}
    assert px.get(late) == 1


def test_each_item_of_a_map_counts() -> None:
    with px.job("map") as job:
        px.get(same.map(range(100), chunk=10))
    assert job.wait(30)
    assert job.counts["done"] == 100


def test_errors() -> None:
    with px.job("failing") as job:
        refs = [fail.remote(KeyError(i)) for i in range(3)] + [same.remote(1)]
        dependent = same.remote(refs[0])
    px.wait([*refs, dependent], num_returns=5)
    assert job.wait()
    assert job.state == "failed"
    assert job.counts == {**NOTHING, "failed": 4, "done": 1}
    errors = job.errors()
    assert len(errors) == 4
    assert all(isinstance(error, KeyError) for error in errors)
    assert {error.args for error in errors} == {(0,), (1,), (2,)}


def test_many_errors_are_bounded() -> None:
    with px.job("hopeless") as job:
        px.wait([fail.remote() for _ in range(150)], num_returns=150)
    assert job.wait()
    assert len(job.errors()) == 100
    assert job.counts["failed"] == 150


def test_retries_are_counted(gate: Gate) -> None:
    @px.remote(retry_exceptions=True)
    def fail_twice(gate: Gate) -> None:
        gate.note()
        if gate.count() < 3:
            raise ValueError

    with px.job("retrying") as job:
        px.get(fail_twice.remote(gate))
    assert job.wait()
    assert job.counts == {**NOTHING, "done": 1, "retried": 2}


def test_output() -> None:
    @px.remote
    def talk(i: int) -> None:
        print("hello", i)
        print("trouble", i, file=sys.stderr)

    with px.job("talking") as job:
        px.get([talk.remote(i) for i in range(2)])
    assert job.wait()
    wait_until(lambda: job.output().count("\n") == 4)
    assert {"hello 0", "hello 1", "trouble 0", "trouble 1"} == set(job.output().splitlines())


def test_output_appears_here_too(capfd: pytest.CaptureFixture[str]) -> None:
    @px.remote
    def talk() -> None:
        print("said in a task")

    px.get(talk.remote())
    seen = ""

    def said() -> bool:
        nonlocal seen
        seen += capfd.readouterr().out
        return "said in a task\n" in seen

    wait_until(said)


def test_when_it_started_and_how_long_it_took(gate: Gate) -> None:
    before = time.time()
    with px.job("timed") as job:
        px.get(same.remote(1))
    assert job.wait()
    after = time.time()
    assert before - 1 <= job.started_at <= after + 1
    duration_s = job.duration_s
    assert 0 <= duration_s <= after - before + 1
    wait_until(lambda: time.time() > after + 0.01)
    assert job.duration_s == duration_s


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_job_that_ended_badly_has_a_final_duration(how: str) -> None:
    @px.remote
    def endless() -> Iterator[int]:
        while True:
            yield 1

    with px.job(how) as job:
        if how == "failed":
            px.wait([fail.remote()])
        else:
            px.cancel(endless.options(backpressure=1).remote())
    assert job.wait(30)
    assert job.state == how
    duration_s, seen_at = job.duration_s, time.time()
    wait_until(lambda: time.time() > seen_at + 0.01)
    assert job.duration_s == duration_s


@pytest.mark.needs("concurrency")
def test_the_duration_of_a_running_job_grows(gate: Gate) -> None:
    with px.job("growing") as job:
        ref = stop_at.remote(gate)
    first = job.duration_s
    wait_until(lambda: job.duration_s > first)
    gate.open()
    px.get(ref)


@pytest.mark.needs("concurrency")
def test_cancel(gate: Gate) -> None:
    with px.job("doomed") as job:
        refs = [stop_at.remote(gate) for _ in range(4)]
    gate.wait_for(2)
    job.cancel()
    assert job.wait(30)
    assert job.state == "cancelled"
    assert job.counts == {**NOTHING, "cancelled": 4}
    for ref in refs:
        with pytest.raises(px.errors.TaskCancelledError):
            px.get(ref)


def test_cancel_of_a_finished_job_does_nothing() -> None:
    with px.job("finished") as job:
        ref = same.remote(1)
    px.get(ref)
    job.wait()
    job.cancel()
    assert job.state == "done"
    assert px.get(ref) == 1


@pytest.mark.needs("concurrency")
def test_waiting_covers_tasks_that_return_nothing_and_streams(gate: Gate) -> None:
    @px.remote(num_returns=0)
    def effect(gate: Gate) -> None:
        gate.pass_through()

    @px.remote
    def stream(gate: Gate) -> Iterator[int]:
        gate.pass_through()
        yield 1

    with px.job("quiet") as job:
        effect.remote(gate)
        generator = stream.remote(gate)
    assert not job.wait(0)
    gate.open()
    assert job.wait(30)
    assert job.counts == {**NOTHING, "done": 2}
    assert len(list(generator)) == 1


def test_a_job_goes_on_when_more_is_submitted() -> None:
    with px.job("twice") as job:
        px.get(same.remote(1))
        assert job.wait()
        px.get(same.remote(2))
        assert job.wait()
    assert job.counts["done"] == 2


def test_job_of_what_was_put() -> None:
    with pytest.raises(px.errors.UsageError, match="put"):
        px.job_of(px.put(1))


@pytest.mark.parametrize("wrong", [5, None, [1]])
def test_job_of_something_else(wrong: Any) -> None:
    with pytest.raises(TypeError, match="job_of takes an ObjectRef"):
        px.job_of(wrong)


def test_job_of_a_stream() -> None:
    @px.remote(backpressure=1)
    def count() -> Iterator[int]:
        yield from range(3)

    with px.job("stream") as job:
        generator = count.remote()
        assert px.job_of(generator) == job
    assert len(list(generator)) == 3


def test_job_of_what_nobody_knows() -> None:
    text = pickle.dumps(px.put(1))
    gc.collect()
    px.get(same.remote(0))
    with pytest.raises(px.errors.UsageError, match="remembers no task"):
        px.job_of(pickle.loads(text))


def test_job_of_an_item_of_a_stream() -> None:
    @px.remote
    def count() -> Iterator[int]:
        yield from range(2)

    with px.job("stream") as job:
        refs = list(count.remote())
    assert {px.job_of(ref) for ref in refs} == {job}


def test_the_job_of_a_pending_and_of_a_failed_task() -> None:
    with px.job("j") as job:
        bad = fail.remote()
        late = same.remote(bad)
    assert px.job_of(late) == px.job_of(bad) == job


def test_threads_have_jobs_of_their_own() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(i: int) -> bool:
        with px.job(f"thread {i}") as job:
            ref = same.remote(i)
            return px.job_of(ref) == job

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(8)))


def test_a_script_is_a_job(tmp_path: Path, session: str) -> None:
    address = "'inline'" if session == "inline" else None
    script = tmp_path / "my_script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import parallax as px

            px.init({address}, num_cpus=1)

            @px.remote
            def f():
                return 1

            first, second = f.remote(), f.remote()
            px.get([first, second])
            job = px.job_of(first)
            assert job == px.job_of(second) == px.jobs()[0]
            assert job.wait(30)
            print(job.name, job.state, job.counts["done"])
            px.shutdown()
            """
        )
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "my_script.py done 2\n"
