"""Actors: state in a process of its own, called in order."""

from __future__ import annotations

import functools
import gc
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import parallax as px
from tests.conformance.actors import Counter
from tests.conformance.gates import Gate
from tests.conformance.tasks import fail, same, stop_at

pytestmark = pytest.mark.usefixtures("session")


def test_state_stays_between_calls() -> None:
    counter = Counter.remote(10)
    assert px.get(counter.add.remote()) == 11
    assert px.get(counter.add.remote(n=5)) == 16


def test_remote_returns_a_handle_at_once_and_calls_return_refs() -> None:
    counter = Counter.remote()
    assert isinstance(counter, px.ActorHandle)
    assert isinstance(counter.add.remote(), px.ObjectRef)


def test_actors_of_one_class_share_nothing() -> None:
    first, second = Counter.remote(1), Counter.remote(2)
    px.get(first.add.remote(10))
    assert px.get([first.read.remote(), second.read.remote()]) == [11, 2]


@pytest.mark.needs("processes")
def test_each_actor_has_a_process_of_its_own() -> None:
    actors = [Counter.remote() for _ in range(4)]
    assert len(set(px.get([actor.pid.remote() for actor in actors]))) == 4


def test_calls_of_one_caller_run_in_the_order_in_which_they_were_made() -> None:
    counter = Counter.remote()
    for number in range(200):
        counter.note.remote(number)
    assert px.get(counter.noted.remote()) == list(range(200))


@pytest.mark.needs("concurrency")
def test_a_call_that_waits_for_its_argument_is_not_overtaken(gate: Gate) -> None:
    counter = Counter.remote()
    late = stop_at.remote(gate)
    counter.note.remote(late)
    counter.note.remote("second")
    gate.open()
    assert px.get(counter.noted.remote()) == [1, "second"]


def test_refs_as_arguments_become_values() -> None:
    counter = Counter.remote(same.remote(5))
    assert px.get(counter.add.remote(same.remote(2))) == 7
    assert px.get(counter.add.remote(n=counter.read.remote())) == 14


def test_large_arguments_and_results() -> None:
    @px.remote
    class Keeper:
        def keep(self, array: Any) -> None:
            self.array = array

        def kept(self) -> Any:
            return self.array

    keeper = Keeper.remote()
    array = np.arange(300_000)
    keeper.keep.remote(array)
    assert (px.get(keeper.kept.remote()) == array).all()


def test_a_failed_argument_fails_the_call_and_not_the_actor() -> None:
    counter = Counter.remote()
    with pytest.raises(ZeroDivisionError):
        px.get(counter.add.remote(fail.remote()))
    assert px.get(counter.add.remote()) == 1


def test_an_exception_is_the_callers_and_the_actor_lives_on() -> None:
    counter = Counter.remote(3)
    with pytest.raises(ZeroDivisionError, match="no"):
        px.get(counter.fail.remote())
    assert px.get(counter.read.remote()) == 3


def test_a_result_that_cannot_be_pickled() -> None:
    @px.remote
    class Locked:
        def lock(self) -> Any:
            import threading

            return threading.Lock()

    with pytest.raises(TypeError, match=r"Locked\.lock"):
        px.get(Locked.remote().lock.remote())


def test_several_return_values() -> None:
    @px.remote
    class Pair:
        @px.method(num_returns=2)
        def both(self) -> tuple[int, int]:
            return 1, 2

        def three(self) -> list[int]:
            return [1, 2, 3]

    pair = Pair.remote()
    assert px.get(pair.both.remote()) == [1, 2]
    assert px.get(pair.three.options(num_returns=3).remote()) == [1, 2, 3]
    assert pair.three.options(num_returns=0).remote() is None


def test_a_generator_method_streams() -> None:
    counter = Counter.remote()
    generator = counter.count_to.remote(4)
    assert isinstance(generator, px.ObjectRefGenerator)
    assert [px.get(ref) for ref in generator] == [0, 1, 2, 3]
    assert px.get(counter.read.remote()) == 3


def test_a_stream_that_fails_ends_with_the_exception() -> None:
    @px.remote
    class Failing:
        def items(self) -> Iterator[int]:
            yield 1
            raise ZeroDivisionError

    first, last = Failing.remote().items.remote()
    assert px.get(first) == 1
    with pytest.raises(ZeroDivisionError):
        px.get(last)


# ---- handles --------------------------------------------------------------------------------


@px.remote
def add_through(counter: Any, n: int) -> int:
    return int(px.get(counter.add.remote(n)))


def test_a_handle_can_be_passed_to_tasks() -> None:
    counter = Counter.remote()
    assert px.get(add_through.remote(counter, 5)) == 5
    assert px.get(add_through.remote(counter, 5)) == 10


