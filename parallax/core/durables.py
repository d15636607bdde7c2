"""Durable tasks: what the journal has to know so that the next hub can go on with them.

    submitted ──► in the journal ── over ──► its end is being written ── on disk ──► forgotten
                         ▲                       │
                         └─ (all told afresh) ◄──┴─ could not be written

On disk are the tasks that have not ended, and the values that those need: of durable tasks that
have, and of whatever else they take. A task's end and what others need of it are written at once,
so that it is either to run again or never. Values leave with the last task that needs them.

All that one batch of events has changed is one entry, and so one transaction. Clients hear of a
durable task's result when its end is on disk: what somebody has seen is not computed again. Tasks
that take it go on at once: their ends come after it in the journal.

When something cannot be written nothing of its entry was, and later ones would not fit. So nothing
is told for a while, and then everything that there is, in place of what there was.
"""

from __future__ import annotations

from collections import Counter

from parallax.core.durable_recipes import is_whole, recipe_of, recipe_of_all
from parallax.core.durable_records import Changes, Need, Unfinished, Use
from parallax.core.journal import (
    DurableTask,
    Journalled,
    key_of_return,
)
from parallax.core.journal_desk import JournalDesk
from parallax.core.objects import ObjectTable
from parallax.core.outbox import Outbox
from parallax.core.records import ObjectRecord, PeerRecord, TaskRecord, Template
from parallax.core.recovery import Recovery
from parallax.core.tasks import TaskTable
from parallax.core.timers import Timers
from parallax.messages import Noted, TaskSpec, Value

RETRY_S = 1.0
"""After something could not be written; meanwhile tasks run as if they were not durable. Twice as
long after each further try, up to `LONGEST_RETRY_S`."""
LONGEST_RETRY_S = 60.0


