"""A pickler that remembers what it met: functions sent by value, modules referred to by name."""

from __future__ import annotations

import io
from types import FunctionType, ModuleType
from typing import IO, Any

from parallax.serial.code_pickler import Pickler


class Recorder(Pickler):
    """Pickles code and notes what the code is made of.

    Attributes:
        functions: the functions that went by value, each once.
        modules: the names of the modules that something was referred to in.
        own_types: the classes that went by value.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.functions: list[FunctionType] = []
        self.modules: dict[str, None] = {}
        self.own_types: set[type] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Reduce as `Pickler` does, and take note."""
        reduced = super().reducer_override(obj)
        if isinstance(obj, ModuleType):
            self.modules[obj.__name__] = None
        elif isinstance(obj, FunctionType | type):
            if reduced is NotImplemented or len(reduced) < 6:
                self._note_module(obj)
            elif isinstance(obj, FunctionType):
                self.functions.append(obj)
            else:
                self.own_types.add(obj)
        else:
            # An object may pickle itself as a bare name; then no class of its module is met.
            self._note_module(obj)
            self._note_module(type(obj))
        return reduced

    def _note_module(self, obj: Any) -> None:
        name = getattr(obj, "__module__", None)
        if isinstance(name, str):
            self.modules[name] = None


def record(obj: Any) -> Recorder:
    """Pickle to nowhere, for what is met on the way. Raises what pickling raises."""
    recorder = Recorder(io.BytesIO())
    recorder.dump(obj)
    return recorder
