"""Actors that outlive the hub: their recipes go to the journal, and come back from it.

Of a named pool only, and of its named, detached actors: others could not be found again. A recipe
is written when the constructor has returned for the first time, for then all its arguments have
values; it is struck when the actor is dead for good, but not when the whole pool goes down.

A new hub makes the actors of all recipes before it lets anybody in, each by the same message that a
client would have sent. The client here is the hub itself, under a number that no peer has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from parallax.core.actor_records import ActorRecord
from parallax.core.actors import ActorTable
from parallax.core.jobs import JobRecord, JobTable
from parallax.core.journal import Enlist, JournalAttached, Journalled, Muster, Recipe, Strike
from parallax.core.journal_desk import JournalDesk
from parallax.core.objects import HUB, ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.records import ObjectRecord, PeerRecord, TaskRecord
from parallax.core.templates import TemplateTable
from parallax.errors import ProtocolError
from parallax.messages import ActorCreated, Chunk, JobOpened, Noted, Stored, TaskSpec

JOB = "recovered actors"
LOST = "an argument of its constructor was lost"


class Recipes:
    """Tells the journal of actors that come and go, and makes those that it tells of.

    Args:
        ids: of what the hub itself makes.
    """

    def __init__(
        self,
        actors: ActorTable,
        objects: ObjectTable,
        templates: TemplateTable,
        jobs: JobTable,
        outbox: Outbox,
        desk: JournalDesk,
        ids: Iterator[int],
    ) -> None:
        self._actors = actors
        self._objects = objects
        self._templates = templates
        self._jobs = jobs
        self._outbox = outbox
        self._desk = desk
        self._ids = ids

    def begin(self, attached: JournalAttached, now: float) -> None:
        """There is a journal that lasts: use it, and make the actors that it knows."""
        self._actors.on_alive = self._alive
        self._actors.on_dead = self._dead
        if attached.used:
            self._desk.tell(Muster(), lambda done: self._make_all(done, attached.at, now))

    # ---- to the journal -------------------------------------------------------------------------

    def _alive(self, actor: ActorRecord) -> None:
        """An actor was constructed, for the first time or again."""
        constructor = actor.constructor
        assert constructor is not None
        if actor.enlisted or not (actor.detached and actor.name):
            return
        actor.enlisted = True
        recipe = self._recipe(actor, constructor)
        if isinstance(recipe, str):
            self._note(actor, constructor, recipe)
            return

        def enlisted(done: Journalled) -> None:
            if done.lost:
                self._note(actor, constructor, LOST)
            elif done.failure is not None:
                self._note(actor, constructor, done.failure.message)

        self._desk.tell(Enlist(recipe), enlisted)

    def _dead(self, actor: ActorRecord) -> None:
        """An actor will not come back, and still has its name."""
        if actor.enlisted:
            self._desk.tell(Strike(actor.namespace, actor.name), lambda done: None)

    def _recipe(self, actor: ActorRecord, constructor: TaskRecord) -> Recipe | str:
        """What makes it anew, or why nothing could."""
        template, args = constructor.group.template, constructor.args
        captured = template.spec.captured
        rows = self._objects.rows
        known = set(captured)
        if isinstance(args, Stored):  # an object holds them
            known.update(i for i in constructor.refs if rows[i].value == args)
        if set(constructor.refs) - known:
            return "its constructor was given references inside of values"
        if any(rows[i].contained for i in (*constructor.deps, *known)):
            return "its constructor was given values that contain references"
        deps = _values(rows[i] for i in constructor.deps)
        shared = _values(rows[i] for i in captured)
        if isinstance(args, Chunk) or deps is None or shared is None:
            return LOST
        return Recipe(
            actor.name,
            actor.namespace,
            template.spec,
            [(blob.key, blob.data) for blob in template.blobs],
            args,
            deps,
            shared,
            constructor.seed,
            actor.keeps_cpus,
            actor.ordered,
            actor.info,
        )

    def _note(self, actor: ActorRecord, constructor: TaskRecord, why: str) -> None:
        text = (
            f"the detached actor {actor.name!r} will not be started anew should its pool be "
            f"killed: {why.rstrip('.')}."
        )
        self._outbox.send(constructor.owner, Noted(text))

    # ---- from the journal -----------------------------------------------------------------------

    def _make_all(self, done: Journalled, at: float, now: float) -> None:
        hub = PeerRecord(HUB, "client", 0, "hub", owner=False)
        ids = self._ids
        for recipe in done.answer or ():
            opened = JobOpened(next(ids), JOB, started_at=at, namespace=recipe.namespace)
            job = self._jobs.open(opened, HUB, now)
            try:
                self._make(hub, job, recipe, ids)
            except ProtocolError as error:  # written by something else; the others are innocent
                job.print(0, "stderr", f"the actor {recipe.name!r} cannot be made: {error}\n")
        self._objects.client_drops(hub, list(hub.held))
        self._jobs.forget_templates(self._templates.forget(hub))

    def _make(self, hub: PeerRecord, job: JobRecord, recipe: Recipe, ids: Iterator[int]) -> None:
        def put(value: bytes | Stored) -> int:
            object_id = next(ids)
            self._objects.put(object_id, hub, value, [])
            return object_id

        for key, data in recipe.blobs:
            self._templates.define_blob(hub, key, data)
        captured = [put(value) for value in recipe.captured]
        template = replace(recipe.template, template=next(ids), captured=captured)
        self._templates.define(hub, template)
        refs = [put(recipe.args)] if isinstance(recipe.args, Stored) else []
        deps = [put(value) for value in recipe.deps]
        spec = TaskSpec(next(ids), template.template, recipe.args, deps, refs, recipe.seed)
        message = ActorCreated(
            job.id,
            0,
            spec,
            recipe.name,
            recipe.namespace,
            detached=True,
            keeps_cpus=recipe.keeps_cpus,
            ordered=recipe.ordered,
            info=recipe.info,
        )
        self._actors.create(hub, job, message, self._templates.rows[template.template])


def _values(rows: Iterable[ObjectRecord]) -> list[bytes | Stored] | None:
    """What these objects have for values; None when one of them has none."""
    values: list[bytes | Stored] = []
    for row in rows:
        if not isinstance(row.value, bytes | Stored):
            return None
        values.append(row.value)
    return values
