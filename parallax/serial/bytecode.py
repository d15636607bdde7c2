"""What a code object reads and imports, found in its bytecode without running it."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType
from typing import NamedTuple

_LOAD_GLOBAL = dis.opmap["LOAD_GLOBAL"]
# Class bodies look names up in their own namespace first; since 3.12 in two ways.
_LOAD_NAME = {
    dis.opmap[name] for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if name in dis.opmap
}
_EXTENDED_ARG = dis.EXTENDED_ARG
_IMPORT_NAME = dis.opmap["IMPORT_NAME"]


class Import(NamedTuple):
    """One import statement: ``from <level dots><module> import <names>``."""

    module: str
    names: tuple[str, ...]
    level: int


def with_nested(code: CodeType) -> Iterator[CodeType]:
    """The code object and those of the functions, classes and lambdas written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from with_nested(constant)


def global_names(code: CodeType) -> tuple[str, ...]:
    """The global names that the code or code nested in it may read, in order of appearance.

    Built-ins are among them: whether a name is a global is only known when it is looked up.
    """
    found: dict[str, None] = {}
    for block in with_nested(code):
        raw = block.co_code
        extended = 0
        for position in range(0, len(raw), 2):
            opcode, argument = raw[position], raw[position + 1] | extended
            if opcode == _EXTENDED_ARG:
                extended = argument << 8
                continue
            extended = 0
            if opcode == _LOAD_GLOBAL:
                # Since 3.11 the lowest bit says whether a NULL is pushed before the value.
                found[block.co_names[argument >> 1]] = None
            elif opcode in _LOAD_NAME:
                found[block.co_names[argument]] = None
    return tuple(found)


def imports(code: CodeType) -> list[Import]:
    """The import statements in the code and in code nested in it."""
    found = []
    for block in with_nested(code):
        # A quick look first: decoding costs about 1 µs an instruction, and most code has none.
        if _IMPORT_NAME not in block.co_code[::2]:
            continue
        constants: list[object] = []
        for instruction in dis.get_instructions(block):
            if instruction.opcode == _IMPORT_NAME:
                # The compiler pushes the level and the list of names just before.
                level, names = (*constants[-2:], 0, ())[:2]
                found.append(
                    Import(
                        module=str(instruction.argval),
                        names=names if isinstance(names, tuple) else (),
                        level=level if isinstance(level, int) else 0,
                    )
                )
            elif (
                instruction.opname.startswith("LOAD_") and instruction.opcode in dis.hasconst
            ) or instruction.opname == "LOAD_SMALL_INT":
                constants.append(instruction.argval)
    return found
