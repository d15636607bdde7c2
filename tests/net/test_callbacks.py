"""What the outside is to be told runs in a thread of its own, or not at all."""

from __future__ import annotations

import threading

from parallax.net.callbacks import Callbacks


def test_calls_run_in_order_in_one_other_thread() -> None:
    callbacks = Callbacks()
    ran: list[tuple[int, str]] = []
    for number in range(100):
        assert callbacks.add(
            lambda number=number: ran.append((number, threading.current_thread().name))  # type: ignore[misc]
        )
    callbacks.close()
    assert [number for number, _ in ran] == list(range(100))
    assert {name for _, name in ran} == {"parallax-callbacks"}


def test_who_adds_a_call_after_the_end_is_told_that_it_will_not_run() -> None:
    callbacks = Callbacks()
    callbacks.close()
    assert not callbacks.add(lambda: None)
