"""How objects show themselves in a notebook, where they have no view of their own."""

from __future__ import annotations


class HtmlRepr:
    """Shows the object's text as HTML, without a notebook's line breaks and colours."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        import html  # here, since only notebooks need it

        return f"<code>{html.escape(repr(self))}</code>"
