"""The view of a running cell: shown above its first output, updated from one thread, final when the run ends."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlguard_nb.notebook.facts import RunFacts
    from mlguard_nb.notebook.publisher import Publisher

__all__ = ["LiveView", "Updater"]

_LOG = logging.getLogger(__name__)
_FIRST_SECONDS = 0.25  # most cells end before this
_PERIOD_SECONDS = 0.1
_CALM_AFTER_SECONDS, _CALM_PERIOD_SECONDS = 10.0, 0.5
_IDS = itertools.count(1)


class LiveView:
    """One view of one run. `facts` is asked for its state whenever it is drawn.

    It stands above everything that the cell shows: it is sent before the cell's first output, or after a quarter of a
    second, or with the end of a shorter cell, which then costs one message instead of two. Where compiled code holds
    the interpreter from the first line on, nothing in the kernel can send it: the JupyterLab extension shows one then.
    """

    def __init__(self, publisher: Publisher, facts: Callable[[], RunFacts], updater: Updater) -> None:
        self._publisher, self._facts, self._updater = publisher, facts, updater
        self._id = f"mlguard-{os.getpid()}-{next(_IDS)}"
        self._lock = threading.RLock()  # what is sent may be a hook of the user, who may print
        self._is_followed = self._is_shown = False

    def open(self) -> None:
        """Begin: the view is shown when it is time to, and the thread keeps it fresh."""
        if self._publisher.is_live:
            self._is_followed = True
            self._publisher.watch(self.show, self._cleared)
            self._updater.follow(self)

    def show(self) -> None:
        """Show the view if that has not been done."""
        if self._is_shown:
            return
        with self._lock:
            if self._is_followed and not self._is_shown:
                self._is_shown = True
                self._send(self._facts(), update=False)

    def refresh(self) -> None:
        """Draw the present state again; nothing after `close`."""
        with self._lock:
            if self._is_followed:
                update, self._is_shown = self._is_shown, True
                self._send(self._facts(), update=update)

    def close(self, facts: RunFacts) -> None:
        """Store the final state; no later update can replace it."""
        if self._is_followed:
            self._updater.leave(self)
            self._publisher.unwatch(self.show)
        with self._lock:
            self._is_followed = False
            self._send(facts, update=self._is_shown)

    def _cleared(self) -> None:
        """clear_output() took the view away with everything else: it comes back with the next output."""
        self._is_shown = False

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
