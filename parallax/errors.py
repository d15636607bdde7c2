"""Every error that Parallax raises, grouped by who can act on it.

`ParallaxError` is the root. Four families hang under it: your function failed, the world
failed, a wait ended, or the call was wrong. Each message says what happened, with which values,
and what to do next.
"""

from __future__ import annotations

from typing import Any


class ParallaxError(Exception):
    """The root of every error that Parallax raises."""


# ---- your function ------------------------------------------------------------------------


class TaskError(ParallaxError):
    """A task raised. What `get` raises is a subclass of this *and* of the user's own type.

    Attributes:
        cause: the original exception, or None when it could not travel.
        remote_traceback: the user's frames as text, with source lines.
        task_name: the name of the task that raised.
    """

    cause: BaseException | None = None
    remote_traceback: str = ""
    task_name: str = ""


class TaskCancelledError(ParallaxError):
    """The task was cancelled before it could finish."""


class PlacementGroupRemovedError(TaskCancelledError):
    """The placement group in which the task ran, or was to run, was removed."""


class TaskTimeoutError(ParallaxError, TimeoutError):
    """The task ran longer than its `timeout_s` and was stopped."""


# ---- the world ----------------------------------------------------------------------------


class EngineDiedError(ParallaxError):
    """The engine that ran the task died, and its retries are used up."""


class OutOfMemoryError(EngineDiedError):
    """The engine was stopped because the host was running out of memory."""


class NodeDiedError(ParallaxError):
    """The host that ran the task was lost, and its retries are used up."""


class ActorError(ParallaxError):
    """An actor could not serve a call."""


class ActorDiedError(ActorError):
    """The actor is gone for good.

    Attributes:
        cause: what its constructor raised, if that is why.
    """

    cause: BaseException | None = None


class ActorUnavailableError(ActorError):
    """The actor cannot be reached now; it may come back."""


class DeadlockError(ActorError):
    """Calls of actors wait for each other in a circle; this one would never have begun."""


class ObjectLostError(ParallaxError):
    """The object's value was lost and could not be rebuilt."""


class ObjectStoreFullError(ParallaxError, MemoryError):
    """Neither shared memory nor the spill directory has room for the value."""


class JournalError(ParallaxError):
    """What a pool keeps cannot be read or written; nothing of it was changed."""


class ClusterLostError(ParallaxError, ConnectionError):
    """The cluster behind this session is gone."""


# ---- waiting ------------------------------------------------------------------------------


class GetTimeoutError(ParallaxError, TimeoutError):
    """`get` ran out of time; the tasks go on."""


class PendingCallsLimitExceeded(ParallaxError):
    """The actor has as many calls waiting as `max_pending_calls` allows."""


# ---- you ----------------------------------------------------------------------------------


class UsageError(ParallaxError, ValueError):
    """An argument or an option is wrong; nothing was done."""


class SerializationError(ParallaxError, TypeError):
    """A value or function cannot be shipped to another process.

    Attributes:
        path: where the culprit hangs, e.g. ``f → closure 'db' → .lock``.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_serialization_error, (self.args[0], self.path)


def _rebuild_serialization_error(message: str, path: str) -> SerializationError:
    return SerializationError(message, path=path)


# ---- a peer, and us -----------------------------------------------------------------------


class ProtocolError(ParallaxError):
    """A peer sent bytes that are not a message, or a message it may not send."""


class AuthenticationError(ParallaxError):
    """A peer does not hold the cluster's key."""


class InternalError(ParallaxError):
    """A bug in Parallax. The trail is attached; please report it."""
