"""One attempt of a task on a simulated engine: a call, or the items of a chunk one by one."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from parallax.messages import (
    CONSTRUCTOR,
    Assignment,
    Chunk,
    Done,
    Failure,
    ItemsReturned,
    ItemYielded,
    ObjectMissing,
    Stored,
    TemplateDefined,
    Value,
)
from parallax.testing.programs import Emit, Raised, Ref, refs_in
from parallax.testing.task_context import Crash, Exit, TaskContext

if TYPE_CHECKING:
    from parallax.testing.engines import SimEngine

CHUNK_S = 0.02
"""A chunk that has run for so long gives the rest of its items back."""


class Attempt:
    """Runs the programs of one assignment, and tells its engine how they end.

    Args:
        engine: where; it has this attempt as its `running` one until it has ended.
        options: what its template says.
    """

    def __init__(self, engine: SimEngine, task: Assignment, options: TemplateDefined) -> None:
        self.task = task
        self.options = options
        self._engine = engine
        self._cluster = engine.cluster
        self._program: Generator[Any, Any, Any] | None = None
        self._context: TaskContext | None = None
        self._args: list[Any] = []
        self._values: list[Value] = []
        self._contained: dict[int, list[int]] = {}
        self._skipped = set(task.skipped)
        self._yielded = 0
        self._began = self._cluster.world.now
        self._epoch = 0
        """Changes whenever what was scheduled for the program is void."""
        self._waits_for_reader = False

    @property
    def object_id(self) -> int:
        """The object that is computed: of a chunk, that of the item."""
        return self.task.id + len(self._values)

    # ---- beginning ------------------------------------------------------------------------

    def fetch(self) -> None:
        """A call waits in its place until its lost arguments are there again, then begins."""
        task, engine = self.task, self._engine
        for index, (dep, value) in enumerate(zip(task.deps, task.values, strict=True)):
            if isinstance(value, Stored) and not self._cluster.has(value.name, self._engine):
                engine.values.pop(dep, None)
                engine.send(ObjectMissing(dep, value.name))

                def found(dep: int = dep, index: int = index) -> None:
                    if engine.alive and engine.running is self:
                        task.values[index] = engine.values.pop(dep)
                        self.fetch()

                engine.when_ready([dep], found)
                return
        failures = [value for value in task.values if isinstance(value, Failure)]
        if failures:
            self._began = self._cluster.world.now
            self._end([failures[0]], {})
        else:
            self.begin()

    def begin(self) -> None:
        """All that it needs is there."""
        assert not any(isinstance(value, Failure) for value in self.task.values)
        self._began = self._cluster.world.now
        self._args = [self._cluster.decode(value, self._engine) for value in self.task.values]
        self._begin_item()

    def _begin_item(self) -> None:
        task, engine, cluster = self.task, self._engine, self._cluster
        chunk = task.args.items if isinstance(task.args, Chunk) else None
        if chunk is not None:
            while len(self._values) < len(chunk) and self.object_id in self._skipped:
                self._values.append(Failure("cancelled", "skipped"))
            if len(self._values) == len(chunk):
                self._leave()
                return
        code = chunk[len(self._values)] if chunk is not None else task.args
        if isinstance(code, Stored):
            code = cluster.decode(code, self._engine).value
        assert isinstance(code, bytes)
        engine.last_begun = self.object_id
        engine.last_turn = max(engine.last_turn, task.turn)
        cluster.begun(engine, task, self.object_id, once=not self.options.max_retries)
        self._epoch += 1
        if chunk is not None:
            epoch = self._epoch
            cluster.world.at(self._began + CHUNK_S, lambda: self._give_back_items(epoch))
        work = cluster.work(code)
        if isinstance(work, int | float):
            self._later(work)
            return
        carried = [i for arg in self._args for i in refs_in(arg)] + cluster.refs_of(task.id)
        self._context = TaskContext(engine, task, self._args)
        self._context.keep(carried)
        self._program = work(self._context)
        self._resume(None)

    def _give_back_items(self, epoch: int) -> None:
        """The running item of a chunk takes long: others may compute those behind it."""
        if not self._is_on(epoch):
            return
        assert isinstance(self.task.args, Chunk)
        kept = len(self._values) + 1
        if kept < len(self.task.args.items):
            del self.task.args.items[kept:]
            self._engine.send(ItemsReturned(self.task.id, self.task.attempt, kept))

    # ---- running --------------------------------------------------------------------------

    def _is_on(self, epoch: int) -> bool:
        return epoch == self._epoch and self._engine.alive

    def _later(self, seconds: float, value: Any = None) -> None:
        """Compute for a while, then go on."""
        epoch = self._epoch
        seconds *= self._engine.slowness
        self._engine.busy_s += seconds

        def go_on() -> None:
            if self._is_on(epoch):
                if self._program is None:
                    self._end(*self._result(None))
                else:
                    self._resume(value)

        self._cluster.world.after(seconds, go_on)

    def _resume(self, value: Any, error: Exception | None = None) -> None:
        program = self._program
        assert program is not None
        try:
            step = program.throw(error) if error is not None else program.send(value)
        except StopIteration as stop:
            self._end(*self._result(stop.value))
        except Crash:
            self._cluster.kill(self._engine)
        except Exit:
            self._exit()
        except Raised as raised:
            self._end([Failure(raised.kind, str(raised))], {})
        except Exception as raised:  # noqa: BLE001 - a program may raise anything
            self._end([Failure("raised", repr(raised))], {})
        else:
            self._obey(step)

    def _exit(self) -> None:
        """The actor's process says that it goes, and ends when that has arrived."""
        engine = self._engine
        engine.leave_actor()
        self._epoch += 1
        epoch = self._epoch

        def end() -> None:
            if self._is_on(epoch):
                self._cluster.nodes[engine.node].kill(engine, status=0)

        self._cluster.world.at(engine.to_hub.last, end)

    def _obey(self, step: Any) -> None:
        if isinstance(step, int | float):
            self._later(step)
        elif isinstance(step, Emit):
            self._emit(step.value)
        else:
            self._get(step)

    def _get(self, wanted: Ref | list[Ref]) -> None:
        refs = wanted if isinstance(wanted, list) else [wanted]
        engine, epoch = self._engine, self._epoch

        def ready() -> None:
            if self._is_on(epoch):
                self._get(wanted)

        if not engine.when_ready([ref.id for ref in refs], ready):
            engine.block([ref.id for ref in refs if ref.id not in engine.values])
            return
        try:
            values = [engine.load(ref.id) for ref in refs]
        except LookupError:
            self._get(wanted)
            return
        except Raised as raised:
            engine.unblock()
            self._resume(None, raised)
            return
        assert self._context is not None
        self._context.keep([i for value in values for i in refs_in(value)])
        engine.unblock()
        self._resume(values if isinstance(wanted, list) else values[0])

    # ---- streams --------------------------------------------------------------------------

    def _emit(self, value: Any) -> None:
        task = self.task
        item_id = self._engine.new_id()
        wire_value = self._cluster.encode(self._engine, value)
        index, self._yielded = self._yielded, self._yielded + 1
        self._engine.send(
            ItemYielded(task.id, task.attempt, index, item_id, wire_value, refs_in(value))
        )
        self.continue_stream(emitted=True)

    def continue_stream(self, *, emitted: bool = False) -> None:
        """Yield the next item if its reader has taken enough of those before."""
        ahead = self.options.backpressure
        consumed = self._engine.consumed_of.get(self.task.id, 0)
        room = not ahead or self._yielded - consumed < ahead
        if room and (emitted or self._waits_for_reader):
            self._waits_for_reader = False
            self._engine.unblock()
            self._later(1e-5)
        elif not room:
            self._waits_for_reader = True
            self._engine.block()

    # ---- ending ---------------------------------------------------------------------------

    def interrupt(self, object_id: int, reason: str) -> None:
        """Stop; of a chunk, skip one item, or stop it if it is the one that runs.

        Args:
            object_id: that item, 0 for all.
        """
        engine, world = self._engine, self._cluster.world
        self._skipped.add(object_id)
        if object_id not in (0, self.object_id):
            return
        if engine.actor and not self.options.streaming:
            return  # calls are not interrupted
        if not self._cluster.chance(self._cluster.faults.stubborn):
            epoch = self._epoch
            world.after(
                2e-5 * world.random.random(),
                lambda: self._stop(epoch, reason, all_items=not object_id),
            )

    def _stop(self, epoch: int, reason: str, *, all_items: bool) -> None:
        if not self._is_on(epoch):
            return
        failure = Failure("cancelled", reason)
        if all_items and isinstance(self.task.args, Chunk):
            self._values += [failure] * (len(self.task.args.items) - len(self._values) - 1)
        self._end([failure], {})

    def _end(self, values: list[Value], contained: dict[int, list[int]]) -> None:
        """The call is over; of a chunk, this item."""
        if self._program is not None:
            self._program.close()
        self._engine.unblock()
        self._program = None
        self._waits_for_reader = False
        self._epoch += 1
        self._values += values
        self._contained |= contained
        context, self._context = self._context, None
        if self.options.role == CONSTRUCTOR and not any(
            isinstance(value, Failure) for value in values
        ):
            self._engine.actor = self.task.id
        elapsed = self._cluster.world.now - self._began
        retriable = bool(values) and self._retriable(values[-1])
        if not isinstance(self.task.args, Chunk) or retriable or elapsed > CHUNK_S:
            self._leave(retriable=retriable)
        else:
            self._begin_item()
        if context is not None:
            context.release()

    def _leave(self, *, retriable: bool = False) -> None:
        """Nothing of the task is left to run here."""
        task = self.task
        elapsed = self._cluster.world.now - self._began
        self._engine.ended(
            Done(
                task.id,
                task.attempt,
                self._values,
                self._contained,
                self._began,
                elapsed,
                retriable,
            )
        )

    def _result(self, result: Any) -> tuple[list[Value], dict[int, list[int]]]:
        """What a program has returned, as it travels."""
        if isinstance(self.task.args, Chunk) or self.options.num_returns == 1:
            results = [result]
        elif self.options.streaming or not self.options.num_returns:
            return [], {}
        else:
            results = list(result)
        contained = {i: refs_in(one) for i, one in enumerate(results, self.object_id)}
        values = [self._cluster.encode(self._engine, one) for one in results]
        return values, {i: refs for i, refs in contained.items() if refs}

    def _retriable(self, value: Value) -> bool:
        return (
            self.options.retry_exceptions and isinstance(value, Failure) and value.kind == "raised"
        )
