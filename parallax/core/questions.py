"""Questions of clients, answered at once, or when there is something to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallax.core import views
from parallax.core.records import PeerRecord
from parallax.messages import Answered, Asked

if TYPE_CHECKING:
    from parallax.core.machine import Machine


class Questions:
    """Answers from the tables of this machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._early: list[tuple[int, Asked]] = []
        """Questions about nodes that came before the first one: a client joins a starting pool."""

    def ask(self, peer: PeerRecord, message: Asked, now: float) -> None:
        """Answer this question."""
        machine = self._machine
        if message.what in views.ABOUT_NODES and not machine.fleet.nodes:
            self._early.append((peer.number, message))
            return
        try:
            answer = views.answer(machine, peer, message.what, message.argument, now)
        except (LookupError, TypeError, ValueError) as error:
            reply = Answered(message.request, None, f"{message.what}: {error!r}")
        else:
            reply = Answered(message.request, answer)
        machine.outbox.send(peer.number, reply)

    def node_joined(self, now: float) -> None:
        """There is a node: answer those who asked about nodes before it."""
        early, self._early = self._early, []
        for number, message in early:
            peer = self._machine.peers.get(number)
            if peer is not None:
                self.ask(peer, message, now)
