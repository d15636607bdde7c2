"""What a client says of actors, and its own books of the calls that it has made."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from parallax.errors import PendingCallsLimitExceeded
from parallax.messages import ActorCreated, Arguments, CallsSubmitted, KillRequested, TaskSpec
from parallax.pool.client import Client
from parallax.refs import ObjectRef, ObjectRefGenerator


@dataclass(frozen=True, slots=True)
class Submission:
    """What every submission says, whatever it is of.

    Attributes:
        deps: objects whose values it takes; `refs` those to which it carries references.
    """

    job: int
    parent: int
    template: int
    args: Arguments
    deps: list[int]
    refs: list[int]
    seed: int


class ActorClient:
    """Actors as one client sees them. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers: dict[int, int] = {}
        """How many calls this client has made, by actor: callers number their calls."""
        self._pending: dict[int, deque[ObjectRef[Any] | int]] = {}
        """Of actors with a limit: the calls that may be pending, by their first results; streams
        by their ids, lest they be kept from ending with their readers."""

    def create(self, submission: Submission, **how: Any) -> int:
        """Have an actor made; returns its id, of which the caller holds one reference.

        Args:
            how: the other fields of `ActorCreated`.
        """
        client = self._client
        if how["name"]:
            client.channel.flush()  # handles that have gone first: one may be of the old owner
        with client.lock:
            actor = client.new_id()
            client.local[actor] = 1
            client.values[actor] = b""  # nobody waits for it
            spec = _spec(actor, submission)
            client.channel.outbox.append(
                ActorCreated(submission.job, submission.parent, spec, **how)
            )
            client.channel.rows += 1
        client.channel.posted()
        return actor

    def call(
        self, actor: int, submission: Submission, returns: int, *, stream: bool, limit: int
    ) -> tuple[int, list[ObjectRef[Any]] | ObjectRefGenerator[Any]]:
        """Call an actor; returns the call's id and what it makes.

        Args:
            returns: how many refs; with a limit at least one, which tells when the call has ended.
            limit: how many calls of this client may be pending there, negative for any number.

        Raises:
            PendingCallsLimitExceeded: so many are.
        """
        client = self._client
        channel = client.channel
        with client.lock:
            if limit >= 0:
                self._check_limit(actor, limit)
            is_first = client.awaits_nothing()
            task_id, made = client.expect(returns, stream=stream, is_call=True)
            number = self._numbers.get(actor, 0)
            self._numbers[actor] = number + 1
            if limit >= 0:
                if not stream:
                    client.local[task_id] += 1
                self._pending[actor].append(task_id if stream else ObjectRef(task_id, client))
            spec = _spec(task_id, submission)
            outbox = channel.outbox
            if (
                outbox
                and type(last := outbox[-1]) is CallsSubmitted
                and last.actor == actor
                and last.job == submission.job
                and last.parent == submission.parent
            ):
                last.calls.append(spec)
            else:
                outbox.append(
                    CallsSubmitted(submission.job, submission.parent, actor, number, [spec])
                )
            channel.rows += 1
        if is_first:
            channel.flush()
        else:
            channel.posted()
        return task_id, made

    def _check_limit(self, actor: int, limit: int) -> None:
        pending = self._pending.setdefault(actor, deque())
        if len(pending) >= limit:
            pending = self._pending[actor] = deque(filter(self._is_pending, pending))
        if len(pending) >= limit:
            raise PendingCallsLimitExceeded(
                f"{len(pending)} calls of this actor are pending, and its max_pending_calls is "
                f"{limit}: get some of their results first, or allow more."
            )

    def _is_pending(self, call: ObjectRef[Any] | int) -> bool:
        if isinstance(call, int):
            return self._client.streams.goes_on(call)
        return call.id not in self._client.values

    def kill(self, actor: int, *, restart: bool) -> None:
        """Have an actor's process ended."""
        self._client.channel.post(KillRequested(actor, restart))
        self._client.channel.flush()


def _spec(number: int, submission: Submission) -> TaskSpec:
    return TaskSpec(
        number,
        submission.template,
        submission.args,
        submission.deps,
        submission.refs,
        submission.seed,
    )
