"""The session of this process: made by `init`, or by the first verb that needs one."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parallax.errors import UsageError
from parallax.pool.context import engine
from parallax.refs import AnyRef, RefOwner, check_owner, stale
from parallax.sessions.protocol import Session
from parallax.sessions.start import StartOptions, start

if TYPE_CHECKING:
    from parallax.pool.client import Client

_lock = threading.RLock()
_session: Session | None = None
_options: StartOptions | None = None


def current() -> Session:
    """The session, started when there is none yet."""
    session = _session
    if session is None:
        with _lock:
            session = _session or _start(StartOptions())
    return session


def current_of(refs: Sequence[AnyRef]) -> Session:
    """The session, which must be that of all these refs. None is started for refs of an old one.

    Raises:
        UsageError: a ref belongs to another session, or to one that is over.
    """
    if _session is None and engine.client is None and refs:
        raise stale(refs[0])
    session = current()
    check_owner(session.owner, refs)
    return session


def current_with(owner: RefOwner | None) -> Session | None:
    """The session, if it is this owner's; else None, and none is started."""
    if owner is None or (_session is None and engine.client is None):
        return None
    session = current()
    return session if session.owner is owner else None


def existing() -> Session | None:
    """The session, None when there is none that works."""
    if _session is None and engine.client is not None:
        return current()
    return _session if _session is not None and not _session.closed else None


def begin(options: StartOptions, *, ignore_reinit_error: bool) -> Session:
    """Start the session that `init` asks for, or return the one that is there.

    Raises:
        UsageError: there is one already, started with other arguments.
    """
    with _lock:
        session = existing()
        if session is None:
            return _start(options)
        if (
            ignore_reinit_error
            or engine.client is not None
            or options == _options
            or options == StartOptions()
        ):
            return session
        raise UsageError(
            f"parallax is connected already ({session!r}), with "
            f"{(_options or StartOptions()).differences(options)}. Call parallax.shutdown() first, "
            "or pass ignore_reinit_error=True to keep that session."
        )


def end() -> None:
    """Close the session. A later verb starts a new one. A task cannot close the one it runs in."""
    global _session, _options
    with _lock:
        if _session is not None and _session.context()["task"]:
            return
        session, _session, _options = _session, None, None
    if session is not None:
        session.close()


def _start(options: StartOptions) -> Session:
    global _session, _options
    # In a task the session is that of its engine, whatever it asks for.
    _session = start(options) if engine.client is None else _engine_session(engine.client)
    _options = options
    return _session


def _engine_session(client: Client) -> Session:
    from parallax.sessions.pool import PoolSession  # late, as in `start`

    return PoolSession(client)


def _forget_after_fork() -> None:
    """A forked child shares the parent's sockets and has none of its threads: it starts clean."""
    global _session, _options, _lock
    if _session is not None and not _session.owner.lost:
        _session.owner.lost = "it belongs to the process that this one was forked from"
    _session = _options = None
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
