"""How engines come, and how they go: what their death means, and whose fault it was."""

from __future__ import annotations

from collections.abc import Callable

from parallax.core.actors import ActorTable
from parallax.core.cancels import Cancels
from parallax.core.fleet import Fleet
from parallax.core.obituaries import OUT_OF_MEMORY, describe_status, node_died, obituary
from parallax.core.outbox import Outbox, Stop
from parallax.core.records import EngineRecord
from parallax.core.recovery import ANY_OF_THEM, Recovery
from parallax.core.resources import NodeRecord
from parallax.core.tasks import TaskTable
from parallax.core.timers import Timers
from parallax.messages import EngineExited, Failure

EXIT_GRACE_S = 1.0
"""An engine that has ended is buried when its link has ended too, so when all that it had sent has
arrived. A process that it left behind may hold the link open: for so long at most."""
MAX_FAILED_STARTS = 5
"""Times in a row that engines died before they said hello, and none is there: then none ever will
be. Those that were wanted together, and failed together, were one attempt."""
FIRST_REST_S = 0.01
LONGEST_REST_S = 5.0
"""Between attempts to start an engine: longer after each failure, in a row of them."""


class Liveness:
    """Adds engines that have started, and buries those that have ended.

    Args:
        part: drops a peer that is still connected: its number, why, and the time.
    """

    def __init__(
        self,
        fleet: Fleet,
        tasks: TaskTable,
        recovery: Recovery,
        cancels: Cancels,
        actors: ActorTable,
        outbox: Outbox,
        timers: Timers,
        part: Callable[[int, str, float], None],
    ) -> None:
        self._fleet = fleet
        self._tasks = tasks
        self._recovery = recovery
        self._cancels = cancels
        self._actors = actors
        self._outbox = outbox
        self._timers = timers
        self._part = part
        self._failed_starts = 0

    def started(self, engine: EngineRecord) -> None:
        """An engine has said hello."""
        self._failed_starts = 0
        self._fleet.add_engine(engine)

    def exited(self, node: NodeRecord, message: EngineExited, now: float) -> None:
        """A node has seen one of its engines end."""
        engine = node.engines.get(message.number)
        if engine is not None:
            self._fleet.doom(engine, "gone")
            if engine.fallen_silent:
                self._exited(engine, message, now)
            elif engine.exit is None:
                engine.exit = message
                due = now + EXIT_GRACE_S
                self._timers.at(due, lambda later: self._exited(engine, message, later))
        elif message.number in node.starting:
            if now >= node.rests_until:  # else it was wanted together with one that has failed
                self._failed_starts += 1
            rest_s = min(FIRST_REST_S * 2**self._failed_starts, LONGEST_REST_S)
            self._fleet.start_failed(message.number, node, rest_s, now)
            if self._failed_starts >= MAX_FAILED_STARTS and not self._fleet.engines:
                how = describe_status(message.status)
                self._outbox.act(Stop(f"engines cannot start ({how}). {message.detail}".strip()))

    def fell_silent(self, engine: EngineRecord, now: float) -> None:
        """An engine's link has ended: nothing more will come from it."""
        if engine.fallen_silent:
            return  # it is being buried
        engine.fallen_silent = True
        if engine.exit is not None:
            self._exited(engine, engine.exit, now)
        else:
            # The node tells how it died; until then nothing more is placed on it.
            self._fleet.retire(engine, "lost")

    def pressed(self, node: NodeRecord) -> None:
        """The host runs out of memory: end the engine of the task that began last, of those that
        may be retried if there are any."""
        if any(engine.dying == OUT_OF_MEMORY for engine in node.engines.values()):
            return
        running = [engine for engine in node.engines.values() if engine.queue and not engine.dying]
        if running:
            self._fleet.retire(max(running, key=_expendable), OUT_OF_MEMORY)

    def node_lost(self, node: NodeRecord, now: float) -> bool:
        """A host is gone with all its engines: whatever they had been given may have begun.

        Returns:
            Whether there are other nodes. When there are none the cluster ends as it is: its
            clients hear of its end, and not of what would become of each task.
        """
        if len(self._fleet.nodes) == 1:
            self._outbox.act(Stop(f"the node agent of {node.host} was lost"))
            return False
        for engine in list(node.engines.values()):
            failure = node_died(node, engine)
            self._bury(engine, ANY_OF_THEM, [], failure, now)
        self._fleet.remove_node(node)
        return True

    def _exited(self, engine: EngineRecord, message: EngineExited, now: float) -> None:
        if self._fleet.engines.get(engine.number) is engine:  # else its end was told twice
            failure = obituary(engine, message)
            self._bury(engine, message.running, message.turns, failure, now)

    def _bury(
        self, engine: EngineRecord, running: int, turns: list[int], failure: Failure, now: float
    ) -> None:
        rows = self._tasks.rows
        children = [
            rows[child]
            for task in engine.queue.values()
            for child in task.children or ()
            if child in rows
        ]
        # What earlier calls of an actor had begun to read, nobody reads any more.
        unread = [t for t in rows.values() if t.stream is not None and t.owner == engine.peer]
        engine.fallen_silent = True
        self._part(engine.peer, "its process has ended", now)
        self._actors.engine_lost(engine, running, turns, failure)
        self._recovery.engine_lost(engine, running, failure)
        self._fleet.end_lease(engine)
        self._fleet.remove_engine(engine)
        self._cancels.abandon({*children, *unread}, now)


def _expendable(engine: EngineRecord) -> tuple[bool, float, int]:
    head = next(iter(engine.queue.values()))
    return head.retries_left != 0, engine.moved_at, head.id
