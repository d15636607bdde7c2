"""A simulated client."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from parallax.messages import (
    Answered,
    ForgetRequested,
    FromHub,
    KeepRequested,
    RecallRequested,
)
from parallax.testing.invariants import InvariantError
from parallax.testing.programs import Options, Ref, Work, refs_in
from parallax.testing.submitters import Submitter

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster


class Client(Submitter):
    """A simulated notebook. It holds what it submitted until it drops it or leaves."""

    def __init__(self, cluster: Cluster, job: int) -> None:
        super().__init__(cluster, "client")
        self.job = job
        self.read_s = 0.0
        """How long it thinks about each item of a stream before it takes the next."""
        self.forsaken = False
        """It was taken for dead while it was cut off, and does not know yet."""
        self.answers: dict[int, Any] = {}
        """What was asked of the journal, by request, and the answer that came."""
        self._requests = itertools.count(1)
        self._keeps: dict[int, str] = {}
        """Names by the requests to keep something under them."""
        cluster.hub.enroll(self)

    def on_item(self, task: int, object_id: int) -> None:
        """Take items of streams as they come."""
        count = len(self.streams[task])
        self.cluster.world.after(self.read_s, lambda: self.consumed(Ref(task), count))

    def submit(
        self,
        work: Work,
        *args: Ref,
        refs: Sequence[Ref] = (),
        bulky: bool = False,
        **options: Any,
    ) -> Ref:
        """Submit a task; returns its (first) ref, of a streaming task the ref of the stream.

        Args:
            work: seconds of computing, or a program (`parallax.testing.programs.Work`).
            args: objects whose values the task needs before it can begin.
            refs: objects to which it only gets references.
            bulky: its arguments travel through the store, not inside the message.
            options: see `parallax.testing.programs.Options`.
        """
        settings = Options(**options)
        return self.submit_task(self.job, 0, work, args, refs, settings, bulky=bulky)[0]

    def submit_many(self, work: Work, *args: Ref, num_returns: int, **options: Any) -> list[Ref]:
        """Submit a task with several return values."""
        settings = Options(num_returns=num_returns, **options)
        return self.submit_task(self.job, 0, work, args, (), settings)

    def map(self, works: Sequence[Work], *args: Ref, **options: Any) -> list[Ref]:
        """Submit several calls as one chunk; one ref a call."""
        return self.submit_chunk(self.job, 0, works, Options(**options), args)

    def actor(self, work: Work = 0.0, *args: Ref, restarts: int = 0, **options: Any) -> Ref:
        """Make an actor; its handle.

        Args:
            work: what its constructor does.
            args: objects whose values the constructor needs.
            options: see `parallax.testing.programs.Options`; the fields of
                `parallax.messages.ActorCreated` besides.
        """
        fields = ("name", "namespace", "detached", "keeps_cpus", "ordered")
        how = {name: options.pop(name) for name in fields if name in options}
        settings = Options(name="Actor", max_retries=restarts, **options)
        handle = self.create_actor(self.job, 0, work, args, settings, **how)
        if not how.get("ordered", True):
            self.cluster.unordered.add(handle.id)
        return handle

    def call(
        self, actor: Ref, work: Work, *args: Ref, refs: Sequence[Ref] = (), **options: Any
    ) -> Ref:
        """Call an actor; the ref of the result, or of the stream. The arguments are those of
        `submit`; without ``max_retries`` a call runs once at most."""
        settings = Options(**{"name": "call", "max_retries": 0, "num_cpus": 0.0, **options})
        return self.call_actor(self.job, 0, actor, work, args, refs, settings)

    def group(
        self, *bundles: dict[str, float], strategy: str = "PACK", detached: bool = False
    ) -> Ref:
        """Make a placement group; tasks run in it with ``group=ref.id``."""
        return self.create_group(self.job, bundles, strategy, detached=detached)

    # ---- the journal ----------------------------------------------------------------------

    def keep(self, ref: Ref, name: str) -> int:
        """Keep a value under a name; the number of the request."""
        request = self._new_request()
        self._keeps[request] = name
        self.send(KeepRequested(request, ref.id, name))
        return request

    def recall(self, name: str, *, wait: bool = True) -> int:
        """Ask what is kept under a name; the number of the request."""
        request = self._new_request()
        self.send(RecallRequested(request, name, wait))
        return request

    def forget(self, name: str) -> int:
        """Keep nothing under a name any more; the number of the request."""
        request = self._new_request()
        self.send(ForgetRequested(request, name))
        return request

    def _new_request(self) -> int:
        self.pending += 1
        return next(self._requests)

    def receive(self, message: FromHub) -> None:
        if isinstance(message, Answered):
            if message.request in self.answers:
                raise AssertionError(f"request {message.request} is answered twice")
            name = self._keeps.get(message.request)
            if name and message.answer is None and name not in self.cluster.journal.written:
                raise InvariantError(f"{name!r} is said to be kept, and was never on disk")
            self.answers[message.request] = message.answer
            self.pending -= 1
        else:
            super().receive(message)

    # ---- results --------------------------------------------------------------------------

    def result(self, ref: Ref) -> Any:
        """The value of an object that is ready.

        Raises:
            Raised: its task failed.
            KeyError: it is not ready.
        """
        value = self.load(ref.id)
        found = dict.fromkeys(refs_in(value))
        self.adopt(found)
        self.want(*(Ref(i) for i in found if i not in self.values))
        return value

    def forsake(self) -> None:
        """The hub takes a client for dead that is only cut off."""
        self.forsaken = True
        self.cluster.hub.lose(self.peer)

    def vanish(self) -> None:
        """A client that was taken for dead has heard of it, and ends."""
        self.leave()

    def close(self) -> None:
        """Leave: everything it holds is dropped, its pending tasks are cancelled."""
        if self.alive:
            random = self.cluster.world.random
            self.leave(keep=random.randint(min(1, self.to_hub.under_way), self.to_hub.under_way))
            self.to_hub.end(lambda: self.cluster.hub.lose(self.peer))
