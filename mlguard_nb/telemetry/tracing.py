"""Spans through OpenTelemetry, where the program has configured a tracer provider; nothing is imported otherwise."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from mlguard_nb.errors import in_words
from mlguard_nb.telemetry.libraries import loaded
from mlguard_nb.telemetry.redaction import redacted, redacted_trace

__all__ = ["SWITCH", "begin", "carried", "continued", "current", "end", "look", "span", "span_if_on"]


class _Switch:
    """Whether spans are made: an attribute, since every monitored call reads it."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = False

    def __reduce__(self) -> str:
        return "SWITCH"


SWITCH = _Switch()


def look() -> None:
    """Turn spans on once the program has set a tracer provider of the SDK; called now and then."""
    trace, sdk = loaded("opentelemetry.trace"), loaded("opentelemetry.sdk.trace")
    SWITCH.on = trace is not None and sdk is not None and isinstance(trace.get_tracer_provider(), sdk.TracerProvider)


@contextmanager
def span(name: str, attributes: Mapping[str, str | int]) -> Iterator[Any]:
    """A context manager: the current span of the call, which records an error that leaves it."""
    opened, error = begin(name, attributes), None
    try:
        with current(opened):
            yield opened
    except BaseException as left:
        error = left
        raise
    finally:
        end(opened, error)
        error = None  # a frame must not keep what keeps the frame


def span_if_on(name: str, attributes: Mapping[str, str | int]) -> Any:
    """The same where spans are made; else a context manager that does nothing."""
    return span(name, attributes) if SWITCH.on else nullcontext()


def carried() -> dict[str, str]:
    """The current span as text that another process can continue (W3C Trace Context); empty without one."""
    carrier: dict[str, str] = {}
    if SWITCH.on:
        from opentelemetry.propagate import inject

        inject(carrier)
    return carrier


@contextmanager
def continued(carrier: Mapping[str, str]) -> Iterator[None]:
    """Make the span that `carried` wrote in another process the current one for the block."""
    if not carrier or not SWITCH.on:
        yield
        return
    from opentelemetry import context
    from opentelemetry.propagate import extract

    token = context.attach(extract(carrier))
    try:
        yield
    finally:
        context.detach(token)


def begin(name: str, attributes: Mapping[str, str | int]) -> Any:
    """A span below the current one that does not become the current one; `end` ends it."""
    from opentelemetry import trace

    return trace.get_tracer("mlguard_nb").start_span(name, attributes=dict(attributes))


def current(span: Any) -> Any:
    """A context manager: makes a span that `begin` gave the current one of the block, without ending it."""
    if span is None:
        return nullcontext()
    from opentelemetry import trace

    return trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)


def end(span: Any, error: BaseException | None) -> None:
    """End a span that `begin` gave, with the error that ended the work, if one did: without credentials in its text."""
    from opentelemetry import trace

    if isinstance(error, Exception):
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        told, kind = redacted(in_words(error)), type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        attributes = {"type": name, "message": told, "stacktrace": redacted_trace(lines)}
        span.add_event("exception", {f"exception.{fact}": text for fact, text in attributes.items()})
        span.set_status(trace.Status(trace.StatusCode.ERROR, told))
    span.end()
