"""What a function remembers of the calls that fitted it."""

from __future__ import annotations

import pytest

from parallax.api.call_patterns import MAX_KNOWN, CallPatterns


def test_a_call_that_fits_is_known_from_then_on() -> None:
    def area(width: int, *, height: int = 1) -> int:
        return width * height

    patterns = CallPatterns(area)
    patterns.learn("area", (1,), {})
    patterns.learn("area", (1,), {"height": 2})
    with pytest.raises(TypeError):
        patterns.learn("area", (1, 2), {})
    assert patterns.known == {1, (1, "height")}


def test_what_it_remembers_is_bounded() -> None:
    patterns = CallPatterns(dict)
    for number in range(2 * MAX_KNOWN):
        patterns.learn("dict", (), {f"name{number}": number})
    assert 0 < len(patterns.known) <= MAX_KNOWN
