"""A graph of durable tasks, submitted bit by bit, while hubs are killed and all else goes wrong."""

from __future__ import annotations

import random
import re
from collections import Counter

from parallax.core.durables import RETRY_S
from parallax.messages import (
    Assignment,
    CancelRequested,
    Failure,
    KeepRequested,
    ObjectPut,
    RefsChanged,
    Stored,
    Value,
)
from parallax.testing import check_empty
from tests.core.builders import CLIENT, hello
from tests.core.durable_bench import Disk, DurableBench

FULL = Failure("journal", "the disk is full")


class Course:
    """Users, engines, the journal and fate; each method is a step. Checks what is promised."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.disk = Disk()
        self.runs: Counter[bytes] = Counter()
        self.expected: dict[bytes, Value] = {}
        """What a task makes, by its name."""
        self.takes: dict[bytes, list[bytes]] = {}
        """What it takes: the names of tasks, or of what was put."""
        self.wishes: dict[int, tuple[str, bytes]] = {}
        """By request: the name, and the task of which the result is kept."""
        self.promised: dict[str, bytes] = {}
        """What was acknowledged."""
        self.remade: set[bytes] = set()
        """Tasks of which a value was lost: those run again."""
        self.refers: set[bytes] = set()
        """Tasks that have returned references: those may run again."""
        self.excuses: set[str] = set()
        """How a task may fail, after what has happened."""
        self.names = 0
        self.pools = 0
        self.start()

    def start(self) -> None:
        """The hub is killed, if there is one; the next begins."""
        self.pools += 1
        self.bench = DurableBench(self.disk, f"c{self.pools}", cpus=2)
        self.objects: dict[int, bytes] = {}
        """What this client can refer to: objects, and the tasks that make them."""
        self.wishes = {}
        self.running: list[tuple[int, Assignment]] = []

    # ---- users ------------------------------------------------------------------------------

    def submit(self) -> None:
        bench = self.bench
        self.names += 1
        name = b"t%d" % self.names
        deps = self.rng.sample(list(self.objects), min(len(self.objects), self.rng.randrange(3)))
        if self.rng.random() < 0.2:
            self.names += 1
            put = bench.new_id()
            bench.say(CLIENT, ObjectPut(put, self.value(b"p%d" % self.names)))
            deps.append(put)
        self.takes[name] = [self.objects.get(dep, b"p%d" % self.names) for dep in deps]
        values = [self.expected.get(self.objects[dep]) for dep in deps if dep in self.objects]
        failed = next((value for value in values if isinstance(value, Failure)), None)
        if self.rng.random() < 0.1:
            failed = failed or Failure("task", name.decode())
        self.expected[name] = failed or name
        template = bench.template(durable=True, max_retries=-1)
        self.objects[bench.durable(name, *deps, template=template)] = name

    def value(self, content: bytes) -> Value:
        """This content, as a small value or a large one."""
        if self.rng.random() < 0.5:
            return content
        return Stored(f"{content.decode()}-{self.rng.getrandbits(32)}", 1 << 20, CLIENT)

    def keep(self) -> None:
        if self.objects:
            object_id = self.rng.choice(list(self.objects))
            request = len(self.wishes) + 1
            self.wishes[request] = f"n{self.names}-{request}-{self.pools}", self.objects[object_id]
            self.bench.say(CLIENT, KeepRequested(request, object_id, self.wishes[request][0]))

    def drop(self) -> None:
        if self.objects:
            object_id = self.rng.choice(list(self.objects))
            del self.objects[object_id]
            self.bench.say(CLIENT, RefsChanged([], [object_id]))

    def cancel(self) -> None:
        if self.objects:
            self.excuses.add("cancelled")
            self.bench.say(CLIENT, CancelRequested([self.rng.choice(list(self.objects))]))

    def leave(self) -> None:
        """The client goes; another one comes."""
        self.check()
        self.bench.lose(CLIENT)
        self.objects = {}
        self.bench.join(CLIENT, hello("client"))

    # ---- engines ----------------------------------------------------------------------------

    def work(self) -> None:
        """The engines begin with what they were given; something that runs ends."""
        self._end_one(refers=False)

    def refer(self) -> None:
        """Something that runs returns a value with references inside."""
        self._end_one(refers=True)

    def _end_one(self, *, refers: bool) -> None:
        bench = self.bench
        bench.start_engines()
        for peer in bench.engines:
            for task in bench.assigned(peer):
                name = task.args
                assert isinstance(name, bytes)
                ended = name in self.disk.finished and name not in self.remade
                assert not ended, "it has ended, and runs again"
                assert list(map(content_of, task.values)) == self.takes[name]
                self.runs[name] += 1
                self.running.append((peer, task))
        if not self.running:
            return
        peer, task = self.running.pop(self.rng.randrange(len(self.running)))
        assert isinstance(task.args, bytes)
        value = self.expected[task.args]
        if isinstance(value, Failure):
            bench.finish(peer, task, value)
        elif not refers:
            bench.finish(peer, task, self.value(task.args))
        else:
            self.refers.add(task.args)
            self.excuses.update(("usage", "object_lost"))
            inner = bench.new_id()
            bench.say(CLIENT, ObjectPut(inner, b"inner"))
            bench.finish(peer, task, self.value(task.args), contained={task.id: [inner]})
            bench.say(CLIENT, RefsChanged([], [inner]))

    def die(self) -> None:
        """An engine that runs something crashes."""
        if self.running:
            peer, task = self.rng.choice(self.running)
            self.running = [(other, one) for other, one in self.running if other != peer]
            self.bench.die(peer, running=task.id)

    # ---- the journal ------------------------------------------------------------------------

    def write(self) -> None:
        self.bench.write_next()

    def fail(self) -> None:
        self.bench.write_next(FULL)
        self.bench.wait(RETRY_S)

    def lose(self) -> None:
        """A task's value that is about to be written leaves the store."""
        changes = self.bench.changes()
        late = [value for change in changes for _, value in change.values]
        ends = [value for change in changes for end in change.ends for _, value in end.values]
        values = [v for v in late + ends if isinstance(v, Stored) and v.name.startswith("t")]
        if values:
            value = self.rng.choice(values)
            self.remade.add(content_of(value))
            self.disk.gone.add(value.name)
            if value in late:
                # Its task ended on disk when nobody needed it: until it is made anew, the journal
                # knows neither the value nor the task. Should the hub be killed just then, too ...
                self.excuses.add("object_lost")

    # ---- what is promised -------------------------------------------------------------------

    def check(self) -> None:
        """Nothing is reported that is not on disk."""
        for object_id in self.bench.ready():
            name = self.objects.get(object_id)
            # One that takes what has failed already fails at once, and never is in the journal.
            if name is not None and self.runs[name] and name not in self.refers:
                assert name in self.disk.finished
        for request, answer in self.bench.answers().items():
            if answer is None:
                name, task = self.wishes[request]
                self.promised[name] = task

    def end(self) -> None:
        """All that goes on comes to its end."""
        for _ in range(20 * self.names + 20):
            self.bench.wait(0.1)
            self.work()
            self.write()
            self.check()
        self.bench.lose(CLIENT)
        self.bench.write()
        assert self.disk.is_empty
        check_empty(self.bench.machine)
        for name, task in self.promised.items():
            kept, expected = self.disk.kept[name], self.expected[task]
            if isinstance(kept, Failure):
                # Of several that it takes, the first to fail counts.
                assert kept.kind in self.excuses or (
                    kept.kind == "task" and isinstance(expected, Failure)
                ), kept
            else:
                assert content_of(kept) == expected
                assert self.runs[task]


def content_of(value: Value) -> bytes:
    """Whose value it is."""
    if isinstance(value, Stored):  # also one that was read again, once or twice
        return re.sub("^(0-)*|-[^-]*$", "", value.name).encode()
    assert isinstance(value, bytes)
    return value
