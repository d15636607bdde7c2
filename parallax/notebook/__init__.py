"""The notebook layer: `%load_ext parallax` and what it brings. Uses the public API alone."""

from __future__ import annotations

from typing import Any

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext parallax` calls. Starts nothing."""
    from parallax.notebook.completion import complete_parallel
    from parallax.notebook.magics import ParallelMagics

    shell.register_magics(ParallelMagics)
    shell.set_hook("complete_command", complete_parallel, re_key=r"%%?parallel\b")


def unload_ipython_extension(shell: Any) -> None:
    """What `%unload_ext parallax` calls. Running pools go on."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("parallel", None)