class Durables:
    """The durable tasks of a named pool, as far as the journal has to know of them.

    Args:
        tasks: where they run.
        objects: what they take and make.
        recovery: makes values anew that were lost before they were written.
        timers: when to try again what could not be written.
        outbox: where users are told that their tasks are not durable after all.
        desk: where the journal is told.
    """

    def __init__(
        self,
        tasks: TaskTable,
        objects: ObjectTable,
        recovery: Recovery,
        timers: Timers,
        outbox: Outbox,
        desk: JournalDesk,
    ) -> None:
        self.active = False
        """There is a journal that lasts."""
        self.unfinished: dict[int, Unfinished] = {}
        """In the order of submission."""
        self.needs: dict[int, Need] = {}
        self.writing: Counter[int] = Counter()
        """Objects of which values are being written; each counts a reference."""
        self._makers: dict[int, Unfinished] = {}
        """By what they make."""
        self._uses: dict[int, Use] = {}
        """By template."""
        self._cluster = ""
        self._over: list[Unfinished] = []
        self._fresh: dict[int, None] = {}
        """Needed objects whose values are there, and were not told."""
        self._changes = Changes()
        self._written_off: list[Unfinished] = []
        """Over, and so not told of when everything is told afresh."""
        self._era = 0
        """How often everything was told afresh. Answers to what was told before are of no use."""
        self.resting = False
        """Nothing is told for now, and so nothing is counted. Everything will be told afresh."""
        self._refusal = ""
        self._rest_s = RETRY_S
        self._noted: set[tuple[int, str]] = set()
        self._tasks = tasks
        self._objects = objects
        self._recovery = recovery
        self._timers = timers
        self._outbox = outbox
        self._desk = desk

    def begin(self, cluster: str) -> None:
        """There is a journal that lasts; what is written is named by the token of the cluster."""
        self.active = True
        self._cluster = cluster
        self._tasks.on_durable_over = self._is_over
        self._objects.on_kept.append(self._has_value)

    def key_of(self, object_id: int) -> str:
        """Under which key the journal knows what a durable task will make; empty for all else."""
        maker = self._makers.get(object_id)
        if maker is None or maker.id not in self._tasks.rows:
            return ""
        return self._key(object_id)

    # ---- what comes -------------------------------------------------------------------------

    def submitted(self, owner: PeerRecord, parent: int, specs: list[TaskSpec]) -> None:
        """These were submitted just now, some of them with ``durable=True``."""
        if parent or owner.engine is not None:
            return  # part of a task, which submits it again when it runs again
        if self._refusal:
            self._note_rest(owner.number, self._refusal)
            return
        for spec in specs:
            task = self._tasks.rows.get(spec.id)
            if task is None or task.durable or task.chunk or task.stream is not None:
                continue
            if not task.group.template.spec.durable:
                continue
            if not is_whole(task, self._objects.rows):
                why = "its arguments contain references"
                self._note(owner.number, f"{task.name} runs, but is not durable: {why}.")
                continue
            one = self._enter(task, self._key(task.id))
            self._objects.withhold(one.results)
            self._changes.tasks.append(self._recipe(one, task))

    def _is_over(self, task: TaskRecord) -> None:
        one = self.unfinished.get(task.id)
        if one is not None:
            self._over.append(one)

    def _has_value(self, row: ObjectRecord) -> None:
        """An object that the hub waited for has its value."""
        need = self.needs.get(row.id)
        if need is not None and not need.told:
            self._fresh[row.id] = None

    def _enter(self, task: TaskRecord, key: str) -> Unfinished:
        task.durable = True
        needs = list(dict.fromkeys((*task.deps, *task.refs)))
        for object_id in needs:
            self._need(object_id)
        one = Unfinished(task.id, task.returns, key)
        one.needs, one.name, one.owner = needs, task.name, task.owner
        one.use = self._use(task.group.template)
        one.use.count += 1
        return self._add(one)

    def _add(self, one: Unfinished) -> Unfinished:
        self.unfinished[one.id] = one
        for object_id in one.results:
            self._makers[object_id] = one
        return one

    def _need(self, object_id: int) -> None:
        need = self.needs.get(object_id)
        if need is None:
            need = self.needs[object_id] = Need(self._key(object_id))
            maker = self._makers.get(object_id)
            if maker is None or maker.telling:  # else its value comes with its end
                self._look_for(object_id)
        need.count += 1

    def _look_for(self, object_id: int) -> None:
        row = self._objects.rows[object_id]
        if row.value is not None:
            self._fresh[object_id] = None
        elif not row.freed:
            self._objects.await_value(row)

    def _use(self, template: Template) -> Use:
        use = self._uses.get(template.id)
        if use is None:
            use = self._uses[template.id] = Use(template, self._key(template.id))
            self._changes.templates.append(recipe_of_all(use, self._key))
        return use

    # ---- from an earlier hub -----------------------------------------------------------------

    def resume_value(self, object_id: int, key: str) -> None:
        """This object has the value that the journal has under this key."""
        need = self.needs[object_id] = Need(key)
        need.told = True

    def resume_template(self, template: Template, key: str) -> None:
        """This template is the one that the journal has under this key."""
        self._uses[template.id] = Use(template, key)

    def resume_task(self, task_id: int, returns: int, key: str) -> None:
        """This task is the one that the journal has under this key. It may be over already."""
        task = self._tasks.rows.get(task_id)
        if task is not None:
            self._enter(task, key)
        else:
            self._over.append(self._add(Unfinished(task_id, returns, key)))

    def refuse(self, why: str) -> None:
        """What an earlier hub has left cannot be read: nothing must take its place."""
        self._refusal = why
        self._rest(why, set())

    def resumed(self) -> None:
        """That was all: what nobody needs can go."""
        for object_id in [i for i, need in self.needs.items() if not need.count]:
            self._changes.dropped.append(self.needs.pop(object_id).key)
        for number in [number for number, use in self._uses.items() if not use.count]:
            self._changes.idle.append(self._uses.pop(number).key)

    # ---- to the journal -----------------------------------------------------------------------

    def settle(self) -> None:
        """Tell the journal what has changed. Called once after each batch of events."""
        while self._over:  # the latest first: what it has needed nobody may need any more
            self._end(self._over.pop())
        if self.resting:
            return
        fresh, self._fresh = self._fresh, {}
        for object_id in fresh:
            self._tell_value(object_id)
        if self._changes:
            self._tell()

    def _end(self, one: Unfinished) -> None:
        """It is over, unless it runs again: tell of it, if what others need of it can be told."""
        if one.telling or one.id in self._tasks.rows or self.unfinished.get(one.id) is not one:
            return
        if self.resting:
            self._forget(one)
            return
        needed = [i for i in one.results if i in self.needs and not self.needs[i].told]
        rows = [self._objects.rows.get(i) for i in needed]
        if any(row is None or row.value is None or row.contained for row in rows):
            # References mean nothing in another cluster: there it runs again, as long as somebody
            # needs what it makes.
            self._objects.reveal(one.results)
            return
        one.telling = True
        values = []
        for row in rows:
            assert row is not None
            assert row.value is not None
            need = self.needs[row.id]
            need.told = True
            values.append((row.id, need.key, row.value))
        self._changes.ends.append((one, values))
        for object_id in one.needs:
            self._need_less(object_id)
        if one.use is not None:
            one.use.count -= 1
            if not one.use.count:
                del self._uses[one.use.template.id]
                self._changes.idle.append(one.use.key)

    def _need_less(self, object_id: int) -> None:
        need = self.needs[object_id]
        need.count -= 1
        if need.count:
            return
        del self.needs[object_id]
        if need.told:
            self._changes.dropped.append(need.key)
        maker = self._makers.get(object_id)
        if maker is not None:  # it may be over but for this
            self._over.append(maker)

    def _tell_value(self, object_id: int) -> None:
        need, row = self.needs.get(object_id), self._objects.rows.get(object_id)
        if need is None or need.told or row is None:
            return
        if row.value is None:  # it was lost just now, and is made anew
            self._look_for(object_id)
        elif row.contained:
            for one in self.unfinished.values():
                if object_id in one.needs:
                    why = "it takes a value that contains references"
                    self._note(one.owner, f"{one.name} runs, but is not durable: {why}.")
        else:
            need.told = True
            self._changes.values.append((object_id, need.key, row.value))

    def _tell(self) -> None:
        changes, self._changes = self._changes, Changes()
        off, self._written_off = self._written_off, []
        # Until it is written, whatever becomes of those who need it.
        held = [object_id for object_id, _, _ in changes.all_values()]
        self._objects.hold(held)
        self.writing.update(held)
        era = self._era

        def written(done: Journalled) -> None:
            self.writing -= Counter(held)
            if era == self._era:
                self._written(done, changes, off)
            self._objects.drop(held)

        self._desk.tell(changes.entry(), written)

    # ---- from the journal ---------------------------------------------------------------------

    def _written(self, done: Journalled, changes: Changes, off: list[Unfinished]) -> None:
        if done.failure is not None:
            self._rest(done.failure.message, {one.owner for one, _ in changes.ends})
            self._timers.after(self._rest_s, lambda now: self._tell_afresh())
            self._rest_s = min(2 * self._rest_s, LONGEST_RETRY_S)
        else:
            self._rest_s = RETRY_S
        lost = set(done.answer or ())
        for one, values in changes.ends:
            if not any(key in lost for _, key, _ in values):  # else it has not ended
                self._forget(one)
        for one in off:
            self._forget(one)
        if lost:
            self._rebuild([(i, value) for i, key, value in changes.all_values() if key in lost])
            self._tell_afresh()

    def _rebuild(self, lost: list[tuple[int, Value]]) -> None:
        """These values had left the store: make those anew that somebody needs all the same."""
        needed = [(self._objects.rows[i], value) for i, value in lost if i in self.needs]
        self._recovery.rebuild([row for row, value in needed if row.value is value])

    def _forget(self, one: Unfinished) -> None:
        if self.unfinished.get(one.id) is one:
            del self.unfinished[one.id]
            for object_id in one.results:
                del self._makers[object_id]
        self._objects.reveal(one.results)

    def _rest(self, why: str, owners: set[int]) -> None:
        """Tell the journal nothing for now: it could not write what it was told."""
        self._era += 1
        self.resting = True
        owners.update(one.owner for one in self.unfinished.values())
        for owner in sorted(owners):
            self._note_rest(owner, why)

    def _note_rest(self, owner: int, why: str) -> None:
        self._note(owner, f"durable tasks will not go on should their pool be killed: {why}")

    def _tell_afresh(self) -> None:
        """Tell all that there is, in place of what was told before."""
        self._era += 1
        self.resting = False
        before, self.unfinished = self.unfinished, {}
        self.needs, self._makers, self._uses, self._fresh, self._over = {}, {}, {}, {}, []
        self._changes = Changes()
        self._changes.afresh = True
        for one in before.values():
            task = self._tasks.rows.get(one.id)
            if task is None:
                self._written_off.append(one)
            else:
                self._changes.tasks.append(self._recipe(self._enter(task, one.key), task))

    # ---- words ----------------------------------------------------------------------------------

    def _key(self, number: int) -> str:
        """Of an object or a template."""
        maker = self._makers.get(number)
        if maker is not None:
            return key_of_return(maker.key, number - maker.id)
        need = self.needs.get(number)
        return need.key if need is not None else f"{self._cluster}-{number:x}"

    def _recipe(self, one: Unfinished, task: TaskRecord) -> DurableTask:
        return recipe_of(one, task, self._objects.rows, self._key)

    def _note(self, owner: int, text: str) -> None:
        if (owner, text) not in self._noted:
            self._noted.add((owner, text))
            self._outbox.send(owner, Noted(text))
