"""What handles know of an actor's class: its methods and their options."""

from __future__ import annotations

import difflib
import functools
import inspect
import pickle
import sys
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from parallax.actor_options import ActorOptions, MethodOptions
from parallax.api.call_patterns import CallPatterns
from parallax.api.method_shapes import Shape, shape_of, signature_of
from parallax.errors import UsageError
from parallax.serial.values import dumps

OPTIONS_ATTRIBUTE = "__parallax_method__"
"""Of a method: its options, as `method` has set them."""
DEFAULTS = MethodOptions()
_METHOD_MAKERS = (functools.partialmethod, functools.singledispatchmethod)
"""Descriptors that cannot be called themselves, and make methods."""


class BoundMethod:
    """One method of one class, with the options of its calls."""

    __slots__ = (
        "backpressure",
        "concurrency_group",
        "generator",
        "max_task_retries",
        "name",
        "num_returns",
        "options",
        "patterns",
        "retry_exceptions",
        "session_data",
        "streaming",
        "title",
    )

    def __init__(
        self,
        info: ActorInfo,
        name: str,
        options: MethodOptions = DEFAULTS,
        *,
        generator: bool = False,
        patterns: CallPatterns | None = None,
    ) -> None:
        self.name = name
        self.patterns = patterns or CallPatterns(None)
        """What it takes."""
        self.options = options
        self.generator = generator
        """It is a generator function, whose results stream unless they are counted."""
        self.title = options.name or (f"{info.name}.{name}" if name else f"{info.name} ready")
        returns = options.num_returns
        self.streaming = returns == "streaming" or (returns is None and generator)
        self.num_returns = returns if isinstance(returns, int) else 1
        if options.backpressure is not None and not self.streaming:
            raise UsageError(
                f"{self.title}: backpressure is for streaming results. Make the method a "
                'generator, or pass num_returns="streaming".'
            )
        self.backpressure = options.backpressure or 0
        group = options.concurrency_group or ""
        if group and group not in info.groups:
            known = ", ".join(map(repr, info.groups)) or "none"
            raise UsageError(
                f"{self.title} belongs to concurrency_group={group!r}, which its actor does not "
                f"have. It has: {known}. Name its groups with concurrency_groups={{{group!r}: n}}."
            )
        self.concurrency_group = group
        retries = options.max_task_retries
        self.max_task_retries = info.max_task_retries if retries is None else retries
        self.retry_exceptions = options.retry_exceptions
        self.session_data: Any = None

    def with_options(self, info: ActorInfo, options: MethodOptions) -> BoundMethod:
        """The same method with other options.

        Raises:
            UsageError: they make no sense for it.
        """
        generator, patterns = self.generator, self.patterns
        return BoundMethod(info, self.name, options, generator=generator, patterns=patterns)


class ActorInfo:
    """A class as its handles see it.

    Args:
        methods: by name, whether it is a generator, its options, and what it takes.
        attributes: other names that the class has.
    """

    def __init__(
        self,
        name: str,
        methods: Mapping[str, tuple[bool, MethodOptions, Shape | None]],
        attributes: list[str],
        groups: list[str],
        max_task_retries: int,
        max_pending_calls: int,
    ) -> None:
        self.name = name
        self.attributes = attributes
        self.groups = groups
        self.max_task_retries = max_task_retries
        self.max_pending_calls = max_pending_calls
        self.methods = {
            method: BoundMethod(
                self,
                method,
                options,
                generator=generator,
                patterns=CallPatterns(signature_of(shape)),
            )
            for method, (generator, options, shape) in methods.items()
        }
        self.readiness = BoundMethod(self, "")
        fields = (name, methods, attributes, groups, max_task_retries, max_pending_calls)
        self.data = dumps(fields)

    def method(self, name: str) -> BoundMethod:
        """The method of this name.

        Raises:
            AttributeError: there is none; the message names those that are near.
        """
        found = self.methods.get(name)
        if found is not None:
            return found
        if name in self.attributes:
            raise AttributeError(
                f"{self.name}.{name} is no method, and attributes of an actor cannot be read from "
                f"outside. Add a method that returns it, or use handle.call(lambda self: "
                f"self.{name})."
            )
        near = difflib.get_close_matches(name, self.methods, n=3, cutoff=0.5)
        public = sorted(method for method in self.methods if not method.startswith("_"))
        if _has_it_now(self.name, name):
            hint = (
                f"The class was changed since, and has it: {self.name}.remote(...) makes an actor "
                "of the new version. This one keeps the version that it was made of."
            )
        elif near:
            hint = f"Did you mean {' or '.join(near)}?"
        else:
            hint = f"Its methods are: {', '.join(public) or 'none'}."
        # Without the object, for which Python would add a guess of its own.
        raise AttributeError(
            f"the actor class {self.name} has no method {name!r}. {hint}", name=name, obj=None
        )


def _has_it_now(cls: str, method: str) -> bool:
    """Whether the notebook or script has a class of this name with such a method: its cell was
    edited and run again after the actor was made."""
    found = getattr(sys.modules.get("__main__"), cls, None)
    return callable(getattr(getattr(found, "__wrapped__", None), method, None))


def info_of(cls: type, options: ActorOptions) -> ActorInfo:
    """What handles must know of this class."""
    methods: dict[str, tuple[bool, MethodOptions, Shape | None]] = {}
    attributes = []
    for name in dir(cls):
        if name in vars(object):
            continue
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "__func__", member)
        if callable(function) or isinstance(function, _METHOD_MAKERS):
            generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(
                function
            )
            method_options = getattr(function, OPTIONS_ATTRIBUTE, DEFAULTS)
            methods[name] = (generator, method_options, shape_of(member))
        else:
            attributes.append(name)
    return ActorInfo(
        cls.__name__,
        methods,
        attributes,
        list(options.concurrency_groups or {}),
        options.max_task_retries,
        options.max_pending_calls,
    )


_loaded: WeakValueDictionary[bytes, ActorInfo] = WeakValueDictionary()


def load_info(data: bytes) -> ActorInfo:
    """The info that travelled as these bytes; handles of one class share it."""
    info = _loaded.get(data)
    if info is None:
        info = _loaded[data] = ActorInfo(*pickle.loads(data))
    return info
