"""The view below a running cell: shown when the run begins, updated from one thread, final when the run ends."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlguard_nb.notebook.facts import RunFacts

__all__ = ["LiveView", "Publisher", "ShellPublisher", "Updater"]

_LOG = logging.getLogger(__name__)
_FIRST_SECONDS = 0.25  # most cells end before this, and then cost two messages
_PERIOD_SECONDS = 0.1
_CALM_AFTER_SECONDS, _CALM_PERIOD_SECONDS = 10.0, 0.5
_IDS = itertools.count(1)


class Publisher(Protocol):
    """Where a view goes."""

    @property
    def is_live(self) -> bool:
        """Whether what was shown can be replaced; a terminal can only be written to once."""
        ...

    def publish(self, data: dict[str, Any], display_id: str, *, update: bool) -> None:
        """Show `data`, or put it in the place of what was shown under `display_id` ("": it is never replaced)."""
        ...

    def listen(self, listener: Callable[[dict[str, Any]], None] | None) -> None:
        """Tell `listener` of everything that the user's code displays or echoes; None ends that."""
        ...


class ShellPublisher:
    """The display channel of an IPython shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    @property
    def is_live(self) -> bool:
        """Kernels replace outputs; a terminal does not."""
        return hasattr(self._shell, "kernel")

    def publish(self, data: dict[str, Any], display_id: str, *, update: bool) -> None:
        """Send the bundle as it is, without asking the formatters."""
        transient = {"display_id": display_id} if display_id else {}
        display_pub = self._shell.display_pub
        if not display_id or threading.current_thread() is not threading.main_thread():
            display_pub.publish(data, {}, transient=transient, update=update)
            return
        # A kernel flushes stdout before each display, which costs a round trip to another thread. A view opens before
        # the cell has printed anything and is replaced in place: its order against printed text cannot change.
        display_pub.__dict__["_flush_streams"] = _nothing
        try:
            display_pub.publish(data, {}, transient=transient, update=update)
        finally:
            display_pub.__dict__.pop("_flush_streams", None)

    def listen(self, listener: Callable[[dict[str, Any]], None] | None) -> None:
        """Hear of displays where they are sent: a function is put over the method of this one publisher."""
        display_pub, hook = self._shell.display_pub, self._shell.displayhook
        if listener is None:
            display_pub.__dict__.pop("publish", None)
            hook.__dict__.pop("write_format_data", None)
            return
        publish_one, write_result = display_pub.publish, hook.write_format_data

        def publish(data: dict[str, Any], *arguments: Any, **options: Any) -> None:
            if not options.get("update"):
                listener(data)
            publish_one(data, *arguments, **options)

        def write_format_data(data: dict[str, Any], *arguments: Any, **options: Any) -> None:
            listener(data)
            write_result(data, *arguments, **options)

        display_pub.__dict__["publish"] = publish
        hook.__dict__["write_format_data"] = write_format_data


def _nothing() -> None:
    return None


class LiveView:
    """One view of one run. `facts` is asked for its state whenever it is drawn."""

    def __init__(self, publisher: Publisher, facts: Callable[[], RunFacts], updater: Updater) -> None:
        self._publisher, self._facts, self._updater = publisher, facts, updater
        self._id = f"mlguard-{os.getpid()}-{next(_IDS)}"
        self._lock = threading.Lock()
        self._open = False

    def open(self) -> None:
        """Show the view, and let the thread keep it fresh."""
        if self._publisher.is_live:
            self._send(self._facts(), update=False)
            self._open = True
            self._updater.follow(self)

    def refresh(self) -> None:
        """Draw the present state again; nothing after `close`."""
        with self._lock:
            if self._open:
                self._send(self._facts(), update=True)

    def close(self, facts: RunFacts) -> None:
        """Store the final state; no later update can replace it."""
        self._updater.leave(self)
        with self._lock:
            self._send(facts, update=self._open)
            self._open = False

    def _send(self, facts: RunFacts, *, update: bool) -> None:
        from mlguard_nb.notebook.bundle import bundle

        self._publisher.publish(bundle(facts), self._id, update=update)


class Updater:
    """The one thread that refreshes the open views, at most ten times a second. It never prints."""

    def __init__(self) -> None:
        self._views: tuple[LiveView, ...] = ()
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._owner = 0

    def follow(self, view: LiveView) -> None:
        """Refresh `view` until it is left."""
        self._views = (*self._views, view)
        if self._thread is None or self._owner != os.getpid():
            self._owner, self._wake = os.getpid(), threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._wake,), name="mlguard-view", daemon=True)
            self._thread.start()
        self._wake.set()

    def leave(self, view: LiveView) -> None:
        """No longer refresh `view`."""
        self._views = tuple(other for other in self._views if other is not view)
        if not self._views:
            self._wake.clear()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._views = ()
        self._wake.set()

    def _run(self, wake: threading.Event) -> None:
        pause = threading.Event()  # never set: a wait that the end of the process does not hold up
        while wake.wait() and not self._stopped:
            spent = _FIRST_SECONDS
            pause.wait(_FIRST_SECONDS)
            while self._views and not self._stopped:
                for view in self._views:
                    try:
                        view.refresh()
                    except Exception:
                        _LOG.exception("a view could not be refreshed and was left as it is")
                        self.leave(view)
                period = _PERIOD_SECONDS if spent < _CALM_AFTER_SECONDS else _CALM_PERIOD_SECONDS
                pause.wait(period)
                spent += period
