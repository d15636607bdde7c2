"""The virtual clock and its wires."""

from __future__ import annotations

import pytest

from parallax.testing.world import Wire, World


def test_things_happen_in_the_order_of_time_and_of_planning() -> None:
    world, happened = World(), list[tuple[str, float]]()
    for name, time in (("late", 2.0), ("early", 1.0), ("early, too", 1.0)):
        world.at(time, lambda name=name: happened.append((name, world.now)))  # type: ignore[misc]
    world.after(0.5, lambda: world.after(0.0, lambda: happened.append(("nested", world.now))))
    while world.step():
        pass
    assert happened == [("nested", 0.5), ("early", 1.0), ("early, too", 1.0), ("late", 2.0)]
    assert world.next_time is None


def test_what_is_planned_for_the_past_happens_now() -> None:
    world, happened = World(), list[float]()
    world.at(5.0, lambda: world.at(1.0, lambda: happened.append(world.now)))
    while world.step():
        pass
    assert happened == [5.0]


@pytest.mark.parametrize("jitter", [False, True])
def test_a_wire_keeps_the_order_whatever_the_delays(jitter: bool) -> None:
    world, arrived = World(seed=3), list[int]()
    wire = Wire(world, arrived.append, 1e-4, jitter=jitter)
    for number in range(500):
        wire.send(number)
    assert wire.under_way == 500
    while world.step():
        pass
    assert arrived == list(range(500))
    assert wire.under_way == 0
    assert world.now == wire.last


def test_messages_on_different_wires_overtake_each_other() -> None:
    world, arrived = World(seed=1), list[tuple[str, int]]()
    one = Wire[int](world, lambda n: arrived.append(("one", n)), 1e-4, jitter=True)
    two = Wire[int](world, lambda n: arrived.append(("two", n)), 1e-4, jitter=True)
    for number in range(50):
        one.send(number)
        two.send(number)
    while world.step():
        pass
    assert arrived != sorted(arrived, key=lambda entry: entry[1])


def test_a_wire_that_is_cut_loses_its_tail() -> None:
    world, arrived = World(), list[int]()
    wire = Wire(world, arrived.append, 1e-4)
    for number in range(10):
        wire.send(number)
    wire.cut(keep=4)
    wire.send(99)
    while world.step():
        pass
    assert arrived == [0, 1, 2, 3]


def test_a_wire_whose_end_left_still_delivers_what_it_sent() -> None:
    world, arrived = World(), list[int]()
    wire = Wire(world, arrived.append, 1e-4)
    wire.send(1)
    wire.cut()
    while world.step():
        pass
    assert arrived == [1]


def test_what_is_sent_through_a_wire_that_stands_still_arrives_in_order_afterwards() -> None:
    world, arrived = World(), list[tuple[int, bool]]()
    wire = Wire[int](world, lambda number: arrived.append((number, world.now >= 1.0)), 1e-4)
    wire.send(1)
    wire.hold(1.0)
    wire.send(2)
    world.at(0.5, lambda: wire.send(3))
    wire.hold(0.7)  # a shorter stand within the longer one
    while world.step():
        pass
    assert arrived == [(1, True), (2, True), (3, True)]


@pytest.mark.parametrize("held_before", [False, True])
def test_the_end_of_a_wire_comes_after_all_that_was_sent(held_before: bool) -> None:
    world, arrived = World(), list[str]()
    wire = Wire[str](world, arrived.append, 1e-4)
    wire.send("word")
    if held_before:
        wire.hold(1.0)
    wire.end(lambda: arrived.append("the end"))
    if not held_before:
        wire.hold(2.0)
    wire.send("too late")
    while world.step():
        pass
    assert arrived == ["word", "the end"]
    assert world.now >= 1.0


def test_a_message_may_overtake_those_under_way() -> None:
    orders = set()
    for seed in range(20):
        world, arrived = World(seed), list[int]()
        wire = Wire[int](world, arrived.append, 1e-4)
        wire.send(1)
        wire.send(2)
        wire.send(3, overtakes=True)
        while world.step():
            pass
        orders.add(tuple(arrived))
    assert orders == {(3, 1, 2), (1, 3, 2)}
    assert world.happened["reorder"] == 1
