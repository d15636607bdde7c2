"""The inline session: every task runs at once, in the thread that submits it.

For debuggers and unit tests: a breakpoint in a task stops under the prompt, a mock or a coverage
tool sees the very function that was written, and an error raised by `get` carries the frames in
which the task raised it, for ``%debug`` and ``pytest --pdb``.

Values are what they are in a pool: arguments and results are copies, arrays come back read-only,
what cannot be pickled is refused, and what nobody refers to is freed. Different from a pool are:

- the function itself is not copied, so it shares its globals with the program;
- nothing runs beside anything else: a task that was submitted has ended, but for streaming tasks,
  which go on when their reader asks for an item;
- Ctrl-C, and quitting the debugger, pass straight to the caller and cancel the task;
- a `timeout_s` never strikes, for a debugger may stand still in a task; GPUs and threads of
  numeric libraries are what the process has; an engine that dies takes the program with it.
"""

from parallax.sessions.inline.session import InlineSession

__all__ = ["InlineSession"]
