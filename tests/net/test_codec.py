"""Any bytes decode to messages or to `ProtocolError`, and what is encoded comes back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallax.errors import ProtocolError
from parallax.messages import (
    Asked,
    Done,
    Hello,
    ObjectsReady,
    Ping,
    Printed,
    TasksFinished,
    TaskSpec,
    TasksSubmitted,
)
from parallax.net import codec
from tests.net.strategies import FROM_HUB, TO_HUB, message

DECODERS = (codec.decode_to_hub, codec.decode_from_hub)


def _decodes(frame: bytes) -> None:
    for decode in DECODERS:
        try:
            decoded = decode(frame)
        except ProtocolError:
            continue
        assert isinstance(decoded, list)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x91" * 100_000)  # nested beyond any depth
@example(b"\x91\x92\x0e\xdd\xff\xff\xff\xff")  # a list that claims four billion rows
@example(b"\x91\x92\x0e\xc6\xff\xff\xff\xff")  # bytes that claim four gigabytes
@example(b"\x91\x93\x0b\xcf" + b"\xff" * 8 + b"\xa1a")  # an id of 64 bits
@example(b"\x91\x93\x0b\x01\xa2\xff\xfe")  # a text that is none
@example(b"\xc1")
def test_any_bytes_decode_or_are_refused(frame: bytes) -> None:
    _decodes(frame)


@given(st.data())
def test_damaged_messages_decode_or_are_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(TO_HUB + FROM_HUB))
    frame = bytearray(codec.encode([data.draw(message(kind))]))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    _decodes(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    _decodes(bytes(frame))


@pytest.mark.parametrize("kind", TO_HUB, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_what_goes_to_the_hub_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    sent = [data.draw(message(kind))]
    frame = codec.encode(sent)
    assert codec.encode(codec.decode_to_hub(frame)) == frame


@pytest.mark.parametrize("kind", FROM_HUB, ids=lambda kind: kind.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_what_comes_from_the_hub_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    sent = [data.draw(message(kind))]
    frame = codec.encode(sent)
    assert codec.encode(codec.decode_from_hub(frame)) == frame


@pytest.mark.parametrize(
    "hello",
    [
        Hello(1, "v", "3", "client", "t", -1, "h"),
        Hello(1, "v", "3", "client", "t", 2**40, "h"),
        Hello(1, "v", "3", "node", "t", 5, "h", resources={"CPU": float("nan")}),
        Hello(1, "v", "3", "node", "t", 5, "h", resources={"CPU": float("inf")}),
        Hello(1, "v", "3", "node", "t", 5, "h", resources={"CPU": -1.0}),
        Hello(1, "v", "3", "engine", "t", 5, "h", number=-5),
    ],
)
def test_absurd_numbers_are_refused(hello: Hello) -> None:
    with pytest.raises(ProtocolError):
        codec.decode_to_hub(codec.encode([hello]))


def test_a_batch_too_large_for_one_frame_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "SPLIT_BYTES", 1000)
    to_hub = [
        Ping(),
        TasksSubmitted(1, 0, [TaskSpec(i, 1, b"x" * 100) for i in range(1, 50)]),
        TasksFinished([Done(i, 0, [b"y" * 300]) for i in range(1, 20)]),
        Printed(1, 1, "stdout", "z" * 5000),  # cannot be divided
    ]
    frames = codec.frames_of(to_hub)
    assert sum(len(frame) > 1000 for frame in frames) == 1
    decoded = [m for frame in frames for m in codec.decode_to_hub(frame)]
    tasks = [t for m in decoded if isinstance(m, TasksSubmitted) for t in m.tasks]
    done = [d for m in decoded if isinstance(m, TasksFinished) for d in m.done]
    assert [t.id for t in tasks] == list(range(1, 50))
    assert [d.task for d in done] == list(range(1, 20))
    assert type(decoded[0]) is Ping
    assert type(decoded[-1]) is Printed


def test_a_row_too_large_for_any_frame_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "SPLIT_BYTES", 100)
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", 1000)
    with pytest.raises(ProtocolError, match="too large"):
        codec.frames_of([ObjectsReady([(1, b"x"), (2, b"x" * 2000)])])


def test_messages_need_no_garbage_collector() -> None:
    """They form no cycles, and are not tracked: the hub runs with the collector off."""
    for kind in TO_HUB + FROM_HUB:
        assert msgspec.inspect.type_info(kind).cls.__struct_config__.gc is False


def test_text_that_is_no_unicode_travels_as_far_as_it_can_be_said() -> None:
    frame = codec.encode([Printed(1, 1, "stdout", "bad\udcff"), Asked(1, "job", 1 << 70)])
    printed, asked = codec.decode_to_hub(frame)
    assert isinstance(printed, Printed)
    assert printed.text == "bad?"
    assert isinstance(asked, Asked)
    assert asked.argument == (1 << 63) - 1
