"""What tests have tasks do. It imports next to nothing, so that new engines can begin at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any


def same(x: Any) -> Any:
    return x


def sleep(duration_s: float) -> float:
    time.sleep(duration_s)
    return duration_s


def spin(duration_s: float) -> None:
    until = time.perf_counter() + duration_s
    while time.perf_counter() < until:
        pass


def fail() -> None:
    raise ValueError("as it was told to")


def note_and_do(diary: str, action: Callable[[], Any]) -> Any:
    """Write a line before the action, so that one can count how often it was begun."""
    with open(diary, "a") as file:
        file.write("begun\n")
    return action()


# ---- ends of a process ------------------------------------------------------------------------


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exit_at_once() -> None:
    os._exit(3)


def segfault() -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def terminate_self() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def exit_at_37(i: int) -> int:
    if i == 37:
        os._exit(5)
    return i


def die_twice(path: str) -> int:
    """Kills its engine until its third run."""
    with open(path, "a") as file:
        file.write("x")
    runs = os.stat(path).st_size
    if runs < 3:
        kill_self()
    return runs


# ---- code that ignores interrupts --------------------------------------------------------------


def hold_gil() -> None:
    ctypes.PyDLL(None).sleep(600)


def match_for_ever() -> None:
    re.match(r"(a+)+$", "a" * 40 + "b")


def swallow_interrupts() -> None:
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(600)


def ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(600)
