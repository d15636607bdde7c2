"""Keeping results: from the wish to the journal's word that it is on disk.

    wished ── no value yet ──► promised ── value ──► being written ── on disk ──► (the journal's)
       └───── value ────────────────────────────────────▲   │
                         (rebuilt) ◄── lost on the way ─────┘

The hub holds the object until it is written; after that the journal alone has the value, and it
takes no memory any more. Who asks for a name meanwhile is answered when it is written. The journal
does things in the order in which it was told, so nobody sees less than what was acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable

from parallax.core.jobs import JobTable
from parallax.core.journal import Forget, Journalled, Keep, Promise, Recall
from parallax.core.journal_desk import JournalDesk
from parallax.core.objects import ObjectTable, gone
from parallax.core.outbox import Outbox
from parallax.core.records import ObjectRecord, PeerRecord
from parallax.core.recovery import Recovery
from parallax.messages import (
    Answered,
    Failure,
    ForgetRequested,
    KeepRequested,
    RecallRequested,
    Value,
)

Asker = tuple[int, int]
"""A client, and the number of its request."""


class Wish:
    """A name that is not on disk yet. It counts one reference to its object."""

    __slots__ = ("askers", "is_promising", "job", "keepers", "name", "object_id", "value")

    def __init__(self, name: str, object_id: int, job: str) -> None:
        self.name = name
        self.object_id = object_id
        self.job = job
        self.value: Value | None = None
        """What is being written."""
        self.is_promising = False
        """Its promise is on its way to the disk."""
        self.keepers: list[Asker] = []
        """Who wants to know that it is on disk: its promise if there is one, else the value."""
        self.askers: list[Asker] = []
        """Who asked for it meanwhile."""

    def unkept(self) -> list[Asker]:
        """Its keepers, if it was lost before it was written and waits to be made anew."""
        return self.keepers if self.value is None and not self.is_promising else []


class Keeps:
    """What is about to be kept, by name.

    Args:
        objects: where values come from; held from the wish until it is on disk.
        recovery: rebuilds what was lost before it was written.
        jobs: what a kept value says it comes from.
        outbox: where clients are answered.
        desk: where the journal is told.
    """

    def __init__(
        self,
        objects: ObjectTable,
        recovery: Recovery,
        jobs: JobTable,
        outbox: Outbox,
        desk: JournalDesk,
    ) -> None:
        self.wishes: dict[str, Wish] = {}
        self._waiting: dict[int, list[Wish]] = {}
        """Those whose objects have no value yet, by object."""
        self._objects = objects
        self._recovery = recovery
        self._jobs = jobs
        self._outbox = outbox
        self._desk = desk
        self.key_of: Callable[[int], str] = lambda object_id: ""
        """Under which key the journal knows an object that it will see made, whatever happens;
        empty for others. Set where there is a journal that lasts."""
        objects.on_kept.append(self._has_value)

    # ---- what clients say ---------------------------------------------------------------------

    def keep(self, peer: PeerRecord, message: KeepRequested, now: float) -> None:
        """Keep an object under a name, now or when it has a value."""
        asker = (peer.number, message.request)
        row = self._objects.rows.get(message.id)
        if row is None or row.freed:
            self._refuse(asker, gone(message.id))
            return
        if row.contained:
            self._refuse(asker, holds_refs(message.name))
            return
        self._objects.hold([row.id])
        job = self._jobs.get(row.job)
        wish = Wish(message.name, row.id, job.name if job is not None else "")
        wish.keepers.append(asker)
        before = self._withdraw(message.name)
        if before is not None:  # who waits for the name gets what it is for now
            wish.askers, before.askers = before.askers, []
            wish.keepers += before.unkept()
        self.wishes[wish.name] = wish
        if row.value is not None:
            self._write(wish, row.value)
            return

        def promised(done: Journalled) -> None:
            wish.is_promising = False
            keepers, wish.keepers = wish.keepers, []
            if done.failure is not None and self.wishes.get(wish.name) is wish:
                self._refuse_all(self._withdraw(wish.name), done.failure)
            for one in keepers:
                self._answer(one, done)

        wish.is_promising = True
        # On disk as well: after the hub's end the name says that it never came to be, or, of a
        # durable task, goes on waiting for it.
        self._desk.tell(Promise(wish.name, wish.job, self.key_of(row.id)), promised)
        self._await(wish, row)

    def resume(self, name: str, job: str, object_id: int) -> None:
        """A promise of an earlier hub: this object, which is held just now, is to be kept."""
        row = self._objects.rows[object_id]
        self._objects.hold([object_id])
        wish = self.wishes[name] = Wish(name, object_id, job)
        if row.value is not None:
            self._write(wish, holds_refs(name) if row.contained else row.value)
        else:
            self._await(wish, row)

    def recall(self, peer: PeerRecord, message: RecallRequested, now: float) -> None:
        """Say what is kept under a name; when it is on its way to the disk, once it is there."""
        wish = self.wishes.get(message.name)
        if wish is not None and wish.value is None and not message.wait:
            self._outbox.send(peer.number, Answered(message.request, {"pending": True}))
        else:
            self._recall((peer.number, message.request), message.name)

    def forget(self, peer: PeerRecord, message: ForgetRequested, now: float) -> None:
        """Keep nothing under a name any more, also what only was to be kept."""
        wish = self._withdraw(message.name)
        self._refuse_all(wish, _forgotten(message.name))
        askers = [(peer.number, message.request), *(wish.unkept() if wish is not None else ())]

        def forgotten(done: Journalled) -> None:
            for one in askers:
                self._answer(one, done)

        self._desk.tell(Forget(message.name), forgotten)

    def _recall(self, asker: Asker, name: str) -> None:
        wish = self.wishes.get(name)
        if wish is not None:
            wish.askers.append(asker)
        else:
            self._desk.tell(Recall(name), lambda done: self._answer(asker, done))

    # ---- what happens to values -----------------------------------------------------------------

    def _await(self, wish: Wish, row: ObjectRecord) -> None:
        self._waiting.setdefault(row.id, []).append(wish)
        self._objects.await_value(row)

    def _has_value(self, row: ObjectRecord) -> None:
        """An object that the hub waited for has its value."""
        assert row.value is not None
        for wish in self._waiting.pop(row.id, ()):
            if self.wishes.get(wish.name) is wish:
                self._write(wish, holds_refs(wish.name) if row.contained else row.value)

    def _write(self, wish: Wish, value: Value) -> None:
        wish.value = value
        self._desk.tell(Keep(wish.name, wish.job, value), lambda done: self._written(wish, done))

    def _written(self, wish: Wish, done: Journalled) -> None:
        successor = self.wishes.get(wish.name)
        if successor is not wish:  # forgotten or replaced: it was kept till then
            if done.lost and successor is not None:  # or it was not: what replaces it is on its way
                successor.keepers += wish.keepers
                return
            for asker in wish.keepers:
                self._answer(asker, done)
            return
        if done.lost:
            self._write_again(wish)
            return
        del self.wishes[wish.name]
        for asker in wish.keepers:
            self._answer(asker, done)
        for asker in wish.askers:
            if done.failure is not None:
                self._refuse(asker, done.failure)
            else:
                self._recall(asker, wish.name)
        self._objects.drop([wish.object_id])

    def _write_again(self, wish: Wish) -> None:
        """Its segment was gone before it was written."""
        row = self._objects.rows[wish.object_id]
        if row.value is wish.value:  # nobody has noticed before
            self._recovery.rebuild([row])
        wish.value = None
        if row.value is None:
            self._await(wish, row)
        else:
            self._write(wish, row.value)

    def _withdraw(self, name: str) -> Wish | None:
        """The name is not for this any more. What is being written will be, and then replaced."""
        wish = self.wishes.pop(name, None)
        if wish is not None:
            self._objects.drop([wish.object_id])
        return wish

    def _refuse_all(self, wish: Wish | None, why: Failure) -> None:
        for asker in wish.askers if wish is not None else ():
            self._refuse(asker, why)

    # ---- answers ------------------------------------------------------------------------------

    def _answer(self, asker: Asker, done: Journalled) -> None:
        if done.failure is not None:
            self._refuse(asker, done.failure)
        else:
            peer, request = asker
            self._outbox.send(peer, Answered(request, done.answer))

    def _refuse(self, asker: Asker, failure: Failure) -> None:
        peer, request = asker
        self._outbox.send(peer, Answered(request, {"failure": failure}))


def holds_refs(name: str) -> Failure:
    """Why a value with references inside is not kept."""
    return Failure(
        "usage",
        f"{name!r} cannot be kept: its value contains references or handles of actors, which end "
        "with their session. Keep the values that they stand for, each under a name of its own.",
    )


def _forgotten(name: str) -> Failure:
    return Failure("usage", f"{name!r} was forgotten before it was kept.")
