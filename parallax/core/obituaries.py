"""What is said of an engine that died: how, of what it ran, and what to do about it."""

from __future__ import annotations

import signal

from parallax.core.records import EngineRecord, TaskRecord
from parallax.core.recovery import makes
from parallax.core.resources import NodeRecord
from parallax.messages import CONSTRUCTOR, EngineExited, Failure

OUT_OF_MEMORY = "memory"
"""Why an engine was ended: its host had too little."""
_CRASHES = frozenset(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
    if hasattr(signal, name)
)


def obituary(engine: EngineRecord, message: EngineExited) -> Failure:
    """What the caller gets of a task, or an actor, that this engine took with it."""
    running = message.running
    task = next((task for task in engine.queue.values() if makes(task, running)), None)
    name = task.name if task is not None else "the task"
    tries = f" after {task.attempt + 1} attempts" if task is not None and task.attempt else ""
    of_actor = _is_of_actor(engine, task)
    if engine.dying == OUT_OF_MEMORY:
        if of_actor:
            cure = "Let the actor keep less, or reserve what it needs with .options(memory=...)."
        else:
            cure = (
                "Use less memory per task, or run fewer at once with .options(num_cpus=...) or "
                ".options(memory=...)."
            )
        return Failure(
            "out_of_memory",
            f"{name} was stopped{tries}: the host was running out of memory, and its engine "
            f"{engine.number} was the newest. {cure}",
            b"",
            running,
        )
    detail = f"\n{message.detail}" if message.detail else ""
    ran = f" while it ran {name}" if task is not None or engine.actor is None else ""
    advice = _actor_advice(message.status) if of_actor else _task_advice(message.status)
    return Failure(
        "engine_died",
        f"engine {engine.number} (pid {engine.pid}) died{tries}{ran}: "
        f"{describe_status(message.status)}. {advice}{detail}",
        b"",
        running,
    )


def node_died(node: NodeRecord, engine: EngineRecord) -> Failure:
    """What the caller gets of a task that a host took with it."""
    name = next((task.name for task in engine.queue.values()), "the task")
    return Failure(
        "node_died",
        f"host {node.host} (node {node.number}) was lost while its engine {engine.number} ran "
        f"{name}.",
    )


def describe_status(status: int) -> str:
    """An exit status as people read it: ``killed by SIGKILL``, ``exit code 3``."""
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit code {status}"


def _is_of_actor(engine: EngineRecord, task: TaskRecord | None) -> bool:
    """Whether an actor died, or what was to become one."""
    if engine.actor is not None:
        return True
    return task is not None and task.group.template.spec.role == CONSTRUCTOR


def _task_advice(status: int) -> str:
    if status == -signal.SIGKILL:
        return (
            "If it was not you, the host most likely ran out of memory and chose it (dmesg tells). "
            "Use less memory per task, or run fewer at once with .options(num_cpus=...)."
        )
    if -status in _CRASHES:
        return "Compiled code that it called has crashed; the task, or its library, needs mending."
    if status < 0:
        return "Somebody sent it that signal; .options(max_retries=...) allows more attempts."
    return "The task ended the process itself; return or raise an exception instead."


def _actor_advice(status: int) -> str:
    if status == -signal.SIGKILL:
        return (
            "If it was not you, the host most likely ran out of memory and chose it (dmesg tells). "
            "Let the actor keep less, or reserve what it needs with .options(memory=...)."
        )
    if -status in _CRASHES:
        return "Compiled code that it called has crashed; the actor, or its library, needs mending."
    if status < 0:
        return "Somebody sent it that signal."
    return "The actor ended the process itself; px.exit_actor() ends an actor without a crash."
