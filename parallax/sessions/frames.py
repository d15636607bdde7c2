"""Tracebacks without the frames of Parallax."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from parallax.errors import InternalError, ParallaxError, SerializationError

_PARALLAX = str(Path(__file__).resolve().parent.parent) + "/"
_DOOR = (f"{_PARALLAX}api/", f"{_PARALLAX}refs.py")
_PICKLERS = ("/cloudpickle/", "/dill/", "/pickle.py")


class _CallersLine:
    """A block whose errors show the caller's line, and not how we came to them.

    A notebook shows ten lines of each frame, and what counts would be lost among them. That is so
    for what the caller did wrong, for what became of his tasks, and when he stops the cell. Code
    of the user's that we have called keeps its frames; so does a bug of ours. Stateless; costs
    less than 0.1 µs where nothing is raised.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or not _is_about_the_caller(error):
            return
        error.__traceback__ = user_frames(traceback)
        cause = error.__cause__
        if isinstance(error, SerializationError) and cause is not None:
            # The pickler's own refusal says less than the error, unless the user's code made it.
            cause.__traceback__ = user_frames(cause.__traceback__, but=_PICKLERS)
            if cause.__traceback__ is None:
                error.__cause__ = None


callers_line = _CallersLine()


def user_frames(
    traceback: TracebackType | None, *, but: tuple[str, ...] = ()
) -> TracebackType | None:
    """The traceback from the first frame on that is not ours; None when there is none.

    Args:
        but: parts of the names of files whose frames say nothing either.
    """
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(_PARALLAX) and not any(part in file for part in but):
            return traceback
        traceback = traceback.tb_next
    return None


def _is_about_the_caller(error: BaseException) -> bool:
    if isinstance(error, ParallaxError):
        return not isinstance(error, InternalError)
    if isinstance(error, TypeError | AttributeError):
        # Ours where a verb raised it, and not code that it calls.
        return _last_file(error.__traceback__).startswith(_DOOR)
    return isinstance(error, KeyboardInterrupt)


def _last_file(traceback: TracebackType | None) -> str:
    file = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return file
