"""Segments say what is in them, and damaged ones say that they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallax.store.layout import lay_out, parts_of, used_bytes


@given(st.binary(), st.lists(st.binary(max_size=200), max_size=20), st.integers(0, 300))
def test_what_goes_in_comes_out(data: bytes, buffers: list[bytes], slack: int) -> None:
    layout = lay_out(data, [memoryview(buffer) for buffer in buffers])
    segment = b"".join(layout.pieces)
    assert len(segment) == layout.size_bytes
    view = memoryview(segment + bytes(slack)).toreadonly()
    assert used_bytes(view) == layout.size_bytes
    stream, parts = parts_of(view)
    assert bytes(stream) == data
    assert [bytes(part) for part in parts] == buffers


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1))
def test_parts_are_aligned(buffers: list[bytes]) -> None:
    layout = lay_out(b"stream", buffers)
    offset = 0
    for piece in layout.pieces:
        if piece in buffers and len(piece):
            break
        offset += len(piece)
    assert offset % 64 == 0


@pytest.mark.parametrize("damaged", [bytes(64), b"PLXSEG01" + b"\xff" * 56])
def test_damage_is_named(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="not a segment"):
        parts_of(memoryview(damaged))
