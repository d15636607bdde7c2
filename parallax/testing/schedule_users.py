"""What the users of a random schedule do: whatever there is to be done, in any order."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parallax.core.packing import STRATEGIES
from parallax.testing import works
from parallax.testing.clients import Client
from parallax.testing.cluster import Cluster
from parallax.testing.programs import Emit, Large, Program, Raised, Ref, Steps
from parallax.testing.task_context import TaskContext

MAX_CLIENTS = 4
BUNDLES: list[dict[str, float]] = [
    {"CPU": 1.0},
    {"CPU": 0.5},
    {"CPU": 2.0},
    {"CPU": 1.0, "GPU": 1.0},
    {"GPU": 0.5},
]
NAMES = ("", "", "x", "y")


@dataclass(slots=True)
class Sum:
    """A task whose value is known beforehand, and that is retried as often as it takes."""

    client: Client
    ref: Ref
    expected: int
    args: list[int]


class Users:
    """The clients of a cluster, what they have, and what they do next.

    Args:
        rng: decides; it is not the one that decides what goes wrong.
    """

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self.streams: list[tuple[Client, Ref, int]] = []
        """Who reads them, and how many items they have."""
        self.sums: dict[int, Sum] = {}
        self.kept: dict[tuple[Client, str], Sum | None] = {}
        """By whom and under which name, of a client's own names; None when it was forgotten."""
        self._cluster = cluster
        self._rng = rng
        self._refs: dict[Client, list[Ref]] = {}
        self._actors: dict[Client, list[Ref]] = {}
        self._made: list[Ref] = []
        self._groups: list[Ref] = []
        self._cancelled: set[int] = set()
        self._join()
        self._doings: dict[Callable[[Client], None], int] = {
            self._submit: 5,
            self._sum: 6,
            self._map: 2,
            self._flood: 2,
            self._several: 1,
            self._stream: 2,
            self._put: 2,
            self._cancel: 3,
            self._endless: 1,
            self._drop: 3,
            self._look: 2,
            self._keep: 2,
            self._recall: 1,
            self._actor: 3,
            self._call: 6,
            self._share: 1,
            self._let_go: 1,
            self._kill: 2,
            self._group: 2,
            self._remove_group: 1,
        }

    def act(self) -> None:
        """Somebody does something."""
        rng = self._rng
        there = [client for client in self._cluster.clients if client.alive]
        if not there or (len(there) < MAX_CLIENTS and rng.random() < 0.1):
            there = [self._join()]
        (do,) = rng.choices([*self._doings], [*self._doings.values()])
        do(rng.choice(there))

    def end_all(self) -> None:
        """Actors end, and groups are removed."""
        for client in self._cluster.clients:
            for actor in self._made:
                client.kill_actor(actor)
            for group in self._groups:
                client.remove_group(group)

    def may_fail(self, total: Sum) -> bool:
        """Was it, or one of those that it sums up, cancelled?"""
        ids = [total.ref.id]
        for one in ids:
            if one in self._cancelled:
                return True
            ids += self.sums[one].args
        return False

    def _join(self) -> Client:
        client = self._cluster.join()
        client.read_s = self._rng.choice([0.0, 0.0, 0.01])
        self._refs[client], self._actors[client] = [], []
        return client

    def _some(self, client: Client) -> list[Ref]:
        mine = self._refs[client]
        return self._rng.sample(mine, min(len(mine), self._rng.choice([0, 0, 1, 2])))

    def _seed(self) -> int:
        return self._rng.getrandbits(32)

    def _options(self) -> dict[str, Any]:
        how = works.options(self._rng)
        how["retry_exceptions"] = self._rng.random() < 0.4
        if self._groups and self._rng.random() < 0.4:
            how |= self._place() | {"spread": False}
        return how

    def _place(self) -> dict[str, Any]:
        group = self._rng.choice(self._groups)
        index = self._rng.choice([-1, -1, 0, 1])
        return {"group": group.id, "bundle": index, "capture": self._rng.random() < 0.5}

    # ---- tasks ----------------------------------------------------------------------------

    def _submit(self, client: Client) -> None:
        work, how = works.work(self._seed()), self._options()
        args, refs, bulky = self._some(client), self._some(client), self._rng.random() < 0.3
        self._refs[client].append(client.submit(work, *args, refs=refs, bulky=bulky, **how))

    def _sum(self, client: Client) -> None:
        mine = [s for s in self.sums.values() if s.client is client and s.ref.id in client.held]
        args = self._rng.sample(mine, min(len(mine), self._rng.choice([0, 1, 2, 3])))
        number = self._rng.randrange(100)
        total = number + sum(arg.expected for arg in args)
        ref = client.submit(
            _add(number),
            *(arg.ref for arg in args),
            max_retries=-1,
            num_cpus=self._rng.choice([0, 0.5, 1]),
        )
        total += total % 3 == 0
        self.sums[ref.id] = Sum(client, ref, total, [arg.ref.id for arg in args])
        self._refs[client].append(ref)

    def _map(self, client: Client) -> None:
        items = [works.work(self._seed()) for _ in range(self._rng.choice([1, 2, 10]))]
        self._refs[client] += client.map(items, *self._some(client), **self._options())

    def _flood(self, client: Client) -> None:
        """Short tasks, which are queued ahead, and long ones of the same function among them."""
        cpus = self._rng.choice([0, 0.25, 1])
        for _ in range(self._rng.choice([5, 20, 60])):
            work = self._rng.choice([0.0002, 0.0002, 0.001, 0.004, 0.2])
            self._refs[client].append(client.submit(work, name="short", num_cpus=cpus))

    def _several(self, client: Client) -> None:
        args, how = self._some(client), self._options()
        self._refs[client] += client.submit_many(works.several, *args, num_returns=3, **how)

    def _stream(self, client: Client) -> None:
        seed, args = self._seed(), self._some(client)
        ahead = self._rng.choice([0, 1, 3])
        ref = client.submit(
            works.stream(seed), *args, streaming=True, backpressure=ahead, **self._options()
        )
        self.streams.append((client, ref, works.stream_length(random.Random(seed))))

    def _put(self, client: Client) -> None:
        value = Large("x") if self._rng.random() < 0.5 else self._some(client)
        self._refs[client].append(client.put(value))

    def _endless(self, client: Client) -> None:
        """It ends when it is stopped: by its time limit, by force, or with its client. So nobody
        else may refer to it, or it would go on for him."""
        how = self._rng.randrange(3)
        ref = client.submit(1e6, max_retries=3, timeout_s=0.05 if not how else 0.0)
        if how:
            grace_s = self._rng.choice([0.0, 0.01])
            delay_s = self._rng.choice([0.0, 0.01, 0.1])
            self._cluster.world.after(delay_s, lambda: client.cancel(ref, grace_s=grace_s))

    def _cancel(self, client: Client) -> None:
        refs = self._some(client)
        if self.streams and self._rng.random() < 0.3:
            refs.append(self._rng.choice(self.streams)[1])
        grace_s = self._rng.choice([-1.0, 0.01])
        force, recursive = self._rng.random() < 0.3, self._rng.random() < 0.7
        client.cancel(*refs, force=force, recursive=recursive, grace_s=grace_s)
        self._cancelled.update(ref.id for ref in refs)

    def _drop(self, client: Client) -> None:
        for ref in dict.fromkeys(self._some(client)):
            self._refs[client].remove(ref)
            client.drop(ref)

    def _look(self, client: Client) -> None:
        """Read what is ready; what was lost is asked for again."""
        for ref in self._some(client):
            with contextlib.suppress(Raised, LookupError):
                client.result(ref)

    # ---- the journal ----------------------------------------------------------------------

    def _keep(self, client: Client) -> None:
        mine = [s for s in self.sums.values() if s.client is client and s.ref.id in client.held]
        if mine and self._rng.random() < 0.7:
            one = self._rng.choice(mine)
            name = f"{client.peer}-{self._rng.choice('ab')}"
            self.kept[client, name] = one
            client.keep(one.ref, name)
        elif self._refs[client]:  # names that all use: who comes last decides
            client.keep(self._rng.choice(self._refs[client]), self._rng.choice("ab"))

    def _recall(self, client: Client) -> None:
        own = self._rng.random() < 0.5
        name = f"{client.peer}-a" if own else self._rng.choice("ab")
        if self._rng.random() < 0.3:
            client.forget(name)
            if own:
                self.kept[client, name] = None
        else:
            client.recall(name, wait=self._rng.random() < 0.5)

    # ---- actors ---------------------------------------------------------------------------

    def _actor(self, client: Client) -> None:
        rng = self._rng
        detached = rng.random() < 0.25
        how: dict[str, Any] = {
            "ordered": rng.random() < 0.75,
            # What lives for ever must not hold all there is.
            "keeps_cpus": not detached and rng.random() < 0.5,
            "detached": detached,
            "name": rng.choice(NAMES),
            "restarts": rng.choice([0, 0, 1, -1]),
            "num_cpus": rng.choice([0, 0.5, 1, 1]),
        }
        if not detached and rng.random() < 0.3:
            how["resources"] = {"crane": 0.5}
        if self._groups and rng.random() < 0.2:
            how |= self._place()
        actor = client.actor(works.constructor(self._seed()), *self._some(client), **how)
        self._actors[client].append(actor)
        self._made.append(actor)

    def _call(self, client: Client) -> None:
        rng = self._rng
        actors = self._actors[client]
        for _ in range(rng.choice([1, 3, 10]) if actors else 0):
            actor, other = rng.choice(actors[-2:]), rng.choice(actors)
            if rng.random() < 0.15:
                count = rng.randint(0, 4)
                ahead = rng.choice([0, 1])
                ref = client.call(actor, _items(count), streaming=True, backpressure=ahead)
                self.streams.append((client, ref, count))
                continue
            work, args = works.method(self._seed(), other), self._some(client)
            retries = rng.choice([0, 0, 1, -1])
            ref = client.call(actor, work, *args, refs=[other], max_retries=retries)
            self._refs[client].append(ref)

    def _share(self, client: Client) -> None:
        """Another client gets a handle, too."""
        taker = self._rng.choice([c for c in self._cluster.clients if c.alive])
        if self._actors[client]:
            actor = self._rng.choice(self._actors[client])
            if actor not in self._actors[taker]:
                taker.adopt([actor.id])
                taker.want(actor)
                self._actors[taker].append(actor)

    def _let_go(self, client: Client) -> None:
        if self._actors[client]:
            actor = self._rng.choice(self._actors[client])
            self._actors[client].remove(actor)
            client.drop(actor)

    def _kill(self, client: Client) -> None:
        if self._actors[client]:
            actor = self._rng.choice(self._actors[client])
            client.kill_actor(actor, restart=self._rng.random() < 0.5)

    # ---- placement groups -----------------------------------------------------------------

    def _group(self, client: Client) -> None:
        bundles = self._rng.choices(BUNDLES, k=self._rng.randint(1, 3))
        strategy, detached = self._rng.choice(STRATEGIES), self._rng.random() < 0.3
        self._groups.append(client.group(*bundles, strategy=strategy, detached=detached))

    def _remove_group(self, client: Client) -> None:
        """It may be one that is gone already, and it stays among those that tasks name."""
        if self._groups:
            client.remove_group(self._rng.choice(self._groups))


def _add(number: int) -> Program:
    """The sum of a number and of the arguments, now and then with the help of another task."""

    def program(task: TaskContext) -> Steps:
        yield 0.002
        total = number + sum(v.value if isinstance(v, Large) else v for v in task.args)
        if total % 3 == 0:
            total += yield task.submit(_one, max_retries=-1)
        return Large(total) if total % 2 else total

    return program


def _one(task: TaskContext) -> Steps:
    yield 0.001
    return 1


def _items(count: int) -> Program:
    def program(task: TaskContext) -> Steps:
        for number in range(count):
            yield 0.001
            yield Emit(number)

    return program
