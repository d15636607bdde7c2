"""A cluster in one process and on a virtual clock: the real scheduler, everything else simulated.

    >>> from parallax.testing import Cluster
    >>> cluster = Cluster(engines=2, seed=1)
    >>> refs = [cluster.submit(0.25) for _ in range(8)]
    >>> cluster.run()
    >>> round(cluster.makespan_s, 1)
    1.0

Hours of cluster time pass in seconds, the same seed gives the same course of events, and engines
crash when told to. Use it to see how a task graph behaves on a thousand engines, or what happens
to it when some of them die.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from parallax.messages import (
    Assignment,
    CallsSubmitted,
    Failure,
    Stored,
    TasksSubmitted,
    Value,
)
from parallax.testing.accidents import Accidents
from parallax.testing.clients import Client
from parallax.testing.engines import SimEngine
from parallax.testing.faults import Faults
from parallax.testing.hub import SimHub
from parallax.testing.invariants import InvariantError
from parallax.testing.journal import SimJournal
from parallax.testing.members import Member
from parallax.testing.nodes import SimNode
from parallax.testing.programs import Large, Ref, Work
from parallax.testing.world import Wire, World

LATENCY_S = 5e-5
MAX_TIME_S = 1e5
JOB = 1
Item = TypeVar("Item")


class StuckError(AssertionError):
    """Tasks are pending, and nothing will happen any more."""


class Cluster:
    """Nodes, engines, clients, and the machine between them.

    Args:
        engines: CPUs of each node.
        nodes: how many there are.
        resources: what each node has besides CPUs.
        seed: of all that is random.
        faults: what goes wrong.
        checked: check the invariants of the core after every batch of events. Costs time in
            proportion to the size of the tables.
        record: keep all events and actions in `hub.trail`.
        latency_s: of a message.
        named: the pool has a name, so that its journal keeps detached actors.
        alone: the hub digests each event by itself, and not together with those that come in the
            same moment.
        jitter: some messages take far longer, so that those of different senders overtake each
            other in many ways.
    """

    nothing = b""

    def __init__(
        self,
        engines: int = 2,
        nodes: int = 1,
        *,
        resources: dict[str, float] | None = None,
        seed: int = 0,
        faults: Faults | None = None,
        checked: bool = False,
        record: bool = False,
        latency_s: float = LATENCY_S,
        jitter: bool = False,
        named: bool = False,
        alone: bool = False,
    ) -> None:
        self.world = World(seed)
        self.gives_up_at = MAX_TIME_S
        """A `run` that has not ended at this time never will."""
        self.faults = faults or Faults()
        self.latency_s = latency_s
        self.jitter = jitter
        self.hub = SimHub(self, checked=checked, record=record, alone=alone)
        self.runs: Counter[int] = Counter()
        """Object → how often a computation of it began."""
        self.finished_at = 0.0
        self.started_at = 0.0
        self.clients: list[Client] = []
        self._began: set[tuple[int, int]] = set()
        self._calls: dict[int, tuple[int, int, int]] = {}
        """Call → actor, caller, and its number among those."""
        self._latest: dict[tuple[int, int, int], int] = {}
        """Engine, actor and caller → the number of the latest call that began there."""
        self.unordered: set[int] = set()
        """Actors that run calls side by side."""
        self._programs: list[Work] = []
        self._codes: dict[float, bytes] = {}
        self._payloads: dict[bytes, Any] = {}
        self._segments: dict[str, Any] = {}
        self._places: dict[str, int] = {}
        self._freed: set[str] = set()
        self._refs: dict[int, list[int]] = {}
        self._duplicates = self.faults.duplicate > 0.0 or self.faults.echo > 0.0
        self._numbers = itertools.count(1)
        self.journal = SimJournal(self)
        self._accidents = Accidents(self)
        if named:
            self.hub.attach_journal()
        self._cpus = engines
        demand = {"CPU": float(engines), **(resources or {})}
        self.nodes: list[SimNode] = []
        for number in range(nodes):  # one after another, so that they get these numbers
            self.nodes.append(SimNode(self, number, demand))
            self._settle()
        self.started_at = self.world.now

    # ---- use ------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The first client; it is made when it is needed."""
        return self.clients[0] if self.clients else self.join()

    def join(self, *, job: int = 0) -> Client:
        """Another client, with a job of its own."""
        client = Client(self, job or len(self.clients) + JOB)
        self.clients.append(client)
        return client

    def submit(self, work: Work, *args: Ref, refs: Sequence[Ref] = (), **options: Any) -> Ref:
        """Submit a task from the first client; see `Client.submit`."""
        return self.client.submit(work, *args, refs=refs, **options)

    def result(self, ref: Ref) -> Any:
        """What `ref` stands for, once it is ready; see `Client.result`."""
        return self.client.result(ref)

    def run(self, until_s: float | None = None) -> None:
        """Let time pass until every client has what it waits for, or so many seconds.

        Raises:
            StuckError: tasks are pending, and nothing happens any more.
        """
        limit = self.world.now + until_s if until_s is not None else None
        self._accidents.begin()
        while limit is not None or any(c.alive and c.pending for c in self.clients):
            next_time = self.world.next_time
            if limit is not None and (next_time is None or next_time > limit):
                self.world.now = limit
                break
            if next_time is None or next_time > self.gives_up_at or self.hub.stopped:
                raise StuckError(self._why_stuck())
            self.world.step()
        self.finished_at = self.world.now

    def describe(self) -> str:
        """How large it is, for people."""
        return f"{len(self.nodes)} nodes of {self._cpus} CPUs, {len(self.clients)} clients"

    def close(self) -> None:
        """All clients leave; time passes until the dust has settled."""
        self.faults = Faults()
        for client in self.clients:
            client.close()
        self.run(30.0)

    @property
    def makespan_s(self) -> float:
        """Virtual time from the first engine's readiness to the end of the last `run`."""
        return self.finished_at - self.started_at

    @property
    def engines(self) -> list[SimEngine]:
        """Those alive."""
        return [engine for node in self.nodes for engine in node.engines.values()]

    # ---- faults ---------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return probability > 0.0 and self.world.random.random() < probability

    def repeats(self) -> bool:
        """Is something sent twice now?"""
        twice = self.chance(self.faults.duplicate)
        self.world.happened["duplicate"] += twice
        return twice

    def kill(self, engine: SimEngine) -> None:
        """An engine dies."""
        self.world.happened["crash"] += 1
        self.nodes[engine.node].kill(engine)

    def kill_node(self, number: int) -> None:
        """A host is lost, with its engines and what is in its store."""
        self.world.happened["crash"] += 1
        self.nodes[number].die()
        self.lose_host(number)

    def lose_host(self, number: int) -> None:
        """All that is in the store of a host is gone."""
        for name, node in list(self._places.items()):
            if node == number:
                self.lose(name)

    def lose(self, name: str) -> None:
        """A segment disappears from the store."""
        self._segments.pop(name, None)
        self._places.pop(name, None)

    def name_of(self, ref: Ref) -> str:
        """The segment of a large value that a client has."""
        values = (client.values.get(ref.id) for client in self.clients)
        return next(value.name for value in values if isinstance(value, Stored))

    @property
    def segments(self) -> list[str]:
        """Names of the segments in the store."""
        return list(self._segments)

    # ---- what members call ----------------------------------------------------------------

    def wire(self, deliver: Callable[[Item], None]) -> Wire[Item]:
        """A new wire."""
        return Wire(self.world, deliver, self.latency_s, jitter=self.jitter)

    def program(self, work: Work) -> bytes:
        """The code of this work, as it travels."""
        if isinstance(work, int | float) and work in self._codes:
            return self._codes[work]
        code = str(len(self._programs)).encode()
        self._programs.append(work)
        if isinstance(work, int | float):
            self._codes[work] = code
        return code

    def work(self, code: bytes) -> Work:
        """The opposite of `program`."""
        return self._programs[int(code)]

    def submitted(self, member: Member, message: TasksSubmitted) -> None:
        """Note what tasks carry besides their arguments."""
        for spec in message.tasks:
            if spec.refs:
                self._refs[spec.id] = spec.refs

    def called(self, member: Member, message: CallsSubmitted) -> None:
        """Note the order of calls, and what they carry."""
        for number, spec in enumerate(message.calls, message.first):
            self._calls[spec.id] = message.actor, member.peer, number
            if spec.refs:
                self._refs[spec.id] = spec.refs

    def refs_of(self, task: int) -> list[int]:
        """The references that this task carries."""
        return self._refs.get(task, [])

    def begun(self, engine: SimEngine, task: Assignment, object_id: int, *, once: bool) -> None:
        """A computation begins: each attempt at an object does so once at most.

        Args:
            engine: where.
            once: its task has ``max_retries=0``, and so there is no second attempt.
        """
        key = object_id, task.attempt
        if once and self.runs[object_id]:
            raise InvariantError(f"object {object_id:x} is computed twice, without any retry")
        if key in self._began:
            raise InvariantError(f"attempt {task.attempt} of object {object_id:x} began twice")
        self._began.add(key)
        self.runs[object_id] += 1
        if object_id in self._calls:
            actor, caller, number = self._calls[object_id]
            lane = engine.number, actor, caller
            if number <= self._latest.get(lane, -1) and actor not in self.unordered:
                raise InvariantError(f"call {number} of {caller} to {actor:x} was overtaken")
            self._latest[lane] = number

    def encode(self, member: Member, value: Any) -> Value:
        """A value as it travels."""
        if value is None:
            return self.nothing
        number = next(self._numbers)
        if isinstance(value, Large):
            name = f"{member.peer:x}-{number:x}"
            self._segments[name] = value
            self._places[name] = member.node
            return Stored(name, value.size_bytes, member.peer, member.node)
        token = str(number).encode()
        self._payloads[token] = value
        return token

    def decode(self, value: Value, reader: Member | None = None) -> Any:
        """What a value stands for.

        Args:
            reader: who wants to know; None for what belongs to the hub.

        Raises:
            LookupError: its segment was lost.
        """
        assert not isinstance(value, Failure)
        if not isinstance(value, Stored):
            return self._payloads[value] if value else None
        if not self.has(value.name, reader):
            raise LookupError(value.name)
        return self._segments[value.name]

    def has(self, name: str, reader: Member | None = None) -> bool:
        """Is this segment in the store? Who was taken for dead may look for what was freed since;
        nobody else may."""
        if name in self._freed and (reader is None or self.hub.hears(reader.peer)):
            raise InvariantError(f"segment {name} was freed under its reader")
        return name in self._segments

    def free(self, name: str) -> None:
        """The hub says that nobody needs this segment."""
        if name in self._freed and not self._duplicates:
            raise InvariantError(f"segment {name} is freed twice")
        if name in self._segments:  # one that was lost may be looked for as before
            self._freed.add(name)
            self.lose(name)

    # ---- inside ---------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wait for the engines of the nodes that there are."""
        fleet = self.hub.machine.fleet
        while len(fleet.nodes) < len(self.nodes) or len(fleet.engines) < sum(
            node.target for node in fleet.nodes.values()
        ):
            if not self.world.step() or self.hub.stopped:
                raise StuckError(f"the engines do not start: {self.hub.stopped}")

    def _why_stuck(self) -> str:
        machine = self.hub.machine
        states = Counter(task.state.name for task in machine.tasks.rows.values())
        pending = sum(client.pending for client in self.clients)
        return f"{pending} objects pending at clients; tasks: {dict(states)}; {self.hub.stopped}"
