"""The code that an engine has, and what it forgets of it."""

from __future__ import annotations

from parallax.messages import TemplateDefined
from parallax.pool.library import Library


def library_of(*specs: TemplateDefined) -> Library:
    library = Library(lambda ids: [])
    for spec in specs:
        library.define_blob(spec.function, b"code")
        library.define(spec)
    return library


def test_a_template_in_use_and_its_code_are_forgotten_later() -> None:
    library = library_of(TemplateDefined(1, "f", b"f"), TemplateDefined(2, "g", b"g"))
    library.needless.update(dict.fromkeys([1, 2, b"f", b"g"]))
    library.forget({1})
    assert list(library.specs) == [1]
    assert list(library.blobs) == [b"f"]
    library.forget(set())
    assert not library.specs
    assert not library.blobs
    assert not library.needless


def test_what_is_told_anew_stays() -> None:
    library = library_of(TemplateDefined(1, "f", b"f"))
    library.needless.update(dict.fromkeys([1, b"f"]))
    library.define_blob(b"f", b"code")
    library.define(TemplateDefined(1, "f", b"f"))
    library.forget(set())
    assert list(library.specs) == [1]
    assert list(library.blobs) == [b"f"]


def test_code_that_another_template_needs_stays() -> None:
    library = library_of(TemplateDefined(1, "f", b"f"), TemplateDefined(2, "g", b"f"))
    library.needless.update(dict.fromkeys([1, b"f"]))
    library.forget(set())
    assert list(library.specs) == [2]
    assert list(library.blobs) == [b"f"]
