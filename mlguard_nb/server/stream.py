"""The one websocket of a page: samples out, what the page shows in."""

from __future__ import annotations

import json
import socket
from typing import Any

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from mlguard_nb.server.feed import HIDDEN_SECONDS, SHOWN_SECONDS, Feed
from mlguard_nb.telemetry.wire import Hello, as_text
from mlguard_nb.version import __version__

__all__ = ["StreamHandler", "read_watch"]

_LONGEST_SECONDS, _LONGEST_HISTORY = 60.0, 3600.0
_LONGEST_MESSAGE = 1000  # a watch message takes 50; longer ones are not even parsed


class StreamHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Refused with 403 before the upgrade without a token or the right to read; checks its origin as Jupyter's do."""

    auth_resource = "mlguard"
    panel = False
    interval: float | None = None
    history: float | None = None

    def initialize(self, feed: Feed) -> None:
        """`feed` is the server's only one."""
        self._feed = feed

    @ws_authenticated
    @authorized
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Upgrade to a websocket."""
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        """Say hello, send the history, then samples as they come."""
        super().open(*args, **kwargs)
        hello = Hello("hello", __version__, socket.gethostname(), HIDDEN_SECONDS, SHOWN_SECONDS)
        self.send(as_text(hello))
        self._feed.join(self)

    def on_message(self, message: str | bytes) -> None:
        """Take note of what the page shows; anything else is ignored."""
        watch = read_watch(message)
        if watch is not None:
            self.panel, self.interval, history = watch
            if history is not None and history > (self.history or 0):  # once for each length: it may be a megabyte
                self.history = history
                self._feed.tell_history(self, history)
            self._feed.hurry()

    def on_close(self) -> None:
        """Stop sending; the last page to leave stops the sampling."""
        self._feed.leave(self)
        super().on_close()

    @property
    def is_behind(self) -> bool:
        """Whether what was sent before still waits for a page that reads slowly or sleeps."""
        stream = None if self.ws_connection is None else self.ws_connection.stream
        return stream is not None and stream.writing()

    def send(self, text: str) -> None:
        """Hand `text` to the page; a page that is gone leaves by on_close."""
        try:
            self.write_message(text)
        except (WebSocketClosedError, StreamClosedError):
            self._feed.leave(self)


def read_watch(message: str | bytes) -> tuple[bool, float | None, float | None] | None:
    """(panel on screen, seconds between samples, seconds of history) of a `watch` message; None of any other text."""
    if len(message) > _LONGEST_MESSAGE:
        return None
    try:
        data = json.loads(message)
    except ValueError:
        return None
    if not isinstance(data, dict) or data.get("kind") != "watch" or not isinstance(data.get("panel"), bool):
        return None
    interval = _seconds(data.get("interval"), _LONGEST_SECONDS)
    return data["panel"], interval, _seconds(data.get("history"), _LONGEST_HISTORY)


def _seconds(value: Any, most: float) -> float | None:
    """`value` where it is a number of seconds above 0 and up to `most`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and 0 < value <= most else None
