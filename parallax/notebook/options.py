"""Options of magics: declared once, for parsing, help and completion."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parallax.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        flags: as they are written, the long one first.
        help: one line.
        metavar: what stands for its value; empty for one that takes none.
        convert: makes the value from its text; a `ValueError` of it says what is expected.
        choices: the texts that are allowed, where only some are.
        default: when it is not given.
    """

    flags: tuple[str, ...]
    help: str
    metavar: str = ""
    convert: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    default: Any = None

    @property
    def key(self) -> str:
        """Its name in Python: ``num_cpus`` of ``--num-cpus``."""
        return self.flags[0].lstrip("-").replace("-", "_")


class Options(dict[str, Any]):
    """What was given and the defaults of the rest, as attributes."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None


def parse(text: str, known: Sequence[Option], magic: str) -> tuple[Options, list[str]]:
    """Read options; ``--chunk 10`` and ``--chunk=10`` are the same.

    Args:
        text: as a shell would read it.
        known: the options that there are.
        magic: whose they are, for messages.

    Returns:
        The options, and the words that are none.

    Raises:
        UsageError: an unknown option, one without its value, or a value that makes no sense.
    """
    by_flag = {flag: option for option in known for flag in option.flags}
    found = Options({option.key: option.default for option in known})
    rest: list[str] = []
    words = _words(text)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        flag, equals, value = word.partition("=")
        option = by_flag.get(flag)
        if option is None:
            raise UsageError(_unknown(flag, by_flag, magic))
        if not option.metavar:
            if equals:
                raise UsageError(f"{flag} takes no value.")
            found[option.key] = True
            continue
        if not equals:
            if not words:
                raise UsageError(f"{flag} needs a value: {flag} {option.metavar}.")
            value = words.pop(0)
        found[option.key] = _convert(option, flag, value)
    return found, rest


def help_of(known: Sequence[Option]) -> str:
    """The options, one a line, as a docstring shows them."""
    heads = [", ".join(option.flags) + f" {option.metavar}".rstrip() for option in known]
    width = max(map(len, heads))
    return "\n".join(
        f"    {head:{width}}  {option.help}" for head, option in zip(heads, known, strict=True)
    )


def whole(at_least: int) -> Callable[[str], int]:
    """Converts whole numbers from a smallest one on."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = at_least - 1
        if value < at_least:
            raise ValueError(f"a whole number of at least {at_least}")
        return value

    return convert


def positive(text: str) -> float:
    """Converts numbers above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError("a number above 0")
    return value


def name(text: str) -> str:
    """Accepts what can name a variable."""
    import keyword

    if not text.isidentifier() or keyword.iskeyword(text):
        raise ValueError("a variable's name")
    return text


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text}: {str(error).lower()}.") from None


def _convert(option: Option, flag: str, text: str) -> Any:
    if option.choices and text not in option.choices:
        near = difflib.get_close_matches(text, option.choices, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{flag} {text}: choose from {', '.join(option.choices)}.{hint}")
    try:
        return option.convert(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text}: it must be {error}.") from None


def _unknown(flag: str, by_flag: Mapping[str, Option], magic: str) -> str:
    near = difflib.get_close_matches(flag, by_flag, 1, cutoff=0.5)
    if near:
        return f"there is no option {flag}. Did you mean {near[0]}?"
    return f"there is no option {flag}. {magic}? lists them."
