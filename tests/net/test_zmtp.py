"""ZeroMQ's wire protocol without sockets: any chunks give the same messages, any bytes an end."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parallax.errors import ProtocolError
from parallax.net import zmtp
from parallax.net.zmtp import BUFFER_BYTES, Inbox

LIMIT_BYTES = 1 << 20
OPENING = zmtp.opening("DEALER")
READY = OPENING[zmtp.GREETING_BYTES :]


def command(name: bytes, rest: bytes = b"") -> bytes:
    body = bytes((len(name),)) + name + rest
    if len(body) < 256:
        return bytes((4, len(body))) + body
    return b"\6" + len(body).to_bytes(8, "big") + body


def stream_of(messages: list[bytes]) -> bytes:
    return OPENING + b"".join(zmtp.header(len(m)) + m for m in messages)


def feed(inbox: Inbox, stream: bytes, cuts: list[int]) -> list[bytes]:
    """Give the stream to the inbox as if it had come in chunks that end at the cuts."""
    messages: list[bytes] = []
    at = 0
    for end in [*sorted(cut for cut in cuts if cut < len(stream)), len(stream)]:
        while at < end:
            space = inbox.space()
            assert len(space) > 0
            count = min(end - at, len(space))
            space[:count] = stream[at : at + count]
            at += count
            messages += map(bytes, inbox.received(count))
    return messages


def refusal(stream: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        feed(Inbox(LIMIT_BYTES), stream, [])
    return str(caught.value)


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


EDGES = [0, 1, 255, 256, 257, 70_000, *range(BUFFER_BYTES - 10, BUFFER_BYTES + 3), 300_000]
MESSAGES = st.lists(
    st.binary(max_size=40) | st.sampled_from(EDGES).map(pattern) | st.just(b""), max_size=8
)


@settings(deadline=None)
@given(messages=MESSAGES, data=st.data())
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = stream_of(messages)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    assert feed(Inbox(LIMIT_BYTES), stream, cuts) == messages


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_bytes_may_come_one_by_one(messages: list[bytes]) -> None:
    stream = stream_of(messages)
    assert feed(Inbox(LIMIT_BYTES), stream, list(range(len(stream)))) == messages


@pytest.mark.parametrize("size", EDGES)
def test_a_message_that_ends_with_the_buffer(size: int) -> None:
    """Whatever lies before it in the buffer, and in whichever chunks it comes."""
    for before in (0, 1, 200, BUFFER_BYTES - len(OPENING) - 4, BUFFER_BYTES - len(OPENING)):
        messages = [pattern(before), pattern(size), b"end"]
        stream = stream_of(messages)
        for cut in range(0, len(stream), 50_001):
            assert feed(Inbox(LIMIT_BYTES), stream, [cut]) == messages


def _gives_messages_or_is_refused(stream: bytes, cuts: list[int]) -> None:
    with suppress(ProtocolError):
        feed(Inbox(LIMIT_BYTES), stream, cuts)


CUTS = st.lists(st.integers(0, 400), max_size=5)


@given(st.binary(max_size=400), CUTS)
@example(b"\xff" + b"\0" * 8 + b"\x7f\x03", [])
def test_any_bytes_give_messages_or_are_refused(stream: bytes, cuts: list[int]) -> None:
    _gives_messages_or_is_refused(stream, cuts)


@settings(max_examples=500)
@given(st.binary(max_size=400), CUTS)
@example(b"\6" + (1 << 63).to_bytes(8, "big") + b"\4PING", [])
@example(b"\4\0", [])  # a command without a name
@example(b"\4\1\xff", [])  # a name that is longer than the command
def test_any_bytes_after_an_opening_give_messages_or_are_refused(
    noise: bytes, cuts: list[int]
) -> None:
    _gives_messages_or_is_refused(OPENING + noise, cuts)


@given(st.lists(st.binary(max_size=300), max_size=3), st.data())
def test_a_damaged_stream_gives_messages_or_is_refused(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream = bytearray(stream_of(messages) + command(b"PING", b"\0\0context"))
    for _ in range(data.draw(st.integers(1, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    _gives_messages_or_is_refused(bytes(stream), data.draw(CUTS))


def test_a_peer_is_open_once_it_has_introduced_itself() -> None:
    inbox = Inbox(LIMIT_BYTES)
    feed(inbox, zmtp.GREETING, [])
    assert not inbox.is_open
    feed(inbox, READY, [])
    assert inbox.is_open


@given(st.binary(max_size=1000))
def test_a_ping_is_answered_with_its_context(context: bytes) -> None:
    inbox = Inbox(LIMIT_BYTES)
    feed(inbox, OPENING + command(b"PING", b"\0\5" + context), [])
    (ping,) = inbox.pings
    # The standard gives a context 16 bytes, and libzmq repeats no more.
    assert zmtp.pong(ping) == command(b"PONG", context[:16])


def test_a_pong_is_no_message() -> None:
    assert feed(Inbox(LIMIT_BYTES), OPENING + command(b"PONG", b"x") + b"\0\1m", []) == [b"m"]


REFUSED: dict[str, tuple[bytes, str]] = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", "does not speak ZeroMQ's protocol, version 3"),
    "version 1": (b"\1\0hello", "version 3"),
    "version 2": (b"\xff" + b"\0" * 8 + b"\x7f\1\5", "version 3"),
    "no signature": (b"\xff" + b"\0" * 9 + b"\3", "version 3"),
    "another mechanism": (
        zmtp.GREETING[:12] + b"CURVE".ljust(52, b"\0"),
        "wants the security mechanism b'CURVE', this socket NULL",
    ),
    "a message at once": (zmtp.GREETING + b"\0\1x", "a message before it said what kind"),
    "a ping at once": (zmtp.GREETING + command(b"PING", b"\0\0"), "b'PING' before it said"),
    "an error": (zmtp.GREETING + command(b"ERROR", b"\5never"), "it says 'never'"),
    "a part": (OPENING + b"\1\1x", "a message of several frames"),
    "a long part": (OPENING + b"\3" + bytes(8), "a message of several frames"),
    "flags": (OPENING + b"\x08\1x", "a frame with the flags 0x08"),
    "a command in parts": (OPENING + b"\5\1x", "a frame with the flags 0x05"),
    "too large": (
        OPENING + b"\2" + (LIMIT_BYTES + 1).to_bytes(8, "big"),
        "a frame of 1,048,577 bytes; the limit is 1,048,576",
    ),
    "too large a command": (OPENING + b"\6" + (1025).to_bytes(8, "big"), "command of 1,025 bytes"),
    "an unknown command": (OPENING + command(b"SUBSCRIBE", b"x"), "a command b'SUBSCRIBE'"),
    "a command of nothing": (OPENING + b"\4\0", "a command b''"),
}


@pytest.mark.parametrize("breach", REFUSED)
def test_what_is_refused_and_why(breach: str) -> None:
    stream, reason = REFUSED[breach]
    assert reason in refusal(stream)


def test_a_frame_that_no_memory_is_there_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def bytearray_of(size: int) -> bytearray:
        if size > BUFFER_BYTES:
            raise MemoryError
        return bytearray(size)

    monkeypatch.setattr(zmtp, "bytearray", bytearray_of, raising=False)
    stream = OPENING + b"\2" + (1 << 20).to_bytes(8, "big") + b"begin"
    assert "1,048,576 bytes; there is no memory" in refusal(stream)
