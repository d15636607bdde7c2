"""From a function with options to a template that the hub knows."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakValueDictionary

from parallax.messages import BlobDefined, TemplateDefined
from parallax.net.codec import encode
from parallax.options import NodeAffinity
from parallax.pool.client import Client
from parallax.refs import ObjectRef
from parallax.serial.functions import ShippedFunction, ship
from parallax.serial.values import dumps
from parallax.sessions.durable import check_closure
from parallax.sessions.protocol import Call

if TYPE_CHECKING:
    from parallax.sessions.cached import CachedFunction
    from parallax.store.result_cache import ResultCache

MODULES_CHECK_S = 0.0001
"""The files of local modules are looked at this often while tasks are submitted in a row: less than
a round trip, so that an edit between a `get` and the next submission is always seen."""


KEPT = 256
"""Templates kept though nobody needs them: a cell that is run again finds what is known of its
functions."""


class Told:
    """A template or a piece of code that the hub was told of. It is dropped there when this goes.

    Args:
        name: a template's number, or a key of code.
        needless: gets the name in the end.
        code: what a template needs.
    """

    __slots__ = ("__weakref__", "_code", "_needless", "name")

    def __init__(
        self, name: int | bytes, needless: deque[int | bytes], code: tuple[Told, ...] = ()
    ) -> None:
        self.name = name
        self._needless = needless
        self._code = code

    def __del__(self) -> None:
        self._needless.append(self.name)


class ToldTemplate(Told):
    """A template that the hub was told of."""

    __slots__ = ()
    name: int


def make_template(
    call: Call, template: int, function: bytes, modules: bytes, captured: list[int]
) -> TemplateDefined:
    """What many tasks of this function with these options share."""
    options = call.task_options
    strategy = options.scheduling_strategy
    affinity = strategy if isinstance(strategy, NodeAffinity) else None
    group = options.group
    types = options.retry_exceptions
    cached = _result_cache() if options.cache else None
    return TemplateDefined(
        template,
        call.name,
        function,
        modules,
        captured,
        options.demand,
        call.num_returns,
        call.streaming,
        options.backpressure or 0,
        options.max_retries,
        bool(types),
        dumps(types) if isinstance(types, tuple) else b"",
        options.timeout_s or 0.0,
        options.max_calls or 0,
        strategy == "SPREAD",
        affinity.node if affinity else -1,
        affinity.soft if affinity else False,
        group=group.placement_group.number if group else 0,
        bundle=group.placement_group_bundle_index if group else -1,
        capture=bool(group and group.placement_group_capture_child_tasks),
        cache=str(cached.folder) if cached else "",
        cache_limit=cached.limit_bytes if cached else 0,
        durable=options.durable,
    )


MakeTemplate: TypeAlias = Callable[[Any, int, bytes, bytes, list[int]], TemplateDefined]


class Binding:
    """A call bound to one session: the template of the version that was shipped."""

    __slots__ = (
        "_checked_at",
        "_guard",
        "_modules",
        "_told",
        "cached",
        "captured",
        "num_returns",
        "template",
    )

    def __init__(
        self,
        shipped: ShippedFunction,
        template: ToldTemplate,
        num_returns: int,
        captured: list[ObjectRef[Any]],
        cached: CachedFunction | None = None,
    ) -> None:
        self.template = template.name
        self._told = template
        self.num_returns = num_returns
        self.captured = captured
        """Refs that keep the captured values and nested refs alive."""
        self.cached = cached
        """Where its results are kept, if they are."""
        self._guard = shipped.guard
        self._modules = shipped.modules
        self._checked_at = time.perf_counter()

    def stale(self) -> bool:
        """Whether the function must be shipped anew."""
        if self._guard.stale():
            return True
        if self._modules is not None:
            now = time.perf_counter()
            if now - self._checked_at > MODULES_CHECK_S:
                self._checked_at = now
                return self._modules.changed()
        return False


class Binder:
    """Binds calls for one client. Code is sent once per version, templates once per call."""

    def __init__(self, client: Client, note: Callable[[str], None]) -> None:
        self._client = client
        self._note = note
        self._lock = threading.RLock()
        self._sent: WeakValueDictionary[bytes, Told] = WeakValueDictionary()
        self._templates: WeakValueDictionary[bytes, ToldTemplate] = WeakValueDictionary()
        """By all that they say but their ids: equal options share one, however often written."""
        self._recent: deque[ToldTemplate] = deque(maxlen=KEPT)
        # By content, so that a new version of the code does not store them anew; weak, so that
        # they go with the last binding that uses them.
        self._captured: WeakValueDictionary[bytes, ObjectRef[Any]] = WeakValueDictionary()

    def bind(self, call: Call, make: MakeTemplate = make_template) -> Binding:
        """Ship the call's function in its present version.

        Args:
            make: makes the template from the call, an id, the keys of the code and of its modules,
                and the ids of what was captured.

        Raises:
            SerializationError: it captures something that cannot be pickled.
            UsageError: it is durable, and captures references.
        """
        with self._lock:
            shipped, code = self._ship(call)
            if call.task_options.durable:
                check_closure(call.name, len(shipped.refs))
            cached = _cached_function(call, code) if call.task_options.cache else None
            captured = self._put_captured(shipped, call.name)
            needs = [self._send(shipped.key, shipped.blob)]
            modules = b""
            if shipped.modules is not None:
                modules = shipped.modules.key
                needs.append(self._send(modules, pickle.dumps(shipped.modules)))
            ids = [ref.id for ref in captured]
            template = self.define(
                lambda template: make(call, template, shipped.key, modules, ids), *needs
            )
            self._recent.append(template)
            keep = captured + [self._hold(object_id) for object_id in shipped.refs]
            return Binding(shipped, template, call.num_returns, keep, cached)

    def define(self, make: Callable[[int], TemplateDefined], *code: Told) -> ToldTemplate:
        """The template that this makes of an id, told to the hub once.

        Args:
            code: what it needs.
        """
        nameless = encode([make(0)])
        with self._lock:
            told = self._templates.get(nameless)
            if told is None:
                client = self._client
                with client.lock:
                    number = client.new_id()
                told = self._templates[nameless] = ToldTemplate(number, client.needless, code)
                client.channel.post(make(number))
            return told

    def _ship(self, call: Call) -> tuple[ShippedFunction, bytes]:
        """Ship the function, or reuse what another call with other options has shipped.

        Returns:
            It, and for a function whose results are kept the digest of this very version: what
            engines run and the key of what it returns must not be of different moments.
        """
        wants_digest = call.task_options.cache
        found: tuple[ShippedFunction, bytes] | None = call.shared.get(self)
        if (
            found is None
            or (wants_digest and not found[1])
            or found[0].guard.stale()
            or _changed(found[0])
        ):
            code = _code_digest(call) if wants_digest else b""
            found = call.shared[self] = ship(call.function), code
        return found

    def _send(self, key: bytes, blob: bytes) -> Told:
        told = self._sent.get(key)
        if told is None:
            told = self._sent[key] = Told(key, self._client.needless)
            self._client.channel.post(BlobDefined(key, blob))
        return told

    def _put_captured(self, shipped: ShippedFunction, name: str) -> list[ObjectRef[Any]]:
        if not shipped.captured:
            return []
        client = self._client
        new = []
        refs = []
        for key, value, variable in zip(
            shipped.captured_keys, shipped.captured, shipped.captured_names, strict=True
        ):
            ref = self._captured.get(key)
            if ref is None:
                ref = self._captured[key] = client.put(value)
                new.append((variable, _size_of(value)))
            refs.append(ref)
        if new:
            names = ", ".join(repr(variable) for variable, _ in new)
            size = sum(size for _, size in new) / 2**20
            self._note(
                f"{name} captures {names} ({size:.1f} MiB): put in the object store once. "
                "Pass a ref from parallax.put(...) to share it between functions."
            )
        return refs

    def _hold(self, object_id: int) -> ObjectRef[Any]:
        self._client.adopt(object_id)
        return ObjectRef(object_id, self._client)


def _code_digest(call: Call) -> bytes:
    from parallax.serial.call_key import code_digest  # late: most sessions keep nothing

    return code_digest(call.function, call.name)


def _cached_function(call: Call, code: bytes) -> CachedFunction:
    from parallax.sessions.cached import CachedFunction

    return CachedFunction(call, code)


def _result_cache() -> ResultCache:
    from parallax.sessions.cached import result_cache

    return result_cache()


def _changed(shipped: ShippedFunction) -> bool:
    return shipped.modules is not None and shipped.modules.changed()


def _size_of(value: Any) -> int:
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    return len(value) if isinstance(value, str | bytes | bytearray) else sys.getsizeof(value)
