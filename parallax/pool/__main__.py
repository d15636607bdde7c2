"""`python -m parallax.pool CONFIG SOCKET`: the processes of a pool on one host.

SOCKET is the number of a descriptor: whoever starts a pool listens for it, and can connect before
it has begun to run.

This process becomes the hub. Before it has threads it forks the node agent, which before it has
threads forks the zygote, from which engines are forked. One interpreter starts; then each imports
what it needs, at the same time as the others. What engines need the zygote imports, and they share
its memory.

    hub ── node agent ── zygote ──┬── engine 1
                                  └── engine 2

Who ends whom: the node holds a pipe from the hub, the zygote a socket from the node, and the
kernel kills engines when the zygote dies. Whatever engines have started comes to the next of them
that lives (each is a subreaper) and is killed there. The last one out removes the pool's folders.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType

from parallax.pool.cleanup import clean_up
from parallax.pool.config import PoolConfig
from parallax.pool.process import (
    become_subreaper,
    child_pids,
    name_process,
    raise_file_limit,
    reset_signals,
    start_logging,
)
from parallax.pool.zygote import start_zygote
from parallax.store.janitor import hold_lease, sweep

log = logging.getLogger("parallax.pool")

USED_BY_TASKS = ("parallax.api.jobs", "parallax.api.verbs", "parallax.sessions.pool")
"""A task can do whatever a driver can. By name: the pool itself knows nothing of them."""
END_S = 5.0
"""For the processes below to end by themselves; then they are killed."""


def main() -> None:
    """Run a pool until it is stopped."""
    gc.disable()  # imports make no garbage worth looking for
    config = PoolConfig.load(sys.argv[1])
    listening = socket.socket(fileno=int(sys.argv[2]))
    listening.set_inheritable(False)
    reset_signals()
    raise_file_limit()
    start_logging()
    if config.cwd:
        with contextlib.suppress(OSError):
            os.chdir(config.cwd)
    lease = hold_lease(Path(config.store))
    os.environ.pop("PYTHONPATH", None)  # it has served to find this module
    if config.python_path:
        os.environ["PYTHONPATH"] = config.python_path
    os.environ.update(config.env_vars)
    lifeline, held_by_hub = os.pipe()
    node_pid = os.fork()
    if node_pid == 0:
        os.close(held_by_hub)
        listening.close()  # else peers would go on connecting when the hub is gone
        _run_node(config, lifeline, lease)
        os._exit(0)
    os.close(lifeline)
    _run_hub(config, listening, node_pid, held_by_hub, lease)


def _run_hub(
    config: PoolConfig, listening: socket.socket, node_pid: int, lifeline: int, lease: int
) -> None:
    name_process("parallax-hub")
    become_subreaper()
    gc.disable()  # the machine's rows form no cycles; see docs/design.md
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from parallax.pool.hub import Hub  # here: the other processes do without

    hub = Hub(config, listening)
    signal.signal(signal.SIGTERM, lambda number, frame: hub.stop("it was told to terminate"))

    def on_child(number: int, frame: FrameType | None) -> None:
        if _ended(node_pid):  # it may have been stopped, as by a debugger, or go on
            hub.stop("the node agent ended")

    signal.signal(signal.SIGCHLD, on_child)
    try:
        if _ended(node_pid):  # before there was a handler
            hub.stop("the node agent did not start")
        hub.attach_journal()
        hub.announce()
        hub.run()
    except BaseException:
        log.exception("the hub failed")
        raise
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        hub.close()
        os.close(lifeline)  # the node may not have been told
        _end_node(node_pid)
        if not clean_up(config, lease, wait_s=END_S):
            _kill_all(child_pids())
            sweep(Path(config.store).parent, Path(config.store).name, os.getuid())


def _ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_node(pid: int) -> None:
    """Wait for the node agent, which has been told; kill it when it does not go."""
    signal.signal(signal.SIGALRM, lambda number, frame: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, END_S)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _kill_all(pids: list[int]) -> None:
    """Kill these children and, as they are adopted, what they have started."""
    while pids:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        pids = child_pids()


def _run_node(config: PoolConfig, lifeline: int, lease: int) -> None:
    hub_pid = os.getppid()
    name_process("parallax-node")
    become_subreaper()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    zygote_pid, zygote = start_zygote(
        lambda: _warm_up(config), _warm_up_further, lambda: clean_up(config, lease)
    )
    from parallax.pool.memory import MemoryGauge  # here: the other processes do without
    from parallax.pool.node import NodeAgent

    gc.enable()
    node = NodeAgent(config, lifeline, zygote, MemoryGauge().read)
    try:
        node.run()
    except Exception:
        log.exception("the node agent failed")
        raise
    finally:
        node.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(zygote_pid, 0)
        _kill_all(child_pids())
        is_last = os.getppid() != hub_pid
        clean_up(config, lease, wait_s=END_S if is_last else 0.0)


def _warm_up(config: PoolConfig) -> Callable[[int], None]:
    """Import what every engine needs; returns the whole life of one."""
    from parallax.pool.engine import run_engine

    gc.freeze()  # what is imported now is shared by all engines; the collector must not touch it

    def run(number: int) -> None:
        gc.enable()
        run_engine(config, number)

    return run


def _warm_up_further() -> None:
    """Import what a task may need. The first engines have begun by now, and do it when they do."""
    for name in USED_BY_TASKS:
        import_module(name)
    gc.freeze()


if __name__ == "__main__":
    main()
