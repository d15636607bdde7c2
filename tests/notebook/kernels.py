"""A real kernel, as a frontend drives it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

ANSWER_S = 60
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Ran:
    """What one cell has led to.

    Attributes:
        streams: all that was printed, by stream.
        result: the text of its last expression.
        html: the same as HTML.
        error: the name of the exception, empty for none.
        traceback: what is shown of it, without colours.
        displays: the texts of displays and of their updates, in order.
    """

    streams: dict[str, str] = field(default_factory=dict)
    result: str = ""
    html: str = ""
    error: str = ""
    traceback: str = ""
    displays: list[str] = field(default_factory=list)

    @property
    def stdout(self) -> str:
        """What was printed."""
        return self.streams.get("stdout", "")

    @property
    def stderr(self) -> str:
        """What was complained of."""
        return self.streams.get("stderr", "")


class Kernel:
    """One kernel and its client."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def run(self, source: str) -> Ran:
        """Run a cell to its end."""
        return self.wait(self.start(source))

    def start(self, source: str) -> str:
        """Begin a cell; returns what `wait` takes."""
        return str(self._client.execute(source))

    def wait(self, cell: str, until_printed: str = "") -> Ran:
        """Gather what a cell says, to its end or until it has printed this."""
        ran = Ran()
        while True:
            message = self._client.get_iopub_msg(timeout=ANSWER_S)
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            if content.get("execution_state") == "idle":
                return ran
            _add(ran, message["msg_type"], content)
            if until_printed and until_printed in ran.stdout:
                return ran

    def interrupt(self) -> None:
        """Press the stop button."""
        self._manager.interrupt_kernel()


def _add(ran: Ran, kind: str, content: dict[str, Any]) -> None:
    if kind == "stream":
        ran.streams[content["name"]] = ran.streams.get(content["name"], "") + content["text"]
    elif kind == "error":
        ran.error = content["ename"]
        ran.traceback = _COLOUR.sub("", "\n".join(content["traceback"]))
    elif kind == "execute_result":
        ran.result = content["data"]["text/plain"]
        ran.html = content["data"].get("text/html", "")
    elif kind in ("display_data", "update_display_data"):
        ran.displays.append(content["data"]["text/plain"])


@contextmanager
def kernel(folder: Path) -> Iterator[Kernel]:
    """A kernel that works in this folder; it ends with the block."""
    with tempfile.TemporaryDirectory() as sockets:
        manager = KernelManager(transport="ipc", ip=f"{sockets}/kernel")
        # As a person's, who wants to see progress.
        env = {k: v for k, v in os.environ.items() if k != "PARALLAX_NONINTERACTIVE"}
        manager.start_kernel(cwd=str(folder), env=env)
        client = manager.client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=ANSWER_S)
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel()
