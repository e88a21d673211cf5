"""Where views go, and the hooks that hear what the user's code shows: no hook outlives the run that asked for it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Publisher", "ShellPublisher"]

Listener = Callable[[dict[str, Any]], None]


class Publisher(Protocol):
    """Where a view goes."""

    @property
    def is_live(self) -> bool:
        """Whether what was shown can be replaced; a terminal can only be written to once."""
        ...

    def publish(self, data: dict[str, Any], display_id: str, *, update: bool) -> None:
        """Show `data`, or put it in the place of what was shown under `display_id` ("": it is never replaced)."""
        ...

    def listen(self, listener: Listener | None) -> None:
        """Tell `listener` of everything that the user's code displays or echoes; None ends that."""
        ...

    def watch(self, before_output: Callable[[], None], cleared: Callable[[], None]) -> None:
        """Call `before_output` each time before the user's code shows anything, `cleared` when it clears its output."""
        ...

    def unwatch(self, before_output: Callable[[], None]) -> None:
        """No longer call `before_output`, nor what it was given with."""
        ...


class ShellPublisher:
    """The display channel of an IPython shell.

    It hears the user's output through functions put over methods of single objects (the two streams, the display
    publisher, the display hook) while somebody wants to hear, and takes them away again.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._owner = os.getpid()
        self._listener: Listener | None = None
        self._watchers: tuple[tuple[Callable[[], None], Callable[[], None]], ...] = ()
        self._covered: list[tuple[Any, str]] = []
        self._publish_plainly: Callable[..., Any] | None = None

    @property
    def is_live(self) -> bool:
        """Kernels replace outputs; a terminal does not."""
        return hasattr(self._shell, "kernel")

    def publish(self, data: dict[str, Any], display_id: str, *, update: bool) -> None:
        """Send the bundle as it is, without asking the formatters; below the views of the cells around this one."""
        if not update:
            for before_output, _ in self._watchers:
                before_output()
        transient = {"display_id": display_id} if display_id else {}
        display_pub = self._shell.display_pub
        plainly = self._publish_plainly or display_pub.publish
        if not display_id or threading.current_thread() is not threading.main_thread():
            plainly(data, {}, transient=transient, update=update)
            return
        # A kernel flushes stdout before each display, which costs a round trip to another thread. A view opens before
        # the cell has printed anything and is replaced in place: its order against printed text cannot change.
        display_pub.__dict__["_flush_streams"] = _nothing
        try:
            plainly(data, {}, transient=transient, update=update)
        finally:
            display_pub.__dict__.pop("_flush_streams", None)

    def listen(self, listener: Listener | None) -> None:
        """One listener at a time; None ends it."""
        self._listener = listener
        self._cover()

    def watch(self, before_output: Callable[[], None], cleared: Callable[[], None]) -> None:
        """Hear of output until `unwatch`."""
        self._watchers = (*self._watchers, (before_output, cleared))
        self._cover()

    def unwatch(self, before_output: Callable[[], None]) -> None:
        """The other watchers go on."""
        self._watchers = tuple(pair for pair in self._watchers if pair[0] != before_output)
        self._cover()

    def _cover(self) -> None:
        """Put the functions over the methods, or take them away: whatever is wanted now."""
        for place, name in self._covered:
            place.__dict__.pop(name, None)
        self._covered, self._publish_plainly = [], None
        display_pub, hook = self._shell.display_pub, self._shell.displayhook
        if self._watchers:
            for stream in {id(one): one for one in (sys.stdout, sys.stderr) if hasattr(one, "pub_thread")}.values():
                self._put(stream, "write", self._before(stream.write))
            self._put(display_pub, "clear_output", self._after_clearing(display_pub.clear_output))
        if self._watchers or self._listener is not None:
            self._publish_plainly = display_pub.publish
            self._put(display_pub, "publish", self._before(display_pub.publish, is_data=True))
            if hasattr(hook, "write_format_data"):
                self._put(hook, "write_format_data", self._before(hook.write_format_data, is_data=True))

    def _put(self, place: Any, name: str, function: Callable[..., Any]) -> None:
        place.__dict__[name] = function
        self._covered.append((place, name))

    def _before(self, method: Callable[..., Any], *, is_data: bool = False) -> Callable[..., Any]:
        def heard(*arguments: Any, **options: Any) -> Any:
            if not options.get("update") and os.getpid() == self._owner:  # not in a forked child
                for before_output, _ in self._watchers:
                    before_output()
                if is_data and self._listener is not None:
                    self._listener(options["data"] if "data" in options else arguments[0])
            return method(*arguments, **options)

        return heard

    def _after_clearing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def cleared(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            for _, told in self._watchers:
                told()
            return result

        return cleared


def _nothing() -> None:
    return None
