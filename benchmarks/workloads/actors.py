"""State that stays: calls of actors, a queue between two processes, cached results."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.systems.base import System
from benchmarks.tasks import AsyncTarget, Target, echo, fill, total
from benchmarks.workloads.base import Metric, Workload, timed, typical_seconds, warm_up
from benchmarks.workloads.small import round_trip_seconds

TRIPS = 500
CALLS = 5_000
MADE = 50
BATCHES, BATCH = 200, 100
ARRAY_BYTES = 100_000_000


def _calls(system: System) -> dict[str, float]:
    hit = system.actor(Target)
    hit_async = system.actor(AsyncTarget)
    return {
        "round_trip": _trip_seconds(system, hit),
        "echo": _echo_seconds(),
        "calls": CALLS / _flat_seconds(system, hit),
        "async_calls": CALLS / _flat_seconds(system, hit_async),
    }


def _trip_seconds(system: System, hit: Callable[..., Any]) -> float:
    for _ in range(50):
        system.get(hit())
    return median(timed(lambda: system.get(hit()))[0] for _ in range(TRIPS))


def _flat_seconds(system: System, hit: Callable[..., Any]) -> float:
    """Return the typical time to make so many calls one by one and then get all results."""
    system.gather([hit(i) for i in range(200)])
    return typical_seconds(lambda: system.gather([hit(i) for i in range(CALLS)]), times=5)


def _echo_seconds() -> float:
    """Return the median round trip of an empty message through two bare pyzmq sockets."""
    import zmq

    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/echo"
        child = os.fork()
        if child == 0:
            _answer(endpoint)
            os._exit(0)
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.connect(endpoint)

            def trip() -> None:
                socket.send(b"x")
                socket.recv()

            for _ in range(200):
                trip()
            seconds = median(timed(trip)[0] for _ in range(2_000))
            socket.send(b"")
            socket.recv()
        os.waitpid(child, 0)
    return seconds


def _answer(endpoint: str) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(endpoint)
        message = b"x"
        while message:
            message = socket.recv()
            socket.send(message)


def _made(system: System) -> dict[str, float]:
    system.get(system.actor(Target)())
    seconds, values = timed(
        lambda: system.gather([system.actor(Target)(i) for i in range(MADE)]),
    )
    if values != list(range(MADE)):
        raise AssertionError(f"not the values of {MADE} actors: {values}")
    return {"made": seconds}


def _queue(system: System) -> dict[str, float]:
    import parallax

    warm_up(system)
    queue = parallax.sync.Queue(maxsize=10 * BATCH)
    queue.put_batch(range(BATCH))
    queue.get_batch(BATCH)
    rates = []
    for _ in range(3):
        seconds, count = timed(_through, system, queue)
        rates.append(count / seconds)
    return {"items": median(rates)}


def _through(system: System, queue: object) -> int:
    """One task puts, this process gets; returns how many items came."""
    from parallax.sync import Queue

    assert isinstance(queue, Queue)
    producer = system.submit(fill, queue, BATCHES, BATCH)
    count = 0
    while count < BATCHES * BATCH:
        count += len(queue.get_batch(BATCH))
    system.get(producer)
    return count


def _cached(system: System) -> dict[str, float]:
    import numpy as np
    import xxhash

    import parallax

    folder = tempfile.mkdtemp()
    os.environ["PARALLAX_CACHE_DIR"] = folder
    try:
        array = np.random.default_rng(0).integers(0, 255, ARRAY_BYTES, dtype=np.uint8)
        large = parallax.remote(cache=True)(total).remote
        small = parallax.remote(cache=True)(echo).remote

        def hit(call: Callable[[Any], Any], argument: Any) -> float:
            return timed(lambda: system.get(call(argument)))[0]

        hit(large, array)
        hit(small, 1)
        _settle(Path(folder))
        return {
            "hash": median(timed(xxhash.xxh3_128_digest, array)[0] for _ in range(7)),
            "large": median(hit(large, array) for _ in range(7)),
            "small": median(hit(small, 1) for _ in range(200)),
            "no_op": round_trip_seconds(system),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settle(folder: Path) -> None:
    """Wait until both results are on the disk."""
    clock = threading.Event()
    for _ in range(1_000):
        if sum(path.is_file() for path in folder.rglob("*") if path.name != "tally") >= 2:
            return
        clock.wait(0.01)
    raise AssertionError("the results were not cached")


_NOT_PARALLAX = dict.fromkeys(
    ("stdlib", "loky", "dask", "ray", "ipyparallel"), "about what only Parallax has"
)
_NO_ACTORS = {
    "dask": "its actors run on threads of its workers",
    "ipyparallel": "has no actors",
    "loky": "has no actors",
    "stdlib": "has no actors",
}

WORKLOADS = [
    Workload(
        name="actor_calls",
        title=f"calls of one actor: one by one, and {CALLS:,} at once, then all results",
        metrics={
            "round_trip": Metric(label="one call of an actor", unit="s"),
            "echo": Metric(label="echo between two bare pyzmq sockets", unit="s"),
            "calls": Metric(label="calls of an actor", unit="/s"),
            "async_calls": Metric(label="calls of an asyncio actor", unit="/s"),
        },
        run=_calls,
        left_out=_NO_ACTORS,
    ),
    Workload(
        name="actors_made",
        title=f"{MADE} actors are made and called once each",
        metrics={"made": Metric(label=f"{MADE} actors, called once each", unit="s")},
        run=_made,
        left_out=_NO_ACTORS,
    ),
    Workload(
        name="queue",
        title=f"items through a shared queue, from a task to this process, {BATCH} at a time",
        metrics={"items": Metric(label="items through a queue", unit="/s")},
        run=_queue,
        left_out=_NOT_PARALLAX,
    ),
    Workload(
        name="cached",
        title="calls of cached functions whose results are there",
        metrics={
            "hash": Metric(label="one xxh3 pass over 100 MB", unit="s"),
            "large": Metric(label="a cached call with 100 MB", unit="s"),
            "small": Metric(label="a cached call with a number", unit="s"),
            "no_op": Metric(label="a no-op beside them", unit="s"),
        },
        run=_cached,
        left_out=_NOT_PARALLAX,
    ),
]
