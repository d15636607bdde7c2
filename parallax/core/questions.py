"""Questions of clients, and when they are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallax.core import views
from parallax.core.records import PeerRecord
from parallax.messages import Answered, Asked

if TYPE_CHECKING:
    from parallax.core.machine import Machine


class Questions:
    """Answers what is asked about the machine: at once, or as soon as there is a node."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._early: list[tuple[int, Asked]] = []
        """About nodes, from before the first one: a client joins a starting pool."""

    def asked(self, peer: PeerRecord, message: Asked, now: float) -> None:
        """A client asks."""
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
        """There is a node: answer those who asked before it."""
        early, self._early = self._early, []
        for number, message in early:
            if number in self._machine.peers:
                self.asked(self._machine.peers[number], message, now)
