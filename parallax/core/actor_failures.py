"""What the callers of actors are told."""

from __future__ import annotations

from parallax.core.actor_records import ActorRecord
from parallax.ids import hex_id
from parallax.messages import Failure


def not_made(actor: ActorRecord, failure: Failure) -> Failure:
    """Why there never was such an actor."""
    if failure.kind == "task":
        what = f"its constructor raised {failure.message}"
    elif failure.kind == "cancelled":
        what = "it was cancelled before it was constructed"
    elif failure.kind == "name_taken":
        return failure
    else:
        what = f"it could not be made: {failure.message}"
    return died(actor, what, failure.data)


def died(actor: ActorRecord, why: str, data: bytes = b"") -> Failure:
    """Why an actor serves no call any more."""
    count = actor.restarts
    after = f" after {count} restart{'s' if count > 1 else ''}" if count else ""
    return Failure(
        "actor_died",
        f"the actor {actor.title} ({hex_id(actor.id)}) is dead{after}: {why}",
        data,
        actor.id,
    )


def crashed(actor: ActorRecord, max_restarts: int, failure: Failure) -> Failure:
    """What callers get of an actor that crashed for the last time."""
    other = "other " if actor.restarts else ""
    why = f"it crashed, and max_restarts={max_restarts} allows no {other}restart"
    return died(actor, f"{why}.\n{_sentence(failure.message)}")


def unavailable(actor: ActorRecord, failure: Failure) -> Failure:
    """What becomes of a call that an actor had begun when it crashed."""
    return Failure(
        "actor_unavailable",
        f"the actor {actor.title} ({hex_id(actor.id)}) crashed while it had this call, and starts "
        "anew.\nThe call may or may not have had its effect. Give calls that may run twice "
        f"max_task_retries.\n{_sentence(failure.message)}",
        b"",
        actor.id,
    )


def name_taken(actor: ActorRecord, namespace: str, name: str) -> Failure:
    """Why an actor of this name was not made."""
    where = f" in namespace {namespace!r}" if namespace else ""
    return Failure(
        "name_taken",
        f"there is an actor named {name!r}{where} already; find it with get_actor({name!r}), pass "
        "get_if_exists=True, or choose another name",
        b"",
        actor.id,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
