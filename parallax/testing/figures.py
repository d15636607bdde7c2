"""What the scheduler costs: time for a task, memory for one that waits.

Both drive the machine alone, without the simulator around it, so that nothing else is measured.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from parallax.core.machine import Event, Machine, PeerJoined, Received
from parallax.core.outbox import Action, Send
from parallax.ids import first_id
from parallax.messages import (
    Done,
    EnginesWanted,
    Hello,
    TasksAssigned,
    TasksFinished,
    TaskSpec,
    TasksSubmitted,
    TemplateDefined,
    ToHub,
)
from parallax.net import codec

NODE, CLIENT, FIRST_ENGINE = 1, 2, 1000
TEMPLATE, JOB = 3, 1
TASK_S = 0.01
"""How long the tasks say that they took: so long that each is given to its engine by itself."""
SUBMITTED_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class CoreCost:
    """CPU seconds of the machine a task."""

    submit_s: float
    """To take it in."""
    run_s: float
    """To give it to an engine, take its result, and tell its client."""

    @property
    def total_s(self) -> float:
        """From its submission to its end."""
        return self.submit_s + self.run_s


def core_cost(tasks: int, *, engines: int = 1000, together: int = 4) -> CoreCost:
    """Submit so many tasks at once, and let engines run them.

    Args:
        tasks: takes about 10 µs and 0.7 KiB of memory each.
        together: results that the hub finds in its socket at a time.
    """
    machine = _cluster(engines)
    ids = range(first_id(CLIENT) + 10, first_id(CLIENT) + 10 + tasks)
    clock = time.process_time
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # as in the hub
    try:
        given: deque[tuple[int, int]] = deque()
        submit_s = 0.0
        for message in _submissions(ids):
            began = clock()
            actions = machine.handle([Received(CLIENT, message)], 0.0)
            submit_s += clock() - began
            _collect(actions, given)
        run_s, now = 0.0, 0.0
        while given:
            events: list[Event] = []
            for _ in range(min(together, len(given))):
                engine, task = given.popleft()
                done = Done(task, 0, [b"result"], duration_s=TASK_S)
                events.append(Received(engine, TasksFinished([done])))
            now += TASK_S * len(events) / engines
            began = clock()
            actions = machine.handle(events, now)
            run_s += clock() - began
            _collect(actions, given)
    finally:
        if enabled:
            gc.enable()
    assert not machine.tasks.rows, "some tasks have not ended"
    return CoreCost(submit_s / tasks, run_s / tasks)


def waiting_task_bytes(tasks: int = 100_000, *, dependency: bool = False) -> float:
    """The memory that the machine takes for a task that waits, its message included.

    Args:
        dependency: each task waits for the one before it, not only for an engine.
    """
    machine = _cluster(engines=1)
    first = first_id(CLIENT) + 10
    frames = [
        codec.encode([message])
        for message in _submissions(range(first, first + tasks), dependency=dependency)
    ]
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for frame in frames:
            (message,) = codec.decode_to_hub(frame)
            machine.handle([Received(CLIENT, message)], 0.0)
            del message
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / tasks


def _cluster(engines: int) -> Machine:
    machine = Machine()
    node = Hello(1, "", "", "node", "", 1, "host", resources={"CPU": float(engines)})
    started: list[Event] = []
    for action in machine.handle([PeerJoined(NODE, node)], 0.0):
        assert isinstance(action, Send)
        for wanted in action.messages:
            assert isinstance(wanted, EnginesWanted)
            for number in wanted.numbers:
                hello = Hello(1, "", "", "engine", "", 1, "host", number=number)
                started.append(PeerJoined(FIRST_ENGINE + number, hello))
    client: list[Event] = [
        PeerJoined(CLIENT, Hello(1, "", "", "client", "", 1, "host")),
        Received(CLIENT, TemplateDefined(TEMPLATE, "f", b"code", demand={"CPU": 1.0})),
    ]
    machine.handle([*started, *client], 0.0)
    return machine


def _submissions(ids: range, *, dependency: bool = False) -> Iterator[ToHub]:
    for start in range(0, len(ids), SUBMITTED_TOGETHER):
        specs = [
            TaskSpec(i, TEMPLATE, b"arguments", [i - 1] if dependency and i > ids[0] else [])
            for i in ids[start : start + SUBMITTED_TOGETHER]
        ]
        yield TasksSubmitted(JOB, 0, specs)


def _collect(actions: list[Action], given: deque[tuple[int, int]]) -> None:
    """What engines were given, as pairs of peer and task."""
    for action in actions:
        if isinstance(action, Send) and action.peer >= FIRST_ENGINE:
            for message in action.messages:
                if isinstance(message, TasksAssigned):
                    given.extend((action.peer, task.id) for task in message.tasks)