def test_a_handle_can_be_passed_to_actors_and_kept_there() -> None:
    @px.remote
    class Boss:
        def __init__(self, worker: Any) -> None:
            self.worker = worker

        def order(self) -> int:
            return int(px.get(self.worker.add.remote()))

    counter = Counter.remote()
    boss = Boss.remote(counter)
    assert px.get([boss.order.remote(), boss.order.remote()]) == [1, 2]
    del counter
    gc.collect()
    assert px.get(boss.order.remote()) == 3


def test_a_task_can_make_an_actor_and_return_it() -> None:
    @px.remote
    def make() -> Any:
        counter = Counter.remote(5)
        return counter, counter.add.remote()

    counter, ref = px.get(make.remote())
    assert px.get(ref) == 6
    assert px.get(counter.add.remote()) == 7


def test_handles_are_equal_by_what_they_stand_for() -> None:
    counter, other = Counter.remote(), Counter.remote()
    copy = pickle.loads(pickle.dumps(counter))
    assert copy == counter
    assert hash(copy) == hash(counter)
    assert counter != other
    assert len({counter, copy, other}) == 2
    assert px.get(copy.add.remote()) == 1


def test_a_handle_that_a_function_captures() -> None:
    counter = Counter.remote()

    @px.remote
    def add() -> int:
        return int(px.get(counter.add.remote()))

    assert px.get(add.remote()) == 1


def test_ready_and_call() -> None:
    counter = Counter.remote(3)
    assert px.get(counter.ready()) is True
    assert px.get(counter.call(lambda self, n: self.value + n, 4)) == 7
    assert px.get(counter.call(lambda self: setattr(self, "value", 9))) is None
    assert px.get(counter.read.remote()) == 9


def test_a_class_may_have_methods_of_these_names() -> None:
    @px.remote
    class Phone:
        def call(self, number: int) -> int:
            return number

        def ready(self) -> str:
            return "mine"

    phone = Phone.remote()
    assert px.get([phone.call.remote(5), phone.ready.remote()]) == [5, "mine"]


def test_reprs() -> None:
    counter = Counter.remote()
    assert repr(counter).startswith("<actor Counter ")
    assert repr(Counter) == "<actor class Counter>"
    assert "Counter.add" in repr(counter.add)
    assert "add" in dir(counter)


# ---- classes --------------------------------------------------------------------------------


class Base:
    def __init__(self) -> None:
        self.x = 1

    @property
    def doubled(self) -> int:
        return 2 * self.x

    def inherited(self) -> int:
        return self.doubled

    @staticmethod
    def static(x: int) -> int:
        return x + 1

    @classmethod
    def name_of(cls) -> str:
        return cls.__name__


def test_inheritance_properties_static_and_class_methods() -> None:
    @px.remote
    class Child(Base):
        def __init__(self) -> None:
            super().__init__()
            self.x = 21

        def __len__(self) -> int:
            return 7

    child = Child.remote()
    calls = [child.inherited, child.static, child.name_of, child.__len__]
    arguments: list[tuple[Any, ...]] = [(), (1,), (), ()]
    refs = [call.remote(*args) for call, args in zip(calls, arguments, strict=True)]
    assert px.get(refs) == [42, 2, "Child", 7]
    assert Child.static(4) == 5


def test_a_class_may_inherit_from_an_actor_class() -> None:
    @px.remote
    class Child(Counter):  # type: ignore[misc]
        def add_twice(self) -> int:
            self.add()
            return int(super().add())

    assert px.get(Child.remote(1).add_twice.remote()) == 3


def test_a_class_without_a_constructor() -> None:
    @px.remote
    class Plain:
        def hello(self) -> str:
            return "hello"

    assert px.get(Plain.remote().hello.remote()) == "hello"


def test_a_class_that_was_defined_anew_leaves_living_actors_alone() -> None:
    def define(version: int) -> Any:
        @px.remote
        class Versioned:
            def version(self) -> int:
                return version

        return Versioned

    old = define(1).remote()
    new = define(2).remote()
    assert px.get([old.version.remote(), new.version.remote()]) == [1, 2]


def test_the_context_names_the_actor() -> None:
    counter = Counter.remote()
    context = px.get(counter.context.remote())
    assert context.actor_id == repr(counter).split()[-1].rstrip(">")
    assert context.task_name == "Counter.context"
    assert px.get_runtime_context().actor_id == ""


# ---- mistakes -------------------------------------------------------------------------------


def test_a_method_that_there_is_not() -> None:
    counter = Counter.remote()
    with pytest.raises(AttributeError, match="Did you mean add"):
        counter.ad.remote()
    with pytest.raises(AttributeError, match="methods are"):
        counter.xyzzy.remote()
    with pytest.raises(AttributeError, match="unit is no method"):
        counter.unit.remote()


def test_calling_what_must_be_called_remotely() -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"Counter\.remote"):
        Counter()
    with pytest.raises(TypeError, match=r"add\.remote"):
        counter.add()


