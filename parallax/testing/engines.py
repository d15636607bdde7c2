"""A simulated engine: it honours its run-queue, interrupts and recalls, and runs programs."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from parallax.messages import (
    CONSTRUCTOR,
    ActorExited,
    ActorStopped,
    Assignment,
    BlobDefined,
    Chunk,
    Done,
    Failure,
    FromHub,
    ItemsConsumed,
    ItemsReturned,
    ItemYielded,
    ObjectMissing,
    Stored,
    TaskBlocked,
    TaskInterrupted,
    TasksAssigned,
    TasksFinished,
    TasksRecalled,
    TasksReturned,
    TaskStalled,
    TaskUnblocked,
    TemplateDefined,
    TemplatesForgotten,
    ToHub,
    Value,
)
from parallax.testing.members import Member
from parallax.testing.programs import Emit, Raised, Ref, refs_in
from parallax.testing.task_context import Crash, Exit, TaskContext

if TYPE_CHECKING:
    from parallax.testing.cluster import Cluster

FLUSH_S = 0.001
"""Results of tiny tasks travel together; none waits for longer than this."""
CHUNK_S = 0.02
"""A chunk that has run for so long gives the rest of its items back."""


class SimEngine(Member):
    """One engine process."""

    def __init__(self, cluster: Cluster, number: int, node: int, *, slowness: float = 1.0) -> None:
        super().__init__(cluster, "engine", number=number, node=node)
        self.number = number
        self.slowness = slowness
        self.last_begun = self.last_turn = 0
        self.actor = 0
        """The actor that lives here."""
        self.busy_s = 0.0
        self._queue: deque[Assignment] = deque()
        self._blobs: set[bytes] = set()
        self._known: dict[int, TemplateDefined] = {}
        self._needless: set[int | bytes] = set()
        self._finished: list[Done] = []
        self._consumed: dict[int, int] = {}
        self._task: Assignment | None = None
        self._program: Generator[Any, Any, Any] | None = None
        self._context: TaskContext | None = None
        self._args: list[Any] = []
        self._values: list[Value] = []
        self._contained: dict[int, list[int]] = {}
        self._skipped: set[int] = set()
        self._yielded = 0
        self._began = 0.0
        self._epoch = 0
        """Changes whenever what was scheduled for the program is void."""
        self._blocked = False
        self._waits_for_reader = False

    def send(self, message: ToHub) -> None:
        self._flush()
        super().send(message)

    # ---- what the hub says ----------------------------------------------------------------

    def receive(self, message: FromHub) -> None:
        if isinstance(message, TasksAssigned):
            if self._blocked and not self.actor:  # else they would wait behind one that waits
                self.send(TasksReturned([task.id for task in message.tasks]))
            else:
                self._queue.extend(message.tasks)
                self._next()
        elif isinstance(message, TasksRecalled):
            self._give_back(message.ids)
        elif isinstance(message, TaskInterrupted):
            self._interrupt(message)
        elif isinstance(message, TemplateDefined):
            self._known[message.template] = message
            self._needless.discard(message.template)
        elif isinstance(message, TemplatesForgotten):
            self._needless.update(message.templates, message.blobs)
        elif isinstance(message, ItemsConsumed):
            self._consumed[message.task] = max(self._consumed.get(message.task, 0), message.count)
            if self._task is not None and self._task.id == message.task:
                self._continue_stream()
        elif isinstance(message, BlobDefined):
            self._blobs.add(message.key)
            self._needless.discard(message.key)
        elif isinstance(message, ActorStopped):
            self.cluster.nodes[self.node].kill(self, status=0)
        else:
            super().receive(message)

    def _give_back(self, ids: list[int]) -> None:
        wanted = set(ids)
        returned = [task.id for task in self._queue if task.id in wanted]
        self._queue = deque(task for task in self._queue if task.id not in wanted)
        self.send(TasksReturned(returned, recalled=True))

    def _interrupt(self, message: TaskInterrupted) -> None:
        task = self._task
        if task is not None and (task.id, task.attempt) == (message.task, message.attempt):
            self._skipped.add(message.object_id)
            if message.object_id not in (0, self._object_id):
                return
            if self.actor and not self._known[task.template].streaming:
                return  # calls are not interrupted
            if not self.cluster.chance(self.cluster.faults.stubborn):
                epoch = self._epoch
                self.cluster.world.after(
                    2e-5 * self.cluster.world.random.random(),
                    lambda: self._stop(epoch, message.reason, all_items=not message.object_id),
                )
            return
        for waiting in list(self._queue):
            if (waiting.id, waiting.attempt) == (message.task, message.attempt):
                if message.object_id:
                    waiting.skipped.append(message.object_id)
                else:
                    self._queue.remove(waiting)
                    self.send(TasksReturned([waiting.id]))

    def _stop(self, epoch: int, reason: str, *, all_items: bool) -> None:
        if epoch != self._epoch or not self.alive:
            return
        failure = Failure("cancelled", reason)
        if all_items and self._task is not None and isinstance(self._task.args, Chunk):
            self._values += [failure] * (len(self._task.args.items) - len(self._values) - 1)
        self._end([failure], {})

    # ---- running --------------------------------------------------------------------------

    @property
    def _object_id(self) -> int:
        assert self._task is not None
        return self._task.id + len(self._values)

    def _next(self) -> None:
        while self._task is None and self._queue and self.alive:
            if self._needless:
                self._forget()
            task = self._queue.popleft()
            missing = [
                dep
                for dep, value in zip([0, *task.deps], [task.args, *task.values], strict=True)
                if isinstance(value, Stored) and not self.cluster.has(value.name)
            ]
            if missing and self.actor:
                self._task, self._values = task, []
                self._fetch(task)
            elif missing:
                self.send(TaskStalled(task.id, task.attempt, missing))
            else:
                self._begin(task)

    def _fetch(self, task: Assignment) -> None:
        """A call waits in its place until its lost arguments are there again."""
        for index, (dep, value) in enumerate(zip(task.deps, task.values, strict=True)):
            if isinstance(value, Stored) and not self.cluster.has(value.name):
                self.values.pop(dep, None)
                self.send(ObjectMissing(dep, value.name))

                def found(dep: int = dep, index: int = index) -> None:
                    if self.alive and self._task is task:
                        task.values[index] = self.values.pop(dep)
                        self._fetch(task)

                self.when_ready([dep], found)
                return
        failures = [value for value in task.values if isinstance(value, Failure)]
        if failures:
            self._began = self.cluster.world.now
            self._end([failures[0]], {})
        else:
            self._begin(task)

    def _forget(self) -> None:
        """Between tasks: what is needless goes, unless queued tasks need it."""
        used = {task.template for task in self._queue}
        code = {self._known[template].function for template in used}
        for name in self._needless - used - code:
            if isinstance(name, int):
                del self._known[name]
            else:
                self._blobs.discard(name)
            self._needless.discard(name)

    def _begin(self, task: Assignment) -> None:
        assert task.template in self._known, "a task came before its template"
        assert self._known[task.template].function in self._blobs, "or before its code"
        assert not any(isinstance(value, Failure) for value in task.values)
        self._task = task
        self._values, self._contained = [], {}
        self._skipped = set(task.skipped)
        self._yielded = 0
        self._began = self.cluster.world.now
        self._args = [self.cluster.decode(value) for value in task.values]
        self._begin_item()

    def _begin_item(self) -> None:
        task = self._task
        assert task is not None
        chunk = task.args.items if isinstance(task.args, Chunk) else None
        if chunk is not None:
            while len(self._values) < len(chunk) and self._object_id in self._skipped:
                self._values.append(Failure("cancelled", "skipped"))
            if len(self._values) == len(chunk):
                self._task = None
                elapsed = self.cluster.world.now - self._began
                self._report(task, self._values, self._contained, elapsed)
                self.cluster.world.after(0.0, self._next)
                return
        code = chunk[len(self._values)] if chunk is not None else task.args
        if isinstance(code, Stored):
            code = self.cluster.decode(code).value
        assert isinstance(code, bytes)
        self.last_begun = self._object_id
        self.last_turn = max(self.last_turn, task.turn)
        once = not self._known[task.template].max_retries
        self.cluster.begun(self, task, self._object_id, once=once)
        self._epoch += 1
        if chunk is not None:
            epoch = self._epoch
            self.cluster.world.at(self._began + CHUNK_S, lambda: self._give_back_items(epoch))
        work = self.cluster.work(code)
        if isinstance(work, int | float):
            self._later(work)
            return
        args = self._args
        carried = [i for arg in args for i in refs_in(arg)] + self.cluster.refs_of(task.id)
        self._context = TaskContext(self, task, args)
        self._context.keep(carried)
        self._program = work(self._context)
        self._resume(None)

    def _give_back_items(self, epoch: int) -> None:
        """The running item of a chunk takes long: others may compute those behind it."""
        task = self._task
        if epoch != self._epoch or not self.alive or task is None:
            return
        assert isinstance(task.args, Chunk)
        kept = len(self._values) + 1
        if kept < len(task.args.items):
            del task.args.items[kept:]
            self.send(ItemsReturned(task.id, task.attempt, kept))

    def _later(self, seconds: float, value: Any = None) -> None:
        """Compute for a while, then go on."""
        epoch = self._epoch
        seconds *= self.slowness
        self.busy_s += seconds

        def go_on() -> None:
            if epoch == self._epoch and self.alive:
                if self._program is None:
                    self._end(*self._result(None))
                else:
                    self._resume(value)

        self.cluster.world.after(seconds, go_on)

    def _resume(self, value: Any, error: Exception | None = None) -> None:
        program = self._program
        assert program is not None
        try:
            step = program.throw(error) if error is not None else program.send(value)
        except StopIteration as stop:
            self._end(*self._result(stop.value))
        except Crash:
            self.cluster.kill(self)
        except Exit:
            self._leave_actor()
        except Raised as raised:
            self._end([Failure(raised.kind, str(raised))], {})
        except Exception as raised:  # noqa: BLE001 - a program may raise anything
            self._end([Failure("raised", repr(raised))], {})
        else:
            self._obey(step)

    def _leave_actor(self) -> None:
        """The process says so, and ends when that has arrived."""
        self._flush()
        self.send(ActorExited(self.actor))
        self._queue.clear()
        self._epoch += 1
        epoch = self._epoch

        def end() -> None:
            if self.alive and self._epoch == epoch:
                self.cluster.nodes[self.node].kill(self, status=0)

        self.cluster.world.at(self.to_hub.last, end)

    def _obey(self, step: Any) -> None:
        if isinstance(step, int | float):
            self._later(step)
        elif isinstance(step, Emit):
            self._emit(step.value)
        else:
            self._get(step)

    def _get(self, wanted: Ref | list[Ref]) -> None:
        refs = wanted if isinstance(wanted, list) else [wanted]
        epoch = self._epoch

        def ready() -> None:
            if epoch == self._epoch and self.alive:
                self._get(wanted)

        if not self.when_ready([ref.id for ref in refs], ready):
            self._block()
            return
        try:
            values = [self.load(ref.id) for ref in refs]
        except LookupError:
            self._get(wanted)
            return
        except Raised as raised:
            self._unblock()
            self._resume(None, raised)
            return
        assert self._context is not None
        self._context.keep([i for value in values for i in refs_in(value)])
        self._unblock()
        self._resume(values if isinstance(wanted, list) else values[0])

    def _block(self) -> None:
        if not self._blocked:
            self._blocked = True
            assert self._task is not None
            if self._queue and not self.actor:
                self.send(TasksReturned([task.id for task in self._queue]))
                self._queue.clear()
            self.send(TaskBlocked(self._task.id))

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            assert self._task is not None
            self.send(TaskUnblocked(self._task.id))

    # ---- streams --------------------------------------------------------------------------

    def _emit(self, value: Any) -> None:
        task = self._task
        assert task is not None
        (item_id,) = self._take_ids(1)
        wire_value = self.cluster.encode(self, value)
        index, self._yielded = self._yielded, self._yielded + 1
        self.send(ItemYielded(task.id, task.attempt, index, item_id, wire_value, refs_in(value)))
        self._continue_stream(emitted=True)

    def _continue_stream(self, *, emitted: bool = False) -> None:
        task = self._task
        assert task is not None
        ahead = self._known[task.template].backpressure
        room = not ahead or self._yielded - self._consumed.get(task.id, 0) < ahead
        if room and (emitted or self._waits_for_reader):
            self._waits_for_reader = False
            self._unblock()
            self._later(1e-5)
        elif not room:
            self._waits_for_reader = True
            self._block()

    # ---- ending ---------------------------------------------------------------------------

    def _end(self, values: list[Value], contained: dict[int, list[int]]) -> None:
        """The call is over; of a chunk, this item."""
        task = self._task
        assert task is not None
        if self._program is not None:
            self._program.close()
        self._unblock()
        self._program = None
        self._waits_for_reader = False
        self._epoch += 1
        self._values += values
        self._contained |= contained
        context, self._context = self._context, None
        if self._known[task.template].role == CONSTRUCTOR and not any(
            isinstance(value, Failure) for value in values
        ):
            self.actor = task.id
        elapsed = self.cluster.world.now - self._began
        retriable = bool(values) and self._retriable(task, values[-1])
        if not isinstance(task.args, Chunk) or retriable or elapsed > CHUNK_S:
            self._task = None
            self._report(task, self._values, self._contained, elapsed, retriable=retriable)
            self.cluster.world.after(0.0, self._next)
        else:
            self._begin_item()
        if context is not None:
            context.release()

    def _result(self, result: Any) -> tuple[list[Value], dict[int, list[int]]]:
        """What a program has returned, as it travels."""
        assert self._task is not None
        options = self._known[self._task.template]
        if isinstance(self._task.args, Chunk) or options.num_returns == 1:
            results = [result]
        elif options.streaming or not options.num_returns:
            return [], {}
        else:
            results = list(result)
        contained = {i: refs_in(one) for i, one in enumerate(results, self._object_id)}
        values = [self.cluster.encode(self, one) for one in results]
        return values, {i: refs for i, refs in contained.items() if refs}

    def _retriable(self, task: Assignment, value: Value) -> bool:
        options = self._known[task.template]
        return options.retry_exceptions and isinstance(value, Failure) and value.kind == "raised"

    def _report(
        self,
        task: Assignment,
        values: list[Value],
        contained: dict[int, list[int]],
        duration_s: float,
        *,
        retriable: bool = False,
    ) -> None:
        done = Done(task.id, task.attempt, values, contained, self._began, duration_s, retriable)
        self._finished.append(done)
        if len(self._finished) == 1:
            self.cluster.world.after(FLUSH_S if self._queue else 0.0, self._flush)

    def _flush(self) -> None:
        if self._finished and self.alive:
            done, self._finished = self._finished, []
            super().send(TasksFinished(done))
            if self.cluster.chance(self.cluster.faults.duplicate):
                super().send(TasksFinished(done))
