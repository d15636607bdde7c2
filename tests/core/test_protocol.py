"""Whatever well-formed messages a peer sends, the machine refuses or digests them, and goes on."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax import messages
from parallax.core.machine import Machine, PeerJoined, PeerLost, Received, Ticked
from parallax.core.outbox import Send
from parallax.errors import ProtocolError
from parallax.messages import EnginesWanted, Hello, Ping, TaskSpec, TemplateDefined
from parallax.net import codec
from parallax.testing import check
from tests.core.builders import CLIENT, NODE, Bench
from tests.core.depth import examples

ROLES = ("client", "engine", "node")
SMALL = st.integers(0, 6)
"""Few values, so that messages meet the same tasks, objects, templates, jobs and engines."""


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation of the messages."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return st.lists(strategy(args[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(strategy(args[0]), strategy(args[1]), max_size=2)
    if origin is tuple:
        return st.tuples(*map(strategy, args))
    if args:
        return st.one_of(*map(strategy, args))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{name: strategy(hint) for name, hint in hints.items()})
    return {
        int: SMALL | st.sampled_from([-1, 1 << 62]),
        float: st.sampled_from([0.0, 1.0, 0.5, -1.0, 1e300, float("nan"), float("inf")]),
        bytes: st.sampled_from([b"", b"x"]),
        str: st.sampled_from(["", "CPU", "x", "job", "task", "nodes"]),
        bool: st.booleans(),
        Any: st.none() | SMALL | st.just("x") | st.just([1]),
    }[kind]


TO_HUB = [kind for kind in typing.get_args(messages.ToHub) if kind is not Hello]
peers = st.integers(1, 5)
events = st.one_of(
    st.builds(Received, peers, st.one_of(*map(strategy, TO_HUB))),
    st.builds(Received, peers, st.one_of(*map(strategy, TO_HUB))),
    st.builds(Received, peers, st.one_of(*map(strategy, TO_HUB))),
    st.builds(
        PeerJoined,
        peers,
        st.builds(
            Hello,
            st.just(1),
            st.just(""),
            st.just(""),
            st.sampled_from(ROLES),
            st.just(""),
            SMALL,
            st.just(""),
            number=SMALL,
            resources=st.dictionaries(
                st.sampled_from(["CPU", "GPU", "x"]), st.sampled_from([0.0, 1.0, 2.5, -1.0])
            ),
        ),
    ),
    st.builds(PeerLost, peers),
    st.just(Ticked()),
)


def travels(message: Any) -> bool:
    """Does the codec let this through to the hub?"""
    try:
        codec.decode_to_hub(codec.encode([message]))
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize("kind", TO_HUB, ids=lambda kind: kind.__name__)
def test_every_message_has_a_handler(kind: type) -> None:
    machine = Machine()
    assert kind in machine._handlers


@examples(500)
@given(st.lists(st.tuples(events, st.sampled_from([0.0, 0.001, 1.0, 100.0])), max_size=40))
def test_no_message_breaks_the_machine(course: list[tuple[Any, float]]) -> None:
    machine = Machine()
    now = 0.0
    for event, pause in course:
        if isinstance(event, PeerJoined) and event.peer in machine.peers:
            continue  # the shell gives every peer a number of its own
        if isinstance(event, Received) and not travels(event.message):
            continue
        now += pause
        for action in machine.handle([event], now):
            if isinstance(action, Send):
                codec.decode_from_hub(codec.encode(action.messages))
        deadline = machine.next_deadline()
        assert deadline is None or deadline > now
        check(machine)


def test_a_peer_may_only_say_what_its_role_allows() -> None:
    bench = Bench()
    engine = bench.engines[0]
    bench.say(CLIENT, messages.TasksFinished([]))
    bench.say(engine, messages.EngineExited(1, 0, 0))
    assert "client speaks like an engine" in bench.dropped[CLIENT]
    assert "engine speaks like a node" in bench.dropped[engine]
    bench.say(NODE, Ping())
    assert NODE not in bench.dropped


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"num_returns": -1}, "num_returns=-1"),
        ({"num_returns": 10**9}, "num_returns=1000000000"),
        ({"timeout_s": float("inf")}, "timeout_s=inf"),
        ({"timeout_s": -1.0}, "timeout_s=-1"),
        ({"demand": {"CPU": float("nan")}}, "CPU=nan"),
        ({"demand": {"CPU": -1.0}}, "CPU=-1"),
    ],
)
def test_impossible_options_cost_the_client_its_place(
    options: dict[str, Any], complaint: str
) -> None:
    bench = Bench()
    bench.say(CLIENT, TemplateDefined(1, "f", b"", **options))
    assert complaint in bench.dropped[CLIENT]
    assert not bench.machine.templates.rows


def test_a_task_of_an_unknown_template_is_refused_and_none_of_its_batch_taken() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b""), TaskSpec(20, 4711, b""))
    assert "unknown template" in bench.dropped[CLIENT]
    assert not bench.machine.tasks.rows


def test_a_task_cannot_wait_for_itself() -> None:
    bench = Bench()
    bench.submit(TaskSpec(10, bench.template(), b"", deps=[10]))
    assert "depends on itself" in bench.dropped[CLIENT]


def test_an_engine_that_nobody_wants_is_sent_away() -> None:
    bench = Bench()
    assert bench.heard(NODE, EnginesWanted) == []
    bench.join(77, Hello(1, "", "", "engine", "", 1, "", number=4711))
    assert "not wanted" in bench.dropped[77]
