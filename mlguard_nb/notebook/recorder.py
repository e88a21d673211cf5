"""What a cell shows, remembered while it is shown as usual, and shown again on a cache hit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mlguard_nb.notebook.bundle import MIME

if TYPE_CHECKING:
    from mlguard_nb.notebook.publisher import Publisher
    from mlguard_nb.notebook.session import Session

__all__ = ["Recorder", "replay"]

_MOST_CHARACTERS = 10_000_000


class _Tee:
    """A stream that also remembers. Everything but writing is the stream's own."""

    def __init__(self, stream: Any, recorder: Recorder, name: str) -> None:
        self._stream, self._recorder, self._name = stream, recorder, name

    def write(self, text: str) -> int:
        self._recorder.add([self._name, text])
        return int(self._stream.write(text) or 0)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Recorder:
    """Records stdout, stderr and displays between `start` and `stop`, in their order."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shown: list[list[Any]] = []
        self._size = 0
        self._streams: tuple[Any, Any] | None = None
        self._tees: tuple[_Tee, _Tee] | None = None

    def start(self) -> None:
        """Begin."""
        self._streams = sys.stdout, sys.stderr
        self._tees = _Tee(sys.stdout, self, "stdout"), _Tee(sys.stderr, self, "stderr")
        sys.stdout, sys.stderr = self._tees
        self._session.publisher.listen(self._displayed)

    def stop(self) -> list[list[Any]]:
        """End; what was shown, as [kind, payload] pairs. Stopping twice does nothing."""
        if self._streams is not None and self._tees is not None:
            if sys.stdout is self._tees[0]:
                sys.stdout = self._streams[0]
            if sys.stderr is self._tees[1]:
                sys.stderr = self._streams[1]
            self._session.publisher.listen(None)
            self._streams = None
        return self._shown

    def add(self, item: list[Any]) -> None:
        """Remember one piece of output, up to ten million characters in all."""
        self._size += len(item[1]) if isinstance(item[1], str) else len(str(item[1]))
        if self._size <= _MOST_CHARACTERS:
            if self._shown and isinstance(item[1], str) and self._shown[-1][0] == item[0]:
                self._shown[-1][1] += item[1]
            else:
                self._shown.append(item)

    def _displayed(self, data: dict[str, Any]) -> None:
        if MIME not in data:
            self.add(["display", data])


def replay(shown: list[list[Any]], publisher: Publisher) -> None:
    """Show again what was recorded."""
    for kind, payload in shown:
        if kind == "stdout":
            sys.stdout.write(payload)
        elif kind == "stderr":
            sys.stderr.write(payload)
        else:
            publisher.publish(dict(payload), "", update=False)
