"""Refs report themselves to the innermost collector of their own thread."""

from __future__ import annotations

import threading

import pytest

from parallax.serial.refs import collecting, note


def test_nothing_happens_when_nobody_collects() -> None:
    note(1)
    with collecting() as ids:
        pass
    assert ids == []


def test_ids_come_in_order_and_as_often_as_noted() -> None:
    with collecting() as ids:
        for object_id in (3, 1, 3):
            note(object_id)
    assert ids == [3, 1, 3]


def test_the_innermost_collector_gets_the_ref() -> None:
    with collecting() as outer:
        note(1)
        with collecting() as inner:
            note(2)
        note(3)
    assert (outer, inner) == ([1, 3], [2])


def test_an_error_inside_ends_the_collecting() -> None:
    with collecting() as outer:
        with pytest.raises(ZeroDivisionError), collecting():
            1 / 0  # noqa: B018
        note(1)
    assert outer == [1]


def test_threads_do_not_see_each_other() -> None:
    with collecting() as mine:
        thread = threading.Thread(target=note, args=(7,))
        thread.start()
        thread.join()
    assert mine == []
