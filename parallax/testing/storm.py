"""A storm on a real pool: engines die, messages are late, links break."""

from __future__ import annotations

import heapq
import itertools
import platform
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from parallax.errors import ClusterLostError, UsageError
from parallax.pool.context import engine
from parallax.reprs import HtmlRepr
from parallax.sessions.current import current
from parallax.sessions.pool import PoolSession
from parallax.testing.detour import Detour
from parallax.testing.storm_plan import StormPlan
from parallax.testing.strikes import CRASHES, Victim

FREEZE_S = 0.2
"""So long at most an engine stands still after a SIGSTOP; then it is killed."""

LEAD_S = 0.05
"""How often engines are looked for whose links do not pass through the relay yet."""


@dataclass(frozen=True, slots=True)
class StormCounts:
    """What a storm has done so far.

    Attributes:
        killed: engines that got a SIGKILL.
        crashed: engines that got a SIGSEGV or a SIGABRT.
        frozen: engines that were stopped, and killed a moment later.
        nodes: node agents that were killed.
        severed: links that were ended under a living engine.
        delayed: messages that were held; those that are sent together count as one.
    """

    killed: int = 0
    crashed: int = 0
    frozen: int = 0
    nodes: int = 0
    severed: int = 0
    delayed: int = 0

    @property
    def engines(self) -> int:
        """Engines that were struck by a signal."""
        return self.killed + self.crashed + self.frozen


class Storm(HtmlRepr):
    """What `chaos` returns: strikes the pool of the session while its `with` block runs.

    Thread-safe. The strikes come from a thread of this process; those that end an engine are
    signals of this process to it. One that was stopped is killed at the latest as the block ends.
    """

    def __init__(self, plan: StormPlan) -> None:
        self._plan = plan
        self._dice = random.Random(plan.seed)
        self._done = asdict(StormCounts())
        self._over = threading.Event()
        self._threads: ThreadPoolExecutor | None = None
        self._work: Future[None] | None = None
        self._detour: Detour | None = None
        self._led_round: set[int] = set()
        """Engines whose links are known to pass through the relay."""
        self._frozen: list[Victim] = []
        self._calendar: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def seed(self) -> int:
        """What decides its course: `chaos` with it makes one like it."""
        return self._plan.seed

    @property
    def counts(self) -> StormCounts:
        """What it has done so far."""
        if self._detour is not None and self._plan.delay_s:
            self._done["delayed"] = self._detour.delayed()
        return StormCounts(**self._done)

    def __enter__(self) -> Storm:
        """Begin.

        Raises:
            UsageError: there is nothing to strike in this session, there is a relay of another
                storm already, or this storm is over.
        """
        if self._threads is not None:
            raise UsageError("this storm is over; call chaos() again for another one.")
        session = self._session = _pool_session()
        plan = self._plan
        nodes = session.ask("nodes")
        if plan.kill_nodes_every_s is not None and len(nodes) < 2:
            raise UsageError(
                "kill_nodes_every_s needs a pool of several nodes: the end of the only one, "
                f"{nodes[0]['host']}, is the end of the pool. Leave it out, or use "
                "kill_engines_every_s."
            )
        if plan.needs_detour:
            self._detour = Detour(session.client.connection.endpoint, plan.seed, plan.delay_s)
            self._lead_round()
        for every_s, strike in (
            (plan.kill_engines_every_s, self._kill_engine),
            (plan.kill_nodes_every_s, self._kill_node),
            (plan.sever_links_every_s, self._sever_link),
        ):
            if every_s is not None:
                self._repeat(every_s, strike)
        self._threads = ThreadPoolExecutor(1, "parallax-chaos")
        self._work = self._threads.submit(self._blow)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._threads is not None
        assert self._work is not None
        self._over.set()
        self._threads.shutdown()
        if self._detour is not None:
            self._detour.end()
        self._work.result()

    def __repr__(self) -> str:
        done = [f"{count:,} {name}" for name, count in asdict(self.counts).items() if count]
        return f"<chaos seed={self.seed}: {', '.join(done) or 'nothing yet'}>"

    # ---- in the storm's thread --------------------------------------------------------------

    def _blow(self) -> None:
        try:
            while not self._over.wait(self._lull_s()):
                _, _, act = heapq.heappop(self._calendar)
                act()
        except ClusterLostError:
            return  # the pool is over, and so is the storm
        finally:
            for victim in self._frozen:
                victim.end()

    def _lull_s(self) -> float | None:
        """Until the next strike, in seconds; None for ever."""
        return max(0.0, self._calendar[0][0] - time.monotonic()) if self._calendar else None

    def _in(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._calendar, (time.monotonic() + seconds, next(self._order), act))

    def _repeat(self, every_s: float, strike: Callable[[], None]) -> None:
        def act() -> None:
            strike()
            self._repeat(every_s, strike)

        self._in(self._dice.expovariate(1.0 / every_s), act)

    def _lead_round(self) -> None:
        """Have the links of idle engines pass through the relay: their successors' do."""
        assert self._detour is not None
        for row in _engines(self._session.ask("nodes")):
            pid = row["pid"]
            if row["state"] == "idle" and pid not in self._led_round:
                if self._detour.has(pid):
                    self._led_round.add(pid)
                else:
                    self._strike(row, "SIGKILL")
        self._in(LEAD_S, self._lead_round)

    def _kill_engine(self) -> None:
        row = self._choose(_engines(self._session.ask("nodes")))
        way = self._dice.choice(self._plan.ways)
        if row is not None and self._strike(row, way):
            crashed = signal.Signals[way] in CRASHES
            kind = "crashed" if crashed else "frozen" if way == "SIGSTOP" else "killed"
            self._done[kind] += 1

    def _kill_node(self) -> None:
        row = self._choose(_here(self._session.ask("nodes")[1:]))
        if row is not None:
            with suppress(ProcessLookupError):
                Victim(row["pid"], "parallax-node").end()
                self._done["nodes"] += 1

    def _sever_link(self) -> None:
        assert self._detour is not None
        row = self._choose(_engines(self._session.ask("nodes")))
        if row is not None:
            self._done["severed"] += self._detour.sever(row["pid"])

    def _choose(self, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
        return self._dice.choice(rows) if rows else None

    def _strike(self, row: dict[str, Any], way: str) -> bool:
        """Send an engine a signal; whether it was there to get it."""
        try:
            victim = Victim(row["pid"], f"parallax-{row['engine']}")
        except ProcessLookupError:
            return False
        try:
            victim.send(signal.Signals[way])
        except ProcessLookupError:
            victim.release()
            return False
        if way == "SIGSTOP":
            self._frozen.append(victim)
            self._in(self._dice.uniform(0.0, FREEZE_S), lambda: self._end_frozen(victim))
        else:
            victim.release()
        return True

    def _end_frozen(self, victim: Victim) -> None:
        self._frozen.remove(victim)
        victim.end()


def _pool_session() -> PoolSession:
    """The session, if it is one that a storm can strike.

    Raises:
        UsageError: it is not.
    """
    if engine.client is not None:
        raise UsageError("chaos() is for the driver: a task would strike the engine it runs in.")
    session = current()
    if not isinstance(session, PoolSession):
        raise UsageError(
            "chaos() needs an engine pool, and this session runs tasks inline, in this process. "
            "Call parallax.shutdown(), then parallax.init()."
        )
    return session


def _here(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes of this host: signals reach no further."""
    return [row for row in rows if row["host"] == platform.node()]


def _engines(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The engines of this host that have not been told to end."""
    return [row for node in _here(nodes) for row in node["engines"] if row["state"] != "ending"]
