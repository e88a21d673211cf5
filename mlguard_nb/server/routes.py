"""What a page can ask for once: a sample, what a %%guard line means, an export."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.iostream import StreamClosedError

from mlguard_nb.errors import DirectiveError, PolicyError
from mlguard_nb.policy import as_json as policy_json
from mlguard_nb.policy import describe, directive
from mlguard_nb.server.converter import Bounds, lines_of
from mlguard_nb.server.exporting import ExportRefused, read_request
from mlguard_nb.telemetry.wire import DirectiveRead, as_json

if TYPE_CHECKING:
    from mlguard_nb.server.feed import Feed

__all__ = ["DirectiveHandler", "ExportHandler", "SampleHandler", "read_line"]

_MOST_LINES = 2000
_LONGEST_BODY = 1_000_000  # bytes; a notebook with 2,000 guard lines needs a tenth of it


class SampleHandler(APIHandler):
    """GET: one sample and who holds it, for a client that does not stream."""

    auth_resource = "mlguard"

    def initialize(self, feed: Feed) -> None:
        """`feed` is the server's only one."""
        self._feed = feed

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """{"sample": ..., "holders": ...}."""
        sample, holders = await self._feed.once()
        self.finish(json.dumps({"sample": as_json(sample), "holders": as_json(holders)}))


class DirectiveHandler(APIHandler):
    """POST {"lines": [...]}: what each %%guard line means; no kernel is needed for it."""

    auth_resource = "mlguard"

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """{"directives": [DirectiveRead, ...]} in the order of the lines."""
        body = read_body(self)
        lines = body.get("lines") if isinstance(body, dict) else None
        if not isinstance(lines, list) or len(lines) > _MOST_LINES or not all(isinstance(x, str) for x in lines):
            raise web.HTTPError(400, 'expected {"lines": [text, ...]}')
        self.finish(json.dumps({"directives": [as_json(read_line(line)) for line in lines]}))


class ExportHandler(APIHandler):
    """POST {path, output, name, verify, check}: the converter's messages, one JSON object a line, as they come."""

    auth_resource = "mlguard"

    def initialize(self, root: str, bounds: Bounds) -> None:
        """`root` is the folder that this server shows; nothing outside it is read or written."""
        self._root, self._bounds = Path(root), bounds
        self._gone = False
        self._work: asyncio.Task[Any] | None = None

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Run the converter; a page that goes away ends it."""
        try:
            request = read_request(read_body(self), self._root)
        except ExportRefused as refused:
            raise web.HTTPError(400, str(refused)) from None
        self.set_header("Content-Type", "application/x-ndjson")
        messages = lines_of(request, self._root, self._bounds)
        self._work = asyncio.current_task()
        try:
            async for message in messages:
                self.write(json.dumps(message) + "\n")
                await self.flush()
        except (StreamClosedError, asyncio.CancelledError):
            if not self._gone:
                raise
        finally:
            self._work = None
            await messages.aclose()

    def on_connection_close(self) -> None:
        """The page was closed or its reader pressed stop: end the converter now, not at its next message."""
        self._gone = True
        if self._work is not None:
            self._work.cancel()
        super().on_connection_close()


def read_body(handler: APIHandler) -> Any:
    """The JSON in the request; 413 for one that is too long, 400 for what is no JSON or nested too deeply."""
    if len(handler.request.body) > _LONGEST_BODY:
        raise web.HTTPError(413, f"the request is longer than {_LONGEST_BODY} bytes")
    try:
        return handler.get_json_body()
    except RecursionError:
        raise web.HTTPError(400, "the request is nested too deeply to be read") from None


def read_line(line: str) -> DirectiveRead:
    """`line` (with or without its %%guard) as badge phrases and policy, or what is wrong with it and where in it."""
    words = line.strip().removeprefix("%%guard").strip()
    try:
        found = directive.parse(words)
    except DirectiveError as error:
        offset = line.index(words)
        start, end = error.span
        return DirectiveRead(line, (), None, error.message, error.hint or None, (start + offset, end + offset))
    except PolicyError as error:
        return DirectiveRead(line, (), None, str(error), None, None)
    policy = policy_json.to_json(found.policy, found.cell)
    return DirectiveRead(line, describe.badge(found.policy), policy, None, None, None)
