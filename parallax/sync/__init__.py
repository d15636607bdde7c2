"""What tasks, actors and drivers share: queues, locks, events, counters, a cache, topics.

    import parallax as px

    queue = px.sync.Queue()

Each is an object that can be passed to tasks and actors, all of which then share it. It lives in a
process of its own, an actor, and ends with its last handle.
"""

from parallax.sync.errors import BrokenBarrierError, Empty, Full, ShutDown
from parallax.sync.key_value import ABSENT, Change, KeyValue
from parallax.sync.locks import Lock, Semaphore
from parallax.sync.queue import Queue
from parallax.sync.signals import Barrier, Counter, Event
from parallax.sync.subscription import Subscription
from parallax.sync.topic import Topic

__all__ = [
    "ABSENT",
    "Barrier",
    "BrokenBarrierError",
    "Change",
    "Counter",
    "Empty",
    "Event",
    "Full",
    "KeyValue",
    "Lock",
    "Queue",
    "Semaphore",
    "ShutDown",
    "Subscription",
    "Topic",
]