@pytest.mark.needs("parallax")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_restart": 1}, "max_restarts"),
        ({"max_restarts": -2}, "max_restarts=-2"),
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"concurrency_groups": {"io": 0}}, "io"),
        ({"lifetime": "forever"}, "detached"),
        ({"get_if_exists": True}, "name"),
        ({"name": ""}, "empty"),
        ({"max_pending_calls": 0}, "max_pending_calls=0"),
        ({"max_retries": 3}, "max_retries"),
        ({"num_cpus": -1}, "num_cpus=-1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(px.errors.UsageError, match=words):
        Counter.options(**options)


@pytest.mark.needs("parallax")
def test_options_of_methods_that_make_no_sense() -> None:
    with pytest.raises(px.errors.UsageError, match="num_return"):
        px.method(num_retruns=2)
    with pytest.raises(px.errors.UsageError, match="concurrency_group"):

        @px.remote
        class Grouped:
            @px.method(concurrency_group="io")
            def f(self) -> None: ...

    with pytest.raises(px.errors.UsageError, match="streaming"):
        Counter.remote().add.options(backpressure=2)


def test_an_argument_that_cannot_be_pickled() -> None:
    import threading

    with pytest.raises(TypeError, match="lock"):
        Counter.remote().add.remote(threading.Lock())


def test_an_instance_of_an_actor_class_is_a_value_like_any() -> None:
    copy = px.get(Counter.remote(5).call(lambda self: self))
    assert copy.value == 5
    assert copy.add() == 6


@pytest.mark.needs("parallax")
def test_wrong_arguments_are_told_where_the_call_is_written() -> None:
    class Base:
        @staticmethod
        def static(x: int) -> int:
            return x

        @classmethod
        def named(cls, *, name: str = "n") -> str:
            return name

    @px.remote
    class Odd(Base):
        def both(self, a: int, b: object = None) -> int:
            return a

        def any(self, *args: int, **kwargs: int) -> tuple[int, ...]:
            return (*args, *kwargs.values())

    odd = Odd.remote()
    for wrong in (
        lambda: odd.both.remote(),
        lambda: odd.both.options(name="x").remote(1, 2, 3),
        lambda: odd.both.remote(1, c=2),
        lambda: odd.static.remote(),
        lambda: odd.named.remote("n"),
        lambda: pickle.loads(pickle.dumps(odd)).both.remote(),
    ):
        with pytest.raises(TypeError, match="cannot be called with"):
            wrong()
    with pytest.raises(TypeError, match=r"Odd\.both\(a, b=\.\.\.\) cannot be called with no pos"):
        odd.both.remote()
    refs = [odd.both.remote(b=2, a=1), odd.static.remote(3), odd.named.remote(name="m")]
    assert px.get([*refs, odd.any.remote(1, x=2)]) == [1, 3, "m", (1, 2)]


def test_a_method_can_be_passed_on() -> None:
    @px.remote
    def use(method: Any) -> Any:
        return px.get(method.remote())

    counter = Counter.remote(4)
    px.get(counter.read.remote())
    assert px.get(use.remote(counter.read)) == 4
    assert px.get(use.remote(counter.context.options(name="renamed"))).task_name == "renamed"


def test_methods_of_any_name_and_kind_can_be_called() -> None:
    @px.remote
    class Named:
        def __call__(self, x: int) -> int:
            return x

        def _call(self) -> str:
            return "call"

        def _id(self) -> str:
            return "id"

        def _session(self) -> str:
            return "session"

        def remote(self) -> str:
            return "remote"

        def options(self) -> str:
            return "options"

        partial = functools.partialmethod(__call__, 5)

    named = Named.remote()
    assert px.get(named.__call__.remote(3)) == 3
    names = ("_call", "_id", "_session", "remote", "options", "partial")
    got = px.get([getattr(named, name).remote() for name in names])
    assert got == ["call", "id", "session", "remote", "options", 5]


def test_an_argument_may_be_called_self() -> None:
    @px.remote
    class Odd:
        def same(this, self: int) -> int:
            return self

    assert px.get(Odd.remote().same.remote(self=3)) == 3
    assert px.get(px.remote(lambda self: self).remote(self=4)) == 4


def test_an_actor_of_a_class_that_was_changed_since_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given an actor of a class of the notebook, whose cell is then edited and run again
    main = sys.modules["__main__"]

    @px.remote
    class Board:
        def read(self) -> str:
            return "old"

    monkeypatch.setattr(main, "Board", Board, raising=False)
    board = Board.remote()

    @px.remote  # type: ignore[no-redef]
    class Board:
        def read(self) -> str:
            return "new"

        def best(self) -> str:
            return "best"

    monkeypatch.setattr(main, "Board", Board)

    # Then the actor that lives is of the old version, and says what it is about
    with pytest.raises(AttributeError, match=r"no method 'best'. The class was changed since"):
        board.best.remote()
    with pytest.raises(AttributeError, match=r"no method 'reat'. Did you mean read"):
        board.reat.remote()
    assert px.get([board.read.remote(), Board.remote().best.remote()]) == ["old", "best"]
