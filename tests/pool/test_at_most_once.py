"""A task that must not run twice does not, even when its engine dies just after it has returned."""

from __future__ import annotations

import contextlib
import random
import signal
from collections import Counter
from pathlib import Path

import parallax as px


def test_engine_that_dies_between_the_end_of_a_task_and_the_news_of_it(tmp_path: Path) -> None:
    # Given tasks of one attempt that note their run and leave a bomb that goes off around their end
    diary = tmp_path / "diary"

    @px.remote(max_retries=0)
    def run_once(number: int, fuse_s: float) -> int:
        with diary.open("a") as file:
            file.write(f"{number}\n")
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, fuse_s)
        return number

    fuses = random.Random(7)
    with px.init(num_cpus=2):
        # When many of them run
        refs = [run_once.remote(n, fuses.uniform(5e-6, 4e-4)) for n in range(60)]
        for ref in refs:
            with contextlib.suppress(px.errors.EngineDiedError):
                px.get(ref, timeout=60)
    # Then none has run twice
    runs = Counter(diary.read_text().split())
    assert [number for number, count in runs.items() if count > 1] == []
