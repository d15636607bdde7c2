"""Actor classes that tests of the pool use. It imports next to nothing, for engines import it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any


class Diary:
    """Writes down what it does, so that it is known what ran, and how often."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.write("made")

    def write(self, text: str) -> str:
        with open(self.path, "a") as file:
            file.write(f"{text}\n")
        return text

    def write_and_die(self, text: str) -> None:
        self.write(text)
        os._exit(7)

    def wait_for(self, path: str) -> None:
        self.write("waits")
        while not Path(path).exists():
            time.sleep(0.005)

    def pid(self) -> int:
        return os.getpid()

    def say(self, text: str) -> None:
        print(text)

    def __del__(self) -> None:
        self.write("ended")


class Loop:
    """Lives on an event loop."""

    async def block(self, seconds: float) -> None:
        time.sleep(seconds)

    async def say(self, text: str) -> None:
        for word in text.split():
            print(word)
            await asyncio.sleep(0)

    async def pid(self) -> int:
        return os.getpid()


class Speakers:
    """Speak in threads."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)

    def say(self, text: str) -> None:
        for word in text.split():
            self.barrier.wait()
            print(word)


def lines(path: Any) -> list[str]:
    """What a diary has in it."""
    return Path(path).read_text().split("\n")[:-1] if Path(path).exists() else []
