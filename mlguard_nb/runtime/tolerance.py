"""A service that may be away: whoever asks goes on without it, and it is asked again after a while."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from mlguard_nb import clock

__all__ = ["PAUSE_SECONDS", "Tolerance"]

T = TypeVar("T")
PAUSE_SECONDS = 5.0


class Tolerance:
    """Asks `what`; where that fails (OSError), counts, tells `failed`, and leaves it alone for five seconds.

    `log` gets one warning a spell, which says what is done `instead`.
    """

    def __init__(
        self, what: str, instead: str, log: logging.Logger, failed: Callable[[str], object] = lambda error: None
    ) -> None:
        self._what, self._instead, self._log, self._failed = what, instead, log, failed
        self._again_at = float("-inf")
        self._is_down = False
        self.failures = 0

    def ask(self, question: Callable[[], T], otherwise: T) -> T:
        """The answer; `otherwise` where there is none."""
        if clock.current().now() < self._again_at:
            return otherwise
        try:
            answer = question()
        except OSError as error:
            self.failures += 1
            self._again_at = clock.current().now() + PAUSE_SECONDS
            self._failed(f"{type(error).__name__}: {error}")
            if not self._is_down:
                self._is_down = True
                self._log.warning("%s does not answer, %s: %s", self._what, self._instead, error)
            return otherwise
        if self._is_down:
            self._is_down = False
            self._log.warning("%s answers again", self._what)
        return answer
