"""What a notebook shows, outside of one: displays that are updated, and output that is kept instead of printed."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, ExitStack, redirect_stderr, redirect_stdout
from types import TracebackType
from typing import Any
from uuid import uuid4

__all__ = ["Captured", "Display", "captured_output", "display", "shown_errors"]


class Display:
    """One place on the screen of the notebook; here each update prints anew."""

    def __init__(self, display_id: str) -> None:
        self.display_id = display_id

    def display(self, obj: Any, **options: Any) -> None:
        """Print `obj`; what `options` ask of IPython has no meaning here."""
        print(obj)  # noqa: T201

    update = display


def display(*objects: Any, display_id: str | bool | None = None, **options: Any) -> Display | None:
    """Print `objects`. With `display_id` a Display comes back that can be updated, as IPython gives one."""
    print(*objects)  # noqa: T201
    if not display_id:
        return None
    return Display(display_id if isinstance(display_id, str) else uuid4().hex)


class Captured:
    """What was printed while output was kept: `stdout` and `stderr` as text; `outputs`, rich ones, are always empty."""

    def __init__(self) -> None:
        self._out, self._err = io.StringIO(), io.StringIO()
        self.outputs: list[Any] = []

    @property
    def stdout(self) -> str:
        """What was printed so far."""
        return self._out.getvalue()

    @property
    def stderr(self) -> str:
        """What went to the error stream so far."""
        return self._err.getvalue()

    def __str__(self) -> str:
        return self.stdout

    def show(self) -> None:
        """Print it all now."""
        print(self.stdout, end="")  # noqa: T201

    __call__ = show


class captured_output(AbstractContextManager[Captured]):  # noqa: N801
    """Keep what the block prints, as `%%capture` does; False for `stdout` or `stderr` lets that one through."""

    def __init__(self, *, stdout: bool = True, stderr: bool = True) -> None:
        self._wanted = (stdout, stderr)
        self._stack = ExitStack()

    def __enter__(self) -> Captured:
        kept = Captured()
        if self._wanted[0]:
            self._stack.enter_context(redirect_stdout(kept._out))
        if self._wanted[1]:
            self._stack.enter_context(redirect_stderr(kept._err))
        return kept

    def __exit__(self, *problem: object) -> None:
        self._stack.close()


class shown_errors(AbstractContextManager[Any, bool]):  # noqa: N801
    """`with shown_errors(out):` does what `with out:` does with an ipywidgets Output in a notebook: an exception ends
    the block, is printed, and what comes below runs. Outside of one an Output lets it through.
    """

    def __init__(self, output: AbstractContextManager[Any]) -> None:
        self._output = output

    def __enter__(self) -> Any:
        return self._output.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._output.__exit__(kind, error, trace)
        if isinstance(error, Exception):
            print(f"{type(error).__name__}: {error}")  # noqa: T201
        return isinstance(error, Exception)
