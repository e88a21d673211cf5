"""A feature store and an OpenAI-compatible endpoint on this machine, whose failures come in a fixed order."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What goes wrong, by path and by which time it is asked; everything else is answered.
UNAVAILABLE, TOO_LATE, DROPPED, LIMITED = "503", "too late", "dropped", "429"
TROUBLE = {
    ("/features/0", 1): UNAVAILABLE,
    ("/features/7", 1): UNAVAILABLE,
    ("/features/19", 1): DROPPED,
    ("/features/33", 1): TOO_LATE,
    ("/v1/chat/completions", 2): LIMITED,
    ("/v1/chat/completions", 4): UNAVAILABLE,
}
LATE_SECONDS = 0.8
RETRY_AFTER_SECONDS = 0.2


class Services:
    """The running server: its `url`, how often each kind of path was asked, and `stop`."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="local-services", daemon=True).start()

    def trouble(self, path: str) -> str | None:
        """Count one request of `path`; what should go wrong with it, if anything."""
        with self._counting:
            self._asked[path] += 1
            return UNAVAILABLE if path.startswith("/gone/") else TROUBLE.get((path, self._asked[path]))

    def counts(self) -> dict[str, int]:
        """Requests so far, by the first part of their path."""
        with self._counting:
            totals: Counter[str] = Counter()
            for path, count in self._asked.items():
                totals[path.split("/")[1]] += count
            return dict(sorted(totals.items()))

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        services = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # headers and body in one packet

            def do_GET(self) -> None:
                user = int(self.path.rsplit("/", 1)[1])
                self.respond({"user": user, "visits": 3 + user * 7 % 23, "spent": round(user * 37.5 % 91, 2)})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = asked["messages"][-1]["content"].upper()
                self.respond(
                    {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": text}}]}
                )

            def respond(self, body: dict[str, object]) -> None:
                problem = services.trouble(self.path)
                if problem == DROPPED:
                    self.close_connection = True
                    return
                if problem == TOO_LATE:
                    time.sleep(LATE_SECONDS)
                status = {UNAVAILABLE: 503, LIMITED: 429}.get(problem or "", 200)
                payload = json.dumps(body if status == 200 else {"error": {"message": problem}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                if problem == LIMITED:
                    self.send_header("Retry-After", str(RETRY_AFTER_SECONDS))
                self.end_headers()
                try:
                    self.wfile.write(payload)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client had stopped waiting

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing: the notebook counts."""

        return Handler


def start_services() -> Services:
    """Start both services on a free port of this machine."""
    return Services()
