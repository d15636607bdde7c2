"""The `?` key: what every public name of `px.sync` says of itself."""

from __future__ import annotations

import inspect

import pytest

import parallax as px

THINGS = [getattr(px.sync, name) for name in px.sync.__all__ if name != "ABSENT"]
CLASSES = [
    px.sync.Barrier,
    px.sync.Counter,
    px.sync.Event,
    px.sync.KeyValue,
    px.sync.Lock,
    px.sync.Queue,
    px.sync.Semaphore,
    px.sync.Topic,
]


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_it_begins_with_a_sentence_in_one_line(thing: type) -> None:
    first = (inspect.getdoc(thing) or "").splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 100


@pytest.mark.parametrize("thing", CLASSES, ids=lambda thing: thing.__name__)
def test_it_has_an_example_and_says_what_threads_may_do(thing: type) -> None:
    text = inspect.getdoc(thing) or ""
    assert ">>> " in text
    assert "thread" in text.lower()
    for argument in set(inspect.signature(thing).parameters):
        assert f"{argument}: " in text


@pytest.mark.parametrize("thing", [*CLASSES, px.sync.Subscription], ids=lambda t: t.__name__)
def test_its_verbs_say_what_they_do(thing: type) -> None:
    for name, member in inspect.getmembers(thing):
        if not name.startswith("_"):
            assert inspect.getdoc(member), name
