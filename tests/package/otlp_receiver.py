"""A receiver of OTLP over HTTP, as an OpenTelemetry collector is one: it reads the protocol's own messages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Received", "receiver"]


class Received:
    """What arrived: `spans` in the order of arrival, `metrics` by name; `endpoint` is where it listens."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}

    def paths_to(self, name: str) -> list[list[str]]:
        """For each span called `name`, the names of the spans from the root down to it."""
        by_id = {span.span_id: span for span in self.spans}
        found = []
        for span in self.spans:
            if span.name != name:
                continue
            names = [span.name]
            while span.parent_span_id:
                span = by_id[span.parent_span_id]
                names.append(span.name)
            found.append(names[::-1])
        return found


@contextmanager
def receiver() -> Iterator[Received]:
    """Listens on a free port of this machine until the block ends."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path.endswith("/v1/traces"):
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    received.spans += [span for scope in resource.scope_spans for span in scope.spans]
            else:
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    received.metrics.update(
                        {one.name: one for scope in resource.scope_metrics for one in scope.metrics}
                    )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Received(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield received
        server.shutdown()
