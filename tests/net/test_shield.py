"""Interrupts wait for the end of a shielded block, and none is lost or raised twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from parallax.net import shield
from parallax.net.shield import Shield


@pytest.fixture(autouse=True)
def _handler_stays() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@contextmanager
def interrupted() -> Iterator[pytest.ExceptionInfo[KeyboardInterrupt]]:
    with pytest.raises(KeyboardInterrupt) as caught:
        yield caught


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    instance, steps = Shield(), []
    with interrupted(), instance:
        interrupt()
        steps.append("after")
        assert instance.noted
    assert steps == ["after"]
    assert not instance.noted


def test_two_interrupts_in_one_block_are_one() -> None:
    instance = Shield()
    with interrupted(), instance:
        interrupt()
        interrupt()
    with instance:
        pass  # nothing is left over


def test_an_interrupt_just_as_the_handler_is_back_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance, usual = Shield(), signal.getsignal(signal.SIGINT)
    set_handler = shield.set_handler

    def set_handler_and_interrupt(number: int, handler: object) -> None:
        set_handler(number, handler)
        if handler is usual:
            interrupt()

    with interrupted(), instance:
        interrupt()
        monkeypatch.setattr(shield, "set_handler", set_handler_and_interrupt)
    assert not instance.noted


def test_blocks_nest_and_the_outermost_raises() -> None:
    inner, outer = Shield(), Shield()
    with interrupted(), outer:
        with inner, inner:
            interrupt()
        assert inner.noted is False
        assert outer.noted


def test_an_exception_of_the_block_is_the_context_of_the_interrupt() -> None:
    with interrupted() as caught, Shield():
        interrupt()
        raise ValueError("first")
    assert isinstance(caught.value.__context__, ValueError)


def test_a_handler_that_does_not_raise_is_called_once_with_a_frame() -> None:
    calls = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(frame))
    try:
        with Shield():
            interrupt()
            assert calls == []
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(calls) == 1
    assert calls[0] is not None  # debuggers look into it


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Shield():
            interrupt()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_pass_through() -> None:
    seen = []

    def enter() -> None:
        with Shield():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_the_note_is_passed_on_while_the_block_runs() -> None:
    notes: list[bool] = []
    with interrupted(), Shield(lambda: notes.append(True)):
        interrupt()
        assert notes == [True]


def test_a_forked_child_shields_the_thread_that_forked() -> None:
    read, write = os.pipe()

    def fork() -> None:
        child = os.fork()
        if child == 0:
            status = 1
            with suppress(KeyboardInterrupt), Shield():
                interrupt()
                status = 0
            os._exit(status)
        _, status = os.waitpid(child, 0)
        os.write(write, bytes([os.waitstatus_to_exitcode(status)]))

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    assert os.read(read, 1) == b"\0"
    os.close(read)
    os.close(write)


def test_hundreds_of_interrupts_at_any_moment_never_split_a_block() -> None:
    instance = Shield()
    begun = ended = raised = 0
    armed = False
    stop = threading.Event()
    main = threading.get_ident()

    def handler(number: int, frame: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    def hammer() -> None:
        for i in range(1000):
            # A spin of varying length hits every place in the loop below.
            until = time.perf_counter() + (i % 37) * 5e-6
            while time.perf_counter() < until:
                pass
            signal.pthread_kill(main, signal.SIGINT)
        stop.set()

    before = signal.signal(signal.SIGINT, handler)
    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        while not stop.is_set():
            try:
                armed = True
                with instance:
                    begun += 1
                    ended += 1
                armed = False
            except KeyboardInterrupt:
                raised += 1
            assert begun == ended
            assert not instance.noted
    finally:
        thread.join()
        assert signal.signal(signal.SIGINT, before) is handler
    assert raised
